"""A mail server started by hand, so that its own service can't start; and second instances, which may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .machine import Machine, machine
from .scene import Seen, holders, look, parties

BY_HAND = {
    "session": ("postfix", "start"),
    "scope": ("systemd-run", "--scope", "--quiet", "--unit=by-hand", "postfix", "start"),
}


def second_postfix_on_587(mx: Machine) -> None:
    """A Postfix with its own configuration, under its own unit file."""
    mx.sh("""
        cp -a /etc/postfix /etc/postfix-out
        postconf -c /etc/postfix-out -e queue_directory=/var/spool/postfix-out data_directory=/var/lib/postfix-out
        sed -i 's/^smtp  *inet/submission inet/' /etc/postfix-out/master.cf
        install -d /var/spool/postfix-out
        install -d -o postfix /var/lib/postfix-out
    """)
    mx.write(
        "/etc/systemd/system/postfix-out.service",
        """\
[Service]
Type=forking
GuessMainPID=no
ExecStart=/usr/sbin/postfix -c /etc/postfix-out start
ExecStop=/usr/sbin/postfix -c /etc/postfix-out stop

[Install]
WantedBy=multi-user.target
""",
    )
    mx.run("systemctl", "enable", "--now", "postfix-out.service")
    mx.until_listening(587)


@pytest.fixture(scope="module", params=BY_HAND, ids=str)
def stale(request: pytest.FixtureRequest) -> Iterator[Seen]:
    """Postfix runs by hand, its unit has failed because of that, and a second instance is fine."""
    with machine("mail") as mx:
        second_postfix_on_587(mx)
        mx.run("systemctl", "stop", "postfix", "postfix@-.service")
        mx.until("[ -z \"$(ss -tlnH 'sport = :25')\" ]")
        mx.run(*BY_HAND[request.param])
        mx.until_listening(25)
        mx.attempt("systemctl", "start", "postfix@-.service")
        yield look(mx)


@pytest.fixture(scope="module")
def healthy() -> Iterator[Seen]:
    """Two instances of Postfix, each under its own unit."""
    with machine("mail") as mx:
        second_postfix_on_587(mx)
        mx.until_listening(25)
        yield look(mx)


def test_the_stage_is_postfix_outside_its_failed_unit(stale: Seen) -> None:
    """What holds 25 is in a scope, and the unit that should hold it has failed."""
    assert {unit for each in stale.listeners if each.port == 25 for unit in map(stale.unit_of, each.pids)} <= {
        "session-1.scope",
        "by-hand.scope",
    }
    assert stale.units["postfix@-.service"]["ActiveState"] == "failed"
    assert stale.units["postfix-out.service"]["ActiveState"] == "active"


def test_the_stage_beside_it_is_two_units_with_a_postfix_each(healthy: Seen) -> None:
    """Each master is in the control group of its own unit."""
    where = {each.port: {healthy.unit_of(pid) for pid in each.pids} for each in healthy.listeners}
    assert (where[25], where[587]) == ({"postfix@-.service"}, {"postfix-out.service"})


def test_the_daemon_started_by_hand_is_stale(stale: Seen) -> None:
    """It is found on 25 alone, under this one name."""
    assert stale.ports("stale-instance") == {25}
    assert stale.names_on(25) == {"stale-instance"}


def test_holder_and_service_are_named(stale: Seen) -> None:
    """Who has the port (by pid) and which unit wants it."""
    finding = stale.the_finding("stale-instance", 25)
    assert finding["is_conflict"]
    assert parties(finding, "pid") & {pid for each in stale.listeners if each.port == 25 for pid in each.pids}
    assert "postfix@-.service" in parties(finding, "unit") | parties(finding, "name")


def test_status_shows_where_the_daemon_really_is(stale: Seen) -> None:
    """The unit beside a holder is the one that it is in, not the one that it should be in."""
    for listener in stale.status_of(25):
        assert holders(listener, "unit") <= {"session-1.scope", "by-hand.scope"}
        assert listener["findings"] == ["stale-instance"]


def test_a_second_instance_beside_a_stale_one_is_silent(stale: Seen) -> None:
    """It runs by its own right, with its own configuration."""
    assert stale.names_on(587) == set()


def test_two_instances_under_their_units_are_silent(healthy: Seen) -> None:
    """Neither is stale, and neither is in the other's way."""
    assert healthy.ports("stale-instance", "port-held") == set()
    assert [f["summary"] for f in healthy.findings() if f["is_conflict"]] == []
