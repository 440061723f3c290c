"""`mailports rule [NAME]`: the manual page of a finding."""

from __future__ import annotations

from mailports.cli.arguments import parser_of
from mailports.cli.output import show
from mailports.diagnose.rules import RULES, manual
from mailports.faults import InputError
from mailports.model.facts import printable


def run(argv: list[str]) -> int:
    """Run the verb."""
    parser = parser_of("rule", "The manual page of a finding; without a name, what findings there are.")
    parser.add_argument("name", nargs="?", metavar="NAME")
    name = parser.parse_args(argv).name
    if name is None:
        show([f"{rule.name:<25} {(rule.judge.__doc__ or '').partition(chr(10))[0]}" for rule in RULES])
        return 0
    page = manual(name)
    if page is None:
        raise InputError(f"no finding `{printable(name)}`", hint="mailports rule lists them")
    show([page.rstrip("\n")])
    return 0
