"""Who moves: of those who want one port, which one yields, and by which rule."""

from __future__ import annotations

import pytest

from machine_tree import at, held, listens, snapshot
from mailports import remedies as ways
from mailports.diagnose.rules import diagnose
from mailports.model.facts import Holder, Redirect, Setting, Socket, Unit
from mailports.model.findings import Finding, Remedy

POSTFIX, EXIM, HAPROXY = held("master", 812), held("exim4", 900), held("haproxy", 60)
APP = held("app", 77)
LAST = ways.RULE_SECOND_MTA


def the_finding(*sockets: Socket, **more: object) -> Finding:
    (finding,) = diagnose(snapshot(*sockets, **more)).findings
    return finding


def sharing(place: str, *holders: Holder) -> Finding:
    return the_finding(*(listens(place, holder) for holder in holders))


def offered(finding: Finding) -> list[tuple[str, str | None]]:
    """What kinds of remedy there are, and who moves by each."""
    return [(remedy.kind, remedy.moves) for remedy in finding.remedies]


# Rule 1: the public MX.


def test_a_stranger_yields_port_25_to_the_mta() -> None:
    """The MX has no other port to be reached on: the other program moves or stops."""
    finding = sharing("0.0.0.0:25", POSTFIX, APP)
    assert offered(finding) == [("move", "app"), ("stop", "app")]
    assert {remedy.rule for remedy in finding.remedies} == {ways.RULE_MX}
    assert finding.unknown == ()


def test_the_order_in_which_they_are_seen_decides_nothing() -> None:
    """The stranger yields, whoever was bound first."""
    assert offered(sharing("0.0.0.0:25", APP, POSTFIX)) == offered(sharing("0.0.0.0:25", POSTFIX, APP))


def test_of_two_mtas_both_are_offered() -> None:
    """Which one is the MX isn't known from sockets: nobody is chosen, and the deciding fact is named."""
    finding = sharing("0.0.0.0:25", POSTFIX, EXIM)
    kinds = ["separate-address", "separate-address", "stop", "stop"]
    assert offered(finding) == [(kind, None) for kind in kinds]
    assert [unknown.what for unknown in finding.unknown] == ["which of them is the public MX"]
    assert {remedy.id for remedy in finding.remedies} >= {"stop:exim4.service", "separate-address:postfix:25"}


def test_loopback_is_no_public_mx() -> None:
    """Rule 1 is about addresses that other servers reach: on 127.0.0.1 it isn't the reason."""
    finding = sharing("127.0.0.1:25", POSTFIX, APP)
    assert offered(finding)[0] == ("move", "app")
    assert ways.RULE_MX not in {remedy.rule for remedy in finding.remedies}


# Rule 3: a back end moves inward.


def test_a_proxy_and_an_mta_on_one_port() -> None:
    """Whether the one is the other's back end isn't known: nobody is chosen, and that fact is named."""
    finding = sharing("0.0.0.0:25", POSTFIX, HAPROXY)
    assert {remedy.moves for remedy in finding.remedies} == {None}
    assert finding.unknown
    assert "back end" in finding.unknown[0].what


# Rule 4: client ports.


@pytest.mark.parametrize("port", [465, 587, 143, 993, 110, 995, 4190])
def test_a_stranger_yields_a_client_port(port: int) -> None:
    """Clients expect mail there: the other program moves."""
    finding = sharing(f"0.0.0.0:{port}", held("dovecot", 700), APP)
    assert offered(finding) == [("move", "app"), ("stop", "app")]
    assert {remedy.rule for remedy in finding.remedies} == {ways.RULE_CLIENT_PORT}


@pytest.mark.parametrize("port", [587, 143])
def test_of_two_mail_products_on_a_client_port_both_are_offered(port: int) -> None:
    """Without the deciding fact nobody is chosen, and the finding says what that fact is."""
    finding = sharing(f"0.0.0.0:{port}", POSTFIX, held("dovecot", 700))
    assert {remedy.moves for remedy in finding.remedies} == {None}
    assert finding.unknown


def test_an_rpc_program_yields() -> None:
    """It was given the port by chance; the mail port stays."""
    finding = the_finding(listens("0.0.0.0:993", held("rpc.statd", 44)))
    assert offered(finding) == [("blacklist-port", "rpc.statd"), ("move", "rpc.statd")]


# Rule 5: internal ports.


def test_an_internal_port_goes_to_loopback() -> None:
    """Its program is the one that acts."""
    finding = the_finding(listens("0.0.0.0:11334", held("rspamd", 8)))
    assert offered(finding) == [("bind-loopback", "rspamd")]


def test_an_internal_port_is_no_client_port() -> None:
    """A stranger that shares a filter's port moves too, but not because clients would have to be told."""
    finding = sharing("127.0.0.1:11332", held("rspamd", 8), APP)
    assert offered(finding)[0] == ("move", "app")
    assert ways.RULE_CLIENT_PORT not in {remedy.rule for remedy in finding.remedies}


def test_a_containers_internal_port_is_published_elsewhere() -> None:
    """The publish changes, not what is inside."""
    finding = the_finding(listens("0.0.0.0:11334", held("docker-proxy", 8)))
    assert [kind for kind, _ in offered(finding)] == ["change-publish"]


# Rule 6: a second MTA.


def test_a_wildcard_narrows_before_anyone_stops() -> None:
    """An MTA on loopback beside one on the wildcard: by address first, stopping last."""
    finding = the_finding(listens("127.0.0.1:25", EXIM), listens("0.0.0.0:25", POSTFIX))
    assert offered(finding) == [("separate-address", "postfix"), ("stop", "exim4")]
    assert {remedy.rule for remedy in finding.remedies} == {LAST}


