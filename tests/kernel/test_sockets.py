"""What mailports sees of sockets is what `ss` sees, and what it says of them is what the kernel does."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import jsonschema
import pytest
from stage import (
    KEPT,
    Actor,
    At,
    Json,
    Skip,
    Stage,
    asked,
    bound,
    conversation,
    enter_fresh_netns,
    shared,
    stage,
    wait_for,
)

import mailports
from mailports.diagnose.rules import RULES
from mailports.faults import HostError
from mailports.formats.documents import json_schema
from mailports.host.local import Machine
from mailports.observe.cgroups import Groups
from mailports.observe.proc_net import decode_table
from mailports.observe.sockets import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailports.door import Host

pytestmark = pytest.mark.kernel

NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.fixture
def here() -> Iterator[Stage]:
    with stage() as made:
        yield made


def valid(kind: str, document: Json) -> Json:
    """Return a document, once its own schema accepts it."""
    jsonschema.validate(document, json_schema(kind))
    return document


class Row(NamedTuple):
    """A listener, as `ss` and `status` both show it; `v6only` is null for IPv4."""

    netns: str
    protocol: str
    address: str
    port: int
    v6only: bool | None
    device: str | None
    holders: frozenset[tuple[int, str]]
    """Pid and name of each."""


def listed(document: Json) -> list[Row]:
    """Return the listeners of `status`."""
    return sorted(
        (
            Row(
                *(e["netns"], e["protocol"], e["address"], e["port"], e["v6only"], e["device"]),
                frozenset((h["pid"], h["name"]) for h in listener["holders"]),
            )
            for listener in document["listeners"]
            for e in [listener["endpoint"]]
        ),
        key=str,
    )


def shown_by_ss(text: str, netns: str) -> list[Row]:
    """Return the listeners of `ss -tulnpHe`."""
    rows = []
    for line in text.splitlines():
        protocol, _, _, _, local, *_ = line.split()
        place, _, port = local.rpartition(":")
        place, _, device = place.partition("%")
        only = re.search(r" v6only:(\d)", line)
        address = "::" if place == "*" else place.strip("[]")
        v6only = (only is not None and only[1] == "1") if ":" in address else None
        holders = frozenset((int(pid), name) for name, pid in re.findall(r'\("(.*?)",pid=(\d+),fd=\d+\)', line))
        rows.append(Row(netns, protocol, address, int(port), v6only, device or None, holders))
    return sorted(rows, key=str)


SS = ("ss", "-tulnpHe")


def hide() -> None:
    """Listen in a network namespace that only this process keeps."""
    enter_fresh_netns()
    bound(At("0.0.0.0", 25))
    bound(At("::1", 26))


def hold_smtp() -> None:
    bound(At("0.0.0.0", 25))


def stage_every_kind(here: Stage) -> None:
    """Put every kind of listener on the stage, in `here`, in `outside` and in one that only a process keeps."""
    here.add_outside()
    v6 = partial(At, "::", v6only=True)
    here.program("v4", At("0.0.0.0", 25), At("127.0.0.1", 26), At("127.0.0.2", 26), At("10.9.0.1", 26))
    here.program("v6", v6(25), At("::1", 26), At("2001:db8:9::1", 26), At("::ffff:127.0.0.1", 27, v6only=False))
    here.program("dual", At("::", 143, v6only=False), At("::", 143, "udp", v6only=False))
    here.program(
        "device", At("0.0.0.0", 993, device="wire"), At("0.0.0.0", 993, device="lo"), At("::", 994, device="lo")
    )
    here.program("prefork", At("0.0.0.0", 587), At("127.0.0.1", 53, "udp"), workers=3)
    here.program("one of group", shared("0.0.0.0", 110), shared("::", 111))
    here.program("two of group", shared("0.0.0.0", 110), shared("::", 111))
    here.program(
        "udp", At("0.0.0.0", 11335, "udp"), At("::1", 11335, "udp"), At("::ffff:127.0.0.1", 69, "udp", v6only=False)
    )
    here.program("other user", At("127.0.0.1", 10025), uid=1000)
    here.program("quiet", At("0.0.0.0", 4190, listens=False))
    here.program("v4", At("0.0.0.0", 25), At("127.0.0.1", 53, "udp"), netns="outside")
    here.program("device", At("10.9.0.2", 587, device="eth0"), At("::", 25, v6only=True), netns="outside")


def test_status_shows_what_ss_shows_in_every_namespace(here: Stage) -> None:
    """Endpoint by endpoint and pid by pid, `status --all --netns all` equals `ss` in each namespace."""
    stage_every_kind(here)
    hermit = here.act(hide, name="hermit")
    label = "inode:" + here.run("readlink", f"/proc/{hermit.pid}/ns/net").strip()[len("net:[") : -1]
    reference = [
        *shown_by_ss(here.run(*SS), "here"),
        *shown_by_ss(here.run("ip", "netns", "exec", "outside", *SS), "name:outside"),
        *shown_by_ss(here.run("nsenter", "-t", str(hermit.pid), "-n", *SS), label),
    ]
    assert len(reference) == 29
    seen = valid("status", here.mailports("status", "--all", "--netns", "all", "--json").json())
    assert listed(seen) == sorted(reference, key=str)
    assert {listener["holders_extent"] for listener in seen["listeners"]} == {"all"}


@pytest.mark.parametrize("udp", [False, True])
def test_status_of_one_namespace_shows_what_ss_shows_there(here: Stage, udp: bool) -> None:
    """`--netns` with a name or a process shows that namespace; without, our own and those that have a name."""
    stage_every_kind(here)
    here.act(hide, name="hermit")
    neighbour = here.program("neighbour", At("127.0.0.1", 995), netns="outside")
    words = ["--json", "--all"] + ["--udp"] * udp
    outside = shown_by_ss(here.run("ip", "netns", "exec", "outside", *SS), "name:outside")
    for netns in ("outside", str(neighbour.pid)):
        assert listed(here.mailports("status", *words, "--netns", netns).json()) == outside
    assert listed(here.mailports("status", *words).json()) == sorted(
        [*shown_by_ss(here.run(*SS), "here"), *outside], key=str
    )


def test_status_seen_from_another_namespace(here: Stage) -> None:
    """Run inside a namespace, that one is `here`, and the processes of the others don't hold its sockets."""
    stage_every_kind(here)
    there = ("ip", "netns", "exec", "outside")
    assert listed(here.mailports("status", "--all", "--json", within=there).json()) == shown_by_ss(
        here.run(*there, *SS), "here"
    )


