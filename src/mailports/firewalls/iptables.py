r"""What ``iptables-save`` and ``ip6tables-save`` print, read into redirects and gates.

It runs nothing and follows no jump itself (`chains` does). What a rule asks beyond family, protocol,
destination port and destination address stays text in `when`, in nft's spelling where there is one
(`iifname "docker0"`), so that readers of `when` meet one language.

Source: iptables(8), iptables-extensions(8), iptables/xshared.c and libxtables/xtables.c of iptables 1.8.9
(`xtables_save_string`: what holds an unusual character stands in double quotes, with a backslash before
``"``, ``\`` and ``'``; a newline in a comment is printed as it is).

Limits: the tables raw, mangle, nat, filter and security; POSTROUTING is left out. A quoted argument may run
over at most `_JOINED_LINES` lines. A target that isn't known and isn't a chain is a problem, no gate.

It is one piece: a match means nothing without the rule and the chain that it stands in.
"""

from __future__ import annotations

from mailports.firewalls.asks import EVERYTHING, Asks, both, cut, merged, networks, ports_text, subtracted
from mailports.firewalls.chains import VERDICTS, Act, Chain, Reading, Rule, Table, Way, follow
from mailports.model.facts import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from mailports.model.facts import Gate, Redirect

_BUILT_IN = {name: name.lower() for name in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT")}
_TABLES = ("raw", "mangle", "nat", "filter", "security")
_JOINED_LINES, _JOINED_CHARACTERS = 64, 4096
_ADDRESSES = 1024
_TRANSPORTS = {"tcp": "tcp", "6": "tcp", "udp": "udp", "17": "udp", "all": "any", "0": "any"}
_PLAIN_MATCHES = (
    "tcp",
    "udp",
    "multiport",
    "comment",
    "addrtype",
    "conntrack",
    "state",
    "owner",
    "mark",
    "iprange",
    "limit",
)
_PASSING = (
    "LOG",
    "NFLOG",
    "ULOG",
    "MARK",
    "CONNMARK",
    "CONNSECMARK",
    "SECMARK",
    "CT",
    "NOTRACK",
    "TOS",
    "DSCP",
    "ECN",
    "TTL",
    "HL",
    "TCPMSS",
    "TCPOPTSTRIP",
    "CLASSIFY",
    "SET",
    "RATEEST",
    "TRACE",
    "TEE",
    "AUDIT",
    "CHECKSUM",
    "HMARK",
    "IDLETIMER",
    "LED",
    "SNAT",
    "MASQUERADE",
    "SNPT",
)
_BASIC = ("-p", "-s", "-d", "-i", "-o")
_LONG = {
    "--protocol": "-p",
    "--source": "-s",
    "--destination": "-d",
    "--in-interface": "-i",
    "--out-interface": "-o",
    "--jump": "-j",
    "--goto": "-g",
    "--match": "-m",
}
_SPELLED = {
    "-i": ("iifname", '"'),
    "-o": ("oifname", '"'),
    "--uid-owner": ("skuid", ""),
    "--gid-owner": ("skgid", ""),
    "--ctorigdstport": ("ct original proto-dst", ""),
    "--ctorigdst": ("ct original daddr", ""),
    "--ctdir": ("ct direction", ""),
}


def read_save(
    text: bytes | str, netns: str | None, family: int, backend: str, tables: Collection[str] | None = None
) -> Reading:
    """Return what a save tool's output says.

    Args:
        text: what ``iptables-save`` or ``ip6tables-save`` printed.
        netns: label of the network namespace that it was run in.
        family: 4 or 6.
        backend: `nft` for the nf_tables variant, else `iptables-legacy`.
        tables: the only ones to take, as `ip nat`; None takes all.
    """
    save = _Save(family)
    save.read(text)
    redirects: list[Redirect] = []
    gates: list[Gate] = []
    problems = save.problems
    for name in save.tables:
        label = f"{save.prefix} {name}"
        if tables is not None and label not in tables:
            continue
        table = Table(label, name, family, save.chains(name), backend, netns)
        reading = follow(table, [c for c in table.chains.values() if c.hook])
        redirects += reading.redirects
        gates += reading.gates
        problems += reading.problems
    left_out = tuple(label for label in save.incompatible if tables is None or label in tables)
    return Reading(tuple(redirects), tuple(gates), tuple(dict.fromkeys(problems)), left_out=left_out)


class _Save:
    """A save tool's lines by table and chain."""

    def __init__(self, family: int) -> None:
        self.prefix = "ip6" if family == 6 else "ip"
        self.tables: dict[str, dict[str, list[tuple[Rule, str]]]] = {}
        self.problems: list[str] = []
        self.incompatible: dict[str, None] = {}
        self._policies: dict[tuple[str, str], str] = {}
        self._targets: list[tuple[str, str, str]] = []

    def read(self, text: bytes | str) -> None:
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        table: str | None = None
        for line in _whole_lines(text):
            start = line[:1]
            if start == "*":
                name = line[1:].strip()
                table = name if name in _TABLES else None
                if table is None:
                    self._problem(f"unknown table {name}")
                else:
                    self.tables.setdefault(table, {})
            elif start == "#":
                self._comment(line)
            elif start == ":":
                self._chain(table, line)
            elif line.startswith(("-A ", "[")):
                self._rule(table, line)
            elif line.strip() not in ("", "COMMIT"):
                self._problem(f"not understood: {line}")

    def _comment(self, line: str) -> None:
        # "# Table `nat' is incompatible, use 'nft' tool."; base chains alone are read from nft's JSON anyway.
        if "' is incompatible" in line:
            name = line.partition("`")[2].partition("'")[0]
            if name in _TABLES:
                self.incompatible[f"{self.prefix} {name}"] = None

    def _chain(self, table: str | None, line: str) -> None:
        words = line[1:].split()
        if table is None or len(words) < 2:
            self._problem(f"a chain in no table, or without policy: {line}")
            return
        self.tables[table].setdefault(words[0], [])
        self._policies[table, words[0]] = words[1]

    def _rule(self, table: str | None, line: str) -> None:
        words = _words(line)
        if words and words[0].startswith("["):  # counters, printed with -c
            words = words[1:]
        if table is None or len(words) < 2 or words[0] != "-A":
            self._problem(f"a rule in no table or chain: {line}")
            return
        chain = words[1]
        rules = self.tables[table].setdefault(chain, [])
        position = f"rule {len(rules) + 1}"
        parsed = _Words(words[2:])
        acts = _acts(parsed)
        ways = tuple(Way(parsed.asks, act) for act in acts) if parsed.asks is not None else ()
        rules.append((Rule(position, line.partition("-A ")[2].partition(" ")[2], ways), parsed.target))
        if parsed.problem:
            self._problem(f"{table} {chain} {position}: {parsed.problem}")

    def chains(self, table: str) -> dict[str, Chain]:
        """Return a table's chains; what isn't a chain was a target's name."""
        names = self.tables[table]
        result = {}
        for name, parsed in names.items():
            rules = []
            for rule, target in parsed:
                if target and target not in names:
                    rule = rule._replace(ways=())  # noqa: PLW2901
                    self._problem(f"{table} {name} {rule.position}: unknown target {target}")
                rules.append(rule)
            policy = self._policies.get((table, name), "-")
            result[name] = Chain(
                name,
                rules,
                _BUILT_IN.get(name),
                "nat" if table == "nat" else "filter",
                "drop" if policy == "DROP" else "accept",
            )
        return result

    def _problem(self, text: str) -> None:
        if len(self.problems) < 100:
            self.problems.append(printable(cut(f"{self.prefix}tables-save: {text}", 300)))


# Words


def _whole_lines(text: str) -> Iterator[str]:
    """Yield the lines, those joined that a quoted argument holds together."""
    lines = text.split("\n")
    i = 0
    while i < len(lines):
        line, until = lines[i], i + 1
        if '"' in line and line.startswith(("-A", "[")):
            is_open = _is_open(line, is_open=False)
            last = min(len(lines), i + _JOINED_LINES)
            while is_open and until < last and len(lines[until]) <= _JOINED_CHARACTERS:
                is_open = _is_open(lines[until], is_open=True)
                until += 1
            if is_open:
                until = i + 1
            line = "\n".join(lines[i:until])
        yield line
        i = until


def _is_open(line: str, *, is_open: bool) -> bool:
    """Return whether a double quote is still open at the end of the line."""
    if "\\" not in line:
        return is_open != (line.count('"') % 2 == 1)
    escaped = False
    for character in line:
        if escaped:
            escaped = False
        elif character == "\\" and is_open:
            escaped = True
        elif character == '"':
            is_open = not is_open
    return is_open


def _words(line: str) -> list[str]:
    if '"' not in line:
        return line.split()
    words, word, is_open, escaped, begun = [], [], False, False, False
    for character in line:
        if escaped:
            word.append(character)
            escaped = False
        elif is_open and character == "\\":
            escaped = True
        elif character == '"':
            is_open, begun = not is_open, True
        elif is_open or not character.isspace():
            word.append(character)
        elif word or begun:
            words.append("".join(word))
            word, begun = [], False
    if word or begun:
        words.append("".join(word))
    return words


class _Words:
    """The words of one rule, read from left to right.

    Attributes:
        asks: what the rule asks for; None where no TCP or UDP packet satisfies it.
        verb: the option that named the target: `-j` or `-g`.
        target: the target's or chain's name.
        options: what follows the target.
        problem: what wasn't understood.
    """

    def __init__(self, words: list[str]) -> None:
        self.asks: Asks | None = EVERYTHING
        self.verb = self.target = self.problem = ""
        self.options: list[str] = []
        self._words = words
        self._at = 0
        self._match = ""
        while self._at < len(words) and not self.verb:
            self._option()
        self._begin("")

    def option(self, *names: str) -> str | None:
        """Return the argument of one of the target's options."""
        for i, word in enumerate(self.options[:-1]):
            if word in names:
                return self.options[i + 1]
        return None

    def _next(self) -> str:
        self._at += 1
        return self._words[self._at - 1] if self._at <= len(self._words) else ""

    def _option(self) -> None:
        name = self._next()
        negated = name == "!"
        if negated:
            name = self._next()
        name = _LONG.get(name, name)
        if name in _BASIC:
            self._begin("")
        if name in ("-j", "-g"):
            self.verb, self.target, self.options = name, self._next(), self._words[self._at :]
        elif name == "-m":
            self._begin(self._next())
        elif name in ("--comment", "--limit-burst"):
            self._next()
        elif self._match:
            self._other(name, negated=negated)
        elif name in _DEMANDS:
            self._narrow(_DEMANDS[name](self, self._next(), "!= " if negated else ""))
        elif name in _SPELLED:
            key, quote = _SPELLED[name]
            value = self._next()
            if quote and value.endswith("+"):
                value = value[:-1] + "*"
            self._when(f"{key} {'!= ' if negated else ''}{quote}{value}{quote}")
        else:
            self._other(name, negated=negated)

    def _begin(self, match: str) -> None:
        """Begin a match; what an unknown one before it asked for is complete now."""
        if self._match:
            self._when(self._match)
        self._match = "" if match in ("", *_PLAIN_MATCHES) else f"-m {match}"

    def _other(self, name: str, *, negated: bool) -> None:
        """Keep an option that isn't known, with its arguments, as text."""
        words = ["!", name] if negated else [name]
        first = True
        while self._at < len(self._words):
            word = self._words[self._at]
            # The first argument may be anything in `--string`; elsewhere an option is an option.
            if (word == "!" or word.startswith("-")) and not (first and name in ("--string", "--hex-string")):
                break
            words.append(self._next())
            first = False
        text = " ".join(f'"{w}"' if " " in w else w for w in words)
        if self._match:
            self._match = cut(f"{self._match} {text}")
        else:
            self._when(text)

    def _when(self, text: str) -> None:
        self._narrow(Asks(when=(cut(text),)))

    def _narrow(self, more: Asks | None) -> None:
        self.asks = both(self.asks, more) if self.asks is not None and more is not None else None

    # Demands

    def protocol(self, argument: str, sign: str) -> Asks | None:
        protocol = _TRANSPORTS.get(argument)
        if sign:
            return Asks(protocol={"tcp": "udp", "udp": "tcp"}[protocol]) if protocol in ("tcp", "udp") else EVERYTHING
        return Asks(protocol=protocol) if protocol else None

    def ports(self, argument: str, sign: str) -> Asks | None:
        ranges = []
        for part in argument.split(","):
            bounds = _bounds(part)
            if bounds is None:
                return Asks(when=(cut(f"dport {sign}{argument}"),))
            ranges.append(bounds)
        ports = merged(ranges)
        if not sign:
            return Asks(ports=ports) if ports else None
        protocol = "th" if self.asks is None or self.asks.protocol == "any" else self.asks.protocol
        left = subtracted(((0, 65535),), ports)
        return Asks(ports=left, when=(f"{protocol} dport != {ports_text(ports)}",)) if left else None

    def source_ports(self, argument: str, sign: str) -> Asks | None:
        protocol = "th" if self.asks is None or self.asks.protocol == "any" else self.asks.protocol
        return Asks(when=(cut(f"{protocol} sport {sign}{argument.replace(':', '-')}"),))

    def destination(self, argument: str, sign: str) -> Asks | None:
        known: dict[str, None] = {}
        parts = argument.split(",")
        for part in parts:
            some = networks(part) if len(parts) <= _ADDRESSES else None
            if some is None:
                return Asks(when=(cut(f"daddr {sign}{argument}"),))
            known.update(dict.fromkeys(some))
        if sign:
            return Asks(when=(cut(f"{_ip(argument)} daddr != {argument}"),))
        return Asks(addresses=tuple(known))

    def source(self, argument: str, sign: str) -> Asks | None:
        return Asks(when=(cut(f"{_ip(argument)} saddr {sign}{argument}"),))

    def type(self, argument: str, sign: str) -> Asks | None:
        if argument == "LOCAL" and not sign:
            return Asks(local_only=True)
        return Asks(when=(cut(f"fib daddr type {sign}{argument.lower()}"),))

    def state(self, argument: str, sign: str) -> Asks | None:
        states = sorted(argument.lower().split(","))
        known = {"dnat", "snat"}
        if known.intersection(states):  # conntrack's virtual states are status bits in nft
            return Asks(when=(cut(f"--ctstate {sign}{argument}"),))
        return Asks(when=(cut(f"ct state {'! ' if sign else ''}{','.join(states)}"),))

    def mark(self, argument: str, sign: str) -> Asks | None:
        value, slash, mask = argument[:32].partition("/")  # int() of a million digits takes its time
        try:
            text = f"& {int(mask, 0)} {sign or '== '}{int(value, 0)}" if slash else f"{sign}{int(value, 0)}"
        except ValueError:
            text = f"{sign}{argument}"
        return Asks(when=(cut(f"meta mark {text}"),))

    def limit(self, argument: str, sign: str) -> Asks | None:
        rate, _, per = argument.partition("/")
        return Asks(when=(cut(f"limit rate {sign}{rate}/{_PER.get(per, per)}"),))


_PER = {"sec": "second", "min": "minute"}
_DEMANDS: dict[str, Callable[[_Words, str, str], Asks | None]] = {
    "-p": _Words.protocol,
    "--dport": _Words.ports,
    "--dports": _Words.ports,
    "--destination-port": _Words.ports,
    "--destination-ports": _Words.ports,
    "--sport": _Words.source_ports,
    "--sports": _Words.source_ports,
    "-d": _Words.destination,
    "--dst-range": _Words.destination,
    "-s": _Words.source,
    "--src-range": _Words.source,
    "--dst-type": _Words.type,
    "--ctstate": _Words.state,
    "--state": _Words.state,
    "--mark": _Words.mark,
    "--limit": _Words.limit,
}


def _ip(argument: str) -> str:
    return "ip6" if ":" in argument else "ip"


# Targets


def _acts(words: _Words) -> list[Act]:
    """Return what a rule does; a target that may be a chain stays in `words.target` to be looked up."""
    target, words.target = words.target, ""
    if words.verb == "-g":
        words.target = target
        return [Act("goto", target)]
    if target.lower() in (*VERDICTS, "return") and target.isupper():
        return [Act(target.lower())]
    known = _REDIRECTS.get(target)
    if known is not None:
        return [known(words)]
    if target in _PASSING or not target:
        return []
    if target in ("NFQUEUE", "QUEUE"):
        words.problem = f"a program decides over these packets ({target})"
        return []
    words.target = target
    return [Act("jump", target)]


def _redirect(words: _Words) -> Act:
    return Act("redirect", None, None, _to_ports(words.option("--to-ports", "--to-port") or ""))


def _dnat(words: _Words) -> Act:
    address, ports = _destination(words.option("--to-destination") or "")
    return Act("dnat", None, address, ports)


def _netmap(words: _Words) -> Act:
    return Act("dnat", None, printable(cut(words.option("--to") or "", 200)) or None)


def _tproxy(words: _Words) -> Act:
    address = words.option("--on-ip")
    if address in ("0.0.0.0", "::"):  # noqa: S104 - the tool's way to leave the address alone
        address = None
    return Act("tproxy", None, printable(cut(address, 200)) if address else None, _to_ports(words.option("--on-port")))


_REDIRECTS: dict[str, Callable[[_Words], Act]] = {
    "REDIRECT": _redirect,
    "DNAT": _dnat,
    "NETMAP": _netmap,
    "TPROXY": _tproxy,
}


def _destination(text: str) -> tuple[str | None, tuple[int, int] | None]:
    """Return address and ports of `1.2.3.4-1.2.3.9:25-30/20`, `[2001:db8::1]:25`, `2001:db8::1` or `:25`."""
    if text.startswith("["):
        address, _, ports = text[1:].partition("]")
        ports = ports[1:]
    elif text.count(":") > 1:
        address, ports = text, ""
    else:
        address, _, ports = text.partition(":")
    return printable(cut(address, 200)) or None, _to_ports(ports)


def _to_ports(text: str | None) -> tuple[int, int] | None:
    first, _, last = (text or "").partition("/")[0].partition("-")
    low, high = _port(first), _port(last or first)
    return (low, high) if low and high and low <= high else None


def _bounds(text: str) -> tuple[int, int] | None:
    first, colon, last = text.partition(":")
    low = 0 if colon and not first else _port(first)
    high = 65535 if colon and not last else _port(last if colon else first)
    return None if low is None or high is None else (low, high)


def _port(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        return None
    return int(text) if int(text) <= 65535 else None
