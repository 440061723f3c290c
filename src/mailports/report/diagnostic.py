"""The one form in which findings, unknowns and faults are shown to people. Pure.

The first line stands alone. Input is quoted and printable already. Hints are commands that can be pasted.
"""

from __future__ import annotations

from mailports.model.facts import shown
from mailports.report.style import Style, counted, wrapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailports.model.facts import Endpoint
    from mailports.model.findings import Diagnosis, Finding, Party, Unknown

_LABEL = 10


def render_diagnosis(diagnosis: Diagnosis, style: Style) -> list[str]:
    """Return every finding in full, then what couldn't be seen, then the counts."""
    lines: list[str] = []
    for found in diagnosis.findings:
        lines += [*render_finding(found, style), ""]
    if diagnosis.unknown:
        lines += [*render_unknown(diagnosis.unknown, style), ""]
    return [*lines, summary_of(diagnosis, style)]


def summary_of(diagnosis: Diagnosis, style: Style) -> str:
    """Return the last line of an audit."""
    parts = []
    for severity in ("error", "warning", "note"):
        count = sum(1 for f in diagnosis.findings if f.severity == severity)
        if count:
            parts.append(style.paint(counted(count, severity), severity))
    if diagnosis.unknown:
        parts.append(counted(len(diagnosis.unknown), "unknown"))
    if not parts:
        return style.paint("nothing found", "good")
    return ("" if diagnosis.findings else "nothing found, but ") + ", ".join(parts)


def render_finding(finding: Finding, style: Style) -> list[str]:
    """Return a finding: first line, parties, evidence, what breaks, the ways out."""
    head = style.paint(f"{finding.severity}[{finding.name}]", finding.severity)
    first = wrapped(f"{finding.severity}[{finding.name}]: {finding.summary}", style.width, "    ")
    lines = [first.replace(f"{finding.severity}[{finding.name}]", head, 1)]
    lines += [_row(party.role, party_text(party), style) for party in finding.parties]
    if len(finding.endpoints) > 1:
        lines.append(_row("endpoints", _listed([_shown(e) for e in finding.endpoints]), style))
    for evidence in finding.evidence[:12]:
        lines.append(_row("seen", evidence.fact, style, evidence.source))
    if len(finding.evidence) > 12:
        lines.append(_row("seen", f"and {len(finding.evidence) - 12} more facts (--json has them)", style))
    for broken in finding.breaks:
        lines.append(_row("breaks", f"{broken.flow}: {broken.effect}", style))
    for unknown in finding.unknown:
        lines.append(_row("unknown", f"{unknown.what}: {unknown.why}", style))
    for number, remedy in enumerate(finding.remedies, start=1):
        who = f" [{remedy.moves} moves]" if remedy.moves else ""
        lines.append(_row(f"way {number}", f"{remedy.summary}{who}", style))
        if number == 1 or remedy.rule != finding.remedies[number - 2].rule:
            lines.append(_row("", f"rule {remedy.rule}", style, dim=True))
    return lines


def render_unknown(unknown: Sequence[Unknown], style: Style) -> list[str]:
    """Return what couldn't be seen, and how to see it."""
    lines = []
    for one in unknown:
        text = f"unknown: {one.what}: {one.why}"
        lines.append(wrapped(text, style.width, "    ").replace("unknown", style.paint("unknown", "note"), 1))
        if one.hides:
            lines.append(_row("may hide", ", ".join(one.hides), style, dim=True))
        if one.how_to_see:
            lines.append(_row("to see it", one.how_to_see, style, dim=True))
    return lines


def party_text(party: Party) -> str:
    """Return a party in one line: name, pid, unit, container, rule."""
    parts = [party.name or "unknown"]
    if party.pid is not None and party.pid != 1:
        parts.append(f"pid {party.pid}")
    if party.unit and party.unit != party.name:
        parts.append(party.unit)
    if party.container and party.container not in (party.name or ""):
        parts.append(f"container {party.container}")
    if party.entry and party.role != "redirect":
        parts.append(party.entry)
    if party.endpoint is not None:
        parts.append(f"on {_shown(party.endpoint)}")
    return ", ".join(parts)


def render_fault(message: str, hint: str | None, style: Style) -> list[str]:
    """Return an error of our own: what failed, and what would help."""
    lines = [f"{style.paint('error', 'error')}: {message}"]
    if hint:
        lines.append(f"{style.paint('hint', 'hint')}: {hint}")
    return lines


def _row(label: str, text: str, style: Style, source: str | None = None, *, dim: bool = False) -> str:
    """`  label     text                          source`; the source goes to the right where there is room."""
    indent = " " * (_LABEL + 2)
    room = style.width - len(indent)
    label_text = f"  {label:<{_LABEL}}"
    if source is not None and len(text) + len(source) + 2 <= room:
        gap = max(2, min(room, 88) - len(text) - len(source))
        body = text + " " * gap + style.paint(source, "dim")
    else:
        whole = text if source is None else f"{text} ({source})"
        body = wrapped(whole, style.width, indent, first=len(indent))
    if dim:
        return style.paint(label_text + body, "dim")
    return style.paint(label_text, "dim") + body


def _listed(words: list[str]) -> str:
    return ", ".join(words[:12]) + (f" and {len(words) - 12} more" if len(words) > 12 else "")


def _shown(endpoint: Endpoint) -> str:
    where = "" if endpoint.netns in ("here", None) else f" in {endpoint.netns}"
    return shown(endpoint) + where
