"""What ``nft -j list ruleset`` prints, read into redirects and gates.

It runs nothing, follows no jump itself (`chains` does) and doesn't weigh what a rule asks beyond family,
protocol, destination port and destination address: that stays text in `when`.

Where iptables made the rules, nft's JSON hides their details: ``{"xt": {"type": "match", "name":
"multiport"}}`` says no more than that (seen with nft 1.0.6 and iptables 1.8.9; older ones print ``{"xt":
null}``). A table of iptables with such a rule is left out, but for base chains that iptables doesn't know
and therefore doesn't print; `Reading.left_out` names it, for the save tools to show. Rules of the table
that nft could show are left out too, so that none is counted twice.

Source: libnftables-json(5), nft(8); output of nft 1.0.6 compared with the kernel's behaviour.

Limits: bridge, netdev and arp tables, ingress and postrouting are left out. A set or map of concatenations
beyond `_ALTERNATIVES` elements is kept as text. `queue` hands the verdict to a program: a problem, no gate.
nft 1.0.6 doesn't print the family of ``meta nfproto ipv6 … reject with tcp reset`` in an inet table, as text
or as JSON (it does with a `counter` before the reject): such a gate is taken to be both families'.

It is one piece: an expression of a rule means nothing without the table, set or map that it names.
"""

from __future__ import annotations

from mailports.firewalls.asks import EVERYTHING, Asks, both, cut, merged, networks, subtracted
from mailports.firewalls.chains import HOOKS, REDIRECTS, VERDICTS, Act, Chain, Reading, Rule, Table, Way, follow
from mailports.firewalls.nft_text import match_text, rule_text, text_of
from mailports.model.facts import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

    from mailports.model.facts import Gate, Redirect

    Key = tuple[str, str]  # family and table

IPTABLES_TABLES = ("raw", "mangle", "nat", "filter", "security")
IPTABLES_CHAINS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")

_FAMILIES = {"ip": 4, "ip6": 6, "inet": 0}
_ALTERNATIVES = 4096
_WORK, _DEAR = 2_000_000, 16
_PROBLEMS = 100
_PERHAPS_DORMANT = ("its table isn't dormant",)
_TRANSPORTS = {"tcp": "tcp", "6": "tcp", "udp": "udp", "17": "udp"}
_NO_PORT = ("icmp", "icmpv6", "igmp", "esp", "ah", "comp", "sctp", "dccp", "arp", "vlan", "udplite")
_PASSING = (
    "counter",
    "log",
    "mangle",
    "notrack",
    "ct helper",
    "ct timeout",
    "ct expectation",
    "flow",
    "dup",
    "secmark",
    "nftrace",
    "last",
    "synproxy",
    "snat",
    "masquerade",
    "continue",
)


def read_ruleset(text: bytes | str, netns: str | None, read_anyway: Collection[str] = ()) -> Reading:
    """Return what a dump of nftables says.

    Args:
        text: what ``nft -j list ruleset`` printed.
        netns: label of the network namespace that it was run in.
        read_anyway: tables (`ip nat`) to read although nft hides details, because no save tool shows them.
    """
    objects, problems = _objects(text)
    dump = _Dump(objects)
    problems += dump.problems
    redirects: list[Redirect] = []
    gates: list[Gate] = []
    left_out: list[str] = []
    for key, when in dump.tables.items():
        family, name = key
        label = f"{family} {printable(cut(name, 200))}"
        noted: list[str] = []
        table = Table(label, name, _FAMILIES[family], dump.chains(key, noted), "nft", netns, when)
        bases = [chain for chain in table.chains.values() if chain.hook]
        if dump.is_opaque(key) and label not in read_anyway:
            left_out.append(label)
            bases = [base for base in bases if base.name not in IPTABLES_CHAINS]
        if bases:
            problems += noted
        reading = follow(table, bases)
        redirects += reading.redirects
        gates += reading.gates
        problems += reading.problems
    return Reading(
        tuple(redirects), tuple(gates), tuple(dict.fromkeys(problems))[:_PROBLEMS], bool(left_out), tuple(left_out)
    )


