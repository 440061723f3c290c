"""Rules about ports below or within a range that the system hands out by itself. Pure."""

from __future__ import annotations

from mailports import remedies as ways
from mailports.bind import covers
from mailports.diagnose.attempts import attempted
from mailports.diagnose.made import connection, finding, listens, unknown_owner
from mailports.diagnose.seen import (
    catalogue_port,
    is_mail_port,
    program_of_holder,
)
from mailports.flows import ABSENT, WRONG, breaks_of
from mailports.model.facts import ALL, natural, shown
from mailports.model.findings import ERROR, WARNING, Evidence, Party, Remedy, Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailports.diagnose.seen import Seen
    from mailports.model.facts import Holder, Socket
    from mailports.model.findings import Finding


def rpc_squatter(seen: Seen) -> Iterator[Finding | Unknown]:
    """An RPC program, or the kernel's own RPC client, was given a mail port by chance.

    Why it matters:
        bindresvport(3) and the kernel's RPC client take ports below 1024 from a range that holds 587, 993 and
        995. The mail product that starts later fails with "Address already in use", on some boots only.

    How it was seen:
        The holder of the port is an RPC program (rpc.statd, rpc.mountd, ypbind …), or a connection to an RPC
        server's port that no process holds comes from it.

    Ways out:
        The RPC side moves: it is given a fixed port or restarted, and the mail ports are kept from it by
        /etc/bindresvport.blacklist and, for the kernel's client, by sunrpc.min_resvport. The mail port stays.

    Source:
        bindresvport(3), net/sunrpc/xprtsock.c; neither heeds ip_local_reserved_ports.
    """
    yield from attempted(seen, "rpc-squatter")
    causes: dict[tuple[object, ...], list[Socket]] = {}
    parties: dict[tuple[object, ...], Party] = {}
    for socket in seen.snapshot.sockets:
        port = catalogue_port(socket.endpoint)
        if port is None or not port.is_mail or socket.endpoint.port >= 1024:
            continue
        squatter = _rpc_party(seen, socket)
        is_hidden = socket.state == "listen" and not socket.holders and socket.holders_extent != ALL
        if squatter is None and (is_hidden or _may_be_the_kernels(seen, socket)):
            yield unknown_owner(seen, socket, "rpc-squatter")
        if squatter is not None:
            cause: tuple[object, ...] = (socket.endpoint.netns, socket.endpoint.port, squatter.name, squatter.pid)
            causes.setdefault(cause, []).append(socket)
            parties.setdefault(cause, squatter)
    for cause, sockets in causes.items():
        yield _squats(seen, sockets, parties[cause])


def _squats(seen: Seen, sockets: list[Socket], squatter: Party) -> Finding:
    endpoint = sockets[0].endpoint
    port = catalogue_port(endpoint)
    name = squatter.name or "an RPC program"
    return finding(
        "rpc-squatter",
        ERROR,
        f"{name} holds {shown(endpoint)}, the port of {port.service if port else endpoint.port}",
        [s.endpoint for s in sockets],
        parties=[squatter],
        evidence=[e for s in sockets for e in (listens(seen, s) if s.state == "listen" else [connection(s)])],
        remedies=_rpc_ways(squatter, name, endpoint.port),
        breaks=breaks_of(port, WRONG),
    )


def _rpc_ways(squatter: Party, name: str, number: int) -> list[Remedy]:
    if squatter.pid is None:
        return [
            Remedy(
                f"move:{name}:{number}",
                "move",
                f"Raise sunrpc.min_resvport above {number} (a drop-in under /etc/sysctl.d keeps it), then mount again",
                ways.RULE_CLIENT_PORT,
                name,
            )
        ]
    return [
        Remedy(
            f"blacklist-port:{number}",
            "blacklist-port",
            f"Add {number} to /etc/bindresvport.blacklist and restart {squatter.unit or name}",
            ways.RULE_CLIENT_PORT,
            name,
        ),
        ways.move(name, number, ways.RULE_CLIENT_PORT, moves=name),
    ]


_RPC_PORTS = frozenset((111, 2049, 20048))


def is_rpc(holder: Holder) -> bool:
    """Whether a process is an RPC program, whose ports the system hands out."""
    program = program_of_holder(holder)
    return program is not None and program.kind == "rpc"


def _rpc_party(seen: Seen, socket: Socket) -> Party | None:
    for holder in socket.holders:
        if is_rpc(holder):
            program = program_of_holder(holder)
            name = holder.name or "an RPC program"
            return Party(
                "holder",
                name,
                program.product if program else None,
                endpoint=socket.endpoint,
                pid=holder.pid,
                unit=holder.unit,
            )
    if _may_be_the_kernels(seen, socket) and (socket.inode == 0 or socket.holders_extent == ALL):
        return Party("holder", "the kernel's RPC client", endpoint=socket.endpoint)
    return None


def _may_be_the_kernels(seen: Seen, socket: Socket) -> bool:
    """Whether a connection to an RPC server's port has no holder that was seen, and no listener behind it."""
    e, peer = socket.endpoint, socket.peer
    if peer is None or peer.port not in _RPC_PORTS or socket.holders or socket.state in ("listen", "time-wait"):
        return False
    return seen.is_all("listeners", e.netns) and not seen.at(e.netns, e.protocol, e.port)


