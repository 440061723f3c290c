"""One line for a monitoring system.

Source: Monitoring Plugins Development Guidelines: status words, performance data `label=value;warn;crit;min`.
"""

from __future__ import annotations

from mailports.report.style import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.model.findings import Diagnosis

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


def nagios_status(diagnosis: Diagnosis) -> int:
    """Return the plugin's exit status: errors are critical, and what couldn't be seen is unknown."""
    severities = {f.severity for f in diagnosis.findings}
    if "error" in severities:
        return CRITICAL
    if "warning" in severities:
        return WARNING
    return UNKNOWN if diagnosis.unknown else OK


def render_nagios(diagnosis: Diagnosis) -> list[str]:
    """Return the first line with performance data, and a line a finding as long output."""
    status = nagios_status(diagnosis)
    errors = sum(1 for f in diagnosis.findings if f.severity == "error")
    warnings = sum(1 for f in diagnosis.findings if f.severity == "warning")
    conflicts = sum(1 for f in diagnosis.findings if f.is_conflict)
    if diagnosis.findings:
        what = _clean(diagnosis.findings[0].summary)
        more = len(diagnosis.findings) - 1
        text = f"{diagnosis.findings[0].name}: {what}" + (f" (and {more} more)" if more else "")
    elif diagnosis.unknown:
        text = f"{counted(len(diagnosis.unknown), 'unknown')}: {_clean(diagnosis.unknown[0].what)}"
    else:
        text = "nothing found"
    data = (
        f"errors={errors};;0;0 warnings={warnings};0;;0 conflicts={conflicts};;;0 unknown={len(diagnosis.unknown)};;;0"
    )
    lines = [f"MAILPORTS {_WORDS[status]} - {text} | {data}"]
    lines += [f"{f.severity}[{f.name}]: {_clean(f.summary)}" for f in diagnosis.findings[1:]]
    return lines


def _clean(text: str) -> str:
    return text.replace("|", "/")  # the bar begins the performance data
