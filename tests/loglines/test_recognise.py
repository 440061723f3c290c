"""Lines of real daemons, invented families, ordinary lines and hostile text: what `read_line` makes of each."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailports.loglines.recognise import may_matter, read_line
from mailports.model.facts import Attempt

with open(__file__.rsplit("/", 2)[0] + "/cases/loglines/lines.json", encoding="utf-8") as _file:  # noqa: PTH123
    LINES: list[dict[str, Any]] = json.load(_file)

USE = "EADDRINUSE"
GENERIC = (
    ("foomail: cannot bind to 0.0.0.0:25: Address already in use", USE, ("tcp", "0.0.0.0", 25)),
    ("bar[25]: could not bind [::]:587 (errno 98)", USE, ("tcp", "::", 587)),
    ("ERROR bind failed, port 993: EADDRINUSE", USE, ("tcp", "0.0.0.0", 993)),
    ("baz: listen on *:143 failed: Address in use", USE, ("tcp", "0.0.0.0", 143)),
    ('Error: Os { code: 98, message: "Address already in use (os error 98)" }', USE, None),
    ("failed to bind 127.0.0.1:8891: Address already in use (os error 98)", USE, ("tcp", "127.0.0.1", 8891)),
    ("OSError: [Errno 48] Address already in use: ('127.0.0.1', 1025)", USE, ("tcp", "127.0.0.1", 1025)),
    ("bind ::1.25: Address already in use", USE, ("tcp", "::1", 25)),
    ("listen udp 0.0.0.0:53: bind: address already in use", USE, ("udp", "0.0.0.0", 53)),
    ("socket error WSAEADDRINUSE on port 25", USE, ("tcp", "0.0.0.0", 25)),
    ("Bind error 10048 at 0.0.0.0:110", USE, ("tcp", "0.0.0.0", 110)),
    ("bind: 25/tcp: permission denied", "EACCES", ("tcp", "0.0.0.0", 25)),
    ("cannot listen on 192.0.2.7:465: Can't assign requested address", "EADDRNOTAVAIL", ("tcp", "192.0.2.7", 465)),
    ("bind :25: Address not available", "EADDRNOTAVAIL", ("tcp", "0.0.0.0", 25)),
    ("2026-11-24 10:25:25 x[7]: server.c:143: bind 10.0.0.1:25: Address already in use", USE, ("tcp", "10.0.0.1", 25)),
    ("dial tcp 127.0.0.1:24: connect: connection refused", "ECONNREFUSED", ("tcp", "127.0.0.1", 24)),
    ("Port 25 is already in use", USE, ("tcp", "0.0.0.0", 25)),
)

SILENT = (
    "Nov 24 10:00:25 t postfix/smtp[25]: 4F1: to=<a@b.c>, relay=mx.b.c[192.0.2.3]:25, dsn=2.0.0, status=sent (250 ok)",
    "Nov 24 10:00:25 t postfix/smtpd[587]: connect from mail.b.c[192.0.2.4]:25",
    "Nov 24 10:00:25 t postfix/smtpd[98]: disconnect from x[192.0.2.4] ehlo=1 mail=1 commands=2",
    "Nov 24 10:00:25 t dovecot: imap-login: Login: user=<u>, method=PLAIN, rip=192.0.2.9, lip=192.0.2.1, mpid=98",
    "graphite listening on port 8125",
    "kernel: [   25.110143] eth0: link up, 1000 Mbps, port 25",
    "4f4fb700ef54: Already exists",
    "25: Pulling from library/mail",
    "systemd[1]: postfix.service: Start request repeated too quickly.",
    "postfix/postfix-script[332]: fatal: mail system startup failed",
    "master[330]: fatal: daemon initialization failure -- see logs for details",
    "dovecot: master: Fatal: Failed to start listeners",
    "nginx: [emerg] still could not bind()",
    "2026.11.24 10:33:15 LOG5[ui]: Binding service [smtps] to :::465: Address already in use (98)",
    "exim 4.98.2 daemon started: pid=50, listening for SMTP on port 25 (IPv6 and IPv4)",
    "Error: that email address already in use, choose another",
    'Conflict. The container name "/mail" is already in use by container "98ab"',
    "ldap_bind: Permission denied (50)",
    "open /etc/mail/key.pem: permission denied",
    "mount --bind /a /b failed: permission denied",
    "Nov 24 10:25:00 t CRON[143]: (root) CMD (run-parts /etc/cron.hourly)",
    "sshd[465]: Connection closed by 192.0.2.1 port 25 [preauth]",
    "named[53]: listening on IPv4 interface lo, 127.0.0.1#53",
    "postfix/anvil[110]: statistics: max connection rate 1/60s for (smtp:192.0.2.9) at Nov 24 10:00:25",
    "fail2ban.actions: [postfix] 192.0.2.25 already banned",
)


@pytest.mark.parametrize("row", LINES, ids=[row["id"] for row in LINES])
def test_a_daemons_line(row: dict[str, Any]) -> None:
    attempt = read_line(row["line"], None, "here")
    if row["expect"] is None:
        assert row["why_not"]
        assert attempt is None
        return
    assert attempt is not None
    assert may_matter(row["line"])
    where = None if attempt.endpoint is None else list(attempt.endpoint[:3])
    assert {
        "errno": attempt.errno,
        "endpoint": where,
        "product": attempt.product,
        "call": attempt.call,
        "address": attempt.address,
    } == row["expect"]


def test_the_rate_by_product(capsys: pytest.CaptureFixture[str]) -> None:
    of, told = Counter[str](), Counter[str]()
    for row in LINES:
        of[row["product"]] += 1
        told[row["product"]] += (read_line(row["line"], None, "here") is not None) == (row["expect"] is not None)
    with capsys.disabled():
        print("\n" + ", ".join(f"{name} {told[name]}/{count}" for name, count in of.most_common()))
    assert told == of


@pytest.mark.parametrize(("text", "errno", "where"), GENERIC)
def test_a_family_that_no_table_has(text: str, errno: str, where: tuple[str, str, int] | None) -> None:
    attempt = read_line(text, None, "here")
    assert attempt is not None
    assert attempt.errno == errno
    assert (None if attempt.endpoint is None else tuple(attempt.endpoint[:3])) == where


@pytest.mark.parametrize("pid", [25, 98, 143, 465, 587, 993, 8125, 10048, 10013])
def test_ordinary_lines_say_nothing(pid: int) -> None:
    for text in SILENT:
        for dressed in (text, f"Nov 24 10:{pid % 60:02}:25 t x[{pid}]: {text}"):
            assert read_line(dressed, None, "here") is None, dressed


def test_addresses_and_families() -> None:
    wanted = read_line("bind('::1', 25): address already in use", None, "name:mail")
    assert wanted is not None
    assert wanted.endpoint is not None
    assert wanted.endpoint.netns == "name:mail"
    assert wanted.call == "bind"


@given(st.text(max_size=300))
def test_any_text_gives_an_attempt_or_none(text: str) -> None:
    for words in (text, f"bind {text} port 25: Address already in use", f"{text}EADDRINUSE{text}"):
        assert isinstance(read_line(words, None, "here"), (Attempt, type(None)))


@pytest.mark.parametrize(
    "piece",
    ["a", ":", "1.", "/x.", "127.0.0.1:25 ", "bind(", "[::", "port 25 ", "Error: bind(", "pid file ", "a.b-"],
)
def test_a_long_line_is_read(piece: str) -> None:
    """Up to its 4,000th character; what that costs is measured in benchmarks/pasted_text.py."""
    attempt = read_line((piece * 4000)[:3970] + " bind: Address already in use", None, "here")
    assert attempt is not None
    assert attempt.errno == USE
