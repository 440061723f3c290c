"""The rule about listeners that were meant to be reached and can't be. Pure."""

from __future__ import annotations

from mailports import remedies as ways
from mailports.catalogue.ports import PORTS, port_of
from mailports.diagnose.made import finding, listens
from mailports.diagnose.redirects import mail_ports_of, names_port, rule_evidence
from mailports.diagnose.seen import HERE, is_loopback
from mailports.flows import ABSENT, breaks_of
from mailports.model.facts import shown
from mailports.model.findings import ERROR, WARNING, Evidence, Party, Remedy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailports.catalogue.ports import Port
    from mailports.diagnose.seen import Seen
    from mailports.model.facts import Container, Gate, Publish, Socket
    from mailports.model.findings import Finding, Unknown


def unreachable_listener(seen: Seen) -> Iterator[Finding | Unknown]:
    """A listener that was meant to be reached can't be.

    Why it matters:
        Everything looks up: the container runs, the port is published, the program listens. Nothing arrives,
        and the error, if there is one, is the peer's.

    How it was seen:
        A publish, a redirect or an explicit accept shows that the port was meant to be reached, and what
        listens there listens on loopback only, or on another port than the published one.

    Ways out:
        The listener is widened to the address that the traffic comes to (with the relay restrictions that this
        calls for), or the publish leads to the port that is listened on.

    Source:
        docker-run(1) --publish, iptables-extensions(8): traffic from outside never reaches loopback.
    """
    for container in seen.snapshot.containers:
        published: dict[tuple[str, int, int], list[Publish]] = {}
        for publish in container.publishes:
            key = (publish.endpoint.protocol, publish.endpoint.port, publish.to_port)
            published.setdefault(key, []).append(publish)
        for publishes in published.values():
            found = _judge_publish(seen, container, publishes)
            if found is not None:
                yield found
    yield from _redirected_to_loopback(seen)
    yield from _let_in_to_loopback(seen)


def _judge_publish(seen: Seen, container: Container, publishes: list[Publish]) -> Finding | None:
    publish = publishes[0]
    outer, protocol = publish.endpoint, publish.endpoint.protocol
    port = port_of(protocol, outer.port) or port_of(protocol, publish.to_port)
    if port is None or not port.is_mail or container.netns in (None, HERE) or container.state not in ("running", None):
        return None
    if protocol != "tcp" or not seen.is_all("listeners", container.netns):
        return None
    inside = seen.at(container.netns, protocol, publish.to_port)
    if any(not is_loopback(s.endpoint.address) for s in inside):
        return None
    name = f"container {container.name or container.id[:12]}"
    if inside:
        state = f"its listener on {publish.to_port} is on loopback only"
        remedy = Remedy(
            f"widen-listener:{name}:{publish.to_port}",
            "widen-listener",
            f"Let the program in {name} listen on the container's own address, or on every one",
            ways.RULE_NO_CONFLICT,
            name,
        )
    else:
        others = sorted({s.endpoint.port for s in seen.listeners if s.endpoint.netns == container.netns})
        listed = ", ".join(str(number) for number in others[:8])
        state = f"nothing in it listens on {publish.to_port}" + (f" (but on {listed})" if others else "")
        remedy = Remedy(
            f"change-publish:{outer.port}",
            "change-publish",
            f"Publish {outer.port} to a port that is listened on in {name}" + (f": {listed}" if others else ""),
            ways.RULE_NO_CONFLICT,
            name,
        )
    return finding(
        "unreachable-listener",
        ERROR,
        f"{name} is published on {shown(outer)}, and {state}",
        [p.endpoint for p in publishes],
        parties=[
            Party("publish", name, endpoint=outer, container=container.name or container.id[:12], pid=publish.pid),
            *(o.party(s.endpoint) for s, o in ((s, seen.owner(s)) for s in inside) if o is not None),
        ],
        evidence=[
            Evidence(f"{shown(outer)} is published to port {publish.to_port} of {name}", publish.source),
            *(e for s in inside for e in listens(seen, s)),
            *([] if inside else [Evidence(f"nobody listens on {publish.to_port} in {container.netns}", "sock_diag")]),
        ],
        remedies=[remedy],
        breaks=breaks_of(port, ABSENT),
        cause=f"publish {outer.port} of {name}",
    )