def ephemeral_collision(seen: Seen) -> Iterator[Finding | Unknown]:
    """An outgoing connection holds a mail port, or a mail port lies where the kernel may give it to one.

    Why it matters:
        connect(2) takes its local port from net.ipv4.ip_local_port_range. A daemon that listens is safe; one
        that restarts just then fails with "Address already in use", once in many restarts.

    How it was seen:
        A connection from a port that the kernel chose, with nobody listening there; or a listener's port
        inside the range and not in net.ipv4.ip_local_reserved_ports.

    Ways out:
        The port is reserved, or the range is set beyond it. The client is left alone: its connection ends by
        itself.

    Source:
        ip-sysctl.rst; reserved ports keep out connect(), bind(0) and autobind, not an explicit bind.
    """
    yield from attempted(seen, "ephemeral-collision")
    yield from _collisions(seen)
    yield from _exposed_to_collision(seen)


def _collisions(seen: Seen) -> Iterator[Finding | Unknown]:
    causes: dict[tuple[object, ...], list[Socket]] = {}
    for socket in seen.snapshot.sockets:
        e = socket.endpoint
        port = catalogue_port(e)
        if socket.peer is None or port is None or not port.is_mail or socket.state == "time-wait":
            continue
        if not seen.is_all("listeners", e.netns) or seen.at(e.netns, e.protocol, e.port):
            continue
        if not _may_be_the_kernels(seen, socket) and _rpc_party(seen, socket) is None and _is_outgoing(seen, socket):
            owner = seen.owner(socket)
            causes.setdefault((e.netns, e.port, owner.key if owner else None), []).append(socket)
    for sockets in causes.values():
        e, peer = sockets[0].endpoint, sockets[0].peer
        owner = seen.owner(sockets[0])
        name = owner.name if owner else "an outgoing connection"
        assert peer is not None
        yield finding(
            "ephemeral-collision",
            WARNING,
            f"{name} holds {shown(e)} as the near end of a connection to {shown(peer)}",
            [s.endpoint for s in sockets],
            parties=[owner.party(e) if owner else Party("holder", name, endpoint=e)],
            evidence=[connection(s) for s in sockets],
            remedies=[ways.reserve((e.port,))],
            breaks=breaks_of(catalogue_port(e), ABSENT, "when its service starts meanwhile"),
        )


def _is_outgoing(seen: Seen, socket: Socket) -> bool:
    """Whether a connection whose listener is gone went out rather than came in.

    The kernel chose its port, and the far end is a listener here or a port that servers have. Both could be
    true of a connection that came in only from a client that bound a server's port itself.
    """
    peer = socket.peer
    if peer is None or socket.autobound is not True:
        return False
    here = any(covers(s, peer.address) for s in seen.at(peer.netns, peer.protocol, peer.port))
    return here or peer.port < 1024 or catalogue_port(peer) is not None


def _exposed_to_collision(seen: Seen) -> Iterator[Finding | Unknown]:
    for namespace in seen.snapshot.namespaces:
        netns = namespace.label
        span = port_range(seen.setting("net.ipv4.ip_local_port_range", netns))
        reserved = port_ranges(seen.setting("net.ipv4.ip_local_reserved_ports", netns) or "")
        if span is None or not seen.is_all("settings", netns):
            continue
        at_risk: dict[int, list[Socket]] = {}
        for socket in seen.listeners:
            e = socket.endpoint
            if e.netns != netns or e.protocol != "tcp" or socket.autobound is True or not is_mail_port(seen, socket):
                continue
            if span[0] <= e.port <= span[1] and not any(a <= e.port <= b for a, b in reserved):
                at_risk.setdefault(e.port, []).append(socket)
        if at_risk:
            yield _at_risk(seen, netns, span, at_risk)


def _at_risk(seen: Seen, netns: str, span: tuple[int, int], at_risk: dict[int, list[Socket]]) -> Finding:
    ports = tuple(sorted(at_risk))
    sockets = [socket for number in ports for socket in at_risk[number]]
    owned = [(owner, at_risk[number][0]) for number in ports if (owner := seen.owner(at_risk[number][0])) is not None]
    listed = ", ".join(str(number) for number in ports[:6]) + (" …" if len(ports) > 6 else "")
    lies = "lies" if len(ports) == 1 else "lie"
    return finding(
        "ephemeral-collision",
        WARNING,
        f"{listed} {lies} in the ephemeral range {span[0]}-{span[1]}, not reserved",
        [s.endpoint for s in sockets],
        parties=[owner.party(socket.endpoint) for owner, socket in owned],
        evidence=[
            Evidence(f"net.ipv4.ip_local_port_range is {span[0]} {span[1]} ({netns})", "/proc/sys"),
            *(e for s in sockets for e in listens(seen, s)),
        ],
        remedies=[ways.reserve(ports)],
        breaks=breaks_of(catalogue_port(sockets[0].endpoint), ABSENT, "if a client has the port when it restarts"),
        cause=f"net.ipv4.ip_local_port_range in {netns}",
    )


def port_range(text: str | None) -> tuple[int, int] | None:
    """Return the first and last port of `ip_local_port_range`'s text."""
    numbers = [natural(word) for word in (text or "").split()]
    if len(numbers) == 2 and numbers[0] is not None and numbers[1] is not None:
        return numbers[0], numbers[1]
    return None


def port_ranges(text: str) -> list[tuple[int, int]]:
    """Return the ranges of `ip_local_reserved_ports`'s text."""
    found = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        start, end = natural(first), natural(last) if dash else natural(first)
        if start is not None and end is not None:
            found.append((start, end))
    return found
