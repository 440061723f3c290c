"""`mailports schema KIND`: the JSON Schema of an output."""

from __future__ import annotations

from mailports.cli.arguments import parser_of
from mailports.cli.output import show
from mailports.faults import InputError
from mailports.formats.documents import KINDS, json_schema
from mailports.model.facts import printable


def run(argv: list[str]) -> int:
    """Run the verb."""
    parser = parser_of("schema", "The JSON Schema of an output.")
    parser.add_argument("kind", nargs="?", metavar="KIND", help=", ".join(KINDS))
    kind = parser.parse_args(argv).kind
    if kind is None:
        show([f"{name:<10} {title}" for name, (title, _) in KINDS.items()])
        return 0
    if kind not in KINDS:
        raise InputError(f"no kind `{printable(kind)}`; there are {', '.join(KINDS)}")
    import json

    show([json.dumps(json_schema(kind), indent=2)])
    return 0