def _objects(text: bytes | str) -> tuple[list[Any], list[str]]:
    import json

    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    try:
        # A number of a million digits would take Python a minute; none here is longer than a handle.
        document = json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 22 else 0)
    except (ValueError, RecursionError) as error:
        return [], [printable(cut(f"nft -j: expected JSON: {error}", 300))]
    objects = document.get("nftables") if isinstance(document, dict) else None
    if not isinstance(objects, list):
        return [], ['nft -j: expected {"nftables": […]}']
    return objects, []


class _Dump:
    """The objects of a dump by table."""

    def __init__(self, objects: list[Any]) -> None:
        self.tables: dict[Key, tuple[str, ...]] = {}
        self.problems: list[str] = []
        self.work = _WORK
        self.sets: dict[tuple[str, str, str], Any] = {}
        self._chains: dict[Key, dict[str, dict[str, Any]]] = {}
        self._rules: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self._opaque: dict[Key, None] = {}
        for item in objects:
            self._take(item)

    def _take(self, item: Any) -> None:
        kind, body = next(iter(item.items()), ("", None)) if isinstance(item, dict) else ("", None)
        if kind == "metainfo":
            return
        if not isinstance(body, dict):
            self.problems.append("nft -j: an object isn't as expected")
            return
        family, name, table = (body.get(k) for k in ("family", "name", "table"))
        if not isinstance(family, str) or family not in _FAMILIES:
            return
        if kind == "table" and isinstance(name, str):
            flags = body.get("flags")
            if not _is_dormant(flags):
                # nft 1.0.6 prints the table's name for a lone flag: `dormant`, or `owner`, which means nothing to us.
                self.tables[family, name] = _PERHAPS_DORMANT if flags == name and name != "owner" else ()
                if self.tables[family, name]:
                    self.problems.append(f"{family} {printable(cut(name, 200))}: nft hides whether it is dormant")
        elif isinstance(table, str) and kind == "chain" and isinstance(name, str):
            self._chains.setdefault((family, table), {})[name] = body
        elif isinstance(table, str) and kind in ("set", "map") and isinstance(name, str):
            self.sets[family, table, name] = body.get("elem") or []
        elif isinstance(table, str) and kind == "rule" and isinstance(body.get("chain"), str):
            self._rules.setdefault((family, table, body["chain"]), []).append(body)
            if table in IPTABLES_TABLES and family != "inet" and _has_xt(body.get("expr")):
                self._opaque[family, table] = None

    def is_opaque(self, key: Key) -> bool:
        return key in self._opaque

    def chains(self, key: Key, problems: list[str]) -> dict[str, Chain]:
        result = {}
        for name, body in self._chains.get(key, {}).items():
            hook, policy = body.get("hook"), body.get("policy", "accept")
            kind = body.get("type")
            reader = _Reader(key, self, name, problems)
            result[name] = Chain(
                name,
                [reader.rule(rule) for rule in self._rules.get((*key, name), ())],
                hook if isinstance(hook, str) and hook in HOOKS else None,
                kind if isinstance(kind, str) else "filter",
                policy if policy == "drop" else "accept",
            )
        return result


def _is_dormant(flags: Any) -> bool:
    return "dormant" in (flags if isinstance(flags, list) else [flags])


def _has_xt(expressions: Any) -> bool:
    return isinstance(expressions, list) and any(isinstance(e, dict) and "xt" in e for e in expressions)


