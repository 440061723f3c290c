"""The shape of a table row: how one product writes one kind of line, and what it then means. Types only."""

from __future__ import annotations

import re

from mailports.record import Record


class Row(Record):
    """One form of line.

    Attributes:
        product: the catalogue's product; null where the program's tag decides.
        hint: a lower-case piece that the line must have: tested before the pattern, so that most rows cost nothing.
        pattern: linear-time; its groups name what they hold: `address`, `port`, `service` (a port by name),
            `family` (has a 6 for IPv6), `protocol`, `entry`, `path`, `container`, `line`.
        call: the attempt's call.
        errno: what the form means where the text has no errno; empty: the line must have one.
        entry: the attempt's entry where the text names none.
        finds: whether an endpoint is sought in the whole line, where the pattern has no group for one.
        silent: the line is no cause: nothing is to be made of it.
    """

    product: str | None
    hint: str
    pattern: re.Pattern[str]
    call: str = "bind"
    errno: str = ""
    entry: str | None = None
    finds: bool = False
    silent: bool = False


def form(pattern: str) -> re.Pattern[str]:
    """Return a compiled form; letters' case doesn't matter."""
    return re.compile(pattern, re.IGNORECASE)


NONE = "-"
"""As a row's errno: the form is an attempt though no errno was ever said; the attempt's errno is empty."""