def test_plain_status_shows_mail_ports_and_their_first_holder(here: Stage) -> None:
    """Without `--all` the TCP listeners of mail ports are those of `ss`, each with one of its holders at least."""
    stage_every_kind(here)
    seen = {row[:-1]: row.holders for row in listed(valid("status", here.mailports("status", "--json").json()))}
    ports = {25, 53, 143, 993, 587, 110, 111, 10025}
    there = shown_by_ss(here.run("ip", "netns", "exec", "outside", *SS), "name:outside")
    rows = [r for r in shown_by_ss(here.run(*SS), "here") + there if r.port in ports and r.protocol == "tcp"]
    reference = {row[:-1]: row.holders for row in rows}
    assert seen.keys() == reference.keys()
    assert all(holders and holders <= reference[place] for place, holders in seen.items())


def in_flight() -> int:
    """Leave a listener to nobody: its one descriptor is in a message that nobody has received."""
    listener = bound(At("0.0.0.0", 25))
    inode = os.fstat(listener.fileno()).st_ino
    ends = socket.socketpair()
    KEPT.extend(ends)
    socket.send_fds(ends[0], [b"x"], [listener.fileno()])
    listener.close()
    return inode


def test_a_listener_that_nobody_holds(here: Stage) -> None:
    """A descriptor in flight has no holder, and that is said for certain."""
    courier = here.act(in_flight, name="courier")
    (listener,) = valid("status", here.mailports("status", "--all", "--json").json())["listeners"]
    assert (listener["endpoint"]["port"], listener["holders"], listener["holders_extent"]) == (25, [], "all")
    (row,) = shown_by_ss(here.run(*SS), "here")
    assert row.holders == frozenset()
    # It is really one that answers nobody, and that only its message keeps.
    assert courier.pid
    courier.stop()
    assert here.mailports("status", "--all", "--json").json()["listeners"] == []