class _Reader:
    """Reads the rules of one chain."""

    def __init__(self, key: Key, dump: _Dump, chain: str, problems: list[str]) -> None:
        self._key, self._dump, self._problems = key, dump, problems
        self._label = f"{key[0]} {printable(cut(key[1], 200))} {printable(cut(chain, 200))}"

    def rule(self, body: dict[str, Any]) -> Rule:
        expressions, handle = body.get("expr"), body.get("handle")
        position = f"handle {handle}" if isinstance(handle, int) else "handle ?"
        if not isinstance(expressions, list):
            self._problems.append(f"{self._label} {position}: a rule without expressions")
            return Rule(position, "", ())
        return Rule(position, rule_text(expressions), tuple(self._ways(expressions, position)))

    def _ways(self, expressions: list[Any], position: str) -> Iterator[Way]:
        asked = [EVERYTHING]
        for expression in expressions:
            if not isinstance(expression, dict) or not expression:
                continue
            name, body = next(iter(expression.items()))
            ways, verdict = self._decisions(name, body)
            if ways:
                yield from (Way(asks, way.act) for way in ways for asks in _each(asked, [way.asks]))
            if verdict:
                return
            if name == "xt":
                yield from self._xt(body, asked, position)
            # A tproxy that finds no socket, or a packet of the other family, ends the rule.
            more = [way.asks for way in ways] if name == "tproxy" else self._demands(name, body, position)
            asked = _each(asked, more)
            if not asked or len(asked) > _ALTERNATIVES:
                if asked:
                    self._problems.append(f"{self._label} {position}: asks for too many things to read")
                return

    def _decisions(self, name: str, body: Any) -> tuple[list[Way], bool]:
        """Return what a statement does with a packet, and whether it ends the rule."""
        if name in VERDICTS or name == "return":
            return [Way(_rejected(body), Act(name))], True
        if name in ("jump", "goto"):
            return [Way(EVERYTHING, act) for act in _verdict({name: body})], True
        if name == "vmap" and isinstance(body, dict):
            pairs = self._pairs(body.get("key"), body.get("data"))
            return [Way(asks, act) for asks, value in pairs for act in _verdict(value)], True
        if name in REDIRECTS:
            # tproxy alone lets the rule go on.
            return self._redirects(name, body if isinstance(body, dict) else {}), name != "tproxy"
        if name == "mangle" and isinstance(body, dict):
            return self._rewrites(body), False
        return [], False

    def _redirects(self, kind: str, body: dict[str, Any]) -> list[Way]:
        family = {"ip": 4, "ip6": 6}.get(text_of(body.get("family")), 0)
        ways = []
        for address_asks, address in self._values(body.get("addr")):
            for port_asks, port in self._values(body.get("port")):
                to_address, to_port = _address_and_port(address)
                to_ports = _to_ports(port if to_port is None else to_port)
                when = _hidden(port, to_ports)
                asks = both(address_asks, port_asks)
                asks = both(Asks(family, when=when), asks) if asks is not None else None
                if asks is not None:
                    ways.append(Way(asks, Act(kind, None, to_address, to_ports)))
        return ways

    def _rewrites(self, body: dict[str, Any]) -> list[Way]:
        """Return a rule's own rewriting of port or address: a redirect without connection tracking."""
        protocol, field = _field(body.get("key"))
        implied = _implied(body.get("key"))
        if field == "dport" and protocol in ("tcp", "udp", "th"):
            ways = [(a, Act("redirect", None, None, _to_ports(v))) for a, v in self._values(body.get("value"))]
        elif field == "daddr" and protocol in ("ip", "ip6"):
            ways = [(a, Act("dnat", None, _address_and_port(v)[0])) for a, v in self._values(body.get("value"))]
        else:
            return []
        return [Way(asks, act) for value_asks, act in ways for asks in _each([value_asks], implied)]

    def _xt(self, body: Any, asked: list[Asks], position: str) -> Iterator[Way]:
        name = body.get("name") if isinstance(body, dict) else None
        if name in ("DNAT", "REDIRECT", "TPROXY"):
            self._problems.append(f"{self._label} {position}: nft hides where {name} leads")
            when = (f"{name} made by iptables; nft hides where it leads",)
            yield from (Way(asks, Act(name.lower())) for asks in _each(asked, [Asks(when=when)]))
        elif name == "REJECT":
            yield from (Way(asks, Act("reject")) for asks in asked)

    def _demands(self, name: str, body: Any, position: str) -> list[Asks]:
        if name == "match" and isinstance(body, dict):
            return self._asks(body.get("left"), body.get("op"), body.get("right"))
        if name in _PASSING:
            return _implied(body.get("key")) if name == "mangle" and isinstance(body, dict) else [EVERYTHING]
        if name == "queue":
            self._problems.append(f"{self._label} {position}: a program decides over these packets (queue)")
            return []
        if name == "xt":
            xt = body if isinstance(body, dict) else {}
            if xt.get("type") == "target" or xt.get("name") == "comment":
                return [EVERYTHING]
            return [Asks(when=(cut(f"xt match {text_of(xt.get('name')) or '?'} (details hidden by nft)"),))]
        if name not in ("limit", "quota", "ct count", "set", "map", "meter"):
            self._problems.append(f"{self._label} {position}: unknown expression {printable(cut(name, 100))}")
        # An element that can't be added, or is over its limit, ends the rule; `ip saddr` in it is IPv4's.
        implied = _implied(body.get("elem", body.get("key"))) if isinstance(body, dict) else [EVERYTHING]
        return _each(implied, [Asks(when=(cut(rule_text([{name: body}])) or printable(cut(name, 100)),))])

    # Comparisons

    def _asks(self, left: Any, op: Any, right: Any) -> list[Asks]:
        """Return what a comparison asks for, as alternatives; none where no TCP or UDP packet satisfies it."""
        elements = self._elements(right)
        if elements is None:
            return _as_text(left, op, right)
        if isinstance(left, dict) and "concat" in left:
            asks = self._concat_asks(left["concat"], op, elements)
            return _as_text(left, op, right) if asks is None else asks
        protocol, field = _field(left)
        asks = None
        if field == "dport" and protocol in ("tcp", "udp", "th"):
            asks = _ports(protocol, op, elements, match_text(left, op, right))
        elif field == "daddr" and protocol in ("ip", "ip6") and op in ("==", "in"):
            asks = _addresses(4 if protocol == "ip" else 6, elements)
        elif (protocol, field) in (("meta", "l4proto"), ("ip", "protocol"), ("ip6", "nexthdr")):
            asks = _transports(4 if protocol == "ip" else 6 if protocol == "ip6" else 0, op, elements)
        elif (protocol, field) in (("meta", "nfproto"), ("meta", "protocol"), ("ether", "type")):
            asks = _families(op, elements)
        elif (protocol, field) == ("fib", "daddr type") and op in ("==", "in") and elements == ["local"]:
            asks = [Asks(local_only=True)]
        return _as_text(left, op, right) if asks is None else asks

    def _concat_asks(self, parts: Any, op: Any, elements: list[Any]) -> list[Asks] | None:
        if op not in ("==", "in") or not isinstance(parts, list) or len(elements) > _ALTERNATIVES:
            return None
        if not self._affords(len(elements) * _DEAR):
            return None
        result: list[Asks] = []
        for element in elements:
            values = element.get("concat") if isinstance(element, dict) else None
            if not isinstance(values, list) or len(values) != len(parts):
                return None
            asked = [EVERYTHING]
            for part, value in zip(parts, values):
                asked = _each(asked, self._asks(part, "==", value))
            result += asked
        return result

    def _elements(self, right: Any) -> list[Any] | None:
        """Return the values that a right side stands for; None where its set isn't there."""
        if isinstance(right, str) and right.startswith("@"):
            right = self._dump.sets.get((*self._key, right[1:]))
            if right is None:
                return None
            if isinstance(right, list) and not self._affords(len(right)):
                return None
        elif isinstance(right, dict) and "set" in right:
            right = right["set"]
        return [_bare(e) for e in right] if isinstance(right, list) else [_bare(right)]

    def _affords(self, elements: int) -> bool:
        """Return whether so many elements may still be read: very many rules may name the same large set."""
        self._dump.work -= elements
        if self._dump.work < 0:
            self._problems.append(f"{self._label}: too many elements of sets to read")
        return self._dump.work >= 0

    def _pairs(self, key: Any, data: Any) -> Iterator[tuple[Asks, Any]]:
        """Yield what each element of a map asks for, and its value; the element for all others last."""
        others = []
        for pair in self._elements(data) or ():
            if not isinstance(pair, list) or len(pair) != 2:
                continue
            element = _bare(pair[0])
            if not self._affords(_DEAR):
                return
            if element == "*":
                others += [(asks, pair[1]) for asks in _implied(key)]
            else:
                yield from ((asks, pair[1]) for asks in self._asks(key, "==", element))
        yield from others

    def _values(self, value: Any) -> list[tuple[Asks, Any]]:
        """Return the values that a target may take, and for which packets."""
        source = value.get("map") if isinstance(value, dict) else None
        if not isinstance(source, dict):
            return [(EVERYTHING, value)]
        return list(self._pairs(source.get("key"), source.get("data")))[:_ALTERNATIVES]


