"""The rules: for each a host on which it finds something, and one that looks alike and is healthy."""

from __future__ import annotations

import pytest

from machine_tree import SEEN, at, held, listens, snapshot
from mailports import remedies
from mailports.diagnose.made import CONFLICTS
from mailports.diagnose.rules import RULES, diagnose, manual, worst_of
from mailports.model.facts import (
    Address,
    Attempt,
    Container,
    Gate,
    Holder,
    Look,
    Namespace,
    Publish,
    Redirect,
    Setting,
    Snapshot,
    Socket,
    Unit,
)
from mailports.model.findings import Finding, Unknown

POSTFIX, EXIM, DOVECOT = held("master", 812), held("exim4", 900), held("dovecot", 700)
INIT = held("systemd", 1)
APP = held("app", 77)
BOX = "4f2a" * 16
FAILING = [("failed", "error"), ("activating", "error"), ("inactive", "warning")]
"""States of a unit that can't bind, or won't, and how bad each is."""


def found(*sockets: Socket, **more: object) -> list[Finding]:
    return list(diagnose(snapshot(*sockets, **more)).findings)


def unseen(*sockets: Socket, **more: object) -> list[Unknown]:
    return list(diagnose(snapshot(*sockets, **more)).unknown)


def names(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings]


def look(fact: str, extent: str, netns: str | None = "here", why: str | None = "no permission") -> tuple[Look, ...]:
    """An audit's looks with one of them changed."""
    changed = Look(fact, netns, extent, "x", why)
    return (*(known for known in SEEN if (known.fact, known.netns) != (fact, netns)), changed)


def test_a_healthy_host_has_no_findings() -> None:
    """Postfix and Dovecot on their ports, for both versions, a filter on loopback."""
    sockets = [listens(f"{wild}:{port}", POSTFIX) for wild in ("0.0.0.0", "[::]") for port in (25, 465, 587)]
    sockets += [listens(f"{wild}:{port}", DOVECOT) for wild in ("0.0.0.0", "[::]") for port in (110, 143, 993, 995)]
    sockets += [listens("127.0.0.1:11332", held("rspamd", 60)), listens("127.0.0.1:10025", POSTFIX)]
    assert diagnose(snapshot(*sockets)) == ((), ())


# shared-port


def test_two_owners_of_one_endpoint_share_it() -> None:
    """On both wildcards it is one finding with two endpoints."""
    places = ("0.0.0.0:25", "[::]:25")
    (finding,) = found(*(listens(place, holder) for place in places for holder in (POSTFIX, EXIM)))
    assert (finding.name, finding.severity, finding.is_conflict) == ("shared-port", "error", True)
    assert finding.summary == "postfix and exim4 share 0.0.0.0:25: each gets some of the connections"
    assert finding.endpoints == (at("0.0.0.0:25"), at("[::]:25"))
    assert [(p.name, p.unit) for p in finding.parties] == [("postfix", "postfix@-.service"), ("exim4", "exim4.service")]


def test_workers_of_one_unit_share_nothing() -> None:
    """SO_REUSEPORT among the processes of one service is what it is for."""
    workers = [held("nginx", pid, unit="nginx.service", exe="/usr/sbin/nginx") for pid in (5, 6, 7)]
    assert found(*(listens("0.0.0.0:143", worker) for worker in workers)) == []


def test_one_port_on_two_addresses_is_not_shared() -> None:
    """Nor is one port of two protocols, or of two namespaces."""
    assert found(listens("192.0.2.1:25", POSTFIX), listens("192.0.2.2:25", EXIM)) == []
    assert (
        found(listens("0.0.0.0:53", APP), listens("udp 0.0.0.0:53", held("named")), listens("0.0.0.0:25", POSTFIX))
        == []
    )
    other = listens("0.0.0.0:25", held("exim4", 9, container="mx"), netns="container:mx")
    assert found(listens("0.0.0.0:25", POSTFIX), other) == []


def test_two_instances_of_one_product_share_a_port() -> None:
    """They are called by their units, since their names are one."""
    second = held("master", 900, unit="postfix@second.service")
    (finding,) = found(listens("0.0.0.0:25", POSTFIX), listens("0.0.0.0:25", second))
    assert finding.summary.startswith("postfix (postfix@-.service) and postfix (postfix@second.service) share")


def test_who_shares_a_port_may_be_unknown() -> None:
    """Two listeners of which one's holder wasn't seen may be one service's: that is an unknown, not a finding."""
    hidden = listens("0.0.0.0:25", holders_extent="none", inode=9)
    said = diagnose(snapshot(listens("0.0.0.0:25", POSTFIX), hidden, looks=look("holders", "some", None)))
    assert said.findings == ()
    assert ("shared-port",) in [unknown.hides for unknown in said.unknown]


# shadowed-listener


