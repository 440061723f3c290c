"""How text is drawn: colour or none, how wide, which characters. Meaning never rests on colour. Pure."""

from __future__ import annotations

from mailports.record import Record

_CODES = {"error": "1;31", "warning": "33", "note": "36", "good": "32", "dim": "2", "bold": "1", "hint": "34"}


class Style(Record):
    """What the reader's terminal can show.

    Attributes:
        color: whether ANSI colours are wanted.
        width: columns.
        unicode: whether characters beyond ASCII can be shown.
    """

    color: bool = False
    width: int = 80
    unicode: bool = True

    def paint(self, text: str, kind: str) -> str:
        """Return text in a colour, or as it is."""
        if not self.color or not text:
            return text
        return f"\x1b[{_CODES[kind]}m{text}\x1b[0m"

    def mark(self, severity: str | None) -> str:
        """Return the one character that stands before a row."""
        if severity is None:
            return " "
        mark = {"error": "✗", "warning": "!", "note": "·"}[severity]
        return mark if self.unicode or severity == "warning" else {"error": "x", "note": "-"}[severity]


def wrapped(text: str, width: int, indent: str = "", *, first: int = 0) -> str:
    """Return text broken at blanks so that no line is wider than `width`, where words allow.

    Args:
        text: one paragraph.
        width: columns.
        indent: what further lines begin with.
        first: how many columns of the first line are taken already.
    """
    lines: list[str] = []
    line, room = "", width - first
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and len(longer.rstrip()) > max(room, 16):
            lines.append(line.rstrip())
            line, room = word, width - len(indent)
        else:
            line = longer
    lines.append(line)
    return ("\n" + indent).join(lines)


def counted(number: int, word: str) -> str:
    """Return `1 port`, `2 ports`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
