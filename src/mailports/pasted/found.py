"""What a reader of one dialect gives back, and what it is given. Types only."""

from __future__ import annotations

from mailports.model.facts import (
    Address,
    Attempt,
    Container,
    Gate,
    Look,
    Redirect,
    Setting,
    Socket,
    Unit,
)
from mailports.record import Record


class Dress(Record):
    """What a log's format says around a message.

    Attributes:
        when: the time, as written.
        host: the host's name.
        program: the tag: `postfix/master`, `dovecot`, `kernel`.
        pid: the process id.
        unit: the systemd unit, where the format has it.
        container: container or Compose service, where the format has it.
    """

    when: str | None = None
    host: str | None = None
    program: str | None = None
    pid: int | None = None
    unit: str | None = None
    container: str | None = None


class Line(Record):
    """One line of the text, undressed.

    Attributes:
        number: its number in the text, from 1.
        text: what is left without quoting marks, colours, prompt and log format; printable, at most 4,000 characters.
        dress: what the log's format said; null where it had none.
        is_command: whether it is a command that somebody typed (a prompt was before it); `text` is the command.
    """

    number: int
    text: str
    dress: Dress | None = None
    is_command: bool = False


class Found(Record):
    """What a reader made of some lines.

    Attributes:
        kind: what they are, as a user would call it: `ss -tlnp`, `netstat -ano (Windows)`, `Postfix log`, …
        taken: how many lines it took, at least 1.
        sockets, units, containers, redirects, gates, settings, addresses, attempts: the facts.
        looks: how far each kind of fact is seen by this table: `all` for a whole table whose command asks for all
            (header seen and not filtered), `some` for a grepped or cut one.
        problems: what couldn't be read, each with its line number.
    """

    kind: str
    taken: int
    sockets: tuple[Socket, ...] = ()
    units: tuple[Unit, ...] = ()
    containers: tuple[Container, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    gates: tuple[Gate, ...] = ()
    settings: tuple[Setting, ...] = ()
    addresses: tuple[Address, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    looks: tuple[Look, ...] = ()
    problems: tuple[str, ...] = ()