@pytest.mark.parametrize(
    ("specific", "wide", "severity"),
    [
        ("192.0.2.1:25", "0.0.0.0:25", "error"),
        ("[2001:db8::1]:25", "[::]:25", "error"),
        ("127.0.0.1:25", "0.0.0.0:25", "warning"),
        ("192.0.2.1:443", "0.0.0.0:443", "warning"),
    ],
)
def test_a_specific_listener_before_a_wildcard(specific: str, wide: str, severity: str) -> None:
    """On loopback, and on a companion port, it is a warning."""
    (finding,) = found(listens(specific, EXIM), listens(wide, POSTFIX))
    assert (finding.name, finding.severity) == ("shadowed-listener", severity)
    assert finding.summary == f"exim4 on {specific} takes that address from postfix on {wide}"


def test_an_ipv4_wildcard_before_a_dual_stack_one() -> None:
    """It takes IPv4 from a `[::]` that isn't v6only, and nothing from one that is."""
    (finding,) = found(listens("0.0.0.0:25", EXIM), listens("[::]:25", POSTFIX, v6only=False))
    assert finding.summary == "exim4 on 0.0.0.0:25 takes IPv4 from postfix on [::]:25"
    assert found(listens("0.0.0.0:25", EXIM), listens("[::]:25", POSTFIX, v6only=True)) == []


def test_a_specific_listener_of_the_same_owner() -> None:
    """A service that listens on a wildcard and on loopback shadows nobody."""
    assert found(listens("127.0.0.1:25", POSTFIX), listens("0.0.0.0:25", POSTFIX)) == []


def test_a_resolvers_stub_is_no_mail_matter() -> None:
    """It is a companion port: the stub on 127.0.0.53 stays, and the finding is a warning at most."""
    stub = listens("127.0.0.53:53", held("systemd-resolve", 5, exe="/usr/lib/systemd/systemd-resolved"))
    findings = found(stub, listens("0.0.0.0:53", held("dnsmasq", 6, exe="/usr/sbin/dnsmasq")))
    assert [(f.name, f.severity) for f in findings] == [("shadowed-listener", "warning")]


def test_whether_a_wildcard_is_dual_stack_may_be_unknown() -> None:
    """/proc/net doesn't tell v6only: no finding, and the look's reason says what it may hide."""
    sockets = (listens("0.0.0.0:25", EXIM), listens("[::]:25", POSTFIX, v6only=None))
    said = diagnose(snapshot(*sockets, looks=look("listeners", "some", why="/proc/net hides v6only")))
    assert said.findings == ()
    assert any("shadowed-listener" in unknown.hides for unknown in said.unknown)


# redirected-port


def redirect(**more: object) -> Redirect:
    values: dict[str, object] = {
        "kind": "redirect", "hook": "prerouting", "netns": "here", "family": 4, "protocol": "tcp",
        "ports": ((25, 25),), "addresses": (), "local_only": False, "to_address": None, "to_ports": (10825, 10825),
        "when": None, "backend": "nft", "place": "ip nat PREROUTING handle 5", "text": "dport 25 redirect to :10825",
        **more,
    }  # fmt: skip
    return Redirect(**values)  # type: ignore[arg-type]


def test_a_redirect_takes_a_listeners_traffic() -> None:
    """To another program: an error; where the rule asks for more, part of it and a warning."""
    sockets = (listens("0.0.0.0:25", POSTFIX), listens("0.0.0.0:10825", APP))
    (finding,) = found(*sockets, redirects=(redirect(),))
    assert (finding.name, finding.severity) == ("redirected-port", "error")
    assert finding.summary == "traffic to port 25 goes to app on port 10825, not to postfix"
    assert [(p.role, p.name) for p in finding.parties][1:] == [("holder", "postfix"), ("receiver", "app")]
    (finding,) = found(*sockets, redirects=(redirect(when="ip saddr 192.0.2.0/24"),))
    assert (finding.severity, finding.summary.partition(" to ")[0]) == ("warning", "part of the traffic")


def test_a_redirect_to_the_same_program() -> None:
    """A port that a product moves to another of its own ports isn't taken from it."""
    sockets = (listens("0.0.0.0:25", POSTFIX), listens("0.0.0.0:10825", POSTFIX))
    assert found(*sockets, redirects=(redirect(),)) == []


def test_a_redirect_of_a_port_that_nobody_listens_on() -> None:
    """If somebody gets it, that is how it was meant; if nobody does, mail is lost."""
    assert found(listens("0.0.0.0:10825", POSTFIX), redirects=(redirect(),)) == []
    (finding,) = found(redirects=(redirect(),))
    assert (finding.name, finding.severity) == ("redirected-port", "error")
    assert finding.summary == "traffic to port 25 is taken to port 10825, where nobody listens"


def test_where_a_redirect_leads_may_be_unknown() -> None:
    """Without all listeners nobody says that nobody listens."""
    said = diagnose(snapshot(redirects=(redirect(),), looks=look("listeners", "some")))
    assert said.findings == ()
    assert any("redirected-port" in unknown.hides for unknown in said.unknown)


