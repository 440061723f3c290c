"""Where a verb's facts come from, and how its output leaves."""

from __future__ import annotations

import os
import sys

from mailports.faults import HostError, InputError
from mailports.model.facts import Snapshot, natural, port_number, printable
from mailports.report.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from mailports.model.findings import Diagnosis
    from mailports.observe.look import Scope

SNAPSHOT_BYTES = 256 << 20
"""The largest file that is read as a Snapshot; one of a host with 30,000 connections has 20 MB."""

FOUND, FAILED, UNSEEN = 1, 2, 3
"""Exit statuses beside 0."""


def snapshot_of(source: str | None, scope: Scope) -> Snapshot:
    """Return the Snapshot of a file, or of this machine.

    Raises:
        InputError: the file isn't a Snapshot.
        HostError: this machine wouldn't answer.
    """
    if source is not None:
        return _within(_read(source), scope.netns)
    from mailports.host.local import Machine
    from mailports.observe.look import observe

    return observe(Machine(), scope)


def _read(source: str) -> Snapshot:
    from mailports.formats.documents import FormatError, snapshot_from_json

    name = "standard input" if source == "-" else source
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(SNAPSHOT_BYTES + 1)
        else:
            with open(source, "rb") as file:  # noqa: PTH123 -- the user's file, not the machine's
                raw = file.read(SNAPSHOT_BYTES + 1)
    except OSError as error:
        raise InputError(f"can't read {printable(source)}: {error.strerror}") from error
    if len(raw) > SNAPSHOT_BYTES:
        raise InputError(f"larger than {SNAPSHOT_BYTES >> 20} MiB", path=name)
    try:
        return snapshot_from_json(raw.decode("utf-8"))
    except (UnicodeDecodeError, FormatError) as error:
        pasted = None if b'"mailports.' in raw[:4096] else _pasted(raw)
        if pasted is not None:
            return pasted
        if isinstance(error, UnicodeDecodeError):
            raise InputError(f"expected UTF-8 text: byte {error.start} isn't", path=name) from error
        raise InputError(str(error), path=printable(name), line=error.line, column=error.column) from error


def _pasted(raw: bytes) -> Snapshot | None:
    """The Snapshot that a pasted text is, if anything in it is recognised; read as `explain` reads it."""
    from mailports.pasted.assembly import read_bytes

    reading = read_bytes([raw])
    return reading.snapshot if reading.recognised else None


def _within(snapshot: Snapshot, netns: str) -> Snapshot:
    """The part of a saved Snapshot that --netns names."""
    if netns == "all":
        return snapshot
    if netns == "near":
        near = {n.label for n in snapshot.namespaces if n.label == "here" or n.mount}
        return snapshot._replace(sockets=tuple(s for s in snapshot.sockets if s.endpoint.netns in near))
    labels = {n.label for n in snapshot.namespaces if netns in (n.label, n.label.partition(":")[2])}
    labels |= {n.label for n in snapshot.namespaces if natural(netns) in n.pids}
    if not labels:
        known = ", ".join(n.label for n in snapshot.namespaces)
        raise InputError(f"no network namespace {printable(netns)} in this Snapshot; it has {known}")
    return snapshot._replace(sockets=tuple(s for s in snapshot.sockets if s.endpoint.netns in labels))


def port_numbers(words: Iterable[str] | None) -> tuple[int, ...]:
    """Return the ports of `--port 25,587 --port imaps`. Raises InputError."""
    from mailports.catalogue.ports import ports_named

    numbers: list[int] = []
    for word in words or ():
        for part in word.split(","):
            number = port_number(part)
            if number is not None:
                numbers.append(number)
            elif ports_named(part):
                numbers += [port.number for port in ports_named(part)]
            else:
                raise InputError(
                    f"`{printable(part)}` is no port; expected 1 to 65535 or a service name", path="--port"
                )
    return tuple(numbers)


def exit_status(diagnosis: Diagnosis, fail_on: str) -> int:
    """Return 1 for findings from `fail_on` on, 3 where something unseen could hide one, else 0."""
    from mailports.diagnose.rules import is_at_least, worst_of

    if any(is_at_least(f.severity, fail_on) for f in diagnosis.findings):
        return FOUND
    if any(u.hides and is_at_least(worst_of(u.hides), fail_on) for u in diagnosis.unknown):
        return UNSEEN
    return 0


def style_of(stream: TextIO | None, color: str) -> Style:
    """Return what a stream's reader can see: colours by NO_COLOR, TERM and whether it is a terminal."""
    if stream is None:  # closed: `>&-`
        return Style()
    is_terminal = stream.isatty()
    wanted = color == "always" or (
        color == "auto" and is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )
    width = 80
    columns = natural(os.environ.get("COLUMNS", ""))
    if columns:
        width = columns
    elif is_terminal:
        try:
            width = os.get_terminal_size(stream.fileno()).columns or 80
        except OSError:
            pass
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    return Style(wanted, max(40, min(width, 160)), encoding in ("utf8", "utf16"))


def show(lines: Iterable[str]) -> None:
    """Print lines to standard output; what its encoding can't show is spelled out."""
    if sys.stdout is None:  # closed: `>&-`
        return
    text = "\n".join(lines) + "\n"
    encoding = sys.stdout.encoding or "ascii"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        give_up_output()
        if isinstance(error, BrokenPipeError):
            raise
        raise HostError("write to standard output", "", error.strerror or str(error)) from error


def give_up_output() -> None:
    """What Python still has to flush at its end has nowhere to go."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
