"""What a packet must be for a rule to concern it, and how two such demands combine.

It reads no firewall's syntax and follows no jumps. `both` is the conjunction, `without` what is left
after an earlier rule took its share away. Everything that isn't a family, protocol, destination port or
destination address stays text in `when`: kept, never weighed.

Limits: only TCP and UDP; a packet of another protocol is nobody's here. `without` takes ports away
exactly; other demands it can only spell out as ``not (…)``.
"""

from __future__ import annotations

from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Range = tuple[int, int]
    Ranges = tuple[Range, ...]

EVERY_PORT: Ranges = ((0, 65535),)

_TEXT_LIMIT = 500
_ADDRESS_PAIRS = 4096
_DEMANDS, _MORE = 32, "and more"


class Asks(Record):
    """What a packet must be.

    Attributes:
        family: 4, 6, or 0 for both.
        protocol: `tcp`, `udp`, or `any` for either.
        ports: sorted inclusive ranges of destination ports; empty: every port.
        addresses: destination addresses and networks; empty: every one.
        local_only: whether the destination must be one of the host's own addresses.
        when: what else is asked for, each as text.
    """

    family: int = 0
    protocol: str = "any"
    ports: Ranges = ()
    addresses: tuple[str, ...] = ()
    local_only: bool = False
    when: tuple[str, ...] = ()


EVERYTHING = Asks()


def both(first: Asks, second: Asks) -> Asks | None:
    """Return what a packet must be to satisfy both; None where none can."""
    if EVERYTHING in (first, second):
        return first if second == EVERYTHING else second
    families_differ = first.family and second.family and first.family != second.family
    if families_differ or (first.protocol != second.protocol and "any" not in (first.protocol, second.protocol)):
        return None
    ports = first.ports or second.ports
    if first.ports and second.ports and first.ports is not second.ports:
        ports = shared(first.ports, second.ports)
    addresses, when = first.addresses or second.addresses, first.when
    if first.addresses and second.addresses and first.addresses != second.addresses:
        if len(first.addresses) * len(second.addresses) > _ADDRESS_PAIRS:
            addresses, when = second.addresses, (*when, cut("daddr also among " + ", ".join(first.addresses)))
        else:
            addresses = shared_addresses(first.addresses, second.addresses)
    if (first.ports and not ports) or (first.addresses and not addresses):
        return None
    return Asks(
        first.family or second.family,
        second.protocol if first.protocol == "any" else first.protocol,
        ports,
        addresses,
        first.local_only or second.local_only,
        _together(when, second.when),
    )


def without(asks: Asks, taken: Asks) -> Asks | None:
    """Return what is left of `asks` once the packets of `taken` are gone; None where nothing is."""
    if both(asks, taken) is None:
        return asks
    is_exact = not taken.when and not taken.local_only and taken.addresses in ((), asks.addresses)
    if is_exact:
        left = subtracted(asks.ports or EVERY_PORT, taken.ports or EVERY_PORT)
        family_is_left = bool(taken.family) and not asks.family
        protocol_is_left = taken.protocol != "any" and asks.protocol == "any"
        if not family_is_left and not protocol_is_left:
            return asks._replace(ports=left) if left else None
        if not left and family_is_left != protocol_is_left:
            if family_is_left:
                return asks._replace(family=10 - taken.family)
            return asks._replace(protocol="udp" if taken.protocol == "tcp" else "tcp")
    text = cut(f"not ({described(taken)})")
    return asks if text in asks.when else asks._replace(when=_together(asks.when, (text,)))


def described(asks: Asks) -> str:
    """Return the demands as one line."""
    parts = []
    if asks.ports:
        protocol = "th" if asks.protocol == "any" else asks.protocol
        parts.append(f"{protocol} dport {ports_text(asks.ports)}")
    elif asks.protocol != "any":
        parts.append(f"meta l4proto {asks.protocol}")
    if asks.addresses:
        parts.append("daddr " + ",".join(asks.addresses))
    elif asks.family and not parts and not asks.when:
        parts.append(f"meta nfproto ipv{asks.family}")
    if asks.local_only:
        parts.append("fib daddr type local")
    return ", ".join((*parts, *asks.when)) or "every packet"


def cut(text: str, limit: int = _TEXT_LIMIT) -> str:
    """Return text short enough to be carried along: a rule may be as long as its file."""
    return text if len(text) <= limit else text[:limit] + "…"


def _together(when: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    if not more or when[-1:] == (_MORE,):
        return when
    result = (*when, *(text for text in more[:_DEMANDS] if text not in when))
    return result if len(result) <= _DEMANDS else (*result[:_DEMANDS], _MORE)


# Ports


def merged(ranges: Iterable[Range]) -> Ranges:
    """Return ranges sorted, within 0 to 65535, those that touch made one."""
    result: list[Range] = []
    for first, last in sorted(ranges):
        low, high = max(first, 0), min(last, 65535)
        if low > high:
            continue
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], high))
        else:
            result.append((low, high))
    return tuple(result)


def shared(one: Ranges, other: Ranges) -> Ranges:
    """Return what two sorted tuples of ranges have in common."""
    result: list[Range] = []
    i = j = 0
    while i < len(one) and j < len(other):
        low, high = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if low <= high:
            result.append((low, high))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(result)


def subtracted(ranges: Ranges, taken: Ranges) -> Ranges:
    """Return the first ranges without the second; both sorted."""
    gaps, start = [], 0
    for first, last in taken:
        if first > start:
            gaps.append((start, first - 1))
        start = last + 1
    if start <= 65535:
        gaps.append((start, 65535))
    return shared(ranges, tuple(gaps))


def ports_text(ranges: Ranges) -> str:
    """Return ranges as nft writes them: `25`, `25-30`, `{ 25, 465-587 }`."""
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in ranges[:64]]
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"


# Addresses


def networks(text: str) -> tuple[str, ...] | None:
    """Return `1.2.3.4`, `10.0.0.0/8` or `10.0.0.1-10.0.0.9` as addresses and networks; None where it is none."""
    bounds = _bounds(text)
    return None if bounds is None else _spelled(*bounds)


def shared_addresses(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Return what two tuples of addresses and networks have in common."""
    result: dict[str, None] = {}
    theirs = [bounds for bounds in map(_bounds, other) if bounds]
    for mine in filter(None, map(_bounds, one)):
        for version, first, last in theirs:
            low, high = max(first, mine[1]), min(last, mine[2])
            if version == mine[0] and low <= high:
                result.update(dict.fromkeys(_spelled(version, low, high)))
    return tuple(result)


def _bounds(text: str) -> tuple[int, int, int] | None:
    import ipaddress  # only rules that name addresses pay for it

    first, dash, last = text.partition("-")
    try:
        if dash:
            low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
            return (low.version, int(low), int(high)) if low.version == high.version and int(low) <= int(high) else None
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    return network.version, int(network.network_address), int(network.broadcast_address)


def _spelled(version: int, low: int, high: int) -> tuple[str, ...]:
    import ipaddress

    if version == 4:
        four = ipaddress.summarize_address_range(ipaddress.IPv4Address(low), ipaddress.IPv4Address(high))
        return tuple(str(n[0]) if n.prefixlen == 32 else str(n) for n in four)
    six = ipaddress.summarize_address_range(ipaddress.IPv6Address(low), ipaddress.IPv6Address(high))
    return tuple(str(n[0]) if n.prefixlen == 128 else str(n) for n in six)