def test_an_engines_rule_for_its_own_publish() -> None:
    """Docker redirects the port that docker-proxy holds: one owner."""
    box = Container(
        "docker", BOX, "mx", state="running", addresses=("172.17.0.2",),
        publishes=(Publish(at("0.0.0.0:25"), "172.17.0.2", 25, "engine API"),),
    )  # fmt: skip
    rule = redirect(kind="dnat", to_address="172.17.0.2", to_ports=(25, 25))
    mine = listens("0.0.0.0:25", held("docker-proxy", 5, container="mx"))
    assert found(mine, containers=(box,), redirects=(rule,)) == []
    (finding,) = found(listens("0.0.0.0:25", POSTFIX), containers=(box,), redirects=(rule,))
    assert finding.summary == "traffic to port 25 goes to container mx port 25, not to postfix"


@pytest.mark.parametrize("port", [25, 465, 587])
def test_mail_that_this_host_sends_is_taken_elsewhere(port: int) -> None:
    """A rule in OUTPUT is a warning: it may be a policy."""
    rule = redirect(hook="output", ports=((port, port),), to_address="192.0.2.9", to_ports=None)
    (finding,) = found(redirects=(rule,))
    assert (finding.name, finding.severity) == ("redirected-port", "warning")
    assert finding.summary == f"outbound connections to port {port} are taken to 192.0.2.9"


def test_a_redirect_of_other_ports() -> None:
    """Web ports, a rule that names no port, and one of another protocol are no mail's."""
    sockets = (listens("0.0.0.0:25", POSTFIX),)
    for rule in (redirect(ports=((8080, 8080),)), redirect(ports=()), redirect(protocol="udp")):
        assert found(*sockets, redirects=(rule,)) == []


# socket-unit-holds-port

DOVECOT_SOCKET = Unit(
    "dovecot.socket", "loaded", "active", "running", "enabled",
    listens=("0.0.0.0:143 (Stream)", "[::]:143 (Stream)"), accept=False, triggers=("dovecot.service",),
)  # fmt: skip


def service(name: str, active: str, **more: object) -> Unit:
    return Unit(name, "loaded", active, more.pop("sub", "running"), "enabled", **more)  # type: ignore[arg-type]


def test_a_socket_unit_holds_its_services_port() -> None:
    """On two addresses it is one finding."""
    sockets = (listens("0.0.0.0:143", INIT), listens("[::]:143", INIT))
    (finding,) = found(*sockets, units=(DOVECOT_SOCKET, service("dovecot.service", "active")))
    assert (finding.name, finding.severity) == ("socket-unit-holds-port", "error")
    assert finding.endpoints == (at("0.0.0.0:143"), at("[::]:143"))
    text = "dovecot.socket holds 0.0.0.0:143; dovecot.service is active without it"
    assert finding.summary == text


@pytest.mark.parametrize("active", ["active", "inactive"])
def test_a_service_that_adopts_its_socket(active: str) -> None:
    """Running with it, or waiting for its first connection, it is healthy."""
    both = (INIT, DOVECOT) if active == "active" else (INIT,)
    assert found(listens("0.0.0.0:143", *both), units=(DOVECOT_SOCKET, service("dovecot.service", active))) == []


def test_a_socket_unit_that_accepts() -> None:
    """Accept=yes starts a service for each connection: pid 1 is meant to hold it."""
    unit = DOVECOT_SOCKET._replace(accept=True, triggers=("dovecot@.service",))
    assert found(listens("0.0.0.0:143", INIT), units=(unit,)) == []


@pytest.mark.parametrize(("active", "severity"), FAILING)
def test_a_socket_unit_of_a_service_that_never_adopts(active: str, severity: str) -> None:
    """Postfix binds by itself: with its port held it fails, or will."""
    unit = Unit("smtp.socket", "loaded", "active", listens=("[::]:25 (Stream)",), triggers=("postfix.service",))
    findings = found(listens("[::]:25", INIT), units=(unit, service("postfix.service", active, result="exit-code")))
    assert [(f.name, f.severity) for f in findings] == [("socket-unit-holds-port", severity)]


def test_who_holds_a_socket_units_port_may_be_unknown() -> None:
    """Without root only the group is seen, init's: whether the service has the socket too isn't known."""
    hidden = listens("0.0.0.0:143", Holder(None, unit="init.scope", seen_by="cgroup"), holders_extent="none")
    hidden = hidden._replace(unit="init.scope")
    units = (DOVECOT_SOCKET, service("dovecot.service", "active"))
    said = diagnose(snapshot(hidden, units=units, looks=look("holders", "some", None)))
    assert said.findings == ()
    assert any("socket-unit-holds-port" in unknown.hides for unknown in said.unknown)


# stale-instance


