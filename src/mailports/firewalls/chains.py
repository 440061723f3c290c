"""From chains of rules to redirects and gates: jumps are followed, and what they ask for is added.

It knows no tool's syntax: `nft` and `iptables` make the chains. It doesn't judge whether a gate lets
somebody in; it keeps the order in which the kernel tries the rules, so that others can.

What `follow` promises of the order: the gates of one base chain stand together in the order in which
the kernel tries them, and its policy, where given, comes last. The first that matches decides there;
an accept in one base chain doesn't undo a drop in another. The first redirect that matches wins.

Source: nft(8), iptables(8); net/netfilter/nf_tables_core.c (jump, goto, return).

Limits: bridge, ingress and postrouting are left out. Following is bounded by `_DEPTH` and `_WORK`; what
lies beyond is a problem in the Reading, not silence.
"""

from __future__ import annotations

from mailports.firewalls.asks import EVERYTHING, Asks, both, cut, without
from mailports.model.facts import Gate, Redirect, printable
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOOKS = ("prerouting", "input", "forward", "output")
REDIRECTS = ("dnat", "redirect", "tproxy")
VERDICTS = ("accept", "drop", "reject")

_GATE_HOOKS = ("input", "forward", "output")
_DEPTH = 32  # the kernel allows 16 jumps
_WORK = 1_000_000
_TAKEN = 64
_TEXT_LIMIT = 1000
_QUIET_TABLES = ("mangle", "raw", "security")  # the save tools print their policies though nobody made them


class Reading(Record):
    """What a reader found, and what it couldn't read.

    Attributes:
        redirects: in the order in which the kernel tries them, base chain by base chain.
        gates: likewise; a base chain's policy ends its run.
        problems: what wasn't understood, and where.
        needs_iptables_save: whether `nft -j` hid rules that the save tools show.
        left_out: the tables that hold rules which this reader couldn't show, as `ip nat`: for `nft -j` those
            whose rules iptables made, for a save tool those that it calls incompatible.
    """

    redirects: tuple[Redirect, ...] = ()
    gates: tuple[Gate, ...] = ()
    problems: tuple[str, ...] = ()
    needs_iptables_save: bool = False
    left_out: tuple[str, ...] = ()


class Act(Record):
    """What a rule does with a packet.

    Attributes:
        verb: `accept`, `drop`, `reject`, `return`, `jump`, `goto`, `dnat`, `redirect` or `tproxy`.
        chain: where a jump or goto leads.
        to_address: where a redirect leads; null: the host itself.
        to_ports: first and last port; null where the port stays.
    """

    verb: str
    chain: str | None = None
    to_address: str | None = None
    to_ports: tuple[int, int] | None = None


class Way(Record):
    """One thing that a rule does, and for which packets; a map gives a rule several."""

    asks: Asks
    act: Act


class Rule(Record):
    """A rule: where in its chain (`handle 12`), its text, and its ways in the order they are tried."""

    position: str
    text: str
    ways: tuple[Way, ...]


class Chain(Record):
    """A chain of a table.

    Attributes:
        name: its name.
        rules: its rules in order.
        hook: where it hangs; null: it is only jumped to.
        kind: `filter`, `nat` or `route`.
        policy: what becomes of a packet that no rule decided; null: no base chain.
    """

    name: str
    rules: Sequence[Rule]
    hook: str | None = None
    kind: str = "filter"
    policy: str | None = None


class Table(Record):
    """A table of one namespace.

    Attributes:
        label: `ip nat`.
        name: `nat`.
        family: 4, 6, or 0 for both.
        chains: its chains by name.
        backend: who made it: `nft` or `iptables-legacy`.
        netns: label of the namespace.
        when: what all of it depends on, as text.
    """

    label: str
    name: str
    family: int
    chains: Mapping[str, Chain]
    backend: str
    netns: str | None
    when: tuple[str, ...] = ()


def follow(table: Table, bases: Sequence[Chain]) -> Reading:
    """Return the redirects and gates that packets meet which enter the table at these base chains."""
    walk = _Walk(table)
    for base in bases:
        if base.hook in HOOKS:
            walk.base(base)
    return Reading(tuple(walk.redirects), tuple(walk.gates), tuple(walk.problems))


