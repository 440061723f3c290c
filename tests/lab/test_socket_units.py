"""Socket units: those that keep a service from its port, and those that serve it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .machine import Machine, machine
from .scene import Seen, look, parties

BINDS_BY_ITSELF = """\
import os, signal, socket, sys
os.closerange(3, 1024)  # as daemons do: whatever they were given, a listening socket included
listener = socket.socket()
try:
    listener.bind(("0.0.0.0", int(sys.argv[1])))
    listener.listen()
except OSError as error:
    print(error, file=sys.stderr)  # and stays, as daemons do that try again later
signal.pause()
"""


def socket_unit(mx: Machine, name: str, port: int, service: str, *, accept: bool = False) -> None:
    """Start a socket unit on a TCP port, for a service unit that is there already or never will be."""
    target = "" if accept else f"Service={service}\n"
    mx.write(
        f"/etc/systemd/system/{name}.socket",
        f"[Socket]\nListenStream={port}\nAccept={'yes' if accept else 'no'}\n{target}",
    )
    mx.run("systemctl", "daemon-reload")
    mx.run("systemctl", "start", f"{name}.socket")


def postfix_after_a_socket_unit_on_25(mx: Machine) -> None:
    """Postfix knows nothing of socket activation: it can't bind, and its unit fails."""
    mx.run("systemctl", "stop", "postfix", "postfix@-.service")
    mx.until("[ -z \"$(ss -tlnH 'sport = :25')\" ]")
    socket_unit(mx, "smtp", 25, "postfix@-.service")
    mx.attempt("systemctl", "start", "postfix@-.service")


def a_daemon_that_stays_after_a_socket_unit_on_587(mx: Machine) -> None:
    """Its bind failed too, but it runs on, so that its unit is active without any listener."""
    mx.write("/usr/local/lib/submit.py", BINDS_BY_ITSELF)
    command = "/usr/bin/python3 /usr/local/lib/submit.py 587"
    mx.write("/etc/systemd/system/submit.service", f"[Service]\nExecStart={command}\n")
    socket_unit(mx, "submit", 587, "submit.service")
    mx.run("systemctl", "start", "submit.service")


def dovecot_by_its_socket_unit(mx: Machine) -> None:
    """Dovecot adopts the descriptors for 143 and 993, and binds the other ports itself."""
    mx.run("systemctl", "stop", "dovecot.service")
    mx.run("systemctl", "start", "dovecot.socket")
    mx.run("systemctl", "start", "dovecot.service")


def a_program_for_each_connection_on_4190(mx: Machine) -> None:
    """With Accept=yes the socket never leaves systemd, which starts an instance for each connection."""
    mx.write("/etc/systemd/system/echo@.service", "[Service]\nStandardInput=socket\nExecStart=/bin/cat\n")
    socket_unit(mx, "echo", 4190, "echo@.service", accept=True)


def a_service_that_waits_for_its_first_connection_on_24(mx: Machine) -> None:
    """Nothing runs yet, and nobody can say whether the service will adopt the socket."""
    mx.write("/etc/systemd/system/deliver.service", "[Service]\nExecStart=/usr/local/lib/unknown\n")
    socket_unit(mx, "deliver", 24, "deliver.service")


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """Two socket units in the way, beside three that are as they should be."""
    with machine("mail") as mx:
        postfix_after_a_socket_unit_on_25(mx)
        a_daemon_that_stays_after_a_socket_unit_on_587(mx)
        dovecot_by_its_socket_unit(mx)
        a_program_for_each_connection_on_4190(mx)
        a_service_that_waits_for_its_first_connection_on_24(mx)
        mx.until_listening(24, 25, 110, 143, 587, 993, 4190)
        yield look(mx)


def test_the_stage_is_five_socket_units(seen: Seen) -> None:
    """Only systemd has the sockets, but for Dovecot, which shares two of them; units are as told above."""
    names = {port: {name for each in seen.listeners if each.port == port for name in each.names} for port in STAGE}
    assert names == STAGE
    states = {unit: seen.units[unit]["ActiveState"] for unit in STATES}
    assert states == STATES


def test_a_socket_unit_that_keeps_its_service_out_is_found(seen: Seen) -> None:
    """The unit that failed and the one that runs without its listener, and no other."""
    assert seen.ports("socket-unit-holds-port") == {25, 587}


@pytest.mark.parametrize(
    ("port", "units"),
    [(25, {"smtp.socket", "postfix@-.service"}), (587, {"submit.socket", "submit.service"})],
)
def test_both_units_are_named(seen: Seen, port: int, units: set[str]) -> None:
    """The one that holds the port and the one that wants it, as parties and in the first line."""
    finding = seen.the_finding("socket-unit-holds-port", port)
    assert finding["is_conflict"]
    assert units <= parties(finding, "unit") | parties(finding, "name")
    assert [unit for unit in sorted(units) if unit not in finding["summary"]] == []


def test_it_is_the_only_finding_about_the_port(seen: Seen) -> None:
    """The more particular name wins: not port-held, not not-listening as well."""
    assert (seen.names_on(25), seen.names_on(587)) == ({"socket-unit-holds-port"}, {"socket-unit-holds-port"})


@pytest.mark.parametrize("port", [143, 993], ids=["imap", "imaps"])
def test_a_service_that_adopts_its_descriptors_is_silent(seen: Seen, port: int) -> None:
    """Dovecot by dovecot.socket is healthy."""
    assert seen.names_on(port) == set()


def test_an_accepting_socket_unit_is_no_socket_unit_in_the_way(seen: Seen) -> None:
    """That its service never has the listening socket is how Accept=yes works."""
    assert "socket-unit-holds-port" not in seen.names_on(4190)


def test_a_socket_unit_that_waits_is_no_socket_unit_in_the_way(seen: Seen) -> None:
    """Nothing is wrong before the first connection."""
    assert "socket-unit-holds-port" not in seen.names_on(24)


STAGE = {
    24: {"systemd"},
    25: {"systemd"},
    143: {"systemd", "dovecot"},
    587: {"systemd"},
    993: {"systemd", "dovecot"},
    4190: {"systemd"},
}
STATES = {
    "postfix@-.service": "failed",
    "submit.service": "active",
    "dovecot.service": "active",
    "dovecot.socket": "active",
    "echo.socket": "active",
    "deliver.socket": "active",
}
