"""Seeing less never adds a finding: what a look didn't see is unknown, not absent.

The Snapshots in `cases/extent` are of scenes on the real kernel; `kernel/test_scenes.py` writes them. The ones
that need systemd or a container engine are made by hand here.
"""

from __future__ import annotations

import os
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from machine_tree import SEEN, at, held, listens, snapshot
from mailports.diagnose.rules import RULES, diagnose
from mailports.diagnose.seen import Seen
from mailports.formats.documents import snapshot_from_json
from mailports.model.facts import (
    Address,
    Container,
    Endpoint,
    Holder,
    Look,
    Namespace,
    Publish,
    Redirect,
    Snapshot,
    Socket,
    Unit,
)
from mailports.model.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

CASES = os.path.join(os.path.dirname(__file__), "cases", "extent")
Found = set[tuple[str, "Endpoint | None"]]


def _made_by_hand() -> dict[str, Snapshot]:
    imap = listens("[::]:143", held("systemd", 1), v6only=False, unit="init.scope")
    socket_unit = Unit(
        "dovecot.socket",
        "loaded",
        "active",
        "listening",
        "enabled",
        listens=("[::]:143 (Stream)",),
        triggers=("dovecot.service",),
    )
    failed = Unit("dovecot.service", "loaded", "failed", "failed", "enabled", "exit-code")
    active = Unit("dovecot.service", "loaded", "active", "running", "enabled", "success", 812)
    adopted = listens("[::]:143", held("systemd", 1), held("dovecot"), v6only=False, unit="init.scope")
    stray = listens("0.0.0.0:25", held("exim4", unit="session-3.scope"), unit="session-3.scope")
    exim = Unit("exim4.service", "loaded", "failed", "failed", "enabled", "exit-code")
    proxy = held("docker-proxy", 900, container="mail")
    front = Publish(at("0.0.0.0:25"), "172.17.0.2", 25, "docker-proxy arguments", 900)
    mail = Container(
        *("docker", "0123456789ab", "mail", None, "running", "bridge"),
        netns="container:mail",
        addresses=("172.17.0.2",),
        publishes=(front,),
    )
    dnat = Redirect(
        *("dnat", "prerouting", "here", 4, "tcp", ((25, 25),), (), True, "172.17.0.2", (25, 25), None),
        *("nft", "ip nat DOCKER handle 12", "tcp dport 25 dnat to 172.17.0.2:25"),
    )
    within = Endpoint("tcp", "0.0.0.0", 25, netns="container:mail")
    contained: dict[str, Any] = {
        "containers": (mail,),
        "redirects": (dnat,),
        "namespaces": (Namespace("here", 1), Namespace("container:mail", 2, (901,))),
        "addresses": (
            Address("172.17.0.1", 16, "docker0", "here", device_kind="bridge"),
            Address("172.17.0.2", 16, "eth0", "container:mail", device_kind="veth"),
        ),
        "looks": (
            *SEEN,
            *(Look(fact, "container:mail", "all", "x") for fact in ("listeners", "addresses", "netfilter")),
        ),
    }
    published = listens("0.0.0.0:25", proxy, unit="docker.service")
    inner = listens("0.0.0.0:25", held("master", 901, container="mail"))._replace(endpoint=within)
    lonely = inner._replace(endpoint=within._replace(address="127.0.0.1"))
    milter = listens("172.17.0.1:8891", held("opendkim"))
    host_mta = listens("0.0.0.0:25", held("exim4"))
    return {
        "socket-unit": snapshot(imap, units=(socket_unit, active)),
        "socket-unit-of-a-failed-service": snapshot(imap, units=(socket_unit, failed)),
        "socket-unit-that-is-adopted": snapshot(adopted, units=(socket_unit, active)),
        "socket-unit-of-a-stranger": snapshot(
            imap, units=(socket_unit._replace(name="test.socket", triggers=("test.service",)),)
        ),
        "stale-instance": snapshot(stray, units=(exim,)),
        "started-by-hand": snapshot(stray, units=(exim._replace(active="active", sub="running"),)),
        "published": snapshot(published, inner, **contained),
        "published-to-loopback": snapshot(published, lonely, **contained),
        "published-to-nobody": snapshot(published, **contained),
        "published-over-an-mta": snapshot(host_mta, inner, **contained),
        "milter-on-a-bridge": snapshot(milter, **contained),
    }


