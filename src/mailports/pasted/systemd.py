"""What systemctl prints: `status`, `list-sockets`, `show`, and the answers of `is-active` and `is-enabled`.

Source: systemctl(1), src/systemctl/systemctl-show.c and systemctl-list-units.c of systemd 232 to 257; the labels
aren't translated. A unit's `listens` are spelled as `systemctl show` spells them: `[::]:25 (Stream)`.

Limits: the log lines after a status are left to whoever reads logs. `list-sockets` without `--show-types` doesn't say
whether an address is TCP's: it is taken to be, since few sockets but syslog's are not. The words of `is-active` and
`is-enabled` mean something only after their command.
"""

from __future__ import annotations

import re

from mailports.model.facts import ALL, SOME, Look, Unit, natural
from mailports.pasted.ends import command_before
from mailports.pasted.found import Found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailports.pasted.found import Line

_TYPES = "service|socket|scope|timer|target|mount|path|slice|device|swap|automount"
_UNIT = re.compile(rf"[A-Za-z0-9:_.@\\-]{{1,255}}\.(?:{_TYPES})")
_HEAD = re.compile(rf"\s{{0,4}}(?:[●○\u00d7↻*x•?]\s+)?([A-Za-z0-9:_.@\\…-]{{1,255}}\.(?:{_TYPES}))(?:\s+-\s.*)?\s*")
_LOADED = re.compile(r"\s*Loaded:\s+([\w-]+)(?:\s+\(([^)]*)\)?)?.*")
_LABEL = re.compile(r"\s{0,20}([A-Z][A-Za-z -]{1,18}):(?:\s(.*))?")
_LABELS = frozenset(
    (
        "Loaded", "Active", "Drop-In", "Docs", "Process", "Main PID", "Tasks", "Memory", "CPU", "CGroup", "Triggers",
        "TriggeredBy", "Triggered By", "Listen", "Accepted", "Status", "Invocation", "Transient", "Follows", "Device",
        "Where", "What", "Since", "Condition", "Assert", "Error", "IO", "IP", "FD Store", "Control", "Until",
        "Duration", "Trigger", "Notify", "Control PID", "Control Group",
    )
)  # fmt: skip
_TREE = re.compile(r"\s*(?:[│├└|`]|[●○\u00d7*x•]\s|\d{1,7}\s).*")
_ACTIVE = re.compile(r"([a-z-]+)(?:\s+\(([^)]*)\))?(.*)")
_RESULT = re.compile(r"\(?Result: ([\w-]+)\)?")
_PID = re.compile(r"(\d{1,9})(?:\s+\((.*))?")
_MORE = 400
_SHOWN = re.compile(r"([A-Z][A-Za-z0-9]{1,60})=(.*)")
_FIRST = frozenset(
    (
        "Type", "Id", "Names", "LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "MainPID",
        "NRestarts", "Listen", "Accept", "BindIPv6Only", "ControlGroup", "Triggers", "TriggeredBy", "WantedBy",
        "RequiredBy", "Conflicts",
    )
)  # fmt: skip
_WORDS = frozenset(("active", "inactive", "failed", "activating", "deactivating", "reloading", "unknown"))
_ENABLED = frozenset(
    (
        "enabled", "enabled-runtime", "disabled", "static", "masked", "masked-runtime", "generated", "indirect",
        "linked", "linked-runtime", "alias", "transient", "not-found",
    )
)  # fmt: skip
_LISTEN = re.compile(r"(?:\[[0-9A-Fa-f:.%\w]*\]:\d{1,5}|[\d.*]+:\d{1,5}|\d{1,5}|[/@]\S*|kobject-uevent \d+|\S+ \d+)")


# status


def read_status(lines: Sequence[Line], at: int, netns: str) -> Found | None:  # noqa: ARG001 -- units are the host's
    """Read the status of one unit, without its log."""
    text = lines[at].text
    head = None
    if lines[at].is_command:
        return None
    if "Loaded:" not in text:
        following = lines[at + 1].text if at + 1 < len(lines) else ""
        if "Loaded:" not in following or _LOADED.fullmatch(following) is None:
            return None
        head = _HEAD.fullmatch(text) or re.match(rf".{{0,6}}?({_UNIT.pattern})(?:\s|$)", text)
        if head is None:
            return None
    elif _LOADED.fullmatch(text) is None:
        return None
    values, until = _labelled(lines, at + (head is not None))
    loaded = _LOADED.fullmatch(values["Loaded"][0])
    name = head[1] if head is not None else _name_of_path(loaded[2] if loaded else None)
    if name is None or "…" in name or loaded is None:
        return None
    if until < len(lines) and not lines[until].text.strip():
        until += 1
    unit = _status_unit(name, loaded, values)
    return _found(f"systemctl status {name}", until - at, (unit,), "it shows these units only")