def as_fixed_file() -> None:
    """Leave a listener to an io_uring alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(425, 4, ctypes.create_string_buffer(120))  # io_uring_setup
    if ring < 0:
        raise Skip(f"io_uring_setup: {os.strerror(ctypes.get_errno())}")
    listener = bound(At("0.0.0.0", 25))
    descriptors = struct.pack("i", listener.fileno())
    if libc.syscall(427, ring, 2, descriptors, 1) < 0:  # io_uring_register, IORING_REGISTER_FILES
        raise Skip(f"io_uring_register: {os.strerror(ctypes.get_errno())}")
    listener.close()


def test_a_listener_that_only_an_io_uring_holds(here: Stage) -> None:
    """The process whose ring has a listener as a fixed file is its holder, by the ring; `ss` finds nobody."""
    actor = here.act(as_fixed_file, name="ring")
    if "socket:[" not in here.run("sh", "-c", f"cat /proc/{actor.pid}/fdinfo/*"):
        pytest.skip("this kernel's fdinfo of a ring doesn't list its files")
    (listener,) = here.mailports("status", "--all", "--json").json()["listeners"]
    assert [(h["pid"], h["name"], h["seen_by"]) for h in listener["holders"]] == [(actor.pid, "ring", "io_uring")]
    assert shown_by_ss(here.run(*SS), "here")[0].holders == frozenset()


def test_a_listener_whose_holder_has_moved_on(here: Stage) -> None:
    """A listener belongs to the namespace that it was made in, though its holder is in another by now."""
    here.add_outside()

    def job() -> None:
        bound(At("0.0.0.0", 25))
        enter_fresh_netns()
        bound(At("0.0.0.0", 25))

    actor = here.act(job, name="emigrant", netns="outside")
    rows = listed(here.mailports("status", "--all", "--json", "--netns", "all").json())
    label = "inode:" + here.run("readlink", f"/proc/{actor.pid}/ns/net").strip()[len("net:[") : -1]
    held = frozenset({(actor.pid, "emigrant")})
    assert {(row.netns, row.port, row.holders) for row in rows} == {("name:outside", 25, held), (label, 25, held)}
    assert shown_by_ss(here.run("ip", "netns", "exec", "outside", *SS), "name:outside")[0].holders == held


HOSTILE = b'a\n\x1b[2Jb\\\xff"'


def test_a_hostile_name_is_spelled_out(here: Stage) -> None:
    """What isn't printable in a process's name is spelled out in hexadecimal, in JSON and in text."""
    actor = here.act(hold_smtp, name=HOSTILE)
    spelled = 'a\\x0a\\x1b[2Jb\\\\xff"'
    for words in (("status", "--all"), ("why", "25"), ("audit",)):
        text = here.mailports(*words).stdout
        assert spelled in text.replace("\n    ", ""), text
        assert "\x1b" not in text
    (listener,) = here.mailports("status", "--all", "--json").json()["listeners"]
    assert [(h["pid"], h["name"]) for h in listener["holders"]] == [(actor.pid, spelled)]


def linger(port: int, *, reuseaddr: bool) -> int:
    """Serve one connection and end it first, so that TIME_WAIT is left; keep the listener. Return its peer's port."""
    listener = bound(At("127.0.0.1", port, reuseaddr=reuseaddr))
    client, accepted = conversation(listener)
    peer: int = client.getsockname()[1]
    accepted.close()
    client.recv(1)
    client.close()
    return peer


