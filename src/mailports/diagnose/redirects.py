"""The rule about redirects, which take a listener's traffic elsewhere; and what a redirect matches. Pure."""

from __future__ import annotations

from mailports import remedies as ways
from mailports.bind import covers
from mailports.catalogue.ports import PORTS
from mailports.diagnose.made import finding, listens, unknown_owner
from mailports.diagnose.seen import is_loopback, is_wildcard
from mailports.flows import ABSENT, WRONG, breaks_of
from mailports.model.facts import ALL, ANY4, ANY6, Endpoint, shown
from mailports.model.findings import ERROR, WARNING, Evidence, Party, Remedy, Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailports.catalogue.ports import Port
    from mailports.diagnose.seen import Owner, Seen
    from mailports.model.facts import Container, Redirect, Socket
    from mailports.model.findings import Finding


_WHOSE_RULE = (Unknown("whether the rule is still needed", "rules don't say who wrote them, or what for"),)


def redirected_port(seen: Seen) -> Iterator[Finding | Unknown]:
    """A netfilter rule takes the traffic elsewhere, though the listener looks right.

    Why it matters:
        DNAT, REDIRECT and TPROXY act before any listener is looked up: the program on the port gets nothing
        from outside, while a test from the host itself, which passes by PREROUTING, goes well. In OUTPUT they
        take the mail that this host sends.

    How it was seen:
        A rule in nat or mangle matches a mail port, and leads to another program than the one that listens
        there, or to nobody. An engine's rule for a port that it holds itself is no finding, nor is a rule for
        a port that nobody listens on and that leads to somebody.

    Ways out:
        The rule goes or is narrowed, if nobody needs it; else the listener moves to where the traffic goes.
        One owner a port.

    Source:
        nft(8), iptables-extensions(8): DNAT, REDIRECT, TPROXY.
    """
    causes: dict[tuple[object, ...], Finding] = {}
    for redirect in seen.snapshot.redirects:
        for port in mail_ports_of(redirect):
            found = _judge_redirect(seen, redirect, port)
            if isinstance(found, Unknown):
                yield found
            elif found is not None:
                causes.setdefault((found.name, redirect.netns, redirect.hook, port.number, _target(redirect)), found)
    yield from causes.values()


def _judge_redirect(seen: Seen, redirect: Redirect, port: Port) -> Finding | Unknown | None:
    if redirect.hook == "output" and not redirect.local_only:
        if redirect.addresses and not seen.is_all("addresses", redirect.netns):
            return None  # whether they are this host's own isn't known
        if not _is_own(seen, redirect):
            return _outbound(redirect, port)
    listeners = [s for s in seen.at(redirect.netns, port.protocol, port.number) if takes_from(seen, redirect, s)]
    container = seen.container_at(redirect.to_address)
    there: list[Socket] = []
    if container is not None and _publishes(container, port.number):
        listeners = [s for s in listeners if not _is_of(seen, s, container)]  # the engine's own rule for its own port
    elif _stays_here(seen, redirect):
        target_port = redirect.to_ports[0] if redirect.to_ports else port.number
        reached = _reached_here(seen, redirect, target_port)
        if reached == [] and not seen.at(redirect.netns, port.protocol, target_port):
            return _leads_nowhere(seen, redirect, port, target_port, listeners)
        if reached is None:
            return None  # who listens there isn't known, and the look at listeners says why
        there = reached
    return _judge_taken(seen, redirect, port, listeners, there)


def _judge_taken(
    seen: Seen, redirect: Redirect, port: Port, listeners: list[Socket], there: list[Socket]
) -> Finding | Unknown | None:
    """Whether those who listen lose traffic to somebody else."""
    if not listeners or _is_one_owner(seen, listeners, there):
        return None
    hidden = next((s for s in (*listeners, *there) if seen.owner(s) is None and s.holders_extent != ALL), None)
    if hidden is not None:
        return unknown_owner(seen, hidden, "redirected-port")
    owners = [o for o in (seen.owner(s) for s in listeners) if o is not None]
    # A publish whose container isn't known: the rule is most likely its own.
    is_publish = any(o.kind == "engine" and not o.container for o in owners)
    return None if is_publish else _taken(seen, redirect, port, listeners, owners, there)


def _stays_here(seen: Seen, redirect: Redirect) -> bool:
    is_own = any(a.netns == redirect.netns and a.address == redirect.to_address for a in seen.snapshot.addresses)
    return redirect.to_address is None or redirect.kind == "tproxy" or is_own


