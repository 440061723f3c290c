"""What systemctl prints, as people paste it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailports.pasted.found import Dress, Found, Line
from mailports.pasted.systemd import READERS

STATUS = """\
\u00d7 postfix@-.service - Postfix Mail Transport Agent (instance -)
     Loaded: loaded (/lib/systemd/system/postfix@.service; enabled-runtime; vendor preset: enabled)
     Active: failed (Result: exit-code) since Tue 2026-11-24 15:32:47 UTC; 1s ago
   Duration: 87ms
TriggeredBy: ● smtp.socket
       Docs: man:postfix(1)
    Process: 494 ExecStart=/usr/sbin/postmulti -i - -p start (code=exited, status=1/FAILURE)
   Main PID: 500 (code=exited, status=1/FAILURE)
        CPU: 403ms
"""
RUNNING = """\
● dovecot.service - Dovecot IMAP/POP3 email server
   Loaded: loaded (/lib/systemd/system/dovecot.service; disabled; vendor preset: enabled)
   Active: active (running) since Mon 2020-01-06 10:00:00 UTC; 2 days ago
     Docs: man:dovecot(1)
           https://doc.dovecot.org/
 Main PID: 741 (dovecot)
    Tasks: 4 (limit: 4915)
   CGroup: /system.slice/dovecot.service
           ├─741 /usr/sbin/dovecot -F
           └─744 dovecot/config
"""
SOCKET = """\
● smtp.socket
     Loaded: loaded (/etc/systemd/system/smtp.socket; static)
     Active: active (listening) since Tue 2026-11-24 15:32:43 UTC; 4s ago
   Triggers: ● postfix@-.service
     Listen: [::]:25 (Stream)
             0.0.0.0:587 (Stream)
   Accepted: 0; Connected: 0;
     CGroup: /system.slice/smtp.socket
"""
LIST = """\
LISTEN                       UNIT                            ACTIVATES
/run/dbus/system_bus_socket  dbus.socket                     dbus.service
0.0.0.0:143                  dovecot.socket                  dovecot.service
[::]:143
[::]:25                      smtp.socket                     postfix@-.service

4 sockets listed.
Pass --all to see loaded but inactive sockets, too.
"""


def read(text: str, command: str | None = None) -> Found | None:
    """Return what the readers make of a text."""
    lines = [Line(0, command, is_command=True)] if command else []
    lines += [Line(i, row) for i, row in enumerate(text.splitlines(), 1)]
    at = 1 if command else 0
    return next(filter(None, (reader(lines, at, "here") for reader in READERS)), None)


def test_a_failed_unit() -> None:
    """The reason is its result; a process that ended isn't its main process."""
    found = read(STATUS)
    assert found is not None
    (unit,) = found.units
    assert found.kind == "systemctl status postfix@-.service"
    assert found.taken == len(STATUS.splitlines())
    assert (unit.load, unit.active, unit.sub, unit.result) == ("loaded", "failed", "failed", "exit-code")
    assert (unit.enabled, unit.main_pid, unit.triggered_by) == ("enabled-runtime", 0, ("smtp.socket",))


def test_a_running_unit() -> None:
    """Main process, control group, and what an older systemd prints."""
    found = read(RUNNING)
    assert found is not None
    (unit,) = found.units
    assert (unit.active, unit.sub, unit.enabled, unit.main_pid) == ("active", "running", "disabled", 741)
    assert unit.cgroup == "/system.slice/dovecot.service"
    assert found.taken == len(RUNNING.splitlines())


def test_a_socket_unit() -> None:
    """Where it listens is spelled as systemd does, and Accepted is Accept=yes."""
    found = read(SOCKET)
    assert found is not None
    (unit,) = found.units
    assert unit.listens == ("[::]:25 (Stream)", "0.0.0.0:587 (Stream)")
    assert (unit.accept, unit.triggers) == (True, ("postfix@-.service",))


