"""RPC programs that take a mail port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .machine import machine
from .scene import Seen, look, parties


@pytest.fixture(scope="module")
def squatted() -> Iterator[Seen]:
    """rpc.statd on 993, where `bindresvport` may well put it; here by its option, to be sure."""
    with machine("rpc") as nfs:
        nfs.run("systemctl", "stop", "rpc-statd")
        nfs.run("rpc.statd", "-p", "993")
        nfs.until_listening(993)
        yield look(nfs)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Seen]:
    """rpc.statd under its unit, on the random port that it gets."""
    with machine("rpc") as nfs:
        nfs.run("systemctl", "start", "rpc-statd")
        nfs.until("ss -tlnpH | grep -q rpc.statd")
        yield look(nfs)


def test_the_stage_is_statd_on_993(squatted: Seen) -> None:
    """It listens there for IPv4 and IPv6."""
    assert {(each.address, *each.names) for each in squatted.listeners if each.port == 993} == {
        ("0.0.0.0", "rpc.statd"),
        ("::", "rpc.statd"),
    }


def test_the_stage_beside_it_is_statd_on_no_mail_port(elsewhere: Seen) -> None:
    """Its TCP port is an ephemeral one."""
    assert {each.port for each in elsewhere.listeners if "rpc.statd" in each.names}.isdisjoint({993, 995})


def test_statd_on_993_is_a_squatter(squatted: Seen) -> None:
    """It is named as what it is, not as an unknown listener on top."""
    assert squatted.names_on(993) == {"rpc-squatter"}
    finding = squatted.the_finding("rpc-squatter", 993)
    assert finding["is_conflict"]
    assert "rpc.statd" in parties(finding, "name") | {finding["summary"].split()[0]}


def test_statd_on_a_port_of_its_own_is_silent(elsewhere: Seen) -> None:
    """An RPC program is no finding as long as it sits on no mail port."""
    assert elsewhere.findings() == []