def _is_one_owner(seen: Seen, some: list[Socket], others: Iterable[Socket]) -> bool:
    mine = {o.key for o in (seen.owner(s) for s in some) if o is not None}
    return bool(mine & {o.key for o in (seen.owner(s) for s in others) if o is not None})


def _taken(
    seen: Seen, redirect: Redirect, port: Port, listeners: list[Socket], owners: list[Owner], there: list[Socket]
) -> Finding:
    endpoint = listeners[0].endpoint
    name = owners[0].name if owners else "the listener there"
    receiver = seen.owner(there[0]) if there else None
    where = _shown_target(seen, redirect, port.number)
    if receiver is not None:
        where = f"{receiver.name} on {where}"
    part = "part of the traffic" if redirect.when else "traffic"
    return finding(
        "redirected-port",
        WARNING if redirect.when else ERROR,
        f"{part} to port {port.number} goes to {where}, not to {name}",
        [s.endpoint for s in listeners],
        parties=[
            _rule_party(redirect, endpoint),
            *(o.party(endpoint) for o in owners[:1]),
            *([receiver.party(there[0].endpoint, "receiver")] if receiver else []),
        ],
        evidence=[rule_evidence(redirect), *(e for s in (*listeners, *there) for e in listens(seen, s))],
        remedies=[
            _remove(redirect, "if nobody needs it"),
            ways.stop(
                owners[0].target,
                ways.RULE_EQUALS,
                "if the traffic belongs where the rule leads",
                has_queue=owners[0].has_queue,
                moves=None,
            )
            if owners
            else _remove(redirect, "or narrow it to the addresses that it is for"),
        ],
        breaks=breaks_of(port, WRONG),
        unknown=_WHOSE_RULE,
        cause=_cause(redirect),
    )


def _outbound(redirect: Redirect, port: Port) -> Finding | None:
    """Mail that this host sends is taken elsewhere. Only 25, 465 and 587 are dialled by mail servers."""
    if port.number not in (25, 465, 587):
        return None
    endpoint = Endpoint(port.protocol, ANY6 if redirect.family == 6 else ANY4, port.number, netns=redirect.netns)
    target = redirect.to_address or "this host"
    to_port = f" port {redirect.to_ports[0]}" if redirect.to_ports else ""
    who = f" ({redirect.when})" if redirect.when else ""
    return finding(
        "redirected-port",
        WARNING,
        f"outbound connections to port {port.number} are taken to {target}{to_port}{who}",
        [endpoint],
        parties=[_rule_party(redirect, endpoint)],
        evidence=[rule_evidence(redirect)],
        remedies=[
            Remedy(
                f"correct-reference:{port.number}:{redirect.place}",
                "correct-reference",
                "Keep the policy, if it is one, and send through the relay that it leads to",
                ways.RULE_REFERRER,
                None,
            ),
            _remove(redirect, "if it is no policy"),
        ],
        breaks=tuple(
            b._replace(flow="outbound relay", effect="mail that this host sends goes to another server", hop=None)
            for b in breaks_of(port, WRONG)
        ),
        unknown=_WHOSE_RULE,
        cause=_cause(redirect),
    )


def _leads_nowhere(seen: Seen, redirect: Redirect, port: Port, target_port: int, listeners: list[Socket]) -> Finding:
    endpoint = listeners[0].endpoint if listeners else _published_endpoint(redirect, port)
    return finding(
        "redirected-port",
        ERROR,
        f"traffic to port {port.number} is taken to port {target_port}, where nobody listens",
        [endpoint],
        parties=[_rule_party(redirect, endpoint)],
        evidence=[
            rule_evidence(redirect),
            Evidence(f"nobody listens on port {target_port} ({redirect.netns})", "sock_diag"),
            *(e for s in listeners for e in listens(seen, s)),
        ],
        remedies=[
            _remove(redirect, "if nothing is meant to listen there"),
            Remedy(
                f"start:{target_port}",
                "start",
                f"Start what should listen on port {target_port}",
                ways.RULE_NO_CONFLICT,
                None,
            ),
        ],
        breaks=breaks_of(port, ABSENT),
        unknown=_WHOSE_RULE,
        cause=_cause(redirect),
    )


# What a redirect matches, and where it leads.


def mail_ports_of(redirect: Redirect) -> list[Port]:
    """Return the mail ports that a rule names; a rule that names none takes every port, and is somebody's proxy."""
    if not redirect.ports or redirect.protocol not in ("tcp", "any") or redirect.hook not in ("prerouting", "output"):
        return []
    return [
        port for port in PORTS if port.is_mail and port.protocol == "tcp" and names_port(redirect.ports, port.number)
    ]


