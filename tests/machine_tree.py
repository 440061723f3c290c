"""A machine that is a dict: what a test needs of the door, and nothing that runs. Below it, what is seen of one.

`Tree` has the files, links and inodes that it was given; directories follow from the paths. What it wasn't given
isn't there (ENOENT), what it was told to refuse is refused (EACCES), the kernel answers nothing (EOPNOTSUPP) and
no program is installed. That the real `host.local.Machine` gives such answers on a real machine is proven by
`tests/lab/test_status.py` and `tests/kernel`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Union

from mailports.door import Host, Name, Ran
from mailports.faults import HostError
from mailports.model.facts import Endpoint, Holder, Look, Namespace, Snapshot, Socket

Text = Union[str, bytes]


class Tree:
    """A `Host` of dicts.

    Args:
        files: content by path.
        links: where symbolic links point, by path; a process's descriptors are links as well.
        inodes: inodes by path, for those that matter; the others get numbers of their own.
        programs: what programs print on standard output, by their whole argv.
        answers: what local sockets answer, by path.
        refused: paths that may not be looked at, with all that is below them.
        deaf: local sockets that are there and may not be spoken with.
        uid: who looks.
    """

    def __init__(
        self,
        files: Mapping[str, Text] | None = None,
        *,
        links: Mapping[str, str] | None = None,
        inodes: Mapping[str, int] | None = None,
        programs: Mapping[tuple[str, ...], Text] | None = None,
        answers: Mapping[str, bytes] | None = None,
        refused: Sequence[str] = (),
        deaf: Sequence[str] = (),
        uid: int = 0,
    ) -> None:
        self._files = {path: _bytes(text) for path, text in (files or {}).items()}
        self._links = dict(links or {})
        self._programs = {argv: _bytes(text) for argv, text in (programs or {}).items()}
        self._answers = dict(answers or {})
        self._refused = tuple(refused)
        self._deaf = tuple(deaf)
        self.uid = uid
        self.asked: list[str] = []
        """Directories and programs that were asked for, in order."""
        self._given = dict(inodes or {})
        paths = sorted(_with_parents([*self._files, *self._links, *self._answers, *self._deaf, *self._given]))
        self._inodes = {path: self._given.get(path, 900_000 + at) for at, path in enumerate(paths)}

    # Files

    def read(self, path: str, limit_bytes: int = 1 << 20) -> bytes:
        """Return the first `limit_bytes` of a file."""
        self._check("open", path)
        if path not in self._files:
            raise _missing("open", path)
        return self._files[path][:limit_bytes]

    def names(self, path: str) -> list[Name]:
        """Return what is in a directory."""
        self.asked.append(path)
        self._check("read directory", path)
        prefix = path.rstrip("/") + "/"
        found = sorted({known[len(prefix) :].split("/")[0] for known in self._inodes if known.startswith(prefix)})
        if not found:
            raise _missing("read directory", path)
        return [Name(name, self._inodes[prefix + name], self._kind(prefix + name)) for name in found]

    def link(self, path: str) -> str:
        """Return where a symbolic link points."""
        self._check("read link", path)
        if path not in self._links:
            raise _missing("read link", path)
        return self._links[path]

    def inode(self, path: str) -> int:
        """Return the inode of a path."""
        self._check("look at", path)
        if path not in self._inodes:
            raise _missing("look at", path)
        return self._inodes[path]

    # Kernel

    def inet_diag(self, request: bytes, limit_bytes: int = 1 << 26) -> bytes:
        """Refuse."""
        raise _unsupported("sock_diag", request, limit_bytes)

    def route(self, request: bytes, limit_bytes: int = 1 << 24) -> bytes:
        """Refuse."""
        raise _unsupported("rtnetlink", request, limit_bytes)

    def netfilter(self, request: bytes, limit_bytes: int = 1 << 20) -> bytes:
        """Refuse."""
        raise _unsupported("nfnetlink", request, limit_bytes)

    def socket_options(self, pid: int, descriptor: int) -> dict[str, int] | None:
        """Return that the system refuses."""
        del pid, descriptor
        return None

    # Run

    def run(self, argv: Sequence[str], limit_bytes: int = 1 << 24, timeout_s: float = 10.0) -> Ran:
        """Return what the program was given to print."""
        del timeout_s
        self.asked.append(" ".join(argv))
        printed = self._programs.get(tuple(argv))
        if printed is None:
            raise HostError(f"run {argv[0]}", "ENOENT", "no such program")
        return Ran(0, printed[:limit_bytes], b"", len(printed) > limit_bytes)

    def exchange(self, path: str, request: bytes, limit_bytes: int = 1 << 24, timeout_s: float = 3.0) -> bytes:
        """Return what the socket was given to answer."""
        del request, timeout_s
        self._check("speak with", path)
        if path in self._deaf:
            raise HostError(f"speak with {path}", "EACCES", "Permission denied")
        if path not in self._answers:
            raise _missing("speak with", path)
        return self._answers[path][:limit_bytes]

    # Clock

    def now(self) -> float:
        """Return noon of the day that every test is on."""
        return 1_767_268_800.0

    def stamp(self, seconds: float) -> str:
        """Return seconds as they are: what a time looks like is the machine's business."""
        return f"{seconds:.0f}"

    def boot(self) -> float | None:
        """Return an hour before noon."""
        return self.now() - 3600

    # The whole

    def name(self) -> str:
        """Return the host's name."""
        return "tree"

    def system(self) -> tuple[str, str]:
        """Return a system and its release."""
        return "Linux", "6.12.0"

    def within(self, path: str) -> Host:
        """Refuse: there is no namespace to enter."""
        raise HostError(f"enter {path}", "EPERM", "Operation not permitted")

    def pids(self) -> Iterable[int]:
        """Return the processes below /proc."""
        return sorted({int(path.split("/")[2]) for path in self._inodes if _is_process(path)})

    def descriptors(self, pid: int) -> Iterable[tuple[int, str]]:
        """Return a process's links below its `fd`."""
        return list(self._descriptors(pid))

    def descriptor_count(self, pid: int) -> int:
        """Return how many there are."""
        return len(list(self._descriptors(pid)))

    def _descriptors(self, pid: int) -> Iterator[tuple[int, str]]:
        folder = f"/proc/{pid}/fd"
        self._check("read directory", folder)
        for path, to in self._links.items():
            if path.startswith(folder + "/"):
                yield int(path[len(folder) + 1 :]), to

    def _kind(self, path: str) -> str:
        if path in self._links:
            return "link"
        if path in self._answers or path in self._deaf:
            return "other"
        return "file" if path in self._files else "directory"

    def _check(self, verb: str, path: str) -> None:
        if any(path == no or path.startswith(no + "/") for no in self._refused):
            raise HostError(f"{verb} {path}", "EACCES", "Permission denied")


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _with_parents(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        parts = path.split("/")
        found.update("/".join(parts[:at]) for at in range(2, len(parts) + 1))
    return found


def _is_process(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and parts[1] == "proc" and parts[2].isdigit()


def _missing(verb: str, path: str) -> HostError:
    return HostError(f"{verb} {path}", "ENOENT", "No such file or directory")


def _unsupported(what: str, request: bytes, limit_bytes: int) -> HostError:
    assert request
    assert limit_bytes
    return HostError(f"ask {what}", "EOPNOTSUPP", "Operation not supported")


# What is seen of a machine, by hand.

SEEN = (
    *(Look(fact, "here", "all", "sock_diag") for fact in ("listeners", "udp", "connections")),
    Look("netfilter", "here", "all", "nft"),
    Look("settings", "here", "all", "/proc/sys"),
    Look("addresses", "here", "all", "rtnetlink"),
    *(Look(fact, None, "all", fact) for fact in ("holders", "namespaces", "units", "containers")),
)
"""The looks of an audit that saw everything."""


def at(where: str, **more: Any) -> Endpoint:
    """An endpoint as one writes it: `0.0.0.0:25`, `[::]:25`, `udp 127.0.0.53:53`."""
    protocol, _, place = where.rpartition(" ")
    address, _, port = place.rpartition(":")
    values: dict[str, Any] = {"netns": "here", **more}
    return Endpoint(protocol or "tcp", address.strip("[]"), int(port), **values)


def held(name: str, pid: int = 812, **more: Any) -> Holder:
    """A process of a program as its package installs it, under its own unit."""
    exe, unit = INSTALLED.get(name, (f"/opt/{name}/{name}", f"{name}.service"))
    values: dict[str, Any] = {"exe": exe, "unit": unit, "uid": 0, "group": pid, **more}
    return Holder(pid, name, **values)


INSTALLED = {
    "master": ("/usr/lib/postfix/sbin/master", "postfix@-.service"),
    "exim4": ("/usr/sbin/exim4", "exim4.service"),
    "dovecot": ("/usr/sbin/dovecot", "dovecot.service"),
    "haproxy": ("/usr/sbin/haproxy", "haproxy.service"),
    "rspamd": ("/usr/bin/rspamd", "rspamd.service"),
    "systemd": ("/usr/lib/systemd/systemd", "init.scope"),
    "docker-proxy": ("/usr/bin/docker-proxy", "docker.service"),
    "rpc.statd": ("/usr/sbin/rpc.statd", "rpc-statd.service"),
}


def listens(where: str, *holders: Holder, **more: Any) -> Socket:
    """A listener whose every holder was looked for."""
    places = {key: more.pop(key) for key in ("v6only", "device", "netns") if key in more}
    endpoint = at(where, **places)
    family = 6 if ":" in endpoint.address else 4
    state = "unconnected" if endpoint.protocol == "udp" else "listen"
    inode = sum(map(ord, where)) + sum(h.pid or 0 for h in holders)
    values: dict[str, Any] = {"uid": 0, "inode": inode, "holders_extent": "all", **more}
    return Socket(endpoint, values.pop("family", family), values.pop("state", state), holders=holders, **values)


def snapshot(*sockets: Socket, **more: Any) -> Snapshot:
    """What an audit saw of a host, with all its looks unless told otherwise."""
    values: dict[str, Any] = {"looks": SEEN, "namespaces": (Namespace("here", 4026531840),), **more}
    return Snapshot("mx", "2026-01-01T12:00:00Z", "Linux", "6.12.0", sockets=sockets, **values)