def _stored() -> dict[str, Snapshot]:
    found = {}
    for name in sorted(os.listdir(CASES)):
        with open(os.path.join(CASES, name), encoding="utf-8") as file:  # noqa: PTH123
            found[name[: -len(".json")]] = snapshot_from_json(file.read())
    return found


SNAPSHOTS = {**_stored(), **_made_by_hand()}


# What each look saw


def _is_of_look(look: Look) -> Callable[[Any], bool]:
    """Whether a socket is one that a look saw."""
    state = {"listeners": ("listen",), "bound": ("bound",)}.get(look.fact)

    def is_seen(socket: Any) -> bool:
        if socket.endpoint.netns != look.netns or (socket.endpoint.protocol == "udp") != (look.fact == "udp"):
            return False
        return look.fact == "udp" or (socket.state in state if state else socket.state not in ("listen", "bound"))

    return is_seen


FIELDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("listeners", "bound", "udp", "connections"), ("sockets",)),
    "netfilter": ("redirects", "gates"),
    "settings": ("settings",),
    "addresses": ("addresses",),
    "lookups": ("lookups",),
    "units": ("units",),
    "containers": ("containers",),
}


def facts_of(seen: Snapshot, look: Look) -> list[Any]:
    """Return the facts that a look saw."""
    found: list[Any] = []
    for field in FIELDS.get(look.fact, ()):
        is_seen = _is_of_look(look) if field == "sockets" else _is_in(look)
        found += [fact for fact in getattr(seen, field) if is_seen(fact)]
    return found


def _is_in(look: Look) -> Callable[[Any], bool]:
    if look.netns is None:
        return lambda _: True
    return lambda fact: (fact.endpoint.netns if hasattr(fact, "endpoint") else fact.netns) == look.netns


def without(seen: Snapshot, look: Look, lost: Iterable[Any]) -> Snapshot:
    """Return the Snapshot without some of a look's facts, which are gone from the socket itself for holders."""
    if look.fact == "holders":
        return _without_holders(seen)
    if look.fact == "namespaces":
        return _here_alone(seen)
    if look.fact == "containers":
        seen = _without_names(seen)
    gone = set(lost)
    fields: dict[str, Any] = {
        field: tuple(f for f in getattr(seen, field) if f not in gone) for field in FIELDS[look.fact]
    }
    return seen._replace(**fields)


def _without_holders(seen: Snapshot) -> Snapshot:
    """The unit and the container stay, which the kernel tells with the socket, as `observe.holders` leaves them."""

    def hidden(s: Socket) -> Socket:
        known = (Holder(None, unit=s.unit, container=s.container, seen_by="cgroup"),) if s.unit or s.container else ()
        return s._replace(holders=known, holders_extent="none", suspects=())

    return seen._replace(sockets=tuple(hidden(s) for s in seen.sockets))


def _without_names(seen: Snapshot) -> Snapshot:
    """For which container an engine's helper holds a port only the engine's own words tell."""
    sockets = []
    for s in seen.sockets:
        holders = tuple(h._replace(container=None) if h.name == "docker-proxy" else h for h in s.holders)
        sockets.append(s._replace(holders=holders))
    return seen._replace(sockets=tuple(sockets))


def _here_alone(seen: Snapshot) -> Snapshot:
    """Without the other namespaces, nothing in them is seen either."""
    for look in seen.looks:
        if look.netns not in (None, "here"):
            seen = without(seen, look, facts_of(seen, look))
    return seen._replace(
        looks=tuple(look for look in seen.looks if look.netns in (None, "here")),
        namespaces=tuple(n for n in seen.namespaces if n.label == "here"),
    )


