"""Where a line says that a program wanted to be: an endpoint from its spelling.

Spellings: `0.0.0.0:25`, `[::]:25`, `[]:25`, `*:25`, `:25`, `:::25`, `::1.25`, `('127.0.0.1', 25)`, `127.0.0.1, 25`,
`port 25`, `0.0.0.0 port 25`, `inet:8891@127.0.0.1`, `25/tcp`, `smtp/tcp6`, `tcp://localhost:25`.

Limits: a host name that isn't `localhost` stays as written. What isn't written is not guessed: an address without
a port is no endpoint, a port without an address is the wildcard's. Dates, times, pids and places in files are taken out
before anything is sought.
"""

from __future__ import annotations

import re

from mailports.catalogue.ports import ports_named
from mailports.model.facts import ANY4, ANY6, Endpoint, port_number

_V4 = r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"
_V6 = r"[0-9a-f:]{2,39}(?:%[\w.-]{1,15})?"

_SPELLINGS = re.compile(
    rf"(?:inet6?:)(?P<p1>\d{{1,5}})@(?P<a1>[\w.:\[\]-]{{1,64}})"
    rf"|(?P<f2>inet6?):(?P<p2>\d{{1,5}})\b(?![.:]\w)"
    rf"|\[(?P<a3>{_V4}|{_V6}|\*|)\]:(?P<p3>\d{{1,5}})\b"
    rf"|(?P<a4>(?<![\w.]){_V4}):(?P<p4>\d{{1,5}})\b(?![.:]?\w)"
    rf"|['\"(\s](?P<a5>{_V4}|{_V6}|\*)['\"]?,\s?(?P<p5>\d{{1,5}})\b(?![.:]?\w)"
    rf"|(?P<a6>(?<![\w.:])(?:{_V4}|{_V6}|\*))[\"']? port:? (?P<p6>\d{{1,5}})\b"
    rf"|\bport:? (?P<p7>\d{{1,5}}) (?:on|for address|at|of) (?:\[)?(?P<a7>{_V4}|{_V6}|\*|\(any ipv[46]\))"
    rf"|(?<![\w:.])(?P<a8>\*|localhost|[a-z][\w-]{{0,40}}(?:\.[a-z][\w-]{{0,40}}){{0,4}}):(?P<p8>\d{{1,5}})\b(?![.:]?\w)"
    rf"|(?<![\w.:])(?P<a9>[0-9a-f]{{0,4}}:[0-9a-f:]{{0,36}}):(?P<p9>\d{{1,5}})\b(?![.:]?\w)"
    rf"|(?<![\w.:])(?P<a10>{_V4}|::|[0-9a-f]{{0,4}}:[0-9a-f:]{{1,36}}|\*)\.(?P<p10>\d{{1,5}})\b(?![.:]?\w)"
    rf"|\bport[:= ]{{1,2}}[\"']?(?P<p11>\d{{1,5}})\b(?![.:]?\w)"
    rf"|\b(?P<p12>\d{{1,5}})/(?P<t12>tcp|udp)(?P<f12>6?)\b"
    rf"|\b(?P<s13>[a-z][a-z0-9-]{{1,20}})/(?P<t13>tcp|udp)(?P<f13>6?)\b"
    rf"|(?<![\w.:\]\)/]):(?P<p14>\d{{1,5}})\b(?![.:]?\w)",
    re.IGNORECASE,
)
_WITH_ADDRESS = frozenset(("1", "3", "4", "5", "6", "7", "8", "9", "10"))

_NOISE = re.compile(
    r"\d{4}[-/.]\d\d[-/.]\d\d(?:[T -]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|\b\d{1,2}:\d\d:\d\d(?:\.\d{1,9})?\b"
    r"|\[\d{1,10}(?:\.\d{1,9})?\]:?|\b\d{1,10}#\d{1,10}\b|\bpid[= ]\d{1,10}"
    r"|[\w/.-]{1,200}\.(?:go|js|cjs|mjs|ts|py|c|cc|cpp|java|rb|rs|php|pm|pl|cf|conf|cfg|ya?ml|toml):\d{1,6}(?::\d{1,5})?\b"
)
_WINDOW = 400
"""Characters on each side of the errno in which an endpoint is sought."""

_PROTOCOL = re.compile(r"\b(?:udp[46]?)\b", re.IGNORECASE)
_SIX = re.compile(r"\b(?:tcp|udp|inet|ipv|tcpv)6\b", re.IGNORECASE)


def endpoint_in(text: str, near: int, netns: str) -> Endpoint | None:
    """Return the endpoint that is written nearest to a position; one with an address comes before a bare port."""
    first = max(0, near - _WINDOW)
    text, near = text[first : near + _WINDOW], near - first
    plain = _NOISE.sub(lambda found: " " * len(found[0]), text)
    best: tuple[tuple[int, int], Endpoint] | None = None
    for found in _SPELLINGS.finditer(plain):
        kind = str(found.lastgroup).lstrip("pastf")
        endpoint = _made(found, plain, netns)
        if endpoint is not None:
            distance = min(abs(near - found.start()), abs(near - found.end()))
            rank = (0 if kind in _WITH_ADDRESS else 1, distance)
            if best is None or rank < best[0]:
                best = (rank, endpoint)
    return best[1] if best else None


def _made(found: re.Match[str], text: str, netns: str) -> Endpoint | None:
    groups = {name[0]: value for name, value in found.groupdict().items() if value is not None}
    before = text[max(0, found.start() - 12) : found.end()]
    is_udp = groups.get("t", "").lower() == "udp" or _PROTOCOL.search(before) is not None
    protocol = "udp" if is_udp else "tcp"
    family = "6" if "6" in groups.get("f", "") or _SIX.search(before) else ""
    if "s" in groups:
        return endpoint_of(None, None, groups["s"], family, protocol, netns)
    return endpoint_of(groups.get("a"), groups["p"], None, family, protocol, netns)


def endpoint_of(
    address: str | None, port: str | None, service: str | None, family: str, protocol: str, netns: str
) -> Endpoint | None:
    """Return an endpoint of its written parts, or None where they name no port, or no address that can be."""
    number = port_number(port) if port else None
    if port and number is None:
        if port.isdigit():
            return None
        service = port
    if service:
        named = [row.number for row in ports_named(service) if row.protocol == protocol]
        number = named[0] if named else port_number(service)
    where = (ANY6 if "6" in family else ANY4) if address is None else canonical(address, family)
    if where is None or not number:
        return None
    return Endpoint(protocol, where, number, None, None, netns)


def canonical(text: str, family: str = "") -> str | None:
    """Return an address in canonical text; a wildcard's spellings are the wildcard; None where it is no address."""
    bare = text.strip().strip("[]").partition("%")[0].lower()
    if bare in ("*", "", "(any ipv4)", "any"):
        return ANY6 if "6" in family else ANY4
    if bare in ("(any ipv6)", "::"):
        return ANY6
    if bare == "localhost":
        return "::1" if "6" in family else "127.0.0.1"
    if ":" in bare or bare.replace(".", "").isdigit():
        return _numeric(bare)
    return bare if len(bare) > 1 and bare[0].isalpha() and bare.isascii() else None


def _numeric(text: str) -> str | None:
    import ipaddress

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
