"""The sockets of one network namespace, as far as they can be seen.

From the kernel by sock_diag; from /proc/net where that is refused (with what that can't show as unknown).

Source: sock_diag(7), proc(5).
"""

from __future__ import annotations

from mailports.faults import HostError
from mailports.model.facts import ALL, NONE, SOME, Endpoint, Look, Socket, printable
from mailports.observe import inet_diag
from mailports.observe.processes import container_of, unit_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailports.door import Host
    from mailports.observe.cgroups import Groups
    from mailports.observe.inet_diag import Row

_FAMILIES = (inet_diag.AF_INET, inet_diag.AF_INET6)
_BOUND_SINCE = (6, 8)


class Seen:
    """The sockets of one namespace while they are gathered.

    Args:
        host: the machine, seen from that namespace.
        netns: the namespace's label.
        groups: control groups, to resolve ids.
        proc: the directory below /proc whose `net` is this namespace's: `thread-self`, or a process in it.
    """

    def __init__(self, host: Host, netns: str, groups: Groups, proc: str | None = "thread-self") -> None:
        self._proc = proc
        self._host = host
        self._netns = netns
        self._groups = groups
        self.sockets: list[Socket] = []
        self.looks: list[Look] = []

    def look_at_listeners(self, *, autobound: bool = False) -> None:
        """Add the TCP listeners; with `autobound` say of which the kernel chose the port."""
        self._add("listeners", "tcp", inet_diag.TCP, inet_diag.LISTEN, ())
        if autobound:
            self._mark_autobound(0, inet_diag.LISTEN, ())

    def look_at_udp(self, ports: Iterable[int] = ()) -> None:
        """Add the UDP sockets that are bound to a port."""
        states = inet_diag.UNCONNECTED | 1 << 1
        self._add("udp", "udp", inet_diag.UDP, states, ports)

    def look_at_bound(self, ports: Iterable[int] = ()) -> None:
        """Add TCP sockets that are bound and don't listen. Older kernels answer with nothing: then it is unknown."""
        _, release = self._host.system()
        if not is_since(release, _BOUND_SINCE):
            why = f"kernel {release} doesn't list sockets that are bound and don't listen (6.8 and later do)"
            self.looks.append(Look("bound", self._netns, NONE, "sock_diag", why))
            return
        self._add("bound", "tcp", inet_diag.TCP, inet_diag.BOUND, ports)

    def look_at_connections(self, ports: Iterable[int]) -> None:
        """Add the connections of some local ports, and say which ports the kernel chose."""
        before = len(self.sockets)
        self._add("connections", "tcp", inet_diag.TCP, inet_diag.CONNECTED, ports)
        self._mark_autobound(before, inet_diag.CONNECTED, ports)

    def _mark_autobound(self, start: int, states: int, ports: Iterable[int]) -> None:
        cookies: set[int] = set()
        for family in _FAMILIES:
            request = inet_diag.request_dump(family, inet_diag.TCP, states, ports, autobound=True)
            try:
                rows, _ = inet_diag.decode_rows(self._host.inet_diag(request))
            except HostError:
                return
            cookies.update(row.cookie for row in rows)
        for at in range(start, len(self.sockets)):
            socket = self.sockets[at]
            self.sockets[at] = socket._replace(autobound=socket.cookie in cookies)

    def _add(self, fact: str, protocol: str, number: int, states: int, ports: Iterable[int]) -> None:
        rows: list[Row] = []
        problems: list[str] = []
        wanted = frozenset(ports)
        for family in _FAMILIES:
            try:
                answer = self._host.inet_diag(inet_diag.request_dump(family, number, states, wanted))
            except HostError as error:
                if not rows:
                    self._add_from_proc(fact, protocol, wanted, error)
                    return
                problems.append(str(error))
                continue
            found, wrong = inet_diag.decode_rows(answer)
            rows += (row for row in found if not wanted or row.port in wanted)
            problems += wrong
        self._take(rows, protocol)
        self._say(fact, "sock_diag", problems)

    def _say(self, fact: str, source: str, problems: list[str]) -> None:
        if problems:
            self.looks.append(Look(fact, self._netns, SOME, source, "; ".join(problems[:3])))
        else:
            self.looks.append(Look(fact, self._netns, ALL, source))

    def _take(self, rows: list[Row], protocol: str) -> None:
        paths = self._groups.resolve({row.cgroup for row in rows if row.cgroup})
        devices = _device_names(self._host) if any(row.device for row in rows) else {}
        self.sockets += [self._socket(row, protocol, paths, devices) for row in rows]

    def _socket(self, row: Row, protocol: str, paths: dict[int, str], devices: dict[int, str]) -> Socket:
        state = row.state
        if state == "close":
            state = "unconnected" if protocol == "udp" else "bound"
        is_orphan = row.inode == 0 and state != "listen"
        path = paths.get(row.cgroup)
        device = devices.get(row.device, f"index {row.device}") if row.device else None
        address = inet_diag.address_text(row.address)
        peer = None
        if row.peer_port:
            peer = Endpoint(protocol, inet_diag.address_text(row.peer), row.peer_port, None, None, self._netns)
        listening = state == "listen"
        return Socket(
            Endpoint(protocol, address, row.port, row.v6only if row.family == 6 else None, device, self._netns),
            row.family,
            state,
            peer,
            None if is_orphan else row.uid,
            row.inode,
            row.cookie,
            waiting=row.waiting if listening else 0,
            backlog=row.backlog if listening else 0,
            cgroup=path,
            unit=unit_of(path),
            container=container_of(path),
        )

    def _add_from_proc(self, fact: str, protocol: str, ports: frozenset[int], refusal: HostError) -> None:
        """Read /proc/net instead, and say what that leaves unknown."""
        from mailports.observe.proc_net import decode_table

        if fact == "bound" or self._proc is None:
            self.looks.append(Look(fact, self._netns, NONE, "sock_diag", str(refusal)))
            return
        rows: list[Row] = []
        for family, suffix in ((4, ""), (6, "6")):
            try:
                text = self._host.read(f"/proc/{self._proc}/net/{protocol}{suffix}", 1 << 26)
            except HostError as error:
                if family == 6 and error.errno == "ENOENT":  # no IPv6
                    continue
                self.looks.append(Look(fact, self._netns, NONE, "/proc/net", str(error)))
                return
            found, _ = decode_table(text, family)
            rows += found
        states = {"listeners": {"listen"}, "udp": {"close", "established"}}.get(fact)
        keep = [
            row
            for row in rows
            if (row.state in states if states else row.state not in ("listen", "close"))
            and (not ports or row.port in ports)
        ]
        self._take(keep, protocol)
        self.looks.append(
            Look(fact, self._netns, SOME, "/proc/net", f"{refusal}; /proc/net hides v6only, devices and groups")
        )