def names_port(ports: tuple[tuple[int, int], ...], number: int) -> bool:
    """Whether ranges of ports have one."""
    return any(first <= number <= last for first, last in ports)


def takes_from(seen: Seen, redirect: Redirect, socket: Socket) -> bool:
    """Whether packets for a listener meet a redirect before it."""
    e = socket.endpoint
    if redirect.hook == "prerouting" and is_loopback(e.address):
        return False  # what comes to loopback was sent here, and doesn't pass by PREROUTING
    is_dual = is_wildcard(e.address) and e.v6only is False
    if redirect.family not in (0, socket.family) and not (redirect.family == 4 and is_dual):
        return False
    if redirect.kind == "tproxy" and redirect.to_ports is not None and redirect.to_ports[0] == e.port:
        return False
    return not redirect.addresses or any(
        _within(address, network) for address in _addresses_of(seen, e) for network in redirect.addresses
    )


def _addresses_of(seen: Seen, endpoint: Endpoint) -> list[str]:
    """The addresses that an endpoint is reached by; none where a wildcard's aren't known."""
    if not is_wildcard(endpoint.address):
        return [endpoint.address]
    if not seen.is_all("addresses", endpoint.netns):
        return []
    return [a.address for a in seen.snapshot.addresses if a.netns == endpoint.netns]


def _within(address: str, network: str) -> bool:
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(address) in ip_network(network, strict=False)
    except (ValueError, TypeError):
        return address == network


def _is_own(seen: Seen, redirect: Redirect) -> bool:
    """Whether a rule in OUTPUT is about this host's own addresses, so about local clients of a local port."""
    own = [a.address for a in seen.snapshot.addresses if a.netns == redirect.netns]
    return bool(redirect.addresses) and all(
        is_loopback(network.partition("/")[0]) or any(network in (a, f"{a}/32", f"{a}/128") for a in own)
        for network in redirect.addresses
    )


def _reached_here(seen: Seen, redirect: Redirect, target_port: int) -> list[Socket] | None:
    """The listeners that the redirected traffic comes to; None where not all listeners were seen."""
    if not seen.is_all("listeners", redirect.netns):
        return None
    there = seen.at(redirect.netns, "tcp", target_port)
    if redirect.hook == "prerouting" and redirect.kind != "tproxy":
        there = [s for s in there if not is_loopback(s.endpoint.address)]
    if redirect.to_address is not None:
        there = [s for s in there if covers(s, redirect.to_address)]
    return there


def _publishes(container: Container, number: int) -> bool:
    return any(p.endpoint.port == number for p in container.publishes)


def _is_of(seen: Seen, socket: Socket, container: Container) -> bool:
    owner = seen.owner(socket)
    if owner is None:
        return False
    return owner.container in (container.name, container.id[:12], container.id)


def _shown_target(seen: Seen, redirect: Redirect, number: int) -> str:
    container = seen.container_at(redirect.to_address)
    port = redirect.to_ports[0] if redirect.to_ports else number
    if container is not None:
        return f"container {container.name or container.id[:12]} port {port}"
    if redirect.to_address is None:
        return f"port {port}"
    return shown(Endpoint("tcp", redirect.to_address, port))


def _published_endpoint(redirect: Redirect, port: Port) -> Endpoint:
    address = redirect.addresses[0] if redirect.addresses and "/" not in redirect.addresses[0] else None
    return Endpoint(
        port.protocol, address or (ANY6 if redirect.family == 6 else ANY4), port.number, netns=redirect.netns
    )


def _target(redirect: Redirect) -> tuple[object, ...]:
    return redirect.to_address, redirect.to_ports


def _cause(redirect: Redirect) -> str:
    return f"{redirect.backend} {redirect.place} ({redirect.netns})"


def _rule_party(redirect: Redirect, endpoint: Endpoint) -> Party:
    return Party("redirect", f"{redirect.kind} rule in {redirect.place}", endpoint=endpoint, entry=redirect.place)


def rule_evidence(redirect: Redirect) -> Evidence:
    """Return the rule itself as evidence."""
    return Evidence(f"{redirect.place}: {redirect.text}", redirect.backend)


def _remove(redirect: Redirect, because: str) -> Remedy:
    return Remedy(
        f"remove-redirect:{redirect.place}",
        "remove-redirect",
        f"Remove the rule {redirect.place}, {because}: {redirect.text}",
        ways.RULE_EQUALS,
        None,
    )
