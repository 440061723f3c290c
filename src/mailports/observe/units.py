"""What systemd says of the units that matter to the sockets: one `systemctl show` for all of them.

Source: systemctl(1), org.freedesktop.systemd1(5); output of systemd 252 and 257.
"""

from __future__ import annotations

from mailports.faults import HostError
from mailports.model.facts import ALL, NONE, SOME, Look, Unit, natural, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailports.door import Host

_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,Result,MainPID,NRestarts,ControlGroup,Listen,Accept,"
    "Triggers,TriggeredBy,WantedBy,RequiredBy,Conflicts"
)
_UNITS_AT_ONCE = 200


def read_units(host: Host, names: Iterable[str], *, every_socket: bool) -> tuple[list[Unit], Look]:
    """Return the named units that exist, and how far systemd could be asked.

    Args:
        host: the machine; must be seen from the namespace that systemd is in, which any is.
        names: unit names; those that systemd doesn't know are left out.
        every_socket: the loaded socket units too, whichever they are.
    """
    named = sorted({name for name in names if is_unit_name(name)})
    wanted = named[:_UNITS_AT_ONCE]
    if every_socket:
        wanted.append("*.socket")
    try:
        host.names("/run/systemd/system")
    except HostError:
        return [], Look("units", None, ALL, "systemctl", "systemd doesn't run this machine: there are none")
    if not wanted:
        return [], Look("units", None, ALL, "systemctl")
    try:
        ran = host.run(("systemctl", "show", "--no-pager", f"--property={_PROPERTIES}", "--", *wanted))
    except HostError as error:
        return [], Look("units", None, NONE, "systemctl", str(error))
    if ran.status != 0 and not ran.stdout:
        why = printable(ran.stderr.strip().split(b"\n")[0][:200]) or f"systemctl ended with {ran.status}"
        return [], Look("units", None, NONE, "systemctl", why)
    why = "systemctl printed more than is read" if ran.is_cut else ""
    if len(named) > _UNITS_AT_ONCE:
        why = f"only {_UNITS_AT_ONCE} of {len(named)} units were asked for"
    return decode_show(ran.stdout), Look("units", None, SOME if why else ALL, "systemctl", why or None)


def decode_show(text: bytes) -> list[Unit]:
    """Return the units of `systemctl show`: blocks of KEY=VALUE, a blank line between. Never raises."""
    units = []
    for block in text.split(b"\n\n"):
        values: dict[str, str] = {}
        listens: list[str] = []
        for line in block.split(b"\n"):
            key, equals, value = line.partition(b"=")
            if key == b"Listen":
                listens.append(printable(value))
            elif equals:
                values[printable(key)] = printable(value)
        if values.get("Id") and values.get("LoadState") != "not-found":
            units.append(_unit(values, tuple(listens)))
    return units


def is_unit_name(name: str) -> bool:
    """Whether a name may be given to systemctl: a unit's, no option and no pattern."""
    return (
        0 < len(name) < 256
        and not name.startswith("-")
        and name.endswith((".service", ".socket", ".scope"))
        and name.isascii()
        and all(c.isalnum() or c in ":-_.@\\" for c in name)
    )


def _unit(values: dict[str, str], listens: tuple[str, ...]) -> Unit:
    accept = values.get("Accept")
    conflicts = [name for name in _words(values, "Conflicts") if name != "shutdown.target"]
    return Unit(
        values["Id"],
        values.get("LoadState"),
        values.get("ActiveState"),
        values.get("SubState"),
        values.get("UnitFileState") or None,
        values.get("Result") or None,
        _number(values.get("MainPID")),
        _number(values.get("NRestarts")),
        values.get("ControlGroup") or None,
        listens,
        None if accept is None else accept == "yes",
        _words(values, "Triggers"),
        _words(values, "TriggeredBy"),
        tuple(sorted(set(_words(values, "WantedBy") + _words(values, "RequiredBy")))),
        tuple(conflicts),
    )


def _words(values: dict[str, str], key: str) -> tuple[str, ...]:
    return tuple(values.get(key, "").split())


def _number(text: str | None) -> int:
    return natural(text or "") or 0
