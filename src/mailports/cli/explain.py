"""`mailports explain [FILE…|-]`: what a pasted text really says, judged like a host."""

from __future__ import annotations

import sys

from mailports.cli.arguments import add_fail_on, parser_of
from mailports.cli.output import exit_status, show, style_of
from mailports.diagnose.questions import next_commands
from mailports.diagnose.rules import diagnose
from mailports.faults import InputError
from mailports.model.facts import printable
from mailports.pasted.assembly import read_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

CHUNK_BYTES = 1 << 20
REDACT_BYTES = 16 << 20
"""What `--redact` reads at most, as it holds the whole text: names are replaced alike from end to end."""


def run(argv: list[str]) -> int:
    """Run the verb."""
    parser = parser_of("explain", "What a pasted text really says: error lines, tables, logs, in any mix.")
    parser.add_argument("files", nargs="*", default=["-"], metavar="FILE", help="where it is (default: standard input)")
    parser.add_argument("--json", action="store_true", help="print JSON (mailports schema explain)")
    parser.add_argument("--redact", action="store_true", help="print the text with names and addresses replaced")
    add_fail_on(parser)
    options = parser.parse_args(argv)
    if options.redact:
        if options.json:
            parser.error("--redact prints a text: leave out --json")
        return _redact(options.files)
    reading = read_bytes(_chunks(options.files))
    diagnosis = diagnose(reading.snapshot)
    commands = next_commands(reading.snapshot, diagnosis)
    if options.json:
        from mailports.formats.documents import explain_document, to_json

        document = explain_document(reading.snapshot, diagnosis, reading.recognised, commands, reading.problems)
        show([to_json(document).rstrip("\n")])
    else:
        from mailports.report.explained import render_explained

        style = style_of(sys.stdout, options.color)
        show(render_explained(reading.snapshot, reading.recognised, reading.problems, diagnosis, commands, style))
    return exit_status(diagnosis, options.fail_on)


def _redact(files: list[str]) -> int:
    from mailports.pasted.redact import redact

    text = bytearray()
    for chunk in _chunks(files):
        text += chunk
        if len(text) > REDACT_BYTES:
            raise InputError(f"--redact reads up to {REDACT_BYTES >> 20} MiB: give it the part that you want to share")
    show([redact(text.decode("utf-8", "replace")).rstrip("\n")])
    return 0


def _chunks(files: list[str]) -> Iterator[bytes]:
    for name in files:
        try:
            if name == "-":
                yield from _pieces(sys.stdin.buffer)
            else:
                with open(name, "rb") as file:  # noqa: PTH123 -- the user's file
                    yield from _pieces(file)
        except OSError as error:
            raise InputError(f"can't read {printable(name)}: {error.strerror}") from error
        yield b"\n"


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(CHUNK_BYTES):
        yield piece
