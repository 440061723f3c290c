"""From a pasted text to one Snapshot: every reader's finds, joined. Pure.

A table is recognised wherever it stands; what no table takes is asked for an error line. Each machine or container
that the text names has a namespace of its own: the first machine is `here`.

Limits: what the same table shows twice is two sockets; what two tables show is one. A text in which two machines are
pasted without their names is judged as one.
"""

from __future__ import annotations

from mailports.loglines.recognise import may_matter, read_line
from mailports.model.facts import ALL, NONE, SOME, Look, Namespace, Snapshot, Socket
from mailports.model.readings import Recognised
from mailports.pasted import compose, engines, lsof, netstat, others, rules, settings, ss, systemd
from mailports.pasted.lines import read_stream, undress
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Optional

    from mailports.model.facts import Attempt, Container, Unit
    from mailports.pasted.found import Found, Line

    Reader = Callable[[Sequence[Line], int, str], Optional[Found]]

HERE = "here"

READERS: tuple[Reader, ...] = (
    *ss.READERS,
    *netstat.READERS,
    *lsof.READERS,
    *others.READERS,
    *engines.READERS,
    *systemd.READERS,
    *rules.READERS,
    *settings.READERS,
    *compose.READERS,
)

_LOG = "error line"
_ORDER = (NONE, SOME, ALL)
_RANK = {extent: rank for rank, extent in enumerate(_ORDER)}


class Reading(Record):
    """What a text was read as.

    Attributes:
        snapshot: the facts in it.
        recognised: which lines were taken for what, in the text's order.
        problems: what couldn't be read.
    """

    snapshot: Snapshot
    recognised: tuple[Recognised, ...]
    problems: tuple[str, ...]


def read_text(text: str) -> Reading:
    """Return what a pasted text says, as a Snapshot. Never raises."""
    return read_lines(list(undress(text)))


def read_bytes(chunks: Iterable[bytes]) -> Reading:
    """Return what a stream of text says, as a Snapshot, and how far it was read. Never raises; memory is bounded."""
    lines, bounds = read_stream(chunks, may_matter)
    reading = read_lines(lines)
    return reading._replace(problems=(*reading.problems, *bounds.said()))


def read_lines(lines: Sequence[Line]) -> Reading:
    """Return what undressed lines say, as a Snapshot."""
    assembly = _Assembly()
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.is_command:
            assembly.hear_command(line.text)
        taken = 0 if not line.text.strip() else assembly.take_table(lines, at)
        if not taken and not line.is_command:
            assembly.take_line(line)
        at += max(1, taken)
    return assembly.reading()


class _Assembly:
    def __init__(self) -> None:
        self._hosts: dict[str, str] = {}
        self._command = HERE
        self._found: list[Found] = []
        self._attempts: list[Attempt] = []
        self._recognised: list[Recognised] = []
        self._labels: dict[str, None] = {HERE: None}

    def hear_command(self, text: str) -> None:
        """Note where the output that follows comes from: `docker exec mail ss -tlnp` is of a container."""
        words = text.split()
        self._command = HERE
        for at, word in enumerate(words[:-1]):
            rest = [w for w in words[at + 2 :] if not w.startswith("-")]
            if word in ("docker", "podman") and words[at + 1] == "exec" and rest:
                self._command = f"container:{rest[0]}"
            elif word == "netns" and words[at + 1] == "exec" and rest:
                self._command = f"name:{rest[0]}"

    def take_table(self, lines: Sequence[Line], at: int) -> int:
        """Take the table that begins here, if one does, and return how many lines it has."""
        netns = self._namespace(lines[at])
        for reader in READERS:
            found = reader(lines, at, netns)
            if found is not None:
                self._found.append(found)
                taken = max(1, found.taken)
                last = lines[min(at + taken, len(lines)) - 1].number
                self._recognised.append(Recognised(found.kind, lines[at].number, last))
                self._labels[netns] = None
                return taken
        return 0

    def take_line(self, line: Line) -> None:
        """Take an error line."""
        dress = line.dress
        netns = self._namespace(line)
        attempt = read_line(line.text, dress.program if dress else None, netns)
        if attempt is None:
            return
        if dress is not None:
            attempt = attempt._replace(
                when=attempt.when or dress.when,
                unit=attempt.unit or dress.unit,
                container=attempt.container or dress.container,
            )
        if attempt.path is None:
            attempt = attempt._replace(line=line.number)
        self._labels[netns] = None
        self._attempts.append(attempt)
        kind = f"{attempt.product or attempt.program or 'an'} {_LOG}"
        last = self._recognised[-1] if self._recognised else None
        if last is not None and last.kind == kind and last.last_line >= line.number - 1:
            self._recognised[-1] = last._replace(last_line=line.number)
        else:
            self._recognised.append(Recognised(kind, line.number, line.number))

    def _namespace(self, line: Line) -> str:
        dress = line.dress
        if dress is not None and dress.container:
            return HERE  # an engine's log of a container speaks of the host's port as often as of its own
        if dress is not None and dress.host:
            if not self._hosts:
                self._hosts[dress.host] = HERE
            return self._hosts.setdefault(dress.host, f"name:{dress.host}")
        return self._command

    def reading(self) -> Reading:
        """Join everything into a Snapshot."""
        sockets = _joined([found.sockets for found in self._found])
        looks = _looks([look for found in self._found for look in found.looks], self._labels)
        host = next(iter(self._hosts), "the text")
        snapshot = Snapshot(
            host,
            "",
            "text",
            "",
            looks,
            tuple(Namespace(label) for label in self._labels),
            tuple(sockets),
            _units(self._found),
            _containers(self._found),
            tuple(r for found in self._found for r in found.redirects),
            tuple(g for found in self._found for g in found.gates),
            tuple(s for found in self._found for s in found.settings),
            tuple(dict.fromkeys(a for found in self._found for a in found.addresses)),
            (),
            (*(a for found in self._found for a in found.attempts), *self._attempts),
        )
        problems = tuple(p for found in self._found for p in found.problems)
        return Reading(snapshot, tuple(self._recognised), problems)


