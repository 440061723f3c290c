"""What a text was read as: the noun that readers, documents and the terminal share."""

from __future__ import annotations

from mailports.record import Record


class Recognised(Record):
    """Which lines of a text were taken for what.

    Attributes:
        kind: what they are: `ss -tlnp`, `postfix error line`, …; JSON calls it `as`.
        first_line: the first of them, from 1.
        last_line: the last of them.
    """

    kind: str
    first_line: int
    last_line: int
