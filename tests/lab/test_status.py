"""`mailports status` on a mail server as Debian installs it, against ss and systemd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .machine import machine
from .scene import Seen, holders, look

MAIL_PORTS = {25, 110, 143, 993, 995}


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """Postfix and Dovecot, each under its own unit, on their default ports."""
    with machine("mail") as mx:
        mx.until_listening(*MAIL_PORTS)
        yield look(mx)


def test_the_stage_is_postfix_and_dovecot(seen: Seen) -> None:
    """The master of each listens for IPv4 and IPv6 on every mail port."""
    assert {each.port for each in seen.listeners} == MAIL_PORTS
    assert {(each.address, *each.names) for each in seen.listeners if each.port == 25} == {
        ("0.0.0.0", "master"),
        ("::", "master"),
    }
    assert len(seen.listeners) == 2 * len(MAIL_PORTS)


def test_listeners_are_those_of_ss(seen: Seen) -> None:
    """Not one more, not one less."""
    ours = [(each["endpoint"]["address"], each["endpoint"]["port"]) for each in seen.here()]
    assert sorted(ours) == sorted((each.address, each.port) for each in seen.listeners)


def test_holders_are_those_of_ss(seen: Seen) -> None:
    """Every process that has the socket is named, and the search says that it was whole."""
    for listener in seen.listeners:
        (ours,) = [each for each in seen.status_of(listener.port) if each["endpoint"]["address"] == listener.address]
        assert ours["holders_extent"] == "all"
        assert holders(ours, "pid") == listener.pids
        assert holders(ours, "name") == listener.names


def test_units_are_those_of_systemd(seen: Seen) -> None:
    """Each holder's unit is the one whose control group has the process."""
    for listener in seen.here():
        for holder in listener["holders"]:
            assert holder["unit"] == seen.unit_of(holder["pid"]), holder


def test_postfix_is_in_the_instance_that_really_runs(seen: Seen) -> None:
    """Debian's postfix.service runs /bin/true; the unit to act on is the template's instance."""
    assert {unit for each in seen.status_of(25) for unit in holders(each, "unit")} == {"postfix@-.service"}


def test_main_pids_agree_where_systemd_knows_one(seen: Seen) -> None:
    """Dovecot's main process, as systemd has it, is the holder of its ports."""
    assert {int(seen.units["dovecot.service"]["MainPID"])} == holders(seen.status_of(993)[0], "pid")


def test_ports_have_their_service_names(seen: Seen) -> None:
    """IANA's name of each port stands beside it."""
    names = {port: {each["service"] for each in seen.status_of(port)} for port in MAIL_PORTS}
    assert names == {25: {"smtp"}, 110: {"pop3"}, 143: {"imap"}, 993: {"imaps"}, 995: {"pop3s"}}


def test_a_healthy_server_has_no_error(seen: Seen) -> None:
    """Nothing conflicts on a default installation."""
    assert [f["summary"] for f in seen.findings() if f["severity"] == "error" or f["is_conflict"]] == []
