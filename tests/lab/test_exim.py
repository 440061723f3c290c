"""Exim as Debian installs it: on loopback only, for local delivery."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .machine import machine
from .scene import Seen, holders, look


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """A default Exim, started by its init script."""
    with machine("exim") as mx:
        mx.until_listening(25)
        yield look(mx)


def test_the_stage_is_exim_on_loopback(seen: Seen) -> None:
    """It listens on both loopback addresses and nowhere else."""
    assert {(each.address, each.port, *each.names) for each in seen.listeners} == {
        ("127.0.0.1", 25, "exim4"),
        ("::1", 25, "exim4"),
    }


def test_a_local_mta_is_no_finding(seen: Seen) -> None:
    """That nobody outside reaches it is what a machine without mail service wants."""
    assert seen.findings() == []


def test_status_shows_it_under_its_unit(seen: Seen) -> None:
    """A unit that systemd generates from an init script counts like any other."""
    listeners = seen.status_of(25)
    assert {each["endpoint"]["address"] for each in listeners} == {"127.0.0.1", "::1"}
    for listener in listeners:
        assert (holders(listener, "name"), holders(listener, "unit")) == ({"exim4"}, {"exim4.service"})
