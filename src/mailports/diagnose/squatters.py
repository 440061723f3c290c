"""Rules about ports below or within a range that the system hands out by itself. Pure."""

from __future__ import annotations

from mailports import remedies as ways
from mailports.bind import covers
from mailports.diagnose.made import connection, finding, listens
from mailports.diagnose.seen import (
    catalogue_port,
    is_mail_port,
    program_of_holder,
)
from mailports.flows import AT_RISK, WRONG, breaks_of
from mailports.model.facts import shown
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
    causes: dict[tuple[object, ...], list[Socket]] = {}
    parties: dict[tuple[object, ...], Party] = {}
    for socket in seen.snapshot.sockets:
        port = catalogue_port(socket.endpoint)
        if port is None or not port.is_mail or socket.endpoint.port >= 1024:
            continue
        squatter = _rpc_party(seen, socket)
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
        remedies=[
            Remedy(
                f"blacklist-port:{endpoint.port}",
                "blacklist-port",
                f"Add {endpoint.port} to /etc/bindresvport.blacklist and restart {squatter.unit or name}",
                ways.RULE_CLIENT_PORT,
                name,
            ),
            ways.move(name, endpoint.port, ways.RULE_CLIENT_PORT, moves=name),
        ],
        breaks=breaks_of(port, WRONG),
    )


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
    is_kernels = socket.peer is not None and socket.peer.port in _RPC_PORTS and not socket.holders
    if is_kernels and socket.state not in ("listen", "time-wait") and seen.is_all("listeners", socket.endpoint.netns):
        listeners = seen.at(socket.endpoint.netns, socket.endpoint.protocol, socket.endpoint.port)
        if not listeners:
            return Party("holder", "the kernel's RPC client", endpoint=socket.endpoint)
    return None


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
    yield from _collisions(seen)
    yield from _exposed_to_collision(seen)


def _collisions(seen: Seen) -> Iterator[Finding | Unknown]:
    for socket in seen.snapshot.sockets:
        e, peer = socket.endpoint, socket.peer
        port = catalogue_port(e)
        if peer is None or port is None or not port.is_mail or socket.state == "time-wait":
            continue
        if not seen.is_all("listeners", e.netns) or seen.at(e.netns, e.protocol, e.port):
            continue
        if _rpc_party(seen, socket) is not None or not _is_outgoing(seen, socket):
            continue
        owner = seen.owner(socket)
        name = owner.name if owner else "an outgoing connection"
        yield finding(
            "ephemeral-collision",
            WARNING,
            f"{name} holds {shown(e)} as the near end of a connection to {shown(peer)}",
            [e],
            parties=[owner.party(e) if owner else Party("holder", name, endpoint=e, pid=None, unit=None)],
            evidence=[connection(socket)],
            remedies=[ways.reserve((e.port,))],
            breaks=breaks_of(port, AT_RISK),
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
        at_risk: dict[int, Socket] = {}
        for socket in seen.listeners:
            e = socket.endpoint
            if e.netns != netns or e.protocol != "tcp" or socket.autobound is True or not is_mail_port(seen, socket):
                continue
            if span[0] <= e.port <= span[1] and not any(a <= e.port <= b for a, b in reserved):
                at_risk.setdefault(e.port, socket)
        if at_risk:
            yield _at_risk(seen, netns, span, at_risk)


def _at_risk(seen: Seen, netns: str, span: tuple[int, int], at_risk: dict[int, Socket]) -> Finding:
    ports = tuple(sorted(at_risk))
    sockets = [at_risk[number] for number in ports]
    owners = [o for o in (seen.owner(s) for s in sockets) if o is not None]
    listed = ", ".join(str(number) for number in ports[:6]) + (" …" if len(ports) > 6 else "")
    lies = "lies" if len(ports) == 1 else "lie"
    return finding(
        "ephemeral-collision",
        WARNING,
        f"{listed} {lies} in the ephemeral range {span[0]}-{span[1]}, not reserved",
        [s.endpoint for s in sockets],
        parties=[o.party(s.endpoint) for o, s in zip(owners, sockets)],
        evidence=[
            Evidence(f"net.ipv4.ip_local_port_range is {span[0]} {span[1]} ({netns})", "/proc/sys"),
            *(e for s in sockets for e in listens(seen, s)),
        ],
        remedies=[ways.reserve(ports)],
        breaks=breaks_of(catalogue_port(sockets[0].endpoint), AT_RISK),
        cause=f"net.ipv4.ip_local_port_range in {netns}",
    )


def port_range(text: str | None) -> tuple[int, int] | None:
    """Return the first and last port of `ip_local_port_range`'s text."""
    words = (text or "").split()
    if len(words) == 2 and all(word.isdigit() for word in words):
        return int(words[0]), int(words[1])
    return None


def port_ranges(text: str) -> list[tuple[int, int]]:
    """Return the ranges of `ip_local_reserved_ports`'s text."""
    found = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if first.isdigit() and (not dash or last.isdigit()):
            found.append((int(first), int(last) if dash else int(first)))
    return found