def test_of_two_mtas_on_outside_addresses_nobody_is_chosen() -> None:
    """Each may be the MX of its address; the deciding fact is named."""
    finding = the_finding(listens("192.0.2.1:25", EXIM), listens("0.0.0.0:25", POSTFIX))
    assert {remedy.moves for remedy in finding.remedies} == {None}
    assert finding.unknown


def test_nothing_is_purged() -> None:
    """Stopping a mail product is said with its queue; no remedy removes a package."""
    finding = sharing("0.0.0.0:25", POSTFIX, EXIM)
    texts = [remedy.summary for remedy in finding.remedies]
    assert all("queue" in text for text in texts if text.startswith("Stop"))
    assert not any(word in text.lower() for text in texts for word in ("purge", "remove", "uninstall", "kill"))


@pytest.mark.parametrize("other", [HAPROXY, APP])
def test_a_program_without_a_queue_is_stopped_as_it_is(other: Holder) -> None:
    """Only what takes mail has a queue to drain."""
    stops = [r for r in sharing("0.0.0.0:25", POSTFIX, other).remedies if r.kind == "stop" and "postfix" not in r.id]
    assert stops
    assert [remedy.summary for remedy in stops if "queue" in remedy.summary] == []


# Rule 7: a stale instance.


def by_hand(name: str, unit: str) -> Remedy:
    own = Unit(unit, "loaded", "failed", "failed", "enabled", "exit-code")
    return the_finding(listens("0.0.0.0:25", held(name, 900, unit="session-3.scope")), units=(own,)).remedies[0]


def test_a_stale_instance_is_stopped_by_its_own_command() -> None:
    """Where the product has one it is named; then the unit is started."""
    remedy = by_hand("master", "postfix@-.service")
    assert (remedy.kind, remedy.moves, remedy.rule) == ("stop-stale", "postfix", ways.RULE_STALE)
    assert "`postfix stop`" in remedy.summary
    assert remedy.summary.endswith("then start postfix@-.service")


def test_nothing_is_killed_for_holding_a_port() -> None:
    """A product without such a command isn't given a signal instead."""
    assert "kill" not in by_hand("exim4", "exim4.service").summary.lower()


# Rule 8: companion ports.


def test_a_companion_port_is_narrowed_by_the_newcomer() -> None:
    """Whoever has the specific address resolves for this machine: the wildcard narrows."""
    stub = listens("127.0.0.53:53", held("systemd-resolve", 5, exe="/usr/lib/systemd/systemd-resolved"))
    finding = the_finding(stub, listens("0.0.0.0:53", held("dnsmasq", 6, exe="/usr/sbin/dnsmasq")))
    assert offered(finding)[0] == ("separate-address", "dnsmasq")
    assert finding.remedies[0].rule == ways.RULE_COMPANION


def test_a_resolver_is_never_stopped_for_a_newcomer() -> None:
    """Name resolution must not be lost: that way isn't offered."""
    stub = listens("127.0.0.53:53", held("systemd-resolve", 5, exe="/usr/lib/systemd/systemd-resolved"))
    finding = the_finding(stub, listens("0.0.0.0:53", held("dnsmasq", 6, exe="/usr/sbin/dnsmasq")))
    assert ("stop", "systemd-resolve") not in offered(finding)


# Rule 9: nobody moves.


def test_a_client_that_took_a_port_is_left_alone() -> None:
    """The port is reserved; the connection ends by itself."""
    client = Socket(
        at("192.0.2.2:2525"), 4, "established", at("192.0.2.9:443"), inode=5, autobound=True,
        holders=(held("curl", 7),), holders_extent="all",
    )  # fmt: skip
    assert offered(the_finding(client)) == [("reserve-port", None)]


def test_a_service_in_the_ephemeral_range_keeps_its_port() -> None:
    """All such ports are reserved at once, and the text warns that a write replaces the list."""
    finding = the_finding(
        *(listens(f"0.0.0.0:{port}", held("dovecot", 700)) for port in (4190, 42143)),
        settings=(Setting("net.ipv4.ip_local_port_range", "1024 65535", "here"),),
    )
    assert offered(finding) == [("reserve-port", None)]
    assert finding.remedies[0].id == "reserve-port:4190,42143"
    assert "a write replaces it" in finding.remedies[0].summary


def test_a_rule_that_others_wrote_is_shown() -> None:
    """What is removed is the rule as it stands; whether it is needed isn't known, so nobody is told to move."""
    rule = Redirect(
        "redirect", "prerouting", "here", 4, "tcp", ((25, 25),), (), False, None, (10825, 10825), None, "nft",
        "ip nat PREROUTING handle 5", "tcp dport 25 redirect to :10825",
    )  # fmt: skip
    finding = the_finding(listens("0.0.0.0:25", POSTFIX), listens("0.0.0.0:10825", APP), redirects=(rule,))
    assert {remedy.moves for remedy in finding.remedies} == {None}
    assert rule.text in finding.remedies[0].summary
    assert finding.unknown


# All of them.


def test_rules_are_numbered_as_in_the_manual() -> None:
    """Each rule that a remedy can name begins with a number of the module's list."""
    rules = [value for name, value in vars(ways).items() if name.startswith("RULE_")]
    numbers = [int(rule.partition(":")[0]) for rule in rules]
    assert set(numbers) <= set(range(1, 11))
    assert all(f"\n{number}. " in (ways.__doc__ or "") for number in numbers)
    assert len(set(rules)) == len(rules)


def test_a_remedy_is_a_sentence() -> None:
    """In the imperative, beginning with a capital, without a full stop."""
    for remedy in sharing("0.0.0.0:25", POSTFIX, EXIM).remedies + sharing("0.0.0.0:25", POSTFIX, APP).remedies:
        assert remedy.summary[0].isupper()
        assert not remedy.summary.endswith(".")