def stale(unit: str | None, active: str, **more: object) -> list[Finding]:
    """Exim in some unit, beside its own."""
    process = held("exim4", 900, unit=unit)
    units = (service("exim4.service", active, result="exit-code", **more),)
    return found(listens("0.0.0.0:25", process), listens("[::]:25", process), units=units)


@pytest.mark.parametrize("unit", ["session-3.scope", "user@1000.service", None])
@pytest.mark.parametrize(("active", "severity"), FAILING)
def test_a_daemon_outside_its_unit(unit: str | None, active: str, severity: str) -> None:
    """Started by hand, or left over: its own unit isn't running."""
    (finding,) = stale(unit, active)
    assert (finding.name, finding.severity) == ("stale-instance", severity)
    assert finding.endpoints == (at("0.0.0.0:25"), at("[::]:25"))
    assert finding.summary == f"exim, pid 900, runs outside its unit and holds 0.0.0.0:25; exim4.service is {active}"


@pytest.mark.parametrize(
    ("unit", "active", "more"),
    [
        ("exim4.service", "active", {}),
        ("backup-exim.service", "failed", {}),
        ("session-3.scope", "active", {}),
        ("session-3.scope", "failed", {"load": "masked"}),
    ],
)
def test_a_daemon_that_is_where_it_belongs(unit: str, active: str, more: dict[str, str]) -> None:
    """Its own unit runs, or it has another by its own right, or its own is masked."""
    process = held("exim4", 900, unit=unit)
    units = (service("exim4.service", active)._replace(**more),)  # type: ignore[arg-type]
    assert "stale-instance" not in names(found(listens("0.0.0.0:25", process), units=units))


def test_a_containers_daemon_is_not_the_hosts() -> None:
    """The host's unit has nothing to do with it."""
    process = held("exim4", 900, unit="docker-x.scope", container="mx")
    assert found(listens("0.0.0.0:25", process), units=(service("exim4.service", "failed"),)) == []


def test_whether_an_instance_is_stale_may_be_unknown() -> None:
    """A listener that was made in a session, by whom can't be seen, may be one: an error can hide there."""
    hidden = listens("0.0.0.0:25", Holder(None, unit="session-3.scope", seen_by="cgroup"), holders_extent="none")
    hidden = hidden._replace(unit="session-3.scope")
    unknown = unseen(hidden, units=(service("exim4.service", "failed"),), looks=look("holders", "some", None))
    assert any("stale-instance" in one.hides for one in unknown)


# rpc-squatter, ephemeral-collision


def connection(near: str, far: str, *holders: Holder, **more: object) -> Socket:
    values: dict[str, object] = {"holders": holders, "holders_extent": "all", "inode": 55, "autobound": True, **more}
    return Socket(at(near), 4, str(values.pop("state", "established")), at(far), **values)  # type: ignore[arg-type]


def test_an_rpc_program_on_a_mail_port() -> None:
    """One finding, however many addresses; unclaimed-listener isn't given as well."""
    statd = held("rpc.statd", 44)
    (finding,) = found(listens("0.0.0.0:993", statd), listens("[::]:993", statd))
    assert (finding.name, finding.severity) == ("rpc-squatter", "error")
    assert finding.summary == "rpc.statd holds 0.0.0.0:993, the port of imaps"


def test_the_kernels_own_rpc_client_on_a_mail_port() -> None:
    """A mount's connection to an NFS server, which no process holds."""
    (finding,) = found(connection("192.0.2.2:995", "192.0.2.9:2049", autobound=False))
    assert finding.summary == "the kernel's RPC client holds 192.0.2.2:995, the port of pop3s"


def test_the_kernels_rpc_client_heeds_no_file() -> None:
    """bindresvport.blacklist is the C library's: for the kernel it is sunrpc.min_resvport, and nothing restarts."""
    (finding,) = found(connection("192.0.2.2:995", "192.0.2.9:2049", autobound=False))
    text = " ".join(remedy.summary for remedy in finding.remedies)
    assert "sunrpc.min_resvport" in text
    assert "blacklist" not in text


def test_who_holds_a_connection_may_be_unknown() -> None:
    """One that nobody was seen to hold, because nobody was looked for, isn't the kernel's for that."""
    client = connection("192.0.2.2:995", "192.0.2.9:2049", holders_extent="none")
    said = diagnose(snapshot(client, looks=look("holders", "some", None)))
    assert said.findings == ()
    assert any("rpc-squatter" in unknown.hides for unknown in said.unknown)


@pytest.mark.parametrize(
    "socket",
    [
        listens("0.0.0.0:111", held("rpcbind", 5, exe="/usr/sbin/rpcbind")),
        listens("0.0.0.0:704", held("rpc.statd", 5)),
        connection("192.0.2.2:995", "192.0.2.9:2049", state="time-wait"),
        connection("192.0.2.2:995", "192.0.2.9:443", autobound=False),
    ],
)
def test_rpc_on_its_own_ports(socket: Socket) -> None:
    """Its own port, one that isn't mail's, and what has ended are no squatters."""
    assert "rpc-squatter" not in names(found(socket))


