"""The rules, what each needs to have seen, and their run over a Snapshot. Pure.

A rule is a function of `Seen` that yields findings, and Unknowns where it would conclude from something
that wasn't seen. Its docstring is its manual page, in a fixed form (see `manual`).

Invariant, held by `tests/test_extent.py`: taking away a look together with its facts never adds a finding.
"""

from __future__ import annotations

from mailports.diagnose.attempts import (
    address_missing,
    address_pool_clash,
    bind_not_permitted,
    blocked_upstream,
    container_publishes_port,
    dangling_reference,
    lingering_sockets,
    misread_port,
    port_held,
    stale_pid_file,
)
from mailports.diagnose.exposure import overexposed_listener, unclaimed_listener
from mailports.diagnose.made import CONFLICTS
from mailports.diagnose.reach import unreachable_listener
from mailports.diagnose.redirects import redirected_port
from mailports.diagnose.seen import Seen
from mailports.diagnose.sharing import shadowed_listener, shared_port
from mailports.diagnose.squatters import ephemeral_collision, rpc_squatter
from mailports.diagnose.units import socket_unit_holds_port, stale_instance
from mailports.model.facts import ALL, NONE
from mailports.model.findings import ERROR, NOTE, SEVERITIES, WARNING, Diagnosis, Finding, Unknown
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Union

    from mailports.model.facts import Snapshot

    Judge = Callable[[Seen], Iterator[Union[Finding, Unknown]]]


class Rule(Record):
    """A rule: its finding's name, its function, the facts without which it can't judge, and its worst severity."""

    name: str
    judge: Judge
    needs: tuple[str, ...]
    worst: str


RULES: tuple[Rule, ...] = (
    Rule("port-held", port_held, (), ERROR),
    Rule("container-publishes-port", container_publishes_port, (), ERROR),
    Rule("shared-port", shared_port, ("listeners",), ERROR),
    Rule("shadowed-listener", shadowed_listener, ("listeners",), ERROR),
    Rule("redirected-port", redirected_port, ("listeners", "netfilter"), ERROR),
    Rule("socket-unit-holds-port", socket_unit_holds_port, ("listeners", "units"), ERROR),
    Rule("stale-instance", stale_instance, ("listeners", "units"), ERROR),
    Rule("rpc-squatter", rpc_squatter, ("listeners", "connections"), ERROR),
    Rule("unreachable-listener", unreachable_listener, ("listeners", "netfilter", "containers"), ERROR),
    Rule("ephemeral-collision", ephemeral_collision, ("listeners", "connections", "settings"), WARNING),
    Rule("overexposed-listener", overexposed_listener, ("listeners",), WARNING),
    Rule("unclaimed-listener", unclaimed_listener, ("listeners",), WARNING),
    Rule("lingering-sockets", lingering_sockets, (), ERROR),
    Rule("bind-not-permitted", bind_not_permitted, (), ERROR),
    Rule("address-missing", address_missing, (), ERROR),
    Rule("dangling-reference", dangling_reference, (), ERROR),
    Rule("stale-pid-file", stale_pid_file, (), ERROR),
    Rule("address-pool-clash", address_pool_clash, (), ERROR),
    Rule("misread-port", misread_port, (), ERROR),
    Rule("blocked-upstream", blocked_upstream, (), WARNING),
)


def diagnose(snapshot: Snapshot) -> Diagnosis:
    """Return what the rules make of a Snapshot: findings, the most severe first, and what they couldn't judge."""
    seen = Seen(snapshot)
    findings: list[Finding] = []
    unknown: list[Unknown] = [*_blind_spots(snapshot), *_hidden_holders(seen)]
    for rule in RULES:
        for said in rule.judge(seen):
            if isinstance(said, Finding):
                findings.append(said)
            else:
                unknown.append(said)
    findings.sort(key=_urgency)
    return Diagnosis(tuple(_most_particular(findings)), tuple(_merged(unknown)))


def worst_of(names: tuple[str, ...]) -> str:
    """Return the worst severity that any of these findings can have."""
    worst = [rule.worst for rule in RULES if rule.name in names]
    return max(worst, key=SEVERITIES.index, default=NOTE)


def is_at_least(severity: str, level: str) -> bool:
    """Whether a severity reaches a level."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(level)


def manual(name: str) -> str | None:
    """Return a finding's manual page: its rule's docstring, as text; None where there is no such rule."""
    for rule in RULES:
        if rule.name == name:
            lines = (rule.judge.__doc__ or "").split("\n")
            body = "\n".join(line[4:] if line.startswith("    ") else line for line in lines[1:]).rstrip()
            kind = "a conflict" if name in CONFLICTS else "not a conflict"
            head = f"{name}: at worst {'an' if rule.worst == ERROR else 'a'} {rule.worst}, {kind}"
            return f"{head}\n\nWhat is true:\n    {lines[0]}\n{body}\n"
    return None


def _urgency(finding: Finding) -> tuple[int, int, str]:
    port = finding.endpoint.port if finding.endpoint else 0
    return -SEVERITIES.index(finding.severity), port, finding.name


def _blind_spots(snapshot: Snapshot) -> list[Unknown]:
    """What was tried and couldn't be seen, for the rules that need it."""
    spots = []
    if not any(look.fact == "listeners" for look in snapshot.looks):
        spots.append(
            Unknown("listeners", "nothing here says that they were looked at", None, tuple(r.name for r in RULES))
        )
    for look in snapshot.looks:
        hides = tuple(rule.name for rule in RULES if look.fact in rule.needs)
        if look.extent != ALL and look.why and hides:
            where = "" if look.netns in (None, "here") else f" of namespace {look.netns}"
            spots.append(Unknown(f"{_SPOKEN.get(look.fact, look.fact)}{where}", look.why, look.how_to_see, hides))
    return spots


def _hidden_holders(seen: Seen) -> Iterator[Unknown]:
    """Listeners whose process couldn't be seen. What that could hide, each rule says itself."""
    hidden = [s for s in seen.listeners if s.holders_extent == NONE and seen.is_of_interest(s)]
    for look in seen.snapshot.looks:
        if look.fact == "holders" and look.extent != ALL and look.why and hidden:
            what = (
                f"the processes behind {len(hidden)} listeners" if len(hidden) > 1 else "the process behind a listener"
            )
            yield Unknown(what, look.why, look.how_to_see)


_SPOKEN = {
    "netfilter": "netfilter rules",
    "listeners": "listeners",
    "connections": "connections",
    "containers": "containers",
    "units": "systemd units",
    "settings": "kernel settings",
}


def _merged(unknown: list[Unknown]) -> list[Unknown]:
    """One entry a fact that couldn't be seen, with everything that it hides."""
    merged: dict[tuple[str, str, str | None], Unknown] = {}
    for one in unknown:
        key = (one.what, one.why, one.how_to_see)
        known = merged.get(key)
        hides = one.hides if known is None else tuple(dict.fromkeys(known.hides + one.hides))
        merged[key] = one._replace(hides=hides)
    return list(merged.values())


_YIELDS_TO = {
    "unclaimed-listener": ("rpc-squatter", "shared-port", "shadowed-listener", "socket-unit-holds-port"),
    "ephemeral-collision": ("rpc-squatter",),
}
"""Where two names fit, the more particular one is the finding, and the other isn't given as well."""


def _most_particular(findings: list[Finding]) -> Iterator[Finding]:
    taken = {(f.name, e) for f in findings for e in f.endpoints}
    for finding in findings:
        others = _YIELDS_TO.get(finding.name, ())
        if not any((other, e) in taken for other in others for e in finding.endpoints):
            yield finding
