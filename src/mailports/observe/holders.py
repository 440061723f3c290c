"""Which processes have a descriptor of a socket: all of them, since a listener often has several.

Two ways, cheapest first. The control group that the kernel reports with a socket leads to a handful of
processes, and mostly one of them is the holder. Where every holder is asked for, or the group led
nowhere, `/proc/*/fd` is walked, which costs about 4 microseconds a descriptor.

Source: proc(5); the figures are measured (kernel 6.18).

Limits: a descriptor in flight over a UNIX socket, in a process of an unseen pid namespace, or held by
the kernel itself belongs to no process in /proc. The listener then has no holder, and its extent says
that all were looked at. A descriptor that is passed on during the walk can be missed.
"""

from __future__ import annotations

from mailports.faults import HostError
from mailports.model.facts import ALL, NONE, SOME, Holder
from mailports.observe.processes import read_holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailports.door import Host
    from mailports.model.facts import Socket
    from mailports.observe.cgroups import Groups

SPARE = 400
"""How much a plain look spends on a socket whose group led nowhere, in descriptors: about 2 ms, and on a
quiet host all there are."""
PROCESS = 20
"""What opening a process's directory costs, in descriptors."""

_IO_URING = "anon_inode:[io_uring]"


class Search:
    """One look for holders; it remembers every process that it read.

    Args:
        host: the machine.
        groups: its control groups.
        everyone: look at every process, rather than stop at the first holder of each socket.
    """

    def __init__(self, host: Host, groups: Groups, *, everyone: bool) -> None:
        self._host = host
        self._groups = groups
        self._everyone = everyone
        self._holders: dict[int, Holder | None] = {}
        self._found: dict[str, list[tuple[int, str]]] = {}
        self._descriptors: dict[str, tuple[int, int]] = {}
        self._visited: set[int] = set()
        self.unreadable = 0
        """Processes whose descriptors couldn't be read."""
        self._spent = 0

    def attach(self, sockets: Iterable[Socket], wanted: Iterable[Socket]) -> list[Socket]:
        """Return `sockets` with the holders of those that are `wanted` (by inode)."""
        inodes = {s.inode: s for s in wanted if s.inode}
        links = {f"socket:[{inode}]": s for inode, s in inodes.items()}
        self._found = {link: [] for link in links}
        by_group = self._in_groups(links)
        everyone = self._everyone_else(links, by_group)
        extent = ALL if everyone and not self.unreadable else SOME
        return [self._with_holders(s, extent) if s.inode in inodes else self._kernels(s) for s in sockets]

    def with_options(self, sockets: Iterable[Socket], ports: Iterable[int]) -> list[Socket]:
        """Return `sockets` with the options that only a copy of a descriptor tells, for those at `ports`."""
        numbers = frozenset(ports)
        return [self._with_options(s) if s.endpoint.port in numbers else s for s in sockets]

    def _with_options(self, socket: Socket) -> Socket:
        where = self._descriptors.get(f"socket:[{socket.inode}]")
        options = self._host.socket_options(*where) if where else None
        if options is None:
            return socket
        return socket._replace(reuseaddr=bool(options["reuseaddr"]), reuseport=bool(options["reuseport"]))

    def _kernels(self, socket: Socket) -> Socket:
        """A listener without an inode was never a file: the kernel's own (nfsd, lockd). No process can hold it."""
        if socket.state == "listen" and socket.inode == 0 and socket.cookie:
            return socket._replace(holders_extent=ALL)
        return socket

    def _with_holders(self, socket: Socket, extent: str) -> Socket:
        found = self._found.get(f"socket:[{socket.inode}]", ())
        if found and not self._everyone:
            extent = SOME  # the search for it ended there
        holders = []
        for pid, seen_by in sorted(found):
            holder = self._holder(pid)
            if holder is not None:
                holders.append(holder if seen_by == "fd" else holder._replace(seen_by=seen_by))
        if not holders and extent != ALL:
            extent = NONE if self.unreadable else SOME
            if socket.unit or socket.container:
                holders.append(Holder(None, unit=socket.unit, container=socket.container, seen_by="cgroup"))
        return socket._replace(holders=tuple(holders), holders_extent=extent)

    def _holder(self, pid: int) -> Holder | None:
        if pid not in self._holders:
            self._holders[pid] = read_holder(self._host, self._host, pid)
        return self._holders[pid]

    def _in_groups(self, links: dict[str, Socket]) -> bool:
        """Look at the processes of each socket's group; whether every socket was found there."""
        groups: dict[str, dict[str, Socket]] = {}
        for link, socket in links.items():
            if socket.cgroup and socket.cgroup != "/":
                groups.setdefault(socket.cgroup, {})[link] = socket
        for path, wanted in groups.items():
            for pid in self._groups.pids(path):
                missing = self._missing(wanted)
                if missing is not None and not missing:
                    break
                self._look_into(pid, missing)
        return all(self._found.values())

    def _everyone_else(self, links: dict[str, Socket], all_found: bool) -> bool:  # noqa: FBT001
        """Walk the other processes; whether all of them were looked at."""
        if all_found and not self._everyone:
            return False
        # Where groups say nothing (version 1, a container) the walk is the only way, and is made in full.
        is_informed = all(s.cgroup and s.cgroup != "/" for link, s in links.items() if not self._found[link])
        limit = self._spent + SPARE if is_informed and not self._everyone else None
        is_complete = True
        try:
            pids = self._host.pids()
        except HostError:
            self.unreadable += 1
            return False
        for pid in pids:
            if pid in self._visited:
                continue
            if limit is not None and self._spent > limit:
                return False
            missing = self._missing(links)
            if missing is not None and not missing:
                return False
            is_complete = self._look_into(pid, missing, limit) and is_complete
        return is_complete

    def _missing(self, links: Iterable[str]) -> set[str] | None:
        """Those that have no holder yet; None where every holder is wanted, so that nothing ends the search."""
        return None if self._everyone else {link for link in links if not self._found[link]}

    def _look_into(self, pid: int, missing: set[str] | None, limit: int | None = None) -> bool:
        """Note which of the sockets a process has; stop once none is `missing`. False: at the limit, unfinished."""
        if pid in self._visited:
            return True
        self._visited.add(pid)
        self._spent += PROCESS
        found = self._found
        wanted = found if missing is None else missing
        try:
            if limit is not None and self._spent + self._host.descriptor_count(pid) > limit:
                return False  # the kernel makes an entry for each before it gives us the first
            for descriptor, link in self._host.descriptors(pid):
                self._spent += 1
                if link in wanted:
                    pids = found[link]
                    self._descriptors.setdefault(link, (pid, descriptor))
                    if (pid, "fd") not in pids[-2:]:  # once a process, though it has several descriptors of it
                        pids.append((pid, "fd"))
                    if missing is not None:
                        missing.discard(link)
                        if not missing:
                            self._visited.discard(pid)  # its further descriptors may be another's
                            return True
                elif link == _IO_URING:
                    self._look_into_ring(pid, descriptor)
                if limit is not None and self._spent > limit:
                    return False
        except HostError as error:
            if error.is_permission:
                self.unreadable += 1
        return True

    def _look_into_ring(self, pid: int, descriptor: int) -> None:
        """A fixed file of io_uring is in no descriptor table; the ring's fdinfo lists it (seen on 6.18)."""
        try:
            info = self._host.read(f"/proc/{pid}/fdinfo/{descriptor}", 1 << 20).decode("ascii", "replace")
        except HostError:
            return
        for link, pids in self._found.items():
            if link in info and not any(known == pid for known, _ in pids):
                pids.append((pid, "io_uring"))


def in_flight(host: Host) -> list[int]:
    """Return processes with a UNIX socket in whose queue descriptors wait to be received.

    A listener that no process holds may be among them: `scm_fds` of the socket's fdinfo counts them.
    """
    pids = []
    for pid in host.pids():
        try:
            for descriptor, link in host.descriptors(pid):
                if link.startswith("socket:["):
                    info = host.read(f"/proc/{pid}/fdinfo/{descriptor}", 4096)
                    at = info.find(b"scm_fds:")
                    if at >= 0 and info[at + 8 :].split(b"\n", 1)[0].strip() not in (b"", b"0"):
                        pids.append(pid)
                        break
        except HostError:
            continue
    return pids