def test_a_connection_on_a_mail_port() -> None:
    """The kernel gave it out while nobody listened; several connections from one port are one finding."""
    curl = held("curl", 7)
    sockets = [connection("192.0.2.2:2525", f"192.0.2.{n}:443", curl, inode=n) for n in (9, 10)]
    (finding,) = found(*sockets)
    assert (finding.name, finding.severity) == ("ephemeral-collision", "warning")
    assert finding.summary == "curl holds 192.0.2.2:2525 as the near end of a connection to 192.0.2.9:443"


@pytest.mark.parametrize(
    "socket",
    [
        connection("192.0.2.2:2525", "192.0.2.9:443", autobound=False),
        connection("192.0.2.2:2525", "192.0.2.9:443", autobound=None),
        connection("192.0.2.2:2525", "192.0.2.9:443", state="time-wait"),
        connection("192.0.2.2:2525", "192.0.2.9:51000"),
        connection("192.0.2.2:40000", "192.0.2.9:443"),
    ],
)
def test_connections_that_are_none_of_mails(socket: Socket) -> None:
    """One that came in, or bound by itself, or is over, or on another port."""
    assert found(socket) == []


def test_a_connection_beside_its_listener() -> None:
    """A listener's accepted connections count as chosen by the kernel too, and are no collision."""
    assert found(listens("0.0.0.0:25", POSTFIX), connection("192.0.2.2:25", "192.0.2.9:465", POSTFIX)) == []


RANGE = Setting("net.ipv4.ip_local_port_range", "1024 65535", "here")


def test_a_mail_port_in_the_ephemeral_range() -> None:
    """All such ports of a namespace are one finding, and every address of them is concerned."""
    sockets = [listens(f"{wild}:{port}", DOVECOT) for port in (4190, 2003) for wild in ("0.0.0.0", "[::]")]
    (finding,) = (f for f in found(*sockets, settings=(RANGE,)) if f.name == "ephemeral-collision")
    assert finding.severity == "warning"
    assert finding.summary == "2003, 4190 lie in the ephemeral range 1024-65535, not reserved"
    assert set(finding.endpoints) == {socket.endpoint for socket in sockets}


def test_parties_are_at_their_own_endpoints() -> None:
    """A listener that nobody was seen to hold doesn't lend its endpoint to the next one's holder."""
    sockets = (listens("0.0.0.0:2525", holders_extent="none"), listens("0.0.0.0:4190", DOVECOT))
    findings = [f for f in found(*sockets, settings=(RANGE,)) if f.name == "ephemeral-collision"]
    assert [(p.name, p.endpoint) for f in findings for p in f.parties] == [("dovecot", at("0.0.0.0:4190"))]


@pytest.mark.parametrize(
    "settings",
    [
        (RANGE, Setting("net.ipv4.ip_local_reserved_ports", "993,4000-4200", "here")),
        (RANGE._replace(value="32768 60999"),),
        (RANGE._replace(value="² ²"),),
        (RANGE._replace(value="x"),),
        (RANGE._replace(netns="container:x"),),
        (),
    ],
)
def test_a_mail_port_that_is_safe(settings: tuple[Setting, ...]) -> None:
    """Reserved, outside the range, or of a namespace whose range isn't known."""
    assert found(listens("0.0.0.0:4190", DOVECOT), settings=settings) == []


def test_a_range_that_was_not_seen_whole() -> None:
    """Without the reserved ports nobody says that a port isn't reserved."""
    said = diagnose(snapshot(listens("0.0.0.0:4190", DOVECOT), settings=(RANGE,), looks=look("settings", "some")))
    assert said.findings == ()
    assert [unknown.hides for unknown in said.unknown] == [("ephemeral-collision",)]


# overexposed-listener, unclaimed-listener

BRIDGE = Address("172.17.0.1", 16, "docker0", "here", device_kind="bridge")
LAN = Address("192.0.2.1", 24, "eth0", "here")


@pytest.mark.parametrize("place", ["0.0.0.0:11334", "[::]:11334", "192.0.2.1:11334"])
def test_an_internal_port_that_listens_to_the_world(place: str) -> None:
    """On a wildcard, or on an address that others reach."""
    (finding,) = found(listens(place, held("rspamd", 8)), addresses=(LAN, BRIDGE))
    assert (finding.name, finding.severity, finding.is_conflict) == ("overexposed-listener", "warning", False)
    assert finding.summary == f"rspamd listens on {place} (rspamd-controller), a port for loopback use"


@pytest.mark.parametrize(
    "socket",
    [
        listens("127.0.0.1:11334", held("rspamd", 8)),
        listens("[::1]:11334", held("rspamd", 8)),
        listens("172.17.0.1:11334", held("rspamd", 8)),
        listens("0.0.0.0:11334", held("rspamd", 8, container="mx"), netns="container:mx"),
        listens("0.0.0.0:143", DOVECOT),
        listens("0.0.0.0:9000", held("php-fpm", 5)),
    ],
)
def test_a_port_that_may_listen_there(socket: Socket) -> None:
    """Loopback, a bridge for containers, inside one, a public port, and a number that says nothing."""
    assert found(socket, addresses=(LAN, BRIDGE)) == []