def _joined(tables: Iterable[tuple[Socket, ...]]) -> list[Socket]:
    """What two tables show is one socket, with what each knows of it; what one table shows twice is two."""
    joined: dict[tuple[object, ...], Socket] = {}
    for table in tables:
        seen: dict[tuple[object, ...], int] = {}
        for socket in table:
            e = socket.endpoint
            key = (e.netns, e.protocol, e.address, e.port, e.device, socket.state == "listen", socket.peer)
            seen[key] = seen.get(key, 0) + 1
            numbered = (*key, seen[key])
            known = joined.get(numbered)
            joined[numbered] = socket if known is None else _richer(known, socket)
    return [socket._replace(cookie=number) for number, socket in enumerate(joined.values(), start=1)]


def _richer(a: Socket, b: Socket) -> Socket:
    best = a if _RANK[a.holders_extent] >= _RANK[b.holders_extent] else b
    v6only = a.endpoint.v6only if a.endpoint.v6only is not None else b.endpoint.v6only
    return best._replace(
        endpoint=best.endpoint._replace(v6only=v6only),
        holders=a.holders if len(a.holders) >= len(b.holders) else b.holders,
        unit=a.unit or b.unit,
        inode=a.inode or b.inode,
        uid=a.uid if a.uid is not None else b.uid,
    )


def _looks(looks: Iterable[Look], labels: Iterable[str]) -> tuple[Look, ...]:
    """The best look of each kind and namespace; and that there was none at listeners, where there wasn't."""
    best: dict[tuple[str, str | None], Look] = {}
    for look in looks:
        known = best.get((look.fact, look.netns))
        if known is None or _RANK[look.extent] > _RANK[known.extent]:
            best[(look.fact, look.netns)] = look
    for label in labels:
        if ("listeners", label) not in best:
            why, how = "the text has no table of listeners", "ss -tlnp"
            best[("listeners", label)] = Look("listeners", label, NONE, "the text", why, how)
    best.setdefault(("holders", None), Look("holders", None, SOME, "the text"))
    return tuple(best.values())


def _units(found: Iterable[Found]) -> tuple[Unit, ...]:
    units: dict[str, Unit] = {}
    for one in found:
        for unit in one.units:
            known = units.get(unit.name)
            units[unit.name] = unit if known is None else known._replace(**_more(known, unit))
    return tuple(units.values())


def _containers(found: Iterable[Found]) -> tuple[Container, ...]:
    containers: dict[str, Container] = {}
    for one in found:
        for container in one.containers:
            key = container.name or container.id
            known = containers.get(key)
            containers[key] = container if known is None else _both(known, container)
    return tuple(containers.values())


def _both(known: Container, other: Container) -> Container:
    """One container of two tables; one whose state is known counts more than a file that says what shall run."""
    first, second = (known, other) if known.state or not other.state else (other, known)
    return first._replace(**_more(first, second))


def _more(first: Container | Unit, second: Container | Unit) -> dict[str, Any]:
    """What a second table knows of the same thing, and the first doesn't."""
    return {key: value for key, value in second._asdict().items() if value and not getattr(first, key)}
