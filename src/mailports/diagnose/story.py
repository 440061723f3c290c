"""The whole story of one port, from a Snapshot. Pure."""

from __future__ import annotations

from mailports.bind import receiver, would_bind
from mailports.catalogue.ports import port_of
from mailports.diagnose.rules import diagnose
from mailports.diagnose.seen import Seen
from mailports.diagnose.squatters import is_rpc, port_range, port_ranges
from mailports.model.facts import ALL, ANY4, ANY6, Endpoint
from mailports.model.findings import Unknown
from mailports.model.stories import Judged, Question, Receiver, Story
from mailports.model.verdicts import BindRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.model.facts import Holder, Publish, Snapshot, Socket

_CLOSING = ("time-wait", "fin-wait-1", "fin-wait-2", "close-wait", "last-ack", "closing")


def tell(snapshot: Snapshot, question: Question) -> Story:
    """Return everything that the Snapshot knows of the port that was asked about."""
    seen = Seen(snapshot)
    diagnosis = diagnose(snapshot)
    number, netns, protocol = question.port, question.netns, question.protocol
    sockets = [
        s
        for s in snapshot.sockets
        if (s.endpoint.port, s.endpoint.netns, s.endpoint.protocol) == (number, netns, protocol)
    ]
    listeners = seen.at(netns, protocol, number)
    others = [s for s in sockets if s not in listeners and s.state not in _CLOSING]
    lingering = [s for s in sockets if s.state in _CLOSING]
    port = port_of(protocol, number)
    return Story(
        question,
        port.service if port else None,
        port.title if port else None,
        tuple(listeners),
        tuple(others),
        tuple(lingering),
        _judged(seen, question),
        _receivers(seen, question),
        tuple(r for r in snapshot.redirects if r.netns == netns and _names(r.ports, number)),
        tuple(g for g in snapshot.gates if g.netns == netns and _names(g.ports, number)),
        tuple(c for c in snapshot.containers if netns == "here" and _is_published(c.publishes, protocol, number)),
        tuple(u for u in snapshot.units if any(_mentions(text, number) for text in u.listens)),
        _is_ephemeral(seen, question),
        512 <= number < 1024 and any(is_rpc(h) for s in seen.listeners for h in s.holders),
        tuple(f for f in diagnosis.findings if _is_about(f.endpoints, question)),
        (*(u for u in diagnosis.unknown if _may_matter(u, question)), *_unseen(seen, question)),
    )


def _judged(seen: Seen, question: Question) -> tuple[Judged, ...]:
    """A bind of the address that was named, else of both wildcards."""
    snapshot, netns = seen.snapshot, question.netns
    addresses = [a for a in snapshot.addresses if a.netns == netns] if seen.is_all("addresses", netns) else None
    judged = []
    for address in (question.address,) if question.address else (ANY4, ANY6):
        endpoint = Endpoint(question.protocol, address, question.port, question.v6only, question.device, netns)
        request = BindRequest(
            endpoint,
            6 if ":" in address else 4,
            question.reuseaddr,
            question.reuseport,
            question.uid,
            question.may_bind_privileged,
            listens=question.protocol == "tcp",
        )
        verdict = would_bind(request, snapshot.sockets, snapshot.settings, addresses)
        judged.append(Judged(request, verdict))
    return tuple(judged)


def _receivers(seen: Seen, question: Question) -> tuple[Receiver, ...]:
    snapshot = seen.snapshot
    asked = {
        lookup.endpoint.address: lookup.cookie
        for lookup in snapshot.lookups
        if (lookup.endpoint.port, lookup.endpoint.netns) == (question.port, question.netns)
        and question.protocol == lookup.endpoint.protocol
    }
    own = [a.address for a in snapshot.addresses if a.netns == question.netns]
    named = (question.address,) if question.address not in (None, ANY4, ANY6) else tuple(dict.fromkeys(own))
    receivers = []
    for address in named:
        assert address is not None
        by_rules = receiver(snapshot.sockets, question.protocol, address, question.port, question.netns)
        source, found = "rules", by_rules
        if address in asked:
            source = "kernel lookup"
            by_kernel = tuple(s for s in seen.listeners if s.cookie == asked[address] and asked[address])
            # The kernel names one of a SO_REUSEPORT group; the rules name them all.
            found = by_rules if by_kernel and by_kernel[0] in by_rules else by_kernel
        endpoint = Endpoint(question.protocol, address, question.port, netns=question.netns)
        receivers.append(Receiver(endpoint, tuple(s.endpoint for s in found), _holders(found), source))
    return tuple(receivers)


def _holders(sockets: tuple[Socket, ...]) -> tuple[Holder, ...]:
    return tuple(dict.fromkeys(h for s in sockets for h in s.holders))


def _is_ephemeral(seen: Seen, question: Question) -> bool | None:
    if not seen.is_all("settings", question.netns):
        return None
    span = port_range(seen.setting("net.ipv4.ip_local_port_range", question.netns))
    reserved = port_ranges(seen.setting("net.ipv4.ip_local_reserved_ports", question.netns) or "")
    if span is None:
        return None
    return span[0] <= question.port <= span[1] and not any(a <= question.port <= b for a, b in reserved)


def _unseen(seen: Seen, question: Question) -> tuple[Unknown, ...]:
    """What matters to a bind alone, and couldn't be seen."""
    return tuple(
        Unknown("sockets that are bound and don't listen", look.why, look.how_to_see)
        for look in seen.snapshot.looks
        if look.fact == "bound" and look.netns == question.netns and look.extent != ALL and look.why
    )


def _may_matter(unknown: Unknown, question: Question) -> bool:
    return unknown.endpoint is None or _is_about((unknown.endpoint,), question)


def _names(ports: tuple[tuple[int, int], ...], number: int) -> bool:
    return any(first <= number <= last for first, last in ports)


def _is_published(publishes: tuple[Publish, ...], protocol: str, number: int) -> bool:
    return any((p.endpoint.protocol, p.endpoint.port) == (protocol, number) for p in publishes)


def _mentions(listen: str, number: int) -> bool:
    return listen.partition(" (")[0].rpartition(":")[2] == str(number)


def _is_about(endpoints: tuple[Endpoint, ...], question: Question) -> bool:
    return any(
        (e.protocol, e.port) == (question.protocol, question.port) and e.netns in (question.netns, None)
        for e in endpoints
    )