def taken_away(seen: Snapshot, look: Look, *, is_refused: bool) -> Snapshot:
    """Return what would have been seen without a look: it was refused, or never made."""
    less = without(seen, look, facts_of(seen, look))
    refused = look._replace(extent="none", why="no permission", how_to_see="run as root")
    others = tuple(each for each in less.looks if (each.fact, each.netns) != (look.fact, look.netns))
    return less._replace(looks=(*others, refused) if is_refused else others)


def found(seen: Snapshot) -> Found:
    """Return the findings of a Snapshot: their names, and on which endpoint."""
    return {(f.name, e) for f in diagnose(seen).findings for e in f.endpoints or (f.endpoint,)}


def found_by_rules(seen: Snapshot) -> Found:
    """The same, with those that a more particular one stands for."""
    said = (each for rule in RULES for each in rule.judge(Seen(seen)))
    return {(f.name, e) for f in said if isinstance(f, Finding) for e in f.endpoints or (f.endpoint,)}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_taking_away_a_look_never_adds_a_finding(name: str) -> None:
    """Whichever look is refused or never made, nothing is found that wasn't found with it."""
    seen = SNAPSHOTS[name]
    before = found(seen)
    for look in seen.looks:
        for is_refused in (True, False):
            less = taken_away(seen, look, is_refused=is_refused)
            assert found(less) - before == set(), (look, is_refused)


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_taking_away_two_looks_never_adds_a_finding(name: str) -> None:
    """The same for every two of them."""
    seen = SNAPSHOTS[name]
    before = found(seen)
    for one, other in combinations(seen.looks, 2):
        if other in taken_away(seen, one, is_refused=True).looks:
            less = taken_away(taken_away(seen, one, is_refused=True), other, is_refused=True)
            assert found(less) - before == set(), (one, other)


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_losing_some_facts_of_a_look_never_adds_a_finding(name: str) -> None:
    """A look that saw only some of its facts, whichever, and says so, doesn't add a finding either."""
    seen = SNAPSHOTS[name]
    before = found_by_rules(seen)
    for look in seen.looks:
        partly = look._replace(extent="some", why="the answer was cut off")
        looks = tuple(partly if each == look else each for each in seen.looks)
        for lost in losses(facts_of(seen, look)):
            less = without(seen._replace(looks=looks), look, lost)
            assert found(less) - before == set(), (look, lost)


def losses(facts: list[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield ways to lose some facts: every way where they are few, else each alone, and all but each."""
    for size in range(1, len(facts) + 1):
        if len(facts) <= MANY or size in (1, len(facts) - 1, len(facts)):
            yield from combinations(facts, size)


MANY = 6


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_finding_that_goes_with_a_look_leaves_an_unknown(name: str) -> None:
    """Where a refused look takes a finding with it, an unknown says that it could hide just that."""
    seen = SNAPSHOTS[name]
    before: dict[str, Finding] = {f.name: f for f in diagnose(seen).findings}
    for look in seen.looks:
        diagnosis = diagnose(taken_away(seen, look, is_refused=True))
        gone = before.keys() - {f.name for f in diagnosis.findings}
        hidden = {hides for unknown in diagnosis.unknown for hides in unknown.hides}
        if look.fact != "namespaces":  # what isn't known to be there isn't missed by name
            assert gone <= hidden, look


def test_the_scenes_have_every_kind_of_look_and_finding() -> None:
    """The property is held against each finding's presence and each kind of look, so that it isn't empty."""
    names = {finding.name for seen in SNAPSHOTS.values() for finding in diagnose(seen).findings}
    assert names >= {
        *("shared-port", "shadowed-listener", "redirected-port", "ephemeral-collision", "rpc-squatter"),
        *("overexposed-listener", "unreachable-listener", "unclaimed-listener"),
        *("socket-unit-holds-port", "stale-instance"),
    }
    looks = {look.fact for seen in SNAPSHOTS.values() for look in seen.looks}
    assert looks - {"namespaces", "holders"} <= FIELDS.keys()
    assert sum(1 for seen in SNAPSHOTS.values() if not diagnose(seen).findings) > 30
