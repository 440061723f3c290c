"""Explain: the text that people pasted is judged rightly, and healthy text raises no alarm.

A case is `cases/explain/NAME/`: `input.txt`, `expect.json`, `case.md`. In `expect.json`:

- `findings`: exactly these, in any order. A null `endpoint`, or a null part of one, isn't compared; an absent `holder`
  or `moves` neither; a null one says that nobody may be named; `or` lists other names that are as right.
- `may`: names that may come beside them; `absent`: names that may not come.
- `next`: parts of commands that must be offered; `first_line`: a part of the answer's first line.

`KNOWN.md` there lists what isn't explained yet, a line each: "- `NAME`: reason". What works must leave the list.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mailports.diagnose.questions import next_commands
from mailports.diagnose.rules import diagnose
from mailports.pasted.assembly import read_text
from mailports.report.explained import first_line

FOLDER = Path(__file__).parent / "cases" / "explain"
CASES = sorted(path.parent.name for path in FOLDER.glob("*/expect.json"))
HEALTHY = "healthy-"


def known() -> dict[str, str]:
    """Return the cases that aren't explained yet, each with its reason."""
    path = FOLDER / "KNOWN.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return dict(re.findall(r"^- `([^`]+)`: *(.+)$", text, re.MULTILINE))


def is_named(wanted: str, *names: str | None) -> bool:
    """Whether one of the names is the wanted one, or has it as a part."""
    return any(wanted.lower() in name.lower() for name in names if name)


def differences(found: Any, wanted: dict[str, Any]) -> list[str]:
    """Return in what a finding isn't the wanted one; empty where it is."""
    said = []
    if found.name not in (wanted["name"], *wanted.get("or", ())):
        return [f"its name is {found.name}"]
    if found.is_conflict != wanted["is_conflict"] and found.name == wanted["name"]:
        said.append(f"is_conflict is {found.is_conflict}")
    for part, value in (wanted["endpoint"] or {}).items():
        has = getattr(found.endpoint, part, None)
        if value is not None and has != value:
            said.append(f"{part} is {has}, not {value}")
    holders = [p for p in found.parties if p.role == "holder"]
    if "holder" in wanted:
        who = wanted["holder"]
        names = [n for p in holders for n in (p.name, p.product, p.unit, p.container)]
        if (who is None and any(names)) or (who is not None and not is_named(who, *names)):
            said.append(f"the holder is {names}, not {who}")
    if "moves" in wanted:
        who = wanted["moves"]
        moves = found.remedies[0].moves if found.remedies else None
        alike = [n for p in found.parties if p.name == moves for n in (p.product, p.unit, p.container)]
        if (who is None) != (moves is None) or (who is not None and not is_named(who, moves, *alike)):
            said.append(f"{moves} moves, not {who}")
    return said


def unlike(findings: tuple[Any, ...], expect: dict[str, Any]) -> list[str]:
    """Return in what the findings aren't the expected ones."""
    said = [f"{f.name} may not be said" for f in findings if f.name in expect["absent"]]
    left = list(findings)
    for wanted in expect["findings"]:
        tried = [(differences(found, wanted), found) for found in left]
        right = [found for said_of_it, found in tried if not said_of_it]
        if right:
            left.remove(right[0])
        else:
            said.append(f"no {wanted['name']} as expected: {[why for why, _ in tried]}")
    said += [f"{f.name} is said too: {f.summary}" for f in left if f.name not in expect.get("may", ())]
    return said


def wrongs(name: str) -> list[str]:
    """Return what is wrong in the answer to a case; empty where it is right."""
    expect = json.loads((FOLDER / name / "expect.json").read_text(encoding="utf-8"))
    reading = read_text((FOLDER / name / "input.txt").read_text(encoding="utf-8"))
    diagnosis = diagnose(reading.snapshot)
    said = unlike(diagnosis.findings, expect)
    commands = next_commands(reading.snapshot, diagnosis)
    said += [f"{part!r} isn't offered: {commands}" for part in expect["next"] if not any(part in c for c in commands)]
    if expect["first_line"]:
        line = first_line(reading.snapshot, reading.recognised, diagnosis)
        if expect["first_line"] not in line:
            said.append(f"the first line is {line!r}")
    return said


@pytest.mark.parametrize("name", CASES)
def test_a_pasted_text_is_judged_rightly(name: str, request: pytest.FixtureRequest) -> None:
    """The right finding, holder and party to move; where the text doesn't carry them, the right question."""
    if name in known():
        request.node.add_marker(pytest.mark.xfail(reason=known()[name], raises=AssertionError, strict=True))
    assert wrongs(name) == []


def test_the_list_of_the_unexplained_is_true() -> None:
    """`KNOWN.md` names cases that exist."""
    assert set(known()) <= set(CASES)


def test_every_case_is_whole() -> None:
    """A case has its text, its expectation and its story."""
    folders = [path for path in FOLDER.iterdir() if path.is_dir()]
    files = ("input.txt", "expect.json", "case.md")
    assert [f"{folder.name}/{file}" for folder in folders for file in files if not (folder / file).exists()] == []


def test_the_rate_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """How many of the cases are explained rightly, and how many healthy texts stay silent."""
    right = [name for name in CASES if not wrongs(name)]
    healthy = [name for name in CASES if name.startswith(HEALTHY)]
    silent = [name for name in right if name.startswith(HEALTHY)]
    with capsys.disabled():
        cases = f"{len(right) - len(silent)} of {len(CASES) - len(healthy)} cases right"
        print(f"\nexplain: {cases}, {len(silent)} of {len(healthy)} healthy texts silent")
    assert CASES