def _each(ones: list[Asks], others: list[Asks]) -> list[Asks]:
    if len(ones) * len(others) > _ALTERNATIVES * 4:
        return [Asks(when=("one of too many alternatives to read",))]
    return [asks for asks in (both(a, b) for a in ones for b in others) if asks is not None]


def _verdict(value: Any) -> list[Act]:
    value = _bare(value)
    name, body = next(iter(value.items()), ("", None)) if isinstance(value, dict) else (value, None)
    if name in ("jump", "goto"):
        target = body.get("target") if isinstance(body, dict) else None
        return [Act(name, target)] if isinstance(target, str) else []
    return [Act(name)] if name in VERDICTS or name == "return" else []


def _rejected(body: Any) -> Asks:
    """Return what the kind of answer asks for: nft doesn't print a `meta nfproto ipv4` that it implies."""
    kind = text_of(body.get("type")) if isinstance(body, dict) else ""
    return {"icmp": Asks(4), "icmpv6": Asks(6), "tcp reset": Asks(protocol="tcp")}.get(kind, EVERYTHING)


def _bare(element: Any) -> Any:
    """Return a set's element without its timeout, counter and comment."""
    body = element.get("elem") if isinstance(element, dict) else None
    return body.get("val") if isinstance(body, dict) else element


