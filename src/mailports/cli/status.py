"""`mailports status`: the mail ports, who holds each, and a mark where something is wrong."""

from __future__ import annotations

import sys

from mailports.cli.output import exit_status, port_numbers, show, snapshot_of, style_of
from mailports.diagnose.overview import survey
from mailports.diagnose.rules import diagnose
from mailports.observe.look import Scope


class Options:
    """The verb's options, at their defaults: without words there is nothing to parse."""

    all = False
    port: list[str] | None = None
    udp = False
    json = False
    source: str | None = None
    netns: str | None = None
    fail_on = "error"
    color = "auto"


def run(argv: list[str]) -> int:
    """Run the verb."""
    options = _parsed(argv) if argv else Options()
    ports = port_numbers(options.port)
    udp = options.udp or options.all
    scope = Scope(options.all, netns=options.netns or "near", udp=udp, ports=ports)
    snapshot = snapshot_of(options.source, scope)
    diagnosis = diagnose(snapshot)
    overview = survey(snapshot, diagnosis, everything=options.all, ports=ports, udp=udp)
    if options.json:
        from mailports.formats.documents import status_document, to_json

        show([to_json(status_document(snapshot, overview, diagnosis)).rstrip("\n")])
    else:
        from mailports.report.terminal import render_status

        show(render_status(overview, diagnosis, style_of(sys.stdout, options.color)))
    return exit_status(diagnosis, options.fail_on)


def _parsed(argv: list[str]) -> Options:
    from mailports.cli.arguments import add_fail_on, add_source, parser_of

    parser = parser_of("status", "Mail ports of this host: who holds each, and what is wrong.")
    parser.add_argument("--all", action="store_true", help="every listener and every holder")
    parser.add_argument("--port", action="append", metavar="N[,N…]", help="only these ports or services")
    parser.add_argument("--udp", action="store_true", help="UDP too")
    parser.add_argument("--json", action="store_true", help="print JSON (mailports schema status)")
    add_source(parser)
    add_fail_on(parser)
    return parser.parse_args(argv, namespace=Options())