def _redirected_to_loopback(seen: Seen) -> Iterator[Finding]:
    """REDIRECT leads to the incoming device's address, so loopback gets nothing; DNAT to 127.0.0.1 is a martian."""
    for redirect in seen.snapshot.redirects:
        is_to_loopback = redirect.to_address is not None and is_loopback(redirect.to_address)
        if redirect.hook != "prerouting" or redirect.kind == "tproxy":
            continue
        if redirect.to_address is not None and not (is_to_loopback and _drops_martians(seen, redirect.netns)):
            continue
        for port in mail_ports_of(redirect):
            target = redirect.to_ports[0] if redirect.to_ports else port.number
            there = seen.at(redirect.netns, port.protocol, target)
            if there and (is_to_loopback or all(is_loopback(s.endpoint.address) for s in there)):
                where = f"port {target}, which is on loopback only"
                if is_to_loopback:
                    where = "loopback, which nothing from outside reaches"
                yield _only_loopback(
                    seen,
                    there,
                    port,
                    ERROR,
                    f"traffic to port {port.number} is taken to {where}",
                    rule_evidence(redirect),
                )


def _drops_martians(seen: Seen, netns: str | None) -> bool:
    """Whether the kernel refuses packets to 127/8 from a device (no `route_localnet` anywhere); false if unknown."""
    values = [s.value for s in seen.snapshot.settings if s.netns == netns and s.name.endswith(".route_localnet")]
    return seen.is_all("settings", netns) and bool(values) and all(value == "0" for value in values)


def _let_in_to_loopback(seen: Seen) -> Iterator[Finding]:
    done: set[tuple[str | None, int]] = set()
    for gate in seen.snapshot.gates:
        if gate.verdict != "accept" or gate.hook != "input" or gate.is_policy or not _is_for_outside(gate):
            continue
        for port in PORTS:
            if (
                not port.is_mail
                or port.protocol not in (gate.protocol, "any")
                or not names_port(gate.ports, port.number)
            ):
                continue
            there = seen.at(gate.netns, port.protocol, port.number)
            if (
                not there
                or not all(is_loopback(s.endpoint.address) for s in there)
                or (gate.netns, port.number) in done
            ):
                continue
            if _is_redirected(seen, gate.netns, port.number):
                continue
            done.add((gate.netns, port.number))
            evidence = Evidence(f"{gate.place}: {gate.text}", gate.backend)
            summary = f"the firewall lets port {port.number} in, and it is listened on at loopback only"
            yield _only_loopback(seen, there, port, WARNING, summary, evidence)


def _only_loopback(
    seen: Seen, there: list[Socket], port: Port, severity: str, summary: str, shows: Evidence
) -> Finding:
    owner = seen.owner(there[0])
    name = owner.name if owner else "the listener"
    return finding(
        "unreachable-listener",
        severity,
        summary,
        [s.endpoint for s in there],
        parties=[owner.party(there[0].endpoint)] if owner else [],
        evidence=[shows, *(e for s in there for e in listens(seen, s))],
        remedies=[
            Remedy(
                f"widen-listener:{name}:{there[0].endpoint.port}",
                "widen-listener",
                f"Let {name} listen on the address that the traffic comes to, if it was meant to be reached",
                ways.RULE_NO_CONFLICT,
                name,
            )
        ],
        breaks=breaks_of(port, ABSENT),
    )


def _is_redirected(seen: Seen, netns: str | None, number: int) -> bool:
    return any(
        r.netns == netns and r.hook == "prerouting" and names_port(r.ports, number) for r in seen.snapshot.redirects
    )


def _is_for_outside(gate: Gate) -> bool:
    """Whether an accept rule names ports, and lets new connections from elsewhere to them."""
    if not gate.ports or any(is_loopback(a.partition("/")[0]) for a in gate.addresses):
        return False
    return all(_is_no_limit(part) for part in (gate.when or "").split(", ") if part)


def _is_no_limit(part: str) -> bool:
    """Whether what else a rule asks for still lets the world in: a device that isn't loopback, new connections."""
    if part.startswith("ct state"):
        return "new" in part
    if part.startswith(("iif", "meta iif")):
        return '"lo"' not in part or "!=" in part
    return part.startswith("limit rate")