def _labelled(lines: Sequence[Line], at: int) -> tuple[dict[str, list[str]], int]:
    """Return the values by label, and where they end."""
    values: dict[str, list[str]] = {"Loaded": [lines[at].text]}
    label = "Loaded"
    until = at + 1
    while until < len(lines) and until - at < _MORE and not lines[until].is_command:
        line = lines[until]
        found = _LABEL.fullmatch(line.text)
        if line.dress is not None or not line.text.strip():
            break
        if found is not None and found[1] in _LABELS:
            label = found[1]
            values.setdefault(label, []).append((found[2] or "").strip())
        elif _continues(line.text, label):
            values[label].append(line.text.strip())
        else:
            break
        until += 1
    return values, until


def _continues(text: str, label: str) -> bool:
    if _HEAD.fullmatch(text) and not text.startswith("   "):
        return False
    if label in ("CGroup", "Drop-In", "Triggers", "TriggeredBy", "Process"):
        return _TREE.fullmatch(text) is not None or text.startswith("         ")
    if label in ("Loaded", "Active", "Main PID"):  # a terminal wrapped it
        return text.startswith("      ")
    return text.startswith("        ")


def _status_unit(name: str, loaded: re.Match[str], values: dict[str, list[str]]) -> Unit:
    parts = [part.strip() for part in (loaded[2] or "").split(";")]
    is_file = parts[0].startswith("/") or parts[0] in ("Reason", "transient")
    enabled = parts[1] if len(parts) > 1 and is_file and ":" not in parts[1] else None
    active = _ACTIVE.match(" ".join(values.get("Active", ())[:2]))
    result = _RESULT.search(active[0]) if active else None
    state, sub = (active[1], active[2]) if active else (None, None)
    if sub and sub.startswith("Result:"):
        sub = state
    pid = _PID.match(values.get("Main PID", [""])[0])
    is_gone = pid is not None and (pid[2] or "").startswith("code=")
    accepted = "Accepted" in values
    return Unit(
        name,
        loaded[1],
        state,
        sub,
        enabled or None,
        result[1] if result else None,
        natural(pid[1]) or 0 if pid and not is_gone else 0,
        cgroup=next((c for c in values.get("CGroup", ()) if c.startswith("/")), None),
        listens=tuple(value for value in values.get("Listen", ()) if value),
        accept=True if accepted else None,
        triggers=_units(values.get("Triggers", ())),
        triggered_by=_units((*values.get("TriggeredBy", ()), *values.get("Triggered By", ()))),
    )


def _units(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for text in texts for name in _UNIT.findall(text)[:50]))


def _name_of_path(path: str | None) -> str | None:
    name = (path or "").partition(";")[0].strip().rpartition("/")[2]
    is_template = "@." in name
    return name if _UNIT.fullmatch(name) and not is_template else None


# list-sockets


def read_list_sockets(lines: Sequence[Line], at: int, netns: str) -> Found | None:  # noqa: ARG001
    """Read the table of socket units, with its heading or without."""
    text = lines[at].text
    if ".socket" not in text and "LISTEN" not in text:
        return None
    head = text.split()
    is_headed = head[:1] == ["LISTEN"] and "UNIT" in head
    if lines[at].is_command or (not is_headed and (".socket" not in text or _socket_row(text, None) is None)):
        return None
    listens: dict[str, list[str]] = {}
    triggers: dict[str, dict[str, None]] = {}
    until, last, is_whole = at + is_headed, None, False
    while until < len(lines) and not lines[until].is_command:
        row = _socket_row(lines[until].text, last)
        if row is None:
            break
        listen, unit, services = row
        last = unit
        listens.setdefault(unit, []).append(listen)
        triggers.setdefault(unit, {}).update(dict.fromkeys(services))
        until += 1
    for step in range(3):  # "3 sockets listed.", after a blank line, with a hint
        if until + step < len(lines) and re.match(r"\d+ sockets? listed", lines[until + step].text):
            is_whole = len(listens) > 0
            until += step + 1
            break
    if until < len(lines) and lines[until].text.startswith("Pass --all to see"):
        until += 1
    units = tuple(
        Unit(name, "loaded", "active", listens=tuple(places), triggers=tuple(triggers[name]))
        for name, places in listens.items()
    )
    why = None if is_headed and is_whole else "part of a table"
    return _found("systemctl list-sockets", max(1, until - at), units, why or "it shows socket units only")