def test_whether_an_address_is_the_worlds_may_be_unknown() -> None:
    """Without the host's addresses a specific one may be a bridge's."""
    said = diagnose(snapshot(listens("172.17.0.1:11334", held("rspamd", 8)), looks=look("addresses", "none")))
    assert said.findings == ()
    assert ("overexposed-listener",) in [unknown.hides for unknown in said.unknown]


def test_a_program_that_is_no_mail_product() -> None:
    """One finding for all its addresses; a warning on a standard port, else a note."""
    (finding,) = found(listens("0.0.0.0:25", APP), listens("[::]:25", APP))
    assert (finding.name, finding.severity) == ("unclaimed-listener", "warning")
    assert finding.summary == "app, pid 77, listens on 0.0.0.0:25 and is no known mail product"
    assert [f.severity for f in found(listens("127.0.0.1:2500", APP))] in ([], ["note"])


@pytest.mark.parametrize("name", ["master", "haproxy", "docker-proxy", "mailpit"])
def test_programs_that_belong_on_a_mail_port(name: str) -> None:
    """A mail product, a proxy, an engine for a container, a catcher."""
    assert found(listens("0.0.0.0:25", held(name, 5))) == []


def test_a_listener_that_no_process_holds() -> None:
    """All were looked at, and none has it: a warning of its own."""
    (finding,) = found(listens("0.0.0.0:587"))
    assert finding.summary == "no process holds 0.0.0.0:587, the port of submission"
    assert found(listens("0.0.0.0:587", holders_extent="none")) == []
    assert [u.hides for u in unseen(listens("0.0.0.0:587", holders_extent="none"))] == [
        ("rpc-squatter", "unclaimed-listener")
    ]


# unreachable-listener

MX = Namespace("container:mx", 7, (50,))


def container(*publishes: Publish, **more: object) -> Container:
    values: dict[str, object] = {"state": "running", "netns": "container:mx", "publishes": publishes, **more}
    return Container("docker", BOX, "mx", **values)  # type: ignore[arg-type]


def inside(where: str) -> Socket:
    return listens(where, held("master", 50, container="mx", unit="docker-x.scope"), netns="container:mx")


def published(*sockets: Socket, box: Container, extent: str = "all") -> list[Finding]:
    looks = (*SEEN, Look("listeners", "container:mx", extent, "sock_diag", None if extent == "all" else "refused"))
    return found(*sockets, containers=(box,), namespaces=(Namespace("here", 1), MX), looks=looks)


PUBLISH = Publish(at("0.0.0.0:25"), "172.17.0.2", 25, "engine API")


def test_a_published_port_that_nothing_listens_on() -> None:
    """For both versions it is one finding, and says where something does."""
    both = container(PUBLISH, PUBLISH._replace(endpoint=at("[::]:25")))
    (finding,) = published(inside("0.0.0.0:2525"), box=both)
    assert (finding.name, finding.severity, finding.is_conflict) == ("unreachable-listener", "error", False)
    assert finding.summary == "container mx is published on 0.0.0.0:25, and nothing in it listens on 25 (but on 2525)"
    assert finding.endpoints == (at("0.0.0.0:25"), at("[::]:25"))


def test_a_published_port_that_is_on_the_containers_loopback() -> None:
    """The engine's traffic comes to the container's own address."""
    (finding,) = published(inside("127.0.0.1:25"), box=container(PUBLISH))
    assert finding.summary == "container mx is published on 0.0.0.0:25, and its listener on 25 is on loopback only"


def test_a_published_port_that_is_served() -> None:
    """Or of a container that isn't running, or of whose inside not all was seen."""
    assert published(inside("0.0.0.0:25"), box=container(PUBLISH)) == []
    assert published(box=container(PUBLISH, state="exited")) == []
    assert published(box=container(PUBLISH), extent="some") == []
    assert published(box=container(PUBLISH, netns=None)) == []


def gate(**more: object) -> Gate:
    values: dict[str, object] = {
        "verdict": "accept", "hook": "input", "netns": "here", "family": 0, "protocol": "tcp", "ports": ((587, 587),),
        "addresses": (), "when": None, "is_policy": False, "backend": "nft", "place": "inet filter input handle 9",
        "text": "tcp dport 587 accept", **more,
    }  # fmt: skip
    return Gate(**values)  # type: ignore[arg-type]


def test_the_firewall_lets_in_what_listens_on_loopback() -> None:
    """An explicit accept shows that it was meant to be reached."""
    (finding,) = found(listens("127.0.0.1:587", POSTFIX), gates=(gate(),))
    assert (finding.name, finding.severity) == ("unreachable-listener", "warning")
    assert finding.summary == "the firewall lets port 587 in, and it is listened on at loopback only"


