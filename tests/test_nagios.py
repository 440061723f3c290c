"""`--format nagios`: one line for a monitoring system, as the Monitoring Plugins guidelines have it."""

from __future__ import annotations

import re

import pytest

from mailports.model.findings import Diagnosis, Finding, Unknown
from mailports.report.nagios import nagios_status, render_nagios

LINE = re.compile(
    r"MAILPORTS (OK|WARNING|CRITICAL|UNKNOWN) - [^|]+ \| "
    r"errors=\d+;;0;0 warnings=\d+;0;;0 conflicts=\d+;;;0 unknown=\d+;;;0"
)
HIDDEN = Unknown("netfilter rules", "no permission", "run as root", ("redirected-port",))


def finding(severity: str, name: str = "shared-port", summary: str = "a and b share 0.0.0.0:25") -> Finding:
    return Finding(name, severity, name == "shared-port", summary, None)


def diagnosis(*findings: Finding, unknown: tuple[Unknown, ...] = ()) -> Diagnosis:
    return Diagnosis(findings, unknown)


@pytest.mark.parametrize(
    ("severities", "unknown", "status"),
    [
        ((), (), 0),
        (("note",), (), 0),
        (("warning",), (), 1),
        (("warning", "note"), (HIDDEN,), 1),
        (("error", "warning"), (), 2),
        (("error",), (HIDDEN,), 2),
        ((), (HIDDEN,), 3),
        (("note",), (HIDDEN,), 3),
    ],
)
def test_the_exit_status(severities: tuple[str, ...], unknown: tuple[Unknown, ...], status: int) -> None:
    """OK, WARNING, CRITICAL; UNKNOWN where nothing was found and something couldn't be seen."""
    judged = diagnosis(*map(finding, severities), unknown=unknown)
    assert nagios_status(judged) == status
    first = render_nagios(judged)[0]
    assert LINE.fullmatch(first)
    assert first.split()[1] == ("OK", "WARNING", "CRITICAL", "UNKNOWN")[status]


def test_nothing_found() -> None:
    """The whole line, as it is printed."""
    assert render_nagios(diagnosis()) == [
        "MAILPORTS OK - nothing found | errors=0;;0;0 warnings=0;0;;0 conflicts=0;;;0 unknown=0;;;0"
    ]


def test_findings_are_counted_and_the_worst_is_said() -> None:
    """The first line has the first finding; the others follow, a line each."""
    data = "errors=1;;0;0 warnings=1;0;;0 conflicts=1;;;0 unknown=0;;;0"
    lines = render_nagios(
        diagnosis(finding("error"), finding("warning", "overexposed-listener", "rspamd listens on 0.0.0.0:11334"))
    )
    assert lines == [
        f"MAILPORTS CRITICAL - shared-port: a and b share 0.0.0.0:25 (and 1 more) | {data}",
        "warning[overexposed-listener]: rspamd listens on 0.0.0.0:11334",
    ]


def test_what_could_not_be_seen_is_said() -> None:
    """The first of them, and how many."""
    first = render_nagios(diagnosis(unknown=(HIDDEN, HIDDEN)))[0]
    assert first.startswith("MAILPORTS UNKNOWN - 2 unknowns: netfilter rules | ")


def test_a_bar_begins_the_performance_data() -> None:
    """A rule's text may have one: no other bar is in the output."""
    lines = render_nagios(diagnosis(finding("error", summary="a | b"), finding("note", summary="c | d")))
    assert "".join(lines).count("|") == 1
    assert "a / b" in lines[0]


def test_performance_data_alerts_as_the_status_does() -> None:
    """An error is beyond its critical threshold, a warning beyond its warning threshold, nothing is within."""
    data = dict(part.split("=") for part in render_nagios(diagnosis(finding("error")))[0].split("| ")[1].split())
    assert set(data) == {"errors", "warnings", "conflicts", "unknown"}
    assert data["errors"] == "1;;0;0"
    assert data["warnings"] == "0;0;;0"
