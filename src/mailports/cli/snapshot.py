"""`mailports snapshot`: everything that was seen, as a file that `--from` reads."""

from __future__ import annotations

import sys

from mailports.cli.arguments import parser_of
from mailports.cli.output import snapshot_of
from mailports.faults import InputError
from mailports.model.facts import printable
from mailports.observe.look import Scope


def run(argv: list[str]) -> int:
    """Run the verb."""
    parser = parser_of("snapshot", "Write what was seen of this host, for `mailports audit --from FILE` elsewhere.")
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="where to (default: standard output)")
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: a Snapshot is always JSON")
    parser.add_argument("--netns", metavar="NAME|PID|all", help="look into this namespace (default: all)")
    parser.add_argument("--port", action="append", metavar="N[,N…]", help="ports to look at beside the mail ports")
    options = parser.parse_args(argv)
    from mailports.cli.output import port_numbers
    from mailports.formats.documents import snapshot_to_json

    scope = Scope(everything=True, netns=options.netns or "all", udp=True, ports=port_numbers(options.port))
    text = snapshot_to_json(snapshot_of(None, scope))
    if options.file == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return 0
    try:
        with open(options.file, "w", encoding="utf-8") as file:  # noqa: PTH123 -- the user's file
            file.write(text)
    except OSError as error:
        raise InputError(f"can't write {printable(options.file)}: {error.strerror}") from error
    return 0