def _field(left: Any) -> tuple[str, str]:
    """Return what is compared: (`tcp`, `dport`), (`meta`, `l4proto`), (`fib`, `daddr type`)."""
    kind, body = next(iter(left.items()), ("", None)) if isinstance(left, dict) else ("", None)
    if not isinstance(body, dict):
        return "", ""
    if kind == "payload":
        if (body.get("base"), body.get("offset"), body.get("len")) == ("th", 16, 16):
            return "th", "dport"
        return text_of(body.get("protocol")), text_of(body.get("field"))
    if kind == "meta":
        return "meta", text_of(body.get("key"))
    if kind == "fib":
        flags = body.get("flags")
        return "fib", f"{text_of(flags)} {text_of(body.get('result'))}"
    return "", ""


def _implied(left: Any, depth: int = 0) -> list[Asks]:
    """Return what reading a field asks for by itself: `tcp flags` is a TCP packet's."""
    if isinstance(left, list) and depth < 5:
        asked = [EVERYTHING]
        for part in left[:8]:
            asked = _each(asked, _implied(part, depth + 1))
        return asked
    kind, body = next(iter(left.items()), ("", None)) if isinstance(left, dict) else ("", None)
    if kind in ("&", "|", "^", "<<", ">>", "concat"):
        return _implied(body, depth + 1)
    if kind == "jhash" and isinstance(body, dict):
        return _implied(body.get("expr"), depth + 1)
    protocol = {"tcp option": "tcp", "sctp chunk": "sctp", "dccp option": "dccp"}.get(kind, "")
    if kind == "payload" and isinstance(body, dict):
        protocol = text_of(body.get("protocol"))
    if protocol in ("tcp", "udp"):
        return [Asks(protocol=protocol)]
    return [] if protocol in _NO_PORT else [Asks({"ip": 4, "ip6": 6}.get(protocol, 0))]


