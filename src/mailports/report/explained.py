"""`explain` for a terminal: what it is, in the first line; then how that was seen, and what would settle the rest."""

from __future__ import annotations

from mailports.diagnose.questions import is_open
from mailports.report.diagnostic import render_finding
from mailports.report.style import Style, counted, wrapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailports.model.facts import Snapshot
    from mailports.model.findings import Diagnosis
    from mailports.model.readings import Recognised


def render_explained(
    snapshot: Snapshot,
    recognised: Sequence[Recognised],
    problems: Sequence[str],
    diagnosis: Diagnosis,
    commands: Sequence[str],
    style: Style,
) -> list[str]:
    """Return the answer, the findings in full, what was recognised, and what to run next."""
    lines = [wrapped(first_line(snapshot, recognised, diagnosis), style.width, "    ")]
    for found in diagnosis.findings:
        lines += ["", *render_finding(found, style)]
    if recognised:
        lines.append("")
        for kind, first, last in recognised[:20]:
            where = f"line {first}" if first == last else f"lines {first}-{last}"
            lines.append(style.paint(f"  read      {where}: {kind}", "dim"))
        if len(recognised) > 20:
            lines.append(style.paint(f"  read      and {len(recognised) - 20} more", "dim"))
    lines += [style.paint("  " + wrapped(f"left out  {p}", style.width - 2, " " * 12), "dim") for p in problems[:5]]
    open_questions = [u for f in diagnosis.findings for u in f.unknown] + list(diagnosis.unknown)
    if open_questions and commands:
        lines.append("")
        lines += [wrapped(f"not known: {u.what}: {u.why}", style.width, "    ") for u in open_questions[:4]]
    if commands:
        lines.append("")
        lines += [f"{style.paint('to settle it', 'hint')}: {command}" for command in commands]
    return lines


def first_line(snapshot: Snapshot, recognised: Sequence[Recognised], diagnosis: Diagnosis) -> str:
    """Return the answer in one line: a conflict, no conflict but this, nothing wrong, or not enough to tell."""
    conflicts = [f for f in diagnosis.findings if f.is_conflict]
    if conflicts:
        more = len(diagnosis.findings) - 1
        return f"a port conflict: {conflicts[0].summary}" + (f" (and {counted(more, 'finding')} more)" if more else "")
    if diagnosis.findings:
        summary = diagnosis.findings[0].summary
        return summary if summary.startswith("no port conflict") else f"no port conflict: {summary}"
    if not recognised:
        return "nothing in this text says anything about ports: paste the error line, or a table of listeners"
    if is_open(snapshot):
        return "not enough to tell: an error line, and not what is in the way"
    return "nothing wrong is seen here"