def _socket_row(text: str, last: str | None) -> tuple[str, str, tuple[str, ...]] | None:
    """Return where a row listens, its unit and what it starts; newer versions leave a repeated unit blank."""
    words = text.split()
    names = [i for i, word in enumerate(words) if word.endswith(".socket") and _UNIT.fullmatch(word)]
    if names and names[0] > 0:
        at = names[0]
        unit = words[at]
    elif last is not None and words and _LISTEN.fullmatch(" ".join(words[:2] if len(words) > 1 else words)):
        at, unit = len(words), last
    else:
        return None
    kind = "Stream"
    place = words[:at]
    if place[-1] in ("Stream", "Datagram", "SequentialPacket", "FIFO", "Special", "Netlink", "MessageQueue"):
        kind, place = place[-1], place[:-1]
    elif place[0][:1] in "/@":
        kind = ""
    listen = " ".join(place)
    if not place or not (_LISTEN.fullmatch(listen) or listen.startswith(("/", "@", "vsock:"))):
        return None
    return (f"{listen} ({kind})" if kind else listen), unit, _units([" ".join(words[at + 1 :])])


# show


def read_show(lines: Sequence[Line], at: int, netns: str) -> Found | None:  # noqa: ARG001
    """Read one block of `systemctl show`."""
    first = _SHOWN.fullmatch(lines[at].text)
    if first is None or lines[at].is_command or first[1] not in _FIRST:
        return None
    values: dict[str, str] = {}
    listens: list[str] = []
    until = at
    while until < len(lines) and until - at < _MORE * 2:
        found = _SHOWN.fullmatch(lines[until].text)
        if found is None or (found[1] in values and not found[1].startswith(("Listen", "Exec"))):
            break
        if found[1] == "Listen":
            listens.append(found[2])
        values[found[1]] = found[2]
        until += 1
    name = values.get("Id") or _asked_of(lines, at)
    if name is None or _UNIT.fullmatch(name) is None:
        if first[1] == "Type":  # a unit file's
            return None
        return _found("systemctl show", until - at, (), "the unit's Id isn't in it")
    unit = Unit(
        name,
        values.get("LoadState"),
        values.get("ActiveState"),
        values.get("SubState"),
        values.get("UnitFileState") or None,
        values.get("Result") or None,
        natural(values.get("MainPID", "")) or 0,
        natural(values.get("NRestarts", "")) or 0,
        values.get("ControlGroup") or None,
        tuple(listens),
        values["Accept"] == "yes" if "Accept" in values else None,
        tuple(values.get("Triggers", "").split()),
        tuple(values.get("TriggeredBy", "").split()),
        tuple(sorted({*values.get("WantedBy", "").split(), *values.get("RequiredBy", "").split()})),
        tuple(c for c in values.get("Conflicts", "").split() if c != "shutdown.target"),
    )
    if until < len(lines) and not lines[until].text.strip():
        until += 1
    return _found("systemctl show", until - at, (unit,), "it shows these units only")


def _asked_of(lines: Sequence[Line], at: int) -> str | None:
    command = command_before(lines, at, "systemctl")
    names = _asked_names(command.words) if command is not None else ()
    return names[0] if len(names) == 1 else None


def _asked_names(words: tuple[str, ...]) -> tuple[str, ...]:
    names, skips = [], False
    for word in words[1:]:
        if not skips and not word.startswith("-"):
            names.append(word if _UNIT.fullmatch(word) else f"{word}.service")
        skips = word in ("-p", "-n", "-o", "-t", "-M", "-H")
    return tuple(names)


# is-active, is-enabled


def read_answers(lines: Sequence[Line], at: int, netns: str) -> Found | None:  # noqa: ARG001
    """Read the words that `is-active`, `is-enabled` or `is-failed` answers: one line for each unit asked."""
    word = lines[at].text.strip()
    if lines[at].is_command or (word not in _WORDS and word not in _ENABLED):
        return None
    command = command_before(lines, at, "systemctl")
    verb = next((w for w in command.words if w.startswith("is-")), "") if command is not None else ""
    if command is None or verb not in ("is-active", "is-enabled", "is-failed"):
        return None
    units = []
    for step, name in enumerate(_asked_names(command.words[command.words.index(verb) :])):
        if at + step >= len(lines) or lines[at + step].is_command:
            break
        answer = lines[at + step].text.strip()
        if verb == "is-enabled" and answer in _ENABLED:
            units.append(Unit(name, enabled=answer) if answer != "not-found" else Unit(name, "not-found"))
        elif verb != "is-enabled" and answer in _WORDS:
            units.append(Unit(name, active=answer if answer != "unknown" else None))
        else:
            break
    if not units:
        return None
    return _found(f"systemctl {verb}", len(units), tuple(units), "it shows these units only")


def _found(kind: str, taken: int, units: tuple[Unit, ...], why: str | None) -> Found:
    how = "systemctl status UNIT" if why else None
    return Found(kind, taken, units=units, looks=(Look("units", None, SOME if why else ALL, "systemctl", why, how),))


READERS = (read_status, read_list_sockets, read_show, read_answers)