@pytest.mark.parametrize("more", [{"when": 'iifname "lo"'}, {"is_policy": True, "ports": ()}, {"verdict": "drop"}])
def test_a_gate_that_shows_nothing(more: dict[str, object]) -> None:
    """What is let in on loopback, a policy, and a drop aren't about outsiders."""
    assert found(listens("127.0.0.1:587", POSTFIX), gates=(gate(**more),)) == []
    assert found(listens("0.0.0.0:587", POSTFIX), gates=(gate(),)) == []


# What all findings have in common.


def every_finding() -> list[Finding]:
    """One host a rule, with what each found."""
    statd, by_hand = held("rpc.statd", 44), held("exim4", 9, unit="session-3.scope")
    postfix25 = listens("0.0.0.0:25", POSTFIX)
    hosts: list[Snapshot] = [
        snapshot(postfix25, listens("0.0.0.0:25", EXIM)),
        snapshot(postfix25, listens("0.0.0.0:25", APP)),
        snapshot(postfix25, listens("0.0.0.0:25", held("haproxy", 9))),
        snapshot(listens("192.0.2.1:25", EXIM), postfix25),
        snapshot(postfix25, listens("0.0.0.0:10825", APP), redirects=(redirect(),)),
        snapshot(redirects=(redirect(),)),
        snapshot(redirects=(redirect(hook="output"),)),
        snapshot(listens("0.0.0.0:143", INIT), units=(DOVECOT_SOCKET, service("dovecot.service", "active"))),
        snapshot(listens("0.0.0.0:25", by_hand), units=(service("exim4.service", "failed"),)),
        snapshot(listens("0.0.0.0:993", statd)),
        snapshot(connection("192.0.2.2:2525", "192.0.2.9:443", APP)),
        snapshot(listens("0.0.0.0:4190", DOVECOT), settings=(RANGE,)),
        snapshot(listens("0.0.0.0:11334", held("rspamd", 8))),
        snapshot(listens("0.0.0.0:25", APP)),
        snapshot(listens("0.0.0.0:587")),
        snapshot(listens("127.0.0.1:587", POSTFIX), gates=(gate(),)),
        snapshot(containers=(container(PUBLISH),), looks=(*SEEN, Look("listeners", "container:mx", "all", "x"))),
        *(snapshot(*sockets, attempts=(attempt,)) for sockets, attempt in TRIED),
    ]  # fmt: skip
    return [finding for host in hosts for finding in diagnose(host).findings]


def tried(product: str, where: str | None, errno: str, call: str = "bind", **more: str) -> Attempt:
    """An error line, read."""
    endpoint = at(where) if where else None
    return Attempt(product, product, endpoint, errno, call, line=1, text=f"{product}: {errno}", **more)


ENDED = Socket(at("192.0.2.2:25"), 4, "time-wait", at("192.0.2.9:51000"), holders_extent="all")
PROXY = held("docker-proxy", 5, container="mail")
TRIED: list[tuple[tuple[Socket, ...], Attempt]] = [
    ((listens("127.0.0.1:25", EXIM),), tried("postfix", "0.0.0.0:25", "EADDRINUSE")),
    ((listens("0.0.0.0:25", PROXY),), tried("postfix", "0.0.0.0:25", "EADDRINUSE")),
    ((ENDED,), tried("postfix", "0.0.0.0:25", "EADDRINUSE")),
    ((), tried("postfix", "192.0.2.77:25", "EADDRNOTAVAIL")),
    ((), tried("postfix", "0.0.0.0:25", "EACCES")),
    ((), tried("postfix", "127.0.0.1:8891", "ECONNREFUSED", "connect")),
    ((), tried("dovecot", None, "", "start", path="/run/dovecot/master.pid")),
    ((), tried("docker", None, "", "start", entry="pool")),
    ((), tried("docker", "0.0.0.0:25", "", "publish", container="mail")),
    ((), tried("postfix", "203.0.113.9:25", "ETIMEDOUT", "connect")),
]


NAMES = (
    "port-held",
    "container-publishes-port",
    "lingering-sockets",
    "address-missing",
    "bind-not-permitted",
    "dangling-reference",
    "stale-pid-file",
    "address-pool-clash",
    "misread-port",
    "blocked-upstream",
)


@pytest.mark.parametrize(("tried_there", "name"), list(zip(TRIED, NAMES)), ids=NAMES)
def test_what_an_error_line_really_is(tried_there: tuple[tuple[Socket, ...], Attempt], name: str) -> None:
    """The errno and the facts decide, not the words."""
    sockets, attempt = tried_there
    assert name in names(list(diagnose(snapshot(*sockets, attempts=(attempt,))).findings))


def test_every_rule_finds_something_here() -> None:
    """The hosts above try each rule."""
    assert {finding.name for finding in every_finding()} == {rule.name for rule in RULES}


