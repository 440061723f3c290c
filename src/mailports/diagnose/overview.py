"""The short answer that `status` gives, from a Snapshot and its findings. Pure."""

from __future__ import annotations

from mailports.catalogue.ports import STANDARD, port_of, service_of
from mailports.diagnose.redirects import names_port, takes_from
from mailports.diagnose.seen import HERE, Seen, is_listener
from mailports.model.findings import ERROR, WARNING
from mailports.model.overview import Listener, Overview

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailports.model.facts import Publish, Snapshot, Socket
    from mailports.model.findings import Diagnosis


def survey(
    snapshot: Snapshot, diagnosis: Diagnosis, *, everything: bool = False, ports: Iterable[int] = (), udp: bool = True
) -> Overview:
    """Return the listeners that matter, and the line above them.

    Args:
        snapshot: the facts.
        diagnosis: what the rules made of them.
        everything: every listener, rather than the catalogue's ports and those of mail products.
        ports: only these ports, if any are named.
        udp: UDP sockets too.
    """
    seen = Seen(snapshot)
    only = frozenset(ports)
    sockets = [
        s
        for s in snapshot.sockets
        if is_listener(s)
        and (udp or s.endpoint.protocol == "tcp")
        and (s.endpoint.port in only if only else everything or seen.is_of_interest(s))
    ]
    sockets.sort(key=_place)
    held = {s.endpoint.port for s in snapshot.sockets if s.state == "listen" and s.endpoint.netns == HERE}
    absent = tuple(number for number in only or STANDARD if number not in held)
    rows = tuple(_listener(seen, s, diagnosis) for s in sockets)
    return Overview(_summary([s for s in sockets if _is_mail(seen, s)], diagnosis), rows, absent)


def _place(socket: Socket) -> tuple[bool, str, int, str, bool, str, int]:
    e = socket.endpoint
    return e.netns != HERE, str(e.netns), e.port, e.protocol, ":" in e.address, e.address, socket.inode


def _summary(sockets: list[Socket], diagnosis: Diagnosis) -> str:
    """`mail ports: 7 listening, 1 in conflict, 2 warnings`."""
    listening = {(s.endpoint.netns, s.endpoint.protocol, s.endpoint.port) for s in sockets}
    in_conflict = {
        (e.netns, e.protocol, e.port)
        for f in diagnosis.findings
        if f.is_conflict and f.severity == ERROR
        for e in f.endpoints
    }
    others = [f for f in diagnosis.findings if not (f.is_conflict and f.severity == ERROR)]
    parts = [f"{len(listening)} listening", f"{len(in_conflict)} in conflict" if in_conflict else "none in conflict"]
    for severity, word in ((ERROR, "error"), (WARNING, "warning"), ("note", "note")):
        count = sum(1 for f in others if f.severity == severity)
        if count:
            parts.append(f"{count} {word}{'s' if count > 1 else ''}")
    return "mail ports: " + ", ".join(parts)


def _is_mail(seen: Seen, socket: Socket) -> bool:
    port = port_of(socket.endpoint.protocol, socket.endpoint.port)
    return port.is_mail if port is not None else seen.is_of_interest(socket)


def publish_of(snapshot: Snapshot, socket: Socket) -> Publish | None:
    """Return the published port that a socket is for."""
    pids = {h.pid for h in socket.holders}
    names = {h.container for h in socket.holders} - {None}
    e = socket.endpoint
    if e.netns != "here":
        return None
    for container in snapshot.containers:
        for publish in container.publishes:
            if (publish.endpoint.protocol, publish.endpoint.port) != (e.protocol, e.port):
                continue
            if publish.pid in pids or container.name in names or container.id[:12] in names:
                return publish
    return None


def _listener(seen: Seen, socket: Socket, diagnosis: Diagnosis) -> Listener:
    e = socket.endpoint
    return Listener(
        e,
        service_of(e.protocol, e.port),
        socket.holders,
        socket.holders_extent,
        publish_of(seen.snapshot, socket),
        redirects_of(seen, socket),
        tuple(dict.fromkeys(f.name for f in diagnosis.findings if f.concerns(e))),
    )


def redirects_of(seen: Seen, socket: Socket) -> tuple[str, ...]:
    """Return where netfilter takes a listener's traffic; an engine's rule for its own publish isn't worth a word."""
    e = socket.endpoint
    owner = seen.owner(socket)
    targets = []
    for redirect in seen.snapshot.redirects:
        if redirect.netns != e.netns or redirect.hook != "prerouting" or redirect.protocol not in (e.protocol, "any"):
            continue
        if not names_port(redirect.ports, e.port) or not takes_from(seen, redirect, socket):
            continue
        container = seen.container_at(redirect.to_address)
        if owner is not None and owner.container and (container is None or owner.container == container.name):
            continue
        port = redirect.to_ports[0] if redirect.to_ports else e.port
        address = redirect.to_address or ""
        targets.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    return tuple(dict.fromkeys(targets))