def test_the_log_is_left() -> None:
    """The blank line belongs to the status, the log lines to others; then comes the next unit."""
    lines = [Line(i, row) for i, row in enumerate((STATUS + "\nfatal: bind 0.0.0.0 port 25").splitlines(), 1)]
    lines[-1] = lines[-1]._replace(dress=Dress(program="postfix/master"))
    lines += [Line(i, row) for i, row in enumerate(SOCKET.splitlines(), 20)]
    found = READERS[0](lines, 0, "here")
    assert found is not None
    assert found.taken == len(STATUS.splitlines()) + 1
    assert READERS[0](lines, found.taken, "here") is None
    again = READERS[0](lines, found.taken + 1, "here")
    assert again is not None
    assert again.units[0].name == "smtp.socket"


def test_units_that_are_not_there_or_masked() -> None:
    """Their load state says so."""
    masked = read(
        "○ exim4.service\n     Loaded: masked (Reason: Unit exim4.service is masked.)\n     Active: inactive (dead)"
    )
    missing = read(
        "○ x.service\n     Loaded: not-found (Reason: Unit x.service not found.)\n     Active: inactive (dead)"
    )
    assert masked is not None
    assert missing is not None
    assert [(u.load, u.active, u.sub, u.enabled) for u in (*masked.units, *missing.units)] == [
        ("masked", "inactive", "dead", None),
        ("not-found", "inactive", "dead", None),
    ]


def test_a_status_without_its_first_line() -> None:
    """The unit's file names it, unless it is a template's."""
    found = read("\n".join(RUNNING.splitlines()[1:]))
    assert found is not None
    assert found.units[0].name == "dovecot.service"
    assert read("\n".join(STATUS.splitlines()[1:])) is None


def test_list_sockets() -> None:
    """A unit that isn't repeated is the one above."""
    found = read(LIST, "systemctl list-sockets")
    assert found is not None
    assert {u.name: (u.listens, u.triggers) for u in found.units} == {
        "dbus.socket": (("/run/dbus/system_bus_socket",), ("dbus.service",)),
        "dovecot.socket": (("0.0.0.0:143 (Stream)", "[::]:143 (Stream)"), ("dovecot.service",)),
        "smtp.socket": (("[::]:25 (Stream)",), ("postfix@-.service",)),
    }
    assert found.taken == len(LIST.splitlines())


def test_show() -> None:
    """One block, its name from Id or from the command."""
    text = "MainPID=0\nResult=exit-code\nActiveState=failed\nSubState=failed"
    named = read(f"{text}\nId=exim4.service")
    asked = read(text, "systemctl show exim4 -p MainPID -p Result")
    unknown = read(text)
    assert named is not None
    assert asked is not None
    assert unknown is not None
    assert [(u.name, u.active, u.result) for u in named.units] == [("exim4.service", "failed", "exit-code")]
    assert [u.name for u in asked.units] == ["exim4.service"]
    assert unknown.units == ()


def test_answers() -> None:
    """A word means something only after its command."""
    assert read("active") is None
    found = read("active\ninactive", "systemctl is-active postfix exim4")
    assert found is not None
    assert [(u.name, u.active) for u in found.units] == [("postfix.service", "active"), ("exim4.service", "inactive")]
    found = read("masked", "systemctl is-enabled exim4")
    assert found is not None
    assert found.units[0].enabled == "masked"


def test_look_alikes_are_none() -> None:
    """A unit file, an environment and prose aren't taken."""
    for text in ("Type=simple\nExecStart=/bin/true", "PATH=/bin", "Loaded: yes", "smtp.socket is in the way"):
        assert read(text) is None


PIECES = st.sampled_from(
    [*STATUS.splitlines(), *RUNNING.splitlines(), *SOCKET.splitlines(), *LIST.splitlines(), "Id=x"]
)
CUT = st.builds(lambda row, a, b: row[a:b], PIECES, st.integers(0, 60), st.integers(0, 300))


@given(st.lists(st.one_of(PIECES, CUT, st.text(max_size=80)), min_size=1, max_size=12), st.booleans())
def test_any_lines_give_found_or_none(rows: list[str], is_asked: bool) -> None:
    """No text raises, and what is taken is there."""
    lines = [Line(0, "systemctl is-active a b", is_command=True)] if is_asked else []
    lines += [Line(i, row) for i, row in enumerate(rows, 1)]
    for reader in READERS:
        for at in range(len(lines)):
            found = reader(lines, at, "here")
            assert found is None or 1 <= found.taken <= len(lines) - at
