"""Options that several verbs have. Imported where there are words to parse: argparse costs 8 ms."""

from __future__ import annotations

import argparse

from mailports.cli.output import show
from mailports.faults import InputError
from mailports.model.facts import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that fails as the rest of the program does: `error: …`, a hint, status 2."""

    def print_help(self, file: object = None) -> None:
        """Print the help as all else is printed, so that a reader that has gone is no error."""
        del file
        show([self.format_help().rstrip("\n")])

    def error(self, message: str) -> NoReturn:
        """Raise what was wrong with the command line."""
        raise InputError(printable(message), hint=f"{self.prog} --help")


def parser_of(verb: str, description: str) -> Parser:
    """Return a verb's parser with the options that every verb has."""
    parser = Parser(prog=f"mailports {verb}", description=description, allow_abbrev=False)
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="colour the output")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add --from and --netns."""
    parser.add_argument(
        "--from", dest="source", metavar="FILE", help="judge a saved Snapshot, or a pasted text (- is stdin)"
    )
    parser.add_argument("--netns", metavar="NAME|PID|all", help="look into this network namespace")


def add_fail_on(parser: argparse.ArgumentParser) -> None:
    """Add --fail-on."""
    parser.add_argument(
        "--fail-on",
        choices=("error", "warning", "note"),
        default="error",
        help="exit with 1 for findings from this severity on (default: error)",
    )