def receiver(host: Host, protocol: str, address: str, port: int) -> int | None:
    """Return the cookie of the listener that a packet to this address and port reaches, or None for nobody.

    The kernel answers as for an incoming SYN: specific before wildcard, IPv4 before dual-stack IPv6.
    Raises HostError where it can't be asked.
    """
    is_v6 = ":" in address
    raw = inet_diag.address_bytes(address)
    family = inet_diag.AF_INET6 if is_v6 else inet_diag.AF_INET
    number = inet_diag.UDP if protocol == "udp" else inet_diag.TCP
    try:
        rows, _ = inet_diag.decode_rows(host.inet_diag(inet_diag.request_lookup(family, number, raw, port)))
    except HostError as error:
        if error.errno == "ENOENT":
            return None
        raise
    return rows[0].cookie if rows else None


def is_since(release: str, version: tuple[int, int]) -> bool:
    """Whether a kernel release such as `6.1.0-18-amd64` is of a version or later."""
    numbers = []
    for part in release.split(".")[:2]:
        digits = ""
        for character in part:
            if not character.isdigit():
                break
            digits += character
        numbers.append(int(digits or 0))
    return tuple(numbers) >= version


def _device_names(host: Host) -> dict[int, str]:
    from mailports.observe.links import read_links

    try:
        return {index: printable(link.name) for index, link in read_links(host).items()}
    except HostError:
        return {}