class _Walk:
    def __init__(self, table: Table) -> None:
        self.table = table
        self.redirects: list[Redirect] = []
        self.gates: list[Gate] = []
        self.problems: dict[str, None] = {}
        self._work = _WORK
        self._base = Chain("", ())
        self._decided: list[Asks] = []

    def base(self, base: Chain) -> None:
        self._base, self._decided = base, []
        before = len(self.gates)
        every = Asks(self.table.family, when=self.table.when)
        self._chain(base, every, (base.name,))
        drops = base.policy == "drop"
        if not drops and (self._takes_nat() or base.hook not in _GATE_HOOKS):
            return
        if drops or len(self.gates) > before or self.table.name not in _QUIET_TABLES:
            self._gate(base.policy or "accept", every, base, None)

    def _takes_nat(self) -> bool:
        return self._base.kind == "nat"

    def _chain(self, chain: Chain, asks: Asks, path: tuple[str, ...]) -> None:
        left: list[Asks] = []  # packets that a return or goto took out of this chain
        for rule in chain.rules:
            for way in rule.ways:
                here = self._narrowed(asks, way.asks, left, chain)
                if self._work <= 0:
                    self.problems[f"{self.table.label}: too much to follow; the rest is unread"] = None
                    return
                if here is None:
                    continue
                if way.act.verb in ("jump", "goto"):
                    self._jump(way.act.chain or "", here, path)
                elif way.act.verb != "return":
                    self._act(way.act, here, chain, rule)
                if way.act.verb in ("return", "goto"):
                    if way.asks == EVERYTHING:
                        return
                    left.append(way.asks)

    def _narrowed(self, asks: Asks, more: Asks, left: list[Asks], chain: Chain) -> Asks | None:
        self._work -= 1 + len(asks.ports) + len(more.ports) + len(asks.addresses) * len(more.addresses)
        here = both(asks, more)
        return None if here is None else self._without(here, left, chain)

    def _without(self, asks: Asks, decided: list[Asks], chain: Chain) -> Asks | None:
        here: Asks | None = asks
        for taken in decided[:_TAKEN]:
            if here is None:
                return None
            self._work -= 1 + len(here.ports) + len(here.addresses) * len(taken.addresses)
            here = without(here, taken)
        if here is not None and len(decided) > _TAKEN:
            text = f"not taken by an earlier rule of {printable(chain.name)}"
            here = here if text in here.when else here._replace(when=(*here.when, text))
        return here

    def _jump(self, name: str, asks: Asks, path: tuple[str, ...]) -> None:
        chain = self.table.chains.get(name)
        label = f"{self.table.label} {printable(cut(path[-1], 100))}"
        if chain is None:
            self.problems[f"{label}: jumps to {printable(cut(name, 100))}, which isn't there"] = None
        elif name in path:
            self.problems[f"{label}: jumps round to {printable(cut(name, 100))}"] = None
        elif len(path) >= _DEPTH:
            self.problems[f"{label}: jumps too deep to follow"] = None
        else:
            self._chain(chain, asks, (*path, name))

    def _act(self, act: Act, asks: Asks, chain: Chain, rule: Rule) -> None:
        here = self._without(asks, self._decided, self._base)
        if here is None:
            return
        if act.verb in REDIRECTS:
            self._redirect(act, here, chain, rule)
            return
        is_gate_hook = self._base.hook in _GATE_HOOKS and not self._takes_nat()
        if is_gate_hook or act.verb != "accept":
            self._gate(act.verb, here, chain, rule)
        if not is_gate_hook:
            # An accept before a redirect spares the packet it; nobody but us remembers that.
            self._decided.append(asks)

    def _redirect(self, act: Act, asks: Asks, chain: Chain, rule: Rule) -> None:
        self.redirects.append(
            Redirect(
                kind=act.verb,
                hook=self._base.hook or "",
                netns=self.table.netns,
                family=asks.family,
                protocol=asks.protocol,
                ports=asks.ports,
                addresses=asks.addresses,
                local_only=asks.local_only,
                to_address=act.to_address,
                to_ports=act.to_ports,
                when=_joined(asks.when),
                backend=self.table.backend,
                place=self._place(chain, rule.position),
                text=printable(cut(rule.text, _TEXT_LIMIT)),
            )
        )

    def _gate(self, verdict: str, asks: Asks, chain: Chain, rule: Rule | None) -> None:
        when = (*asks.when, "fib daddr type local") if asks.local_only else asks.when
        self.gates.append(
            Gate(
                verdict=verdict,
                hook=self._base.hook or "",
                netns=self.table.netns,
                family=asks.family,
                protocol=asks.protocol,
                ports=asks.ports,
                addresses=asks.addresses,
                when=_joined(when),
                is_policy=rule is None,
                backend=self.table.backend,
                place=self._place(chain, rule.position if rule else "policy"),
                text=printable(cut(rule.text, _TEXT_LIMIT)) if rule else f"policy {verdict}",
            )
        )

    def _place(self, chain: Chain, position: str) -> str:
        return f"{self.table.label} {printable(cut(chain.name, 200))} {position}"


def _joined(when: tuple[str, ...]) -> str | None:
    return printable(cut(", ".join(when), _TEXT_LIMIT)) if when else None
