"""Error lines of real daemons, engines and runtimes: their errno and endpoint, by product."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mailports.loglines.recognise import may_matter, read_line
from mailports.pasted.lines import undress

ROWS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "cases/error-lines/lines.json").read_text())
RIGHT = 377
"""How many of the rows are read right today. It only goes up; the rest names no errno, or waits for its form."""


def is_right(row: dict[str, Any]) -> bool:
    """Whether a line yields the errno and the endpoint that it tells of."""
    (line, *_) = undress(row["line"])
    attempt = read_line(line.text, line.dress.program if line.dress else None, "here")
    if (attempt.errno or None if attempt else None) != row["errno"]:
        return False
    endpoint = attempt.endpoint if attempt else None
    if endpoint is None or not row["has_endpoint"]:
        return (endpoint is None) == (row["port"] is None)
    return endpoint.port == row["port"] and row["address"] in (None, endpoint.address)


def test_lines_that_daemons_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    """What was captured is read right, and the rate by product is said."""
    right = Counter(row["product"] for row in ROWS if is_right(row))
    every = Counter(row["product"] for row in ROWS)
    with capsys.disabled():
        rates = ", ".join(f"{product} {right[product]}/{count}" for product, count in sorted(every.items()))
        print(f"\nerror lines read right: {sum(right.values())} of {len(ROWS)}: {rates}")
    assert sum(right.values()) >= RIGHT


@pytest.mark.parametrize(
    ("line", "errno", "place"),
    [
        ("frobd: bind to 0.0.0.0:25: Address already in use", "EADDRINUSE", ("0.0.0.0", 25)),
        ("Error: listen EADDRINUSE: address already in use :::587", "EADDRINUSE", ("::", 587)),
        ("listen tcp 127.0.0.1:993: bind: address already in use", "EADDRINUSE", ("127.0.0.1", 993)),
        ("OSError: [Errno 98] error while attempting to bind on address ('::1', 143)", "EADDRINUSE", ("::1", 143)),
        ("bind 0.0.0.0:25 failed: Address in use", "EADDRINUSE", ("0.0.0.0", 25)),
        ("bind() to [::]:465 failed: WSAEADDRINUSE 10048", "EADDRINUSE", ("::", 465)),
        ("cannot bind port 4190: Permission denied", "EACCES", ("0.0.0.0", 4190)),
        ("bind 192.0.2.77:25: Can't assign requested address", "EADDRNOTAVAIL", ("192.0.2.77", 25)),
    ],
)
def test_families_that_nobody_has_met(line: str, errno: str, place: tuple[str, int]) -> None:
    """The generic forms give errno and endpoint, whoever says it."""
    attempt = read_line(line, None, "here")
    assert attempt is not None
    assert attempt.endpoint is not None
    assert (attempt.errno, (attempt.endpoint.address, attempt.endpoint.port)) == (errno, place)


@pytest.mark.parametrize(
    "line",
    [
        "Start request repeated too quickly.",
        "fatal: mail system startup failed",
        "LOG5[ui]: Binding service [smtps] to :::465: Address already in use (98)",
        "connect from unknown[198.51.100.7]:41234",
        "4BCDEF: to=<a@example.net>, relay=mx.example.net[198.51.100.7]:25, delay=0.5, status=sent (250 ok)",
        "imap-login: Login: user=<a>, method=PLAIN, rip=198.51.100.7, lip=192.0.2.2, TLS",
        "the phrase is already in use in port 8125 of call",
    ],
)
def test_what_is_no_cause(line: str) -> None:
    """Consequences, a healthy start, ordinary traffic."""
    assert read_line(line, None, "here") is None


def test_the_filter_lets_every_recognised_line_by() -> None:
    """What a large log is searched with first never loses a line that would be read."""
    for row in ROWS:
        (line, *_) = undress(row["line"])
        if read_line(line.text, None, "here") is not None:
            assert may_matter(row["line"])
