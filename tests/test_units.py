"""What systemd says of the units that matter to a socket."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machine_tree import Tree
from mailports.model.facts import Unit
from mailports.observe.units import decode_show, is_unit_name, read_units

bounded = settings(max_examples=100, deadline=None)

SHOWN = b"""\
Type=notify
Restart=no
MainPID=0
NRestarts=0
Result=exit-code
ControlGroup=
Id=exim4.service
WantedBy=multi-user.target
Conflicts=shutdown.target postfix.service
LoadState=loaded
ActiveState=failed
SubState=failed
UnitFileState=enabled

Listen=0.0.0.0:143 (Stream)
Listen=[::]:143 (Stream)
Accept=no
Result=success
ControlGroup=/system.slice/dovecot.socket
Id=dovecot.socket
RequiredBy=dovecot.service
WantedBy=sockets.target
Conflicts=shutdown.target
Triggers=dovecot.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled

MainPID=812
NRestarts=3
Result=success
ControlGroup=/system.slice/system-postfix.slice/postfix@-.service
Id=postfix@-.service
WantedBy=
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled-runtime
TriggeredBy=postfix.path

Id=nowhere.service
LoadState=not-found
ActiveState=inactive
SubState=dead

Id=sendmail.service
LoadState=masked
ActiveState=inactive
SubState=dead
UnitFileState=masked
"""


def units() -> dict[str, Unit]:
    """Those of the sample, by name."""
    return {unit.name: unit for unit in decode_show(SHOWN)}


def test_a_unit_that_failed() -> None:
    """Its state, why, who pulls it in, and which other unit it would stop."""
    assert units()["exim4.service"] == Unit(
        "exim4.service", "loaded", "failed", "failed", "enabled", "exit-code",
        pulled_in_by=("multi-user.target",), conflicts=("postfix.service",),
    )  # fmt: skip


def test_a_socket_unit_with_two_addresses() -> None:
    """Each Listen= line is kept, in order and as systemd spells it."""
    unit = units()["dovecot.socket"]
    assert unit.listens == ("0.0.0.0:143 (Stream)", "[::]:143 (Stream)")
    assert (unit.accept, unit.triggers) == (False, ("dovecot.service",))
    assert unit.pulled_in_by == ("dovecot.service", "sockets.target")


def test_an_instance_of_a_template() -> None:
    """It is called by its own name."""
    unit = units()["postfix@-.service"]
    assert (unit.main_pid, unit.restarts, unit.enabled, unit.accept) == (812, 3, "enabled-runtime", None)
    assert unit.triggered_by == ("postfix.path",)
    assert unit.cgroup == "/system.slice/system-postfix.slice/postfix@-.service"


def test_units_that_do_not_exist_are_left_out() -> None:
    """A masked one exists."""
    assert set(units()) == {"exim4.service", "dovecot.socket", "postfix@-.service", "sendmail.service"}
    assert units()["sendmail.service"].load == "masked"


def test_a_value_may_hold_an_equals_sign() -> None:
    """Only the first one separates."""
    (unit,) = decode_show(b"Id=a=b.service\nLoadState=loaded\n")
    assert unit.name == "a=b.service"


@given(st.binary(max_size=300))
@bounded
def test_any_bytes_give_units(text: bytes) -> None:
    """No output raises, and all text is printable."""
    for unit in decode_show(b"Id=a.service\n" + text):
        assert unit.name.isprintable()
        assert all(word.isprintable() for word in (*unit.listens, *unit.triggers, *unit.conflicts))


@given(st.sampled_from((b"MainPID", b"NRestarts", b"Accept", b"Id", b"Listen")), st.text(max_size=6))
@bounded
def test_any_value_gives_a_unit(key: bytes, value: str) -> None:
    """What should be a number and isn't one counts as 0."""
    text = b"Id=a.service\n" + key + b"=" + value.replace("\n", "").encode("utf-8", "replace") + b"\n"
    assert all(isinstance(unit.main_pid, int) for unit in decode_show(text))


def test_a_number_that_is_none() -> None:
    """A superscript counts as a digit to str.isdigit(), and isn't a number."""
    assert decode_show("Id=a.service\nMainPID=²\n".encode())[0].main_pid == 0


# Names.


@pytest.mark.parametrize(
    "name",
    ["exim4.service", "postfix@-.service", "dovecot.socket", "session-3.scope", "a\\x2db.service", "user@1000.service"],
)
def test_names_that_may_be_asked_for(name: str) -> None:
    """What systemd itself calls units."""
    assert is_unit_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "--help.service", "-a.service", "*.service", "[a].service", "a?.service", "exim4", "x.mount", ".service/../x",
        "", "a b.service", "a\n.service", "$(x).service", "é.service", "²@x.service", "x" * 300 + ".service",
    ],
)  # fmt: skip
def test_names_that_are_refused(name: str) -> None:
    """No option, no pattern, no other kind, and nothing that systemd couldn't call a unit."""
    assert not is_unit_name(name)


# Asking.

PROPERTIES = (
    "--property=Id,LoadState,ActiveState,SubState,UnitFileState,Result,MainPID,NRestarts,ControlGroup,Listen,Accept,"
    "Triggers,TriggeredBy,WantedBy,RequiredBy,Conflicts"
)
SYSTEMD = {"/run/systemd/system/x": ""}


def asked(*names: str) -> tuple[str, ...]:
    """The one command that is run."""
    return ("systemctl", "show", "--no-pager", PROPERTIES, "--", *names)


def test_all_names_are_asked_for_at_once() -> None:
    """Those that aren't a unit's aren't asked for; socket units come by a pattern of our own."""
    tree = Tree(SYSTEMD, programs={asked("dovecot.socket", "exim4.service", "*.socket"): SHOWN})
    units, look = read_units(tree, ["exim4.service", "dovecot.socket", "--version"], every_socket=True)
    assert (len(units), look.extent) == (4, "all")


def test_a_machine_without_systemd_has_no_units() -> None:
    """That is known, rather than unknown."""
    units, look = read_units(Tree(), ["exim4.service"], every_socket=True)
    assert (units, look.extent) == ([], "all")


def test_systemctl_that_cannot_be_run_leaves_units_unknown() -> None:
    """The look says why."""
    units, look = read_units(Tree(SYSTEMD), ["exim4.service"], every_socket=False)
    assert (units, look.extent, look.why) == ([], "none", "can't run systemctl: no such program")


def test_more_units_than_are_asked_for_at_once() -> None:
    """Then not all were seen, and the look says so."""
    names = [f"u{n:03}.service" for n in range(201)]
    tree = Tree(SYSTEMD, programs={asked(*names[:200]): SHOWN, asked(*names[200:]): SHOWN, asked(*names): SHOWN})
    _, look = read_units(tree, names, every_socket=False)
    assert look.extent == "some" or "u200.service" in " ".join(tree.asked)
