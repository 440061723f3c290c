"""Tables of container engines: `docker ps`, `podman ps`, `docker compose ps` (v1 and v2), `docker port`.

A row is known by its shape (an id of hexadecimal digits, a status), a column by its heading where there is one.

Source: docker ps(1) and cli/command/formatter of Docker 20.10 to 26.1, podman-ps(1) of 4.3 and 5.4, Compose 1.29
and 2.x; columns stand at least two blanks apart.

Limits: a row that a terminal broke is joined over at most `_WRAPPED` lines; `_SPAN` and `_PUBLISHES` ports are read,
and more is a problem. SCTP is left out. Without `-a` the engine shows the running ones, which are all that can hold a
port. Only what a table shows is known: no network, no address of the container, and
a port that isn't published is no fact.
"""

from __future__ import annotations

import re

from mailports.model.facts import ALL, ANY4, SOME, Container, Endpoint, Look, Publish, port_number
from mailports.pasted.ends import canonical, command_before
from mailports.pasted.found import Found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailports.pasted.found import Line

_WRAPPED = 4
_SPAN = 4096  # of published ports of one container
_PUBLISHES = 65_536  # of published ports of one table
_SCANNED = 200
_ID = re.compile(r"\s{0,8}([0-9a-f]{12}|[0-9a-f]{64})\s")
_CELL = re.compile(r"\S+(?: \S+)*")
_GAP = re.compile(r"\s{2,}|\t")
_HEADINGS = re.compile(
    r"(?i:CONTAINER ID|NAMES?|IMAGE|COMMAND|SERVICE|CREATED AT|CREATED|STATUS|STATE|PORTS|SIZE|NETWORKS|POD ID|LABELS)"
    r"(?=\s|$)"
)
_STATUS = re.compile(
    r"(?i:(Up|Exited|Exit|Created|Restarting|Paused|Dead|Running|Removal In Progress|Removing|Stopping|Stopped|"
    r"Initialized|Configured))(?![\w./-])(?! (?:seconds|minutes|hours) ago)"
)
_STATES = {
    "up": "running", "running": "running", "exited": "exited", "exit": "exited", "created": "created",
    "restarting": "restarting", "paused": "paused", "dead": "dead", "removal in progress": "removing",
    "removing": "removing", "stopping": "stopping", "stopped": "exited", "initialized": "created",
    "configured": "created",
}  # fmt: skip
_PORTS = re.compile(r"[\d\[:.][\da-f.:\[\]]*(?:-\d+)?(?:->[\d-]+)?/(?:tcp|udp|sctp)\b|[\d\[:.][\da-f.:\[\]-]*->")
_PUBLISH = re.compile(r"(?:(.*):)?(\d{1,5})(?:-(\d{1,5}))?->(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")
_PORT_ROW = re.compile(r"\s*(\d{1,5})/(tcp|udp|sctp)\s+->\s+(\S+):(\d{1,5})\s*")
_CUT = ("…", "...")