def leave_time_wait(port: int, *, reuseaddr: bool) -> None:
    """Leave nothing but TIME_WAIT."""
    linger(port, reuseaddr=reuseaddr)
    for kept in KEPT:
        kept.close()


def test_a_snapshot_has_bound_and_lingering_sockets(here: Stage) -> None:
    """Bound without listening, connected and in TIME_WAIT: each is in the Snapshot as what it is."""
    quiet = here.program("quiet", At("127.0.0.2", 25, listens=False, reuseaddr=False))
    peer = here.act(partial(linger, 25, reuseaddr=False), name="server").answer

    def talk() -> int:
        client = socket.create_connection(("127.0.0.1", 25))
        KEPT.append(client)
        port: int = client.getsockname()[1]
        return port

    client = here.act(talk, name="client")
    document = valid("snapshot", here.mailports("snapshot").json())
    found = {
        (s["state"], s["endpoint"]["address"], s["peer"] and s["peer"]["port"], tuple(h["name"] for h in s["holders"]))
        for s in document["sockets"]
        if s["endpoint"]["port"] == 25
    }
    assert found == {
        ("listen", "127.0.0.1", None, ("server",)),
        ("bound", "127.0.0.2", None, ("quiet",)),
        ("time-wait", "127.0.0.1", peer, ()),
        ("established", "127.0.0.1", client.answer, ()),  # waits to be accepted, so it is nobody's yet
    }
    by_state = {s["state"]: s for s in document["sockets"]}
    assert (by_state["time-wait"]["uid"], by_state["time-wait"]["inode"]) == (None, 0)
    assert [h["pid"] for h in by_state["bound"]["holders"]] == [quiet.pid]
    assert (by_state["bound"]["reuseaddr"], by_state["bound"]["uid"]) in ((None, 0), (False, 0))


# As an unprivileged user


