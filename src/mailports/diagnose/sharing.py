"""Rules about two listeners on one port: beside each other, or one before the other. Pure."""

from __future__ import annotations

from mailports import remedies as ways
from mailports.bind import covers
from mailports.catalogue.programs import MAIL_KINDS
from mailports.diagnose.made import finding, listens, unknown_owner
from mailports.diagnose.seen import (
    catalogue_port,
    is_loopback,
    is_wildcard,
)
from mailports.flows import WRONG, breaks_of
from mailports.model.facts import shown
from mailports.model.findings import ERROR, WARNING, Remedy, Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailports.catalogue.ports import Port
    from mailports.diagnose.seen import Owner, Seen
    from mailports.model.facts import Endpoint, Socket
    from mailports.model.findings import Finding


def shared_port(seen: Seen) -> Iterator[Finding | Unknown]:
    """Different units or instances share a port through SO_REUSEPORT.

    Why it matters:
        Each gets some of the connections, chosen by a hash of the addresses and ports, and nothing says so:
        neither logs an error. With two MTAs part of the mail is refused or lands in the wrong mailboxes.

    How it was seen:
        The kernel lists two or more listeners on one and the same endpoint, and their holders belong to
        different units, containers or programs. Workers of one unit are one party.

    Ways out:
        One of them gets an address of its own, moves, or stops. Which one is the MX isn't known from the
        sockets, so of two mail products both are offered.

    Source:
        socket(7), SO_REUSEPORT. Postfix and HAProxy set it: a second Postfix on 25 split 60 connections 32
        to 28; HAProxy over Postfix took 14 of 30.
    """
    causes: dict[tuple[object, ...], list[list[Socket]]] = {}
    for (netns, protocol, port), sockets in seen.groups():
        groups: dict[tuple[str, str | None], list[Socket]] = {}
        for socket in sockets:
            groups.setdefault((socket.endpoint.address, socket.endpoint.device), []).append(socket)
        for group in groups.values():
            if len(group) < 2 or not any(seen.is_of_interest(s) for s in group):
                continue
            owners = [seen.owner(s) for s in group]
            known = {o.key for o in owners if o is not None}
            if len(known) > 1:
                causes.setdefault((netns, protocol, port, frozenset(known)), []).append(group)
            elif None in owners:
                where = shown(group[0].endpoint)
                unknown = unknown_owner(seen, next(s for s in group if seen.owner(s) is None), "shared-port")
                yield unknown._replace(what=f"who the {len(group)} listeners on {where} belong to")
    for places in causes.values():
        yield _shared(seen, places)


def _shared(seen: Seen, places: list[list[Socket]]) -> Finding:
    sockets = [s for group in places for s in group]
    owners = _distinct(seen, places[0])
    endpoint = sockets[0].endpoint
    port = catalogue_port(endpoint)
    names = " and ".join(_labels(owners))
    evidence = [e for s in sockets for e in listens(seen, s)]
    severity = ERROR if port is None or port.is_mail else WARNING
    return finding(
        "shared-port",
        severity,
        f"{names} share {shown(endpoint)}: each gets some of the connections",
        [s.endpoint for s in sockets],
        parties=[o.party(endpoint) for o in owners],
        evidence=evidence,
        remedies=_who_yields(owners, port, endpoint),
        breaks=breaks_of(port, WRONG),
        unknown=_deciding_fact(owners, port, endpoint),
    )


def shadowed_listener(seen: Seen) -> Iterator[Finding | Unknown]:
    """A more specific listener takes part of the traffic that a wildcard listener is thought to serve.

    Why it matters:
        The kernel gives a connection to the listener on its exact address before any wildcard, and to an
        IPv4 wildcard before a dual-stack `[::]`. The wildcard's program looks as if it served every
        address, and doesn't.

    How it was seen:
        Two listeners of different owners on one port of one namespace, one of whose addresses takes in the
        other's. The same port on two different addresses is no finding.

    Ways out:
        The specific one leaves, or the wildcard is narrowed to the addresses that it does serve.

    Source:
        net/ipv4/inet_hashtables.c, compute_score; of 40 IPv4 connections an AF_INET wildcard took 40 beside a
        dual-stack one.
    """
    causes: dict[tuple[object, ...], list[tuple[Socket, Socket]]] = {}
    for (netns, protocol, port), sockets in seen.groups():
        if not any(seen.is_of_interest(s) for s in sockets):
            continue
        for specific in sockets:
            for wide in sockets:
                if not _shadows(specific, wide):
                    continue
                mine, theirs = seen.owner(specific), seen.owner(wide)
                if mine is None or theirs is None:
                    if specific.unit is None or specific.unit != wide.unit:
                        yield unknown_owner(seen, specific if mine is None else wide, "shadowed-listener")
                elif mine.key != theirs.key:
                    cause = (netns, protocol, port, mine.key, theirs.key)
                    causes.setdefault(cause, []).append((specific, wide))
    for pairs in causes.values():
        yield _shadowed(seen, pairs)