def read_ps(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Read `docker ps` or `podman ps`, with its heading or without."""
    text = lines[at].text
    columns = _columns(text) if "NAMES" in text or "CONTAINER ID" in text else None
    if columns is None and not (_ID.match(text) and _shaped(text)):
        return None
    if columns is not None and (len(columns) < 2 or "SERVICE" in columns):
        return None
    engine, kind, why = _asked(lines, at, has_header=columns is not None)
    return _Table(lines, netns, engine, kind, why).read(at, columns)


def read_compose_ps(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Read `docker compose ps`, of either version."""
    text = lines[at].text
    if text.lstrip()[:4].upper() != "NAME" or lines[at].is_command:
        return None
    columns = _columns(text)
    if columns is None or "COMMAND" not in columns or "NAME" not in columns:
        return None
    if "STATE" in columns and at + 1 < len(lines) and lines[at + 1].text.strip().startswith("-----"):
        return _read_v1(lines, at, netns, columns)
    if "SERVICE" not in columns and "STATUS" not in columns:
        return None
    why = "it lists one project's containers"
    return _Table(lines, netns, "docker", "docker compose ps", why).read(at, columns)


def read_port(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Read `docker port NAME`: `25/tcp -> 0.0.0.0:25`."""
    if "->" not in lines[at].text or _PORT_ROW.fullmatch(lines[at].text) is None:
        return None
    engine, name = "unknown", None
    for tool in ("docker", "podman"):
        command = command_before(lines, at, tool)
        if command is not None and command.words[:1] == ("port",) and len(command.words) > 1:
            engine, name = tool, command.words[1]
    kind = f"{engine if name else 'docker'} port"
    publishes, until = [], at
    while until < len(lines):
        row = _PORT_ROW.fullmatch(lines[until].text)
        if row is None:
            break
        publish = _publish(row[3], row[4], row[1], row[2], netns, kind)
        if publish is not None:
            publishes.append(publish)
        until += 1
    look = Look("containers", None, SOME, kind, "it shows one container", "docker ps -a")
    container = Container(engine, "", name, publishes=tuple(publishes))
    return Found(kind, until - at, containers=(container,) if publishes else (), looks=(look,))


# What was asked


def _asked(lines: Sequence[Line], at: int, *, has_header: bool) -> tuple[str, str, str | None]:
    """Return the engine, the command, and why its table isn't all of the containers."""
    for tool in ("docker", "podman"):
        command = command_before(lines, at, tool)
        if command is None:
            continue
        words = command.words
        filters = any(w.startswith(("-f", "--filter", "-n", "--last", "-l", "--latest")) for w in words)
        if command.is_filtered or filters:
            return tool, command.kind, "its output was filtered"
        if not has_header:
            return tool, command.kind, "rows without their heading"
        return tool, command.kind, None
    header = lines[at].text
    is_podman = has_header and "CONTAINER ID  IMAGE" in header
    engine = "podman" if is_podman or any("localhost/" in line.text for line in lines[at : at + 3]) else "docker"
    return engine, f"{engine} ps", None if has_header else "rows without their heading"


# Tables


def _columns(header: str) -> dict[str, int] | None:
    """Return where each column begins, by its heading in capitals; None where it is no heading."""
    found = [(m[0].upper(), m.start()) for m in _HEADINGS.finditer(header[:1000])]
    left = _HEADINGS.sub("", header[:1000]).strip()
    return dict(found) if len(found) > 1 and not left else None


def _shaped(text: str) -> bool:
    fields = _GAP.split(text.strip())
    return len(fields) > 3 and any(_STATUS.match(field) for field in fields[1:])


class _Table:
    """Rows as they are gathered from one table."""

    def __init__(self, lines: Sequence[Line], netns: str, engine: str, kind: str, why: str | None) -> None:
        self.lines, self.netns, self.engine, self.kind, self.why = lines, netns, engine, kind, why
        self.containers: list[Container] = []
        self.problems: list[str] = []
        self.budget = _PUBLISHES

    def read(self, at: int, columns: dict[str, int] | None) -> Found:
        """Read the rows from there."""
        until = at + (columns is not None)
        while until < len(self.lines):
            line = self.lines[until]
            if line.is_command or not line.text.strip():
                break
            taken = self._row(until, columns)
            if not taken:
                break
            until += taken
        if self.problems:
            self.why = self.why or "a row couldn't be read whole"
        how = f"{self.engine} ps -a --no-trunc"
        look = Look("containers", None, SOME if self.why else ALL, self.kind, self.why, how if self.why else None)
        return Found(
            self.kind,
            max(1, until - at),
            containers=tuple(self.containers),
            looks=(look,),
            problems=tuple(self.problems[:20]),
        )

    def _row(self, at: int, columns: dict[str, int] | None) -> int:
        """Take one row and return how many lines it has; 0 where it is none."""
        has_id = columns is None or "CONTAINER ID" in columns
        text = self.lines[at].text
        if has_id and _ID.match(text + " ") is None:
            return 0
        fields = self._fields(text, columns)
        taken = 1
        while self._is_short(fields, columns) and taken < _WRAPPED and at + taken < len(self.lines):
            more = self.lines[at + taken]
            if more.is_command or not more.text.strip() or _ID.match(more.text + " ") or not has_id:
                break
            text += more.text
            fields = self._fields(text, columns)
            taken += 1
        if not fields:
            return 0
        self._take(fields, self.lines[at].number)
        return taken

    def _is_short(self, fields: dict[str, str], columns: dict[str, int] | None) -> bool:
        if not fields:
            return True
        return not fields.get("NAMES") and (columns is None or "NAMES" in columns)

    def _fields(self, text: str, columns: dict[str, int] | None) -> dict[str, str]:
        if columns is not None:
            starts = sorted(columns.items(), key=lambda item: item[1])
            ends = [start for _, start in starts[1:]]
            if len(text) > ends[-1] - 1 and all(s == 0 or text[s - 1 : s].isspace() for s in ends if s < len(text)):
                sliced = (text[start:end] for (_, start), end in zip(starts, [*ends, len(text)]))
                named = {name: value.strip() for (name, _), value in zip(starts, sliced)}
                if _is_sane(named):
                    return named
        return _by_shape(text, columns)

    def _take(self, fields: dict[str, str], number: int) -> None:
        ports = fields.get("PORTS", "")
        publishes, is_whole = _publishes(ports, self.netns, self.kind, self.budget)
        self.budget -= len(publishes)
        if not is_whole:
            self.problems.append(f"line {number}: ports that can't be read or are cut off: {ports[:100]}")
        status = _STATUS.match(fields.get("STATUS") or fields.get("STATE") or "")
        self.containers.append(
            Container(
                self.engine,
                fields.get("CONTAINER ID", "").strip(),
                (fields.get("NAMES") or fields.get("NAME") or "").split(",")[0] or None,
                fields.get("IMAGE") or None,
                _STATES[status[1].lower()] if status else None,
                publishes=publishes,
            )
        )


def _is_sane(fields: dict[str, str]) -> bool:
    status = fields.get("STATUS")
    return (not status or _STATUS.match(status) is not None) and "  " not in fields.get("NAMES", "")


def _by_shape(text: str, columns: dict[str, int] | None) -> dict[str, str]:
    """Return a row's fields by what they look like: the last that is a status, ports after it, then a name."""
    parts = [part.strip() for part in _GAP.split(text.strip())]
    if columns is not None and len(parts) == len(columns):
        return dict(zip(sorted(columns, key=lambda name: columns[name]), parts))
    places = [i for i, part in enumerate(parts) if i and _STATUS.match(part)]
    if not places:
        return {}
    at = places[-1]
    if at == len(parts) - 1 and len(places) > 1:  # a container whose name is a status
        at = places[-2]
    rest = parts[at + 1 :]
    ports = ", ".join(part for part in rest if _PORTS.match(part))
    fields = {"STATUS": parts[at], "PORTS": ports}
    names = [part for part in rest if not _PORTS.match(part)]
    is_compose = columns is not None and "NAME" in columns
    if is_compose:
        fields["NAME"] = parts[0]
        if "IMAGE" in (columns or {}) and len(parts) > 1:
            fields["IMAGE"] = parts[1]
        return fields
    fields["CONTAINER ID"] = parts[0].split()[0]
    fields["IMAGE"] = parts[1] if len(parts) > 1 and at > 1 else ""
    if names:
        fields["NAMES"] = names[-1]
    return fields


def _read_v1(lines: Sequence[Line], at: int, netns: str, columns: dict[str, int]) -> Found:
    """Read the table of docker-compose 1.x, whose cells run over several lines."""
    names = sorted(columns, key=lambda name: columns[name])
    rows: list[dict[str, str]] = []
    numbers: list[int] = []
    starts: list[int] = []
    until = at + 2
    while until < len(lines) and lines[until].text.strip() and not lines[until].is_command:
        text = lines[until].text
        pieces = [(found.start(), found[0]) for found in _CELL.finditer(text)]
        if rows and text[:1].isspace():
            for place, value in pieces:
                name = names[max([i for i, start in enumerate(starts) if start <= place], default=0)]
                glue = "" if name == "NAME" else " "
                rows[-1][name] = f"{rows[-1].get(name, '')}{glue}{value}"[:_SPAN]
        else:
            starts = [place for place, _ in pieces[: len(names)]]
            rows.append({name: value for name, (_, value) in zip(names, pieces)})
            numbers.append(lines[until].number)
        until += 1
    table = _Table(lines, netns, "docker", "docker-compose ps", "it lists one project's containers")
    for number, cells in zip(numbers, rows):
        table._take({**cells, "STATUS": cells.get("STATE", "")}, number)  # noqa: SLF001 -- of this module
    look = Look("containers", None, SOME, table.kind, table.why, "docker ps -a --no-trunc")
    return Found(
        table.kind,
        until - at,
        containers=tuple(table.containers),
        looks=(look,),
        problems=tuple(table.problems[:20]),
    )


# Ports


def _publishes(text: str, netns: str, source: str, budget: int) -> tuple[tuple[Publish, ...], bool]:
    """Return the published ports of a PORTS cell, and whether all of it was understood."""
    publishes: dict[Publish, None] = {}
    is_whole = True
    for part in text.split(","):
        item = part.strip()
        if not item:
            continue
        found = _PUBLISH.fullmatch(item)
        if found is None:
            is_whole = is_whole and "->" not in item and not item.endswith(_CUT) and _is_exposed(item)
            continue
        low, high = int(found[2]), int(found[3] or found[2])
        left = max(0, min(_SPAN, budget) - len(publishes))
        is_whole = is_whole and high - low < left
        for step in range(min(high - low + 1, left)):
            to_port = int(found[4]) + (step if found[5] else 0)
            publish = _publish(found[1] or ANY4, str(low + step), str(to_port), found[6] or "tcp", netns, source)
            if publish is not None:
                publishes[publish] = None
            elif found[6] != "sctp":
                is_whole = False
    return tuple(publishes), is_whole


def _is_exposed(item: str) -> bool:
    return re.fullmatch(r"\d{1,5}(?:-\d{1,5})?(?:/(?:tcp|udp|sctp))?", item) is not None


def _publish(address: str, port: str, to_port: str, protocol: str, netns: str, source: str) -> Publish | None:
    known = canonical(address.strip("[]") or "::")
    outer, inner = port_number(port), port_number(to_port)
    if known is None or outer is None or inner is None or protocol == "sctp":
        return None
    return Publish(Endpoint(protocol, known[0], outer, netns=netns), None, inner, source)


READERS = (read_ps, read_compose_ps, read_port)
