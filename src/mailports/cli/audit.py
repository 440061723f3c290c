"""`mailports audit`: everything that is wrong, with evidence and ways out."""

from __future__ import annotations

import sys

from mailports.cli.arguments import add_fail_on, add_source, parser_of
from mailports.cli.output import exit_status, show, snapshot_of, style_of
from mailports.diagnose.rules import diagnose
from mailports.faults import Fault
from mailports.model.facts import printable
from mailports.observe.look import Scope
from mailports.report.nagios import UNKNOWN, nagios_status, render_nagios


def run(argv: list[str]) -> int:
    """Run the verb."""
    parser = parser_of("audit", "Everything that is wrong with this host's mail ports, with evidence and ways out.")
    parser.add_argument("--format", choices=("text", "json", "nagios"), default="text", help="how to print it")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    add_source(parser)
    add_fail_on(parser)
    options = parser.parse_args(argv)
    scope = Scope(everything=True, netns=options.netns or "all")
    try:
        snapshot = snapshot_of(options.source, scope)
    except Fault as fault:
        if options.format != "nagios":
            raise
        show([f"MAILPORTS UNKNOWN - {printable(str(fault))}"])  # a plugin that couldn't look isn't CRITICAL
        return UNKNOWN
    diagnosis = diagnose(snapshot)
    if options.format == "nagios":
        show(render_nagios(diagnosis))
        return nagios_status(diagnosis)
    if options.format == "json":
        from mailports.formats.documents import findings_document, to_json

        show([to_json(findings_document(snapshot, diagnosis)).rstrip("\n")])
    else:
        from mailports.report.diagnostic import render_diagnosis

        show(render_diagnosis(diagnosis, style_of(sys.stdout, options.color)))
    return exit_status(diagnosis, options.fail_on)