def test_every_remedy_is_of_a_known_kind() -> None:
    """Plans know how to carry out each; its id begins with it, and its rule has a number."""
    for finding in every_finding():
        assert finding.remedies
        for remedy in finding.remedies:
            assert remedy.kind in remedies.KINDS
            assert remedy.id.startswith(f"{remedy.kind}:")
            assert remedy.rule.partition(":")[0].isdigit()


def test_who_moves_is_a_party() -> None:
    """The name in `moves` is one of the finding's parties'."""
    for finding in every_finding():
        parties = {party.name for party in finding.parties}
        assert {remedy.moves for remedy in finding.remedies} <= parties | {None}


def test_what_is_left_open_is_named() -> None:
    """Where nobody is told to move because a fact isn't known (of two equals), the finding says which fact."""
    for finding in every_finding():
        if any(r.moves is None and r.rule == remedies.RULE_EQUALS for r in finding.remedies):
            assert finding.unknown, finding.summary


def test_first_lines_fit_a_terminal() -> None:
    """With ordinary names a finding's summary has 80 columns at most."""
    assert [f.summary for f in every_finding() if len(f.summary) > 80] == []


def test_severity_is_never_worse_than_the_rule_says() -> None:
    """What the exit status promises of an unknown holds."""
    order = ("note", "warning", "error")
    for finding in every_finding():
        assert order.index(finding.severity) <= order.index(worst_of((finding.name,)))
        assert finding.is_conflict == (finding.name in CONFLICTS)


def test_every_finding_rests_on_evidence() -> None:
    """At least one fact with its source, and its endpoint is the first of its endpoints."""
    for finding in every_finding():
        assert finding.evidence
        assert all(evidence.source for evidence in finding.evidence)
        assert finding.endpoint == (finding.endpoints[0] if finding.endpoints else None)
        assert finding.breaks or finding.endpoint is None


def test_a_fingerprint_stays() -> None:
    """Another pid, inode and start change nothing; another unit does."""
    first, second, third = (
        found(listens("0.0.0.0:25", APP._replace(pid=pid, started_at=str(pid), unit=unit)))[0].fingerprint
        for pid, unit in ((77, "app.service"), (99, "app.service"), (77, "other.service"))
    )
    assert first == second != third
    assert first.startswith("1:")


def test_the_most_severe_comes_first() -> None:
    """Then the lowest port."""
    findings = found(
        listens("0.0.0.0:11334", held("rspamd", 8)),
        listens("0.0.0.0:993", held("rpc.statd", 44)),
        *(listens("0.0.0.0:25", holder) for holder in (POSTFIX, EXIM)),
    )
    assert names(findings) == ["shared-port", "rpc-squatter", "overexposed-listener"]


def test_the_more_particular_name_is_given() -> None:
    """A stranger that shares the MX's port is shared-port, and not unclaimed-listener as well."""
    assert names(found(listens("0.0.0.0:25", POSTFIX), listens("0.0.0.0:25", APP))) == ["shared-port"]
    assert names(found(listens("192.0.2.1:25", APP), listens("0.0.0.0:25", POSTFIX))) == ["shadowed-listener"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_has_a_manual_page(rule: object) -> None:
    """In a fixed form, each section with something in it."""
    name: str = rule.name  # type: ignore[attr-defined]
    page = manual(name)
    assert page is not None
    sections = ("What is true:", "Why it matters:", "How it was seen:", "Ways out:", "Source:")
    places = [page.index(f"\n{section}\n    ") for section in sections]
    assert places == sorted(places)
    assert page.startswith(f"{name}: at worst a")
    assert [line for line in page.split("\n") if len(line) > 115] == []


def test_a_page_says_what_the_finding_is() -> None:
    """Its name, how bad it can be, and whether it is a conflict at all."""
    assert (manual("shared-port") or "").split("\n")[0] == "shared-port: at worst an error, a conflict"
    first = (manual("overexposed-listener") or "").split("\n")[0]
    assert first == "overexposed-listener: at worst a warning, not a conflict"
    assert manual("nonsense") is None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_look_that_failed_names_what_it_may_hide(rule: object) -> None:
    """For each fact that a rule needs, a look that saw nothing is an unknown that names the rule."""
    for fact in rule.needs:  # type: ignore[attr-defined]
        netns = None if fact in ("units", "containers") else "here"
        hidden = {name for one in unseen(looks=look(fact, "none", netns)) for name in one.hides}
        assert rule.name in hidden  # type: ignore[attr-defined]


def test_unknowns_of_one_cause_are_one() -> None:
    """One entry a fact that couldn't be seen, with all that it hides."""
    sockets = [listens(f"0.0.0.0:{port}", holders_extent="none") for port in (25, 25)]
    unknown = unseen(*sockets, looks=look("holders", "some", None, "no permission to read 5 processes"))
    assert len({(one.what, one.why) for one in unknown}) == len(unknown)