@contextmanager
def readable_copy() -> Iterator[str]:
    """A copy of the program that anyone may read."""
    folder = tempfile.mkdtemp()
    try:
        shutil.copytree(os.path.dirname(mailports.__file__), f"{folder}/mailports")
        os.chmod(folder, 0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def as_nobody(here: Stage, folder: str, *words: str) -> Any:
    """Run mailports as nobody on the stage."""
    argv = here.command(
        *("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"),
        *("env", f"PYTHONPATH={folder}", SYSTEM_PYTHON, "-m", "mailports", *words),
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert "bug" not in done.stderr, done.stderr
    return done


@pytest.fixture
def program() -> Iterator[str]:
    if shutil.which("setpriv") is None or not os.path.exists(SYSTEM_PYTHON):
        pytest.skip("needs setpriv and the system's python3")
    with readable_copy() as folder:
        yield folder


def test_nobody_sees_every_listener_and_says_whose_holders_stay_unknown(here: Stage, program: str) -> None:
    """Without privilege no listener is missing, and the holders of others are unknown rather than absent."""
    stage_every_kind(here)
    own = here.program("own", At("127.0.0.1", 10026), uid=NOBODY)
    done = as_nobody(here, program, "status", "--all", "--json")
    document = valid("status", json.loads(done.stdout))
    rows = listed(document)
    assert [r[:-1] for r in rows if r.netns == "here"] == [r[:-1] for r in shown_by_ss(here.run(*SS), "here")]
    for listener in document["listeners"]:
        if listener["endpoint"]["port"] == 10026:
            assert [h["pid"] for h in listener["holders"]] == [own.pid]
            assert listener["holders_extent"] == "some"
        else:
            assert [h["pid"] for h in listener["holders"] if h["pid"]] == []
            assert listener["holders_extent"] == "none"


def hides_an_error(document: Json) -> bool:
    """Whether a finding of level error could be among what wasn't seen."""
    errors = {rule.name for rule in RULES if rule.worst == "error"}
    return any(errors & set(unknown["hides"]) for unknown in document["unknown"])


@pytest.mark.parametrize("verb", ["status", "audit"])
def test_nobodys_exit_status_tells_that_an_error_could_be_hidden(here: Stage, program: str, verb: str) -> None:
    """Where whose listeners share a port can't be seen the exit status is 3, and the text says how to see it."""
    here.program("exim4", shared("0.0.0.0", 25))
    here.program("haproxy", shared("0.0.0.0", 25))
    assert here.mailports(verb, "--json").status == 1
    done = as_nobody(here, program, verb, "--json")
    document = json.loads(done.stdout)
    assert document["findings"] == []
    assert "shared-port" in {name for unknown in document["unknown"] for name in unknown["hides"]}
    assert hides_an_error(document)
    assert done.returncode == 3
    text = as_nobody(here, program, verb)
    assert text.returncode == 3
    assert "as root" in text.stdout
    assert "who the 2 listeners on 0.0.0.0:25 belong to" in " ".join(text.stdout.split()) or verb == "status"


def test_nobodys_exit_status_is_0_where_no_error_could_be_hidden(here: Stage, program: str) -> None:
    """The exit status is 3 if and only if something that wasn't seen could hide an error."""
    for places in ((), (At("127.0.0.1", 8080),), (At("0.0.0.0", 25),)):
        actor = here.program("web", *places)
        done = as_nobody(here, program, "status", "--json")
        document = json.loads(done.stdout)
        assert document["findings"] == []
        assert done.returncode == (3 if hides_an_error(document) else 0)
        actor.stop()


def test_nobody_crashes_no_verb(here: Stage, program: str) -> None:
    """Each verb ends with an answer, whatever it isn't allowed to see."""
    stage_every_kind(here)
    for words in (
        (),
        ("status", "--all", "--netns", "all"),
        ("25",),
        ("why", "imaps", "--json"),
        ("audit",),
        ("snapshot",),
    ):
        done = as_nobody(here, program, *words)
        assert done.returncode in (0, 3), (words, done)
        assert done.stdout
        assert done.stderr == ""


# Where sock_diag is refused


class Refusing:
    """The machine, where netlink isn't there."""

    def __init__(self) -> None:
        self._machine = Machine()

    def inet_diag(self, _request: bytes, _limit_bytes: int = 0) -> bytes:
        """Refuse as a seccomp filter does."""
        raise HostError("open netlink socket", "EPERM", "Operation not permitted")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)


@pytest.mark.parametrize("netns", [None, "outside"])
def test_proc_net_and_netlink_show_the_same(here: Stage, netns: str | None) -> None:
    """What both /proc/net and sock_diag can show of a listener is equal, in each namespace."""
    stage_every_kind(here)

    def look() -> list[list[tuple[Any, ...]]]:
        machine = Machine()
        both = []
        for host in (machine, Refusing()):
            seen = Seen(cast("Host", host), "here", Groups(machine))
            seen.look_at_listeners()
            seen.look_at_udp()
            both.append(
                sorted(
                    (e.protocol, e.address, e.port, e.netns, s.family, s.state, s.uid, s.inode, s.waiting)
                    for s in seen.sockets
                    for e in [s.endpoint]
                )
            )
            extents = {look.extent for look in seen.looks}
            assert extents == ({"all"} if host is machine else {"some"})
        return both

    netlink, proc = here.ask(look, netns=netns)
    assert len(netlink) == {None: 23, "outside": 4}[netns]
    assert proc == netlink


def test_proc_net_decodes_its_own_files(here: Stage) -> None:
    """Each row of the namespace's /proc/net files is decoded, without a problem."""
    stage_every_kind(here)

    def read() -> dict[str, bytes]:
        found = {}
        for name in ("tcp", "tcp6", "udp", "udp6"):
            with open(f"/proc/thread-self/net/{name}", "rb") as file:  # noqa: PTH123
                found[name] = file.read()
        return found

    for name, text in here.ask(read).items():
        rows, problems = decode_table(text, 6 if name.endswith("6") else 4)
        assert problems == []
        assert len(rows) == len(text.splitlines()) - 1


# Processes that come and go


def test_processes_that_vanish_while_they_are_read(here: Stage) -> None:
    """However many processes end meanwhile, `status --all` never fails, and never misses the holder that stays."""

    def churn() -> None:
        while True:
            child = os.fork()
            if child == 0:
                short = socket.socket()
                short.bind(("127.0.0.1", 0))
                short.listen(1)
                os._exit(0)
            os.waitpid(child, 0)

    stayer = here.program("stayer", At("0.0.0.0", 25), workers=1)
    for _ in range(2):
        here.act(lambda: None, name="churn", then=churn)
    for _ in range(8):
        document = here.mailports("status", "--all", "--json", "--netns", "all").json()
        held = {h["pid"] for row in document["listeners"] if row["endpoint"]["port"] == 25 for h in row["holders"]}
        assert held == set(stayer.answer)
        assert here.mailports("snapshot").json()["sockets"]


# Who really gets a connection

ADDRESSES = ("127.0.0.1", "10.9.0.1", "::1", "2001:db8:9::1")
RECEIVERS: dict[str, dict[str, tuple[At, ...]]] = {
    "IPv4": {"exim4": (At("0.0.0.0", 25),)},
    "IPv6 only": {"exim4": (At("::", 25, v6only=True),)},
    "dual-stack": {"exim4": (At("::", 25, v6only=False),)},
    "IPv4 beside IPv6 only": {"exim4": (At("0.0.0.0", 25),), "haproxy": (At("::", 25, v6only=True),)},
    "IPv4 beside dual-stack": {"exim4": (shared("0.0.0.0", 25),), "haproxy": (shared("::", 25),)},
    "specific beside wildcard": {"exim4": (shared("127.0.0.1", 25),), "haproxy": (shared("0.0.0.0", 25),)},
    "specific beside dual-stack": {"exim4": (shared("10.9.0.1", 25),), "haproxy": (shared("::", 25),)},
    "specific IPv6 beside dual-stack": {"exim4": (shared("2001:db8:9::1", 25),), "haproxy": (shared("::", 25),)},
    "two of a group": {"exim4": (shared("0.0.0.0", 25),), "haproxy": (shared("0.0.0.0", 25),)},
    "two dual-stack of a group": {"exim4": (shared("::", 25),), "haproxy": (shared("::", 25),)},
    "loopback only": {"exim4": (At("127.0.0.1", 25), At("::1", 25))},
    "mapped": {"exim4": (At("::ffff:10.9.0.1", 25, v6only=False),), "haproxy": (At("127.0.0.1", 25),)},
    "mapped wildcard": {"exim4": (At("::ffff:0.0.0.0", 25, v6only=False),)},
    "nobody": {"quiet": (At("0.0.0.0", 25, listens=False),)},
}


@pytest.mark.parametrize("case", RECEIVERS)
def test_receivers_are_who_really_accepts(here: Stage, case: str) -> None:
    """For each address of the host, `why`'s receivers are exactly the programs that answer a connection to it."""
    here.add_outside()
    for name, places in RECEIVERS[case].items():
        if name == "quiet":
            here.program(name, *places)
        else:
            here.server(name, *places)
    (story,) = valid("why", here.mailports("why", "25", "--json").json())["stories"]
    told = {r["endpoint"]["address"]: {h["name"] for h in r["holders"]} for r in story["receivers"]}
    assert {r["source"] for r in story["receivers"]} == {"kernel lookup"}
    for address in ADDRESSES:
        assert told[address] == here.reached(address, 25, tries=30), address


# Would a bind succeed


class Situation(NamedTuple):
    """What is on the port, and how the newcomer binds."""

    stages: Callable[[Stage], Any]
    words: tuple[str, ...] = ()
    newcomer: At = At("0.0.0.0", 25)
    uid: int = 0
    expected: tuple[str, str | None] = ("yes", "yes")
    """What the kernel is known to answer: to bind, to listen; listen is null where bind fails."""
    is_hidden: bool = False
    """Whether what decides is hidden from every observer, so that `unknown` is the one right answer."""


def holds(name: str, *places: At, uid: int | None = None) -> Callable[[Stage], Any]:
    return lambda here: here.program(name, *places, uid=uid)


def leaves(port: int, *, reuseaddr: bool) -> Callable[[Stage], Any]:
    return lambda here: here.ask(partial(leave_time_wait, port, reuseaddr=reuseaddr))


def haunt(port: int) -> None:
    """Leave an IPv6 connection of a dual-stack listener that has gone."""
    listener = bound(At("::", port, v6only=False, reuseaddr=False))
    client = socket.create_connection(("::1", port))
    accepted, _ = listener.accept()
    KEPT.extend((client, accepted))
    listener.close()


NO = ("no", None)
SITUATIONS = {
    "free": Situation(lambda _: None),
    "held": Situation(holds("exim4", At("0.0.0.0", 25)), expected=NO),
    "held on loopback, wildcard wanted": Situation(holds("exim4", At("127.0.0.1", 25)), expected=NO),
    "held on loopback, another address wanted": Situation(
        holds("exim4", At("127.0.0.1", 25)), ("--address", "127.0.0.2"), At("127.0.0.2", 25)
    ),
    "held by dual-stack": Situation(holds("dovecot", At("::", 25, v6only=False)), expected=NO),
    "held by v6only": Situation(holds("dovecot", At("::", 25, v6only=True))),
    "v6only wanted beside IPv4": Situation(
        holds("exim4", At("0.0.0.0", 25)), ("--address", "::", "--v6only"), At("::", 25, v6only=True)
    ),
    "dual-stack wanted beside IPv4": Situation(
        holds("exim4", At("0.0.0.0", 25)),
        ("--address", "::", "--no-v6only"),
        At("::", 25, v6only=False),
        expected=NO,
    ),
    "another device's": Situation(
        holds("exim4", At("0.0.0.0", 25, device="lo")), ("--device", "wire"), At("0.0.0.0", 25, device="wire")
    ),
    "a group, root joins without the option": Situation(
        holds("haproxy", shared("0.0.0.0", 25), shared("0.0.0.0", 25)), expected=NO
    ),
    "a group, root joins": Situation(
        holds("haproxy", shared("0.0.0.0", 25), shared("0.0.0.0", 25)), ("--reuseport",), shared("0.0.0.0", 25)
    ),
    "another user's group": Situation(
        holds("haproxy", shared("0.0.0.0", 10025), shared("0.0.0.0", 10025), uid=1000),
        ("--reuseport",),
        shared("0.0.0.0", 10025),
        expected=NO,
    ),
    "one that may share": Situation(
        holds("haproxy", shared("0.0.0.0", 25)), ("--reuseport",), shared("0.0.0.0", 25)
    ),
    "one that doesn't share": Situation(
        holds("exim4", At("0.0.0.0", 25)), ("--reuseport",), shared("0.0.0.0", 25), expected=NO
    ),
    "bound, not listening, SO_REUSEADDR": Situation(
        holds("quiet", At("0.0.0.0", 25, listens=False))
    ),
    "bound, not listening, without SO_REUSEADDR": Situation(
        holds("quiet", At("0.0.0.0", 25, listens=False, reuseaddr=False)), expected=NO
    ),
    "bound, and the newcomer is without SO_REUSEADDR": Situation(
        holds("quiet", At("0.0.0.0", 25, listens=False)),
        ("--no-reuseaddr",),
        At("0.0.0.0", 25, reuseaddr=False),
        expected=NO,
    ),
    "TIME_WAIT of a server with SO_REUSEADDR": Situation(leaves(25, reuseaddr=True), is_hidden=True),
    "TIME_WAIT of a server without": Situation(leaves(25, reuseaddr=False), expected=NO, is_hidden=True),
    "TIME_WAIT, and the newcomer is without SO_REUSEADDR": Situation(
        leaves(25, reuseaddr=True), ("--no-reuseaddr",), At("0.0.0.0", 25, reuseaddr=False), expected=NO
    ),
    "a ghost": Situation(
        lambda here: here.act(partial(haunt, 25)),
        ("--no-reuseaddr",),
        At("0.0.0.0", 25, reuseaddr=False),
        expected=NO,
        is_hidden=True,
    ),
    "a ghost doesn't haunt an address": Situation(
        lambda here: here.act(partial(haunt, 25)),
        ("--address", "127.0.0.1", "--no-reuseaddr"),
        At("127.0.0.1", 25, reuseaddr=False),
    ),
    "no such address": Situation(
        lambda _: None, ("--address", "192.0.2.25"), At("192.0.2.25", 25), expected=NO
    ),
    "privileged": Situation(
        lambda _: None, ("--as-user", "1000"), uid=1000, expected=NO
    ),
}  # fmt: skip


def bind_answer(at: At) -> tuple[str, str | None]:
    """Really bind and listen."""
    try:
        made = bound(at._replace(listens=False))
    except OSError:
        return "no", None
    try:
        made.listen(1)
    except OSError:
        return "yes", "no"
    return "yes", "yes"


@pytest.mark.parametrize("name", SITUATIONS)
def test_why_says_what_bind_and_listen_answer(here: Stage, name: str) -> None:
    """A verdict is the kernel's own answer right after; it is unknown only where what decides is hidden."""
    situation = SITUATIONS[name]
    here.add_outside()
    situation.stages(here)
    at = situation.newcomer
    document = valid("why", here.mailports("why", str(at.port), *situation.words, "--json").json())
    (story,) = document["stories"]
    answer = here.ask(partial(bind_answer, at), uid=situation.uid or None)
    assert answer == situation.expected
    (verdict,) = [j["verdict"] for j in story["judged"] if j["request"]["endpoint"]["address"] == at.address]
    if situation.is_hidden:
        assert verdict["bind"] == "unknown"
        assert any(not o["certain"] and o["unknown"] for o in verdict["obstacles"])
    else:
        assert (verdict["bind"], verdict["listen"]) == answer


def test_two_that_are_bound_are_told_apart_by_listen(here: Stage) -> None:
    """Of two sockets bound to one endpoint, once the first listens the other's listen() fails; `why` shows both."""
    turns = here.act(lambda: [bound(At("0.0.0.0", 25, listens=False)).fileno() for _ in range(2)], name="pair")

    def race() -> list[str]:
        one, two = (bound(At("0.0.0.0", 26, listens=False)) for _ in range(2))
        one.listen(1)
        try:
            two.listen(1)
        except OSError as error:
            return [str(error.errno)]
        return []

    racers = here.act(race, name="racers")
    assert racers.answer == ["98"]
    (quiet,) = here.mailports("why", "25", "--json").json()["stories"]
    assert (quiet["listeners"], [s["state"] for s in quiet["others"]]) == ([], ["bound", "bound"])
    assert {h["pid"] for s in quiet["others"] for h in s["holders"]} == {turns.pid}
    (story,) = here.mailports("why", "26", "--json").json()["stories"]
    assert [s["state"] for s in story["listeners"] + story["others"]] == ["listen", "bound"]


def test_staging_leaves_nothing_behind() -> None:
    """When a stage closes, its processes, namespaces and devices are gone."""
    before = {name for _, name in socket.if_nameindex()}
    with stage() as made:
        stage_every_kind(made)
        actors: list[Actor] = [made.server("exim4", At("0.0.0.0", 465))]
        assert made.ask(lambda: asked("127.0.0.1", 465)) == "exim4"
        pids = [made.pid, *(actor.outer for actor in actors)]
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the actors to end")
    assert {name for _, name in socket.if_nameindex()} == before
    with open("/proc/self/mountinfo", encoding="utf-8") as file:  # noqa: PTH123
        assert "netns/outside" not in file.read()