def _shadows(specific: Socket, wide: Socket) -> bool:
    """Whether one listener gets what the other would: by its address, its family, or its device."""
    near, far = specific.endpoint, wide.endpoint
    if specific is wide or far.device not in (None, near.device):
        return False
    if wide.family == 6 and specific.family == 4 and far.v6only is not False:
        return False  # it leaves IPv4 alone, or that isn't known
    if near.device != far.device and near.address == far.address:
        return True
    if not is_wildcard(far.address):
        return False
    if is_wildcard(near.address):
        return specific.family == 4 and wide.family == 6
    return covers(wide, near.address)


def _shadowed(seen: Seen, pairs: list[tuple[Socket, Socket]]) -> Finding:
    specific, wide = pairs[0]
    mine, theirs = seen.owner(specific), seen.owner(wide)
    assert mine is not None
    assert theirs is not None
    port = catalogue_port(specific.endpoint)
    only_loopback = all(is_loopback(s.endpoint.address) for s, _ in pairs)
    severity = WARNING if only_loopback or (port is not None and not port.is_mail) else ERROR
    taken = "that address"
    if is_wildcard(specific.endpoint.address):
        taken = "IPv4" if specific.endpoint.device is None else f"what comes in by {specific.endpoint.device}"
    number = specific.endpoint.port
    is_companion = port is not None and not port.is_mail
    rule = ways.RULE_COMPANION if is_companion else ways.RULE_SECOND_MTA
    is_open = not only_loopback and port is not None and port.is_mail
    remedies = [ways.separate(theirs.name, number, rule, moves=None if is_open else theirs.name)]
    if mine.kind != "resolver":  # name resolution must not be lost
        because = f"{theirs.name} then serves {taken} too"
        moves = None if is_open else mine.name
        remedies.append(ways.stop(mine.target, rule, because, has_queue=mine.has_queue, moves=moves))
    return finding(
        "shadowed-listener",
        severity,
        f"{mine.name} on {shown(specific.endpoint)} takes {taken} from {theirs.name} on {shown(wide.endpoint)}",
        [s.endpoint for pair in pairs for s in pair],
        parties=[mine.party(specific.endpoint), theirs.party(wide.endpoint)],
        evidence=[e for s in dict.fromkeys(s for pair in pairs for s in pair) for e in listens(seen, s)],
        remedies=remedies,
        breaks=breaks_of(port, WRONG),
        unknown=_deciding_fact([mine, theirs], port, specific.endpoint) if is_open else (),
    )


def _distinct(seen: Seen, sockets: list[Socket]) -> list[Owner]:
    owners: dict[tuple[str, ...], Owner] = {}
    for socket in sockets:
        owner = seen.owner(socket)
        if owner is not None:
            owners.setdefault(owner.key, owner)
    return list(owners.values())


def _labels(owners: list[Owner]) -> list[str]:
    """Their names; `postfix and postfix` says nothing, so there each has its unit or pid too."""
    if len({o.name for o in owners}) == len(owners):
        return [o.name for o in owners]
    return [f"{o.name} ({o.unit or f'pid {o.pid}'})" for o in owners]


def _who_yields(owners: list[Owner], port: Port | None, endpoint: Endpoint) -> list[Remedy]:
    """Of a mail product and another program the other yields; of two mail products both are offered."""
    number = endpoint.port
    stranger = _stranger(owners, port)
    if stranger is not None and port is not None:
        rule = ways.RULE_STRANGER
        if number == 25 and not is_loopback(endpoint.address):
            rule = ways.RULE_MX
        elif port.is_standard and number != 25:
            rule = ways.RULE_CLIENT_PORT
        because = f"{number} is for {port.service}"
        return [
            ways.move(stranger.name, number, rule, moves=stranger.name),
            ways.stop(stranger.target, rule, because, has_queue=stranger.has_queue, moves=stranger.name),
        ]
    because = "the other then gets every connection"
    labels = _labels(owners)
    targets = [o.target if o.unit else label for o, label in zip(owners, labels)]
    return [
        *(ways.separate(label, number, ways.RULE_EQUALS, moves=None) for label in labels),
        *(
            ways.stop(target, ways.RULE_EQUALS, because, has_queue=o.has_queue, moves=None)
            for o, target in zip(owners, targets)
        ),
    ]


def _stranger(owners: list[Owner], port: Port | None) -> Owner | None:
    """Who has no business on a mail port, where somebody else has."""
    mail = [o for o in owners if o.kind in MAIL_KINDS or o.kind == "proxy"]
    others = [o for o in owners if o not in mail]
    return others[0] if mail and others and port is not None and port.is_mail else None


def _deciding_fact(owners: list[Owner], port: Port | None, endpoint: Endpoint) -> tuple[Unknown, ...]:
    """What would say who yields, where the sockets don't."""
    if _stranger(owners, port) is not None:
        return ()
    if any(o.kind == "proxy" for o in owners) and any(o.kind in MAIL_KINDS for o in owners):
        return (Unknown("whether one of them is the other's back end", "sockets don't show where a proxy leads"),)
    if endpoint.port == 25:
        why = "sockets don't show which domains a server takes as its own"
        return (Unknown("which of them is the public MX", why),)
    what = port.service if port is not None else f"port {endpoint.port}"
    return (Unknown(f"which of them is meant to serve {what}", "sockets don't show what was configured"),)