def _as_text(left: Any, op: Any, right: Any) -> list[Asks]:
    return _each(_implied(left), [Asks(when=(cut(match_text(left, op, right)),))])


def _ports(protocol: str, op: Any, elements: list[Any], text: str) -> list[Asks] | None:
    protocol = "any" if protocol == "th" else protocol
    ranges = []
    for element in elements:
        bounds = _bounds(element)
        if bounds is None:
            return None
        ranges.append(bounds)
    ports = merged(ranges)
    if op in ("<", ">", "<=", ">=") and len(ranges) == 1:
        ports = merged([_open_range(str(op), ranges[0][0])])
    elif op == "!=":
        ports = subtracted(((0, 65535),), ports)
        return [Asks(0, protocol, ports, when=(cut(text),))] if ports else []
    elif op not in ("==", "in"):
        return None
    return [Asks(0, protocol, ports)] if ports else []


def _open_range(op: str, port: int) -> tuple[int, int]:
    if op in ("<", "<="):
        return 0, port - (op == "<")
    return port + (op == ">"), 65535


def _bounds(value: Any) -> tuple[int, int] | None:
    if isinstance(value, dict) and isinstance(value.get("range"), list) and len(value["range"]) == 2:
        low, high = (_number(v) for v in value["range"])
    else:
        low = high = _number(value)
    return None if low is None or high is None else (low, high)


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _addresses(family: int, elements: list[Any]) -> list[Asks] | None:
    addresses: dict[str, None] = {}
    for element in elements[:_ALTERNATIVES]:
        known = networks(text_of(element))
        if known is None:
            return None
        addresses.update(dict.fromkeys(known))
    if len(elements) > _ALTERNATIVES:
        return None
    return [Asks(family, addresses=tuple(addresses))] if addresses else []


def _transports(family: int, op: Any, elements: list[Any]) -> list[Asks] | None:
    if op not in ("==", "in", "!=") or not all(isinstance(e, (str, int)) for e in elements):
        return None
    named = {_TRANSPORTS.get(str(e)) for e in elements}
    wanted = [p for p in ("tcp", "udp") if (p in named) != (op == "!=")]
    if op == "!=" and len(wanted) == 2:
        return [Asks(family)]
    return [Asks(family, protocol) for protocol in wanted]


def _families(op: Any, elements: list[Any]) -> list[Asks] | None:
    known = {"ipv4": 4, "ip": 4, "ipv6": 6, "ip6": 6}
    if op not in ("==", "in", "!=") or not all(isinstance(e, str) for e in elements):
        return None
    named = {known.get(e) for e in elements}
    wanted = [f for f in (4, 6) if (f in named) != (op == "!=")]
    return [EVERYTHING] if len(wanted) == 2 else [Asks(f) for f in wanted]


def _address_and_port(value: Any) -> tuple[str | None, Any]:
    """Return a target's address as text, and the port that a map may give along with it."""
    value = _bare(value)
    if value is None:
        return None, None
    if isinstance(value, dict) and isinstance(value.get("concat"), list) and len(value["concat"]) == 2:
        address, port = value["concat"]
        return printable(cut(text_of(address), 200)), port
    return printable(cut(text_of(value), 200)), None


def _to_ports(value: Any) -> tuple[int, int] | None:
    bounds = _bounds(_bare(value))
    return bounds if bounds and 0 < bounds[0] <= bounds[1] <= 65535 else None


def _hidden(port: Any, to_ports: tuple[int, int] | None) -> tuple[str, ...]:
    return (cut(f"to a port given by {text_of(port)}"),) if port is not None and to_ports is None else ()
