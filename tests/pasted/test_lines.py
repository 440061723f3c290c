"""Pasted text is undressed, and a stream of any size is read within bounds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailports.model.facts import printable
from mailports.pasted.found import Dress, Line
from mailports.pasted.lines import TEXT_LIMIT, read_stream, undress

BIND = "fatal: bind 0.0.0.0 port 25: Address already in use"
ROW = "tcp        0      0 0.0.0.0:25              0.0.0.0:*               LISTEN      812/master"


def one(text: str) -> Line:
    (line,) = undress(text)
    return line


def matters(text: str) -> bool:
    return "already in use" in text


DRESSED = {
    "rsyslog": (
        f"2026-11-24T10:40:22.898886+00:00 t postfix/master[331]: {BIND}",
        Dress("2026-11-24T10:40:22.898886+00:00", "t", "postfix/master", 331),
        BIND,
    ),
    "traditional": (
        f"Nov 24 10:40:26 t postfix/master[331]: {BIND}",
        Dress("Nov 24 10:40:26", "t", "postfix/master", 331),
        BIND,
    ),
    "a day of one digit": (
        f"Nov  4 10:40:26 t postfix/master[331]: {BIND}",
        Dress("Nov  4 10:40:26", "t", "postfix/master", 331),
        BIND,
    ),
    "without pid": (
        "Nov 24 10:40:23 t imapd: bind: Address already in use",
        Dress("Nov 24 10:40:23", "t", "imapd"),
        "bind: Address already in use",
    ),
    "French months": (
        "janv. 07 11:34:48 belette64 systemd[1]: Failed to create listening socket",
        Dress("janv. 07 11:34:48", "belette64", "systemd", 1),
        "Failed to create listening socket",
    ),
    "RFC 5424": (
        f"<18>1 2026-11-24T10:40:26.1+00:00 t postfix 331 - -  {BIND}",
        Dress("2026-11-24T10:40:26.1+00:00", "t", "postfix", 331),
        BIND,
    ),
    "RFC 5424 with data": (
        f'<18>1 2026-11-24T10:40:26Z t postfix - ID1 [a@1 b="c"][d e="f"] {BIND}',
        Dress("2026-11-24T10:40:26Z", "t", "postfix"),
        BIND,
    ),
    "short-iso": (
        f"2026-11-24T10:40:24+0000 mx1 postfix/master[33]: {BIND}",
        Dress("2026-11-24T10:40:24+0000", "mx1", "postfix/master", 33),
        BIND,
    ),
    "short-full": (
        f"Tue 2026-11-24 10:40:24 UTC mx1 postfix/master[33]: {BIND}",
        Dress("Tue 2026-11-24 10:40:24 UTC", "mx1", "postfix/master", 33),
        BIND,
    ),
    "short-unix": (
        f"1795516824.341579 t.example postfix/master[33]: {BIND}",
        Dress("1795516824.341579", "t.example", "postfix/master", 33),
        BIND,
    ),
    "short-monotonic": (
        f"[ 2310.201201] mx1 postfix/master[33]: {BIND}",
        Dress("2310.201201", "mx1", "postfix/master", 33),
        BIND,
    ),
    "dmesg": ("[   12.345678] docker0: port 1 up", Dress("12.345678"), "docker0: port 1 up"),
    "json": (
        json.dumps(
            {
                "MESSAGE": "\x1b[31m" + BIND,
                "_HOSTNAME": "mx1",
                "SYSLOG_IDENTIFIER": "postfix/master",
                "_PID": "33",
                "_SYSTEMD_UNIT": "postfix@-.service",
                "__REALTIME_TIMESTAMP": "1795516824341579",
            }
        ),
        Dress("1795516824341579", "mx1", "postfix/master", 33, "postfix@-.service"),
        BIND,
    ),
    "json of bytes, from pid 1": (
        '{"MESSAGE":[98,105,110,100,255],"_PID":"1","UNIT":"a.service","_SYSTEMD_UNIT":"init.scope"}',
        Dress(pid=1, unit="a.service"),
        "bind\\xff",
    ),
    "Exim's file": ("2026-11-24 10:34:06 [89] socket bind()", Dress("2026-11-24 10:34:06", pid=89), "socket bind()"),
    "Exim by syslog": (
        "Nov 24 10:34:12 t exim[109]: 2026-11-24 10:34:12 [109] socket bind()",
        Dress("Nov 24 10:34:12", "t", "exim", 109),
        "socket bind()",
    ),
    "Dovecot's file": (
        "Nov 24 10:29:25 master: Error: listen(::, 143) failed",
        Dress("Nov 24 10:29:25", program="master"),
        "Error: listen(::, 143) failed",
    ),
    "nginx's file": (
        "2026/11/24 10:31:59 [emerg] 271#271: bind() failed",
        Dress("2026/11/24 10:31:59", program="nginx", pid=271),
        "[emerg] bind() failed",
    ),
    "nginx by syslog, with its own host": (
        "Nov 24 10:32:23 t t.example nginx: 2026/11/24 10:32:23 [emerg] 345#345: bind() failed",
        Dress("Nov 24 10:32:23", "t", "nginx", 345),
        "[emerg] bind() failed",
    ),
    "nginx by syslog, two blanks": (
        "Nov 24 10:32:23 t  nginx: bind() failed",
        Dress("Nov 24 10:32:23", "t", "nginx"),
        "bind() failed",
    ),
    "stunnel": (
        "2026.11.24 10:33:40 LOG5[ui]: Binding service [smtps] failed",
        Dress("2026.11.24 10:33:40", program="stunnel"),
        "Binding service [smtps] failed",
    ),
    "clamd": (
        "Tue Nov 24 10:33:49 2026 -> ERROR: TCP: Cannot bind",
        Dress("Tue Nov 24 10:33:49 2026"),
        "ERROR: TCP: Cannot bind",
    ),
    "rspamd": (
        "2026-11-24 10:36:29 #36(main) bind 127.0.0.1:11333 failed",
        Dress("2026-11-24 10:36:29", pid=36),
        "bind 127.0.0.1:11333 failed",
    ),
    "redis": (
        "246:M 24 Nov 2026 10:34:36.179 # Warning: Could not create",
        Dress("24 Nov 2026 10:34:36.179", program="redis", pid=246),
        "Warning: Could not create",
    ),
    "docker logs -t": (
        "2026-11-24T10:44:24.297992018Z could not bind: address already in use",
        Dress("2026-11-24T10:44:24.297992018Z"),
        "could not bind: address already in use",
    ),
    "json-file": (
        '{"log":"Nov 24 10:40:24 mx dovecot: master: Error: x\\n","stream":"stdout","time":"2026-11-24T10:44:24Z"}',
        Dress("2026-11-24T10:44:24Z", "mx", "dovecot"),
        "master: Error: x",
    ),
    "dockerd": (
        'time="2026-11-24T10:44:11Z" level=error msg="Handler for \\"POST\\" failed" error="in use"',
        Dress("2026-11-24T10:44:11Z"),
        'Handler for "POST" failed: in use',
    ),
    "Compose v2": (
        f"\x1b[2Kpostfix-1       | postfix/master[7]: {BIND}",
        Dress(container="postfix-1"),
        f"postfix/master[7]: {BIND}",
    ),
    "Compose v2 in colour, with time": (
        f"\x1b[36mmail-1  | \x1b[0m2026-11-24T10:44:24.297992018Z {BIND}",
        Dress("2026-11-24T10:44:24.297992018Z", container="mail-1"),
        BIND,
    ),
    "Compose v1 around syslog": (
        "mail    | Apr 19 22:56:52 mail dovecot: master: Error: socket() failed",
        Dress("Apr 19 22:56:52", "mail", "dovecot", container="mail"),
        "master: Error: socket() failed",
    ),
    "grep -n": (
        f"/var/log/mail.log:12:Nov 24 10:40:26 t postfix/master[331]: {BIND}",
        Dress("Nov 24 10:40:26", "t", "postfix/master", 331),
        BIND,
    ),
    "none": (ROW, None, ROW),
    "a message that has colons": (
        "listen tcp 0.0.0.0:25: bind: address already in use",
        None,
        "listen tcp 0.0.0.0:25: bind: address already in use",
    ),
}


@pytest.mark.parametrize("form", DRESSED)
def test_each_log_format_is_taken_off_and_kept_as_dress(form: str) -> None:
    """What a log's format says is in the dress, the message is the text."""
    pasted, dress, text = DRESSED[form]
    assert one(pasted) == Line(1, text, dress)


@pytest.mark.parametrize("form", DRESSED)
def test_a_quoted_line_is_what_it_was(form: str) -> None:
    """Quoting marks and entities change nothing of what a line says."""
    pasted, dress, text = DRESSED[form]
    assert one("> > " + pasted) == Line(1, text, dress)
    assert one("&gt; " + pasted.replace("&", "&amp;")) == Line(1, text, dress)


PROMPTS = {
    "$ ss -tlnp": None,
    "# ss -tlnp": None,
    "# sudo systemctl status postfix": None,
    "root@mx1:~# ss -tlnp": "mx1",
    "[root@mx ~]# ss -tlnp": "mx",
    "user@host:/etc/postfix$ ss -tlnp": "host",
    "(venv) user@host:~$ ss -tlnp": "host",
    "jane@bsd1:~ % sockstat -4l": "bsd1",
    "mx1:~ # ss -tlnp": "mx1",
    "root@3f2c9a1b7d3e:/# ss": "3f2c9a1b7d3e",
    "PS C:\\Windows\\system32> netstat -ano": None,
    "C:\\Users\\x> netstat -ano": None,
    "C:\\Users\\x>netstat -ano": None,
    "\u276f ss -tlnp": None,
    "➜  ~ ss -tlnp": None,
    "➜  mail git:(main) ✗ docker compose up": None,
    "\x1b[01;32mroot@mx1\x1b[00m:\x1b[01;34m~\x1b[00m# ss -tlnp": "mx1",
}


@pytest.mark.parametrize("pasted", PROMPTS)
def test_a_prompt_makes_a_command(pasted: str) -> None:
    """What stands after a prompt is a command, and the prompt's host is kept."""
    line = one(pasted)
    assert line.is_command
    assert (line.dress.host if line.dress else None) == PROMPTS[pasted]
    assert pasted.endswith(line.text)
    assert not line.text.startswith(("$", "#", ">", " "))


@pytest.mark.parametrize(
    "text",
    [
        "# service type  private unpriv  chroot",
        "# Ports of this host",
        "## ss",
        "#smtp inet n - y - - smtpd",
        "postmaster@example.org: it costs $ 5",
        "mysql> select 1;",
        "LISTEN 0 100 *:25 *:*",
    ],
)
def test_what_only_looks_like_a_prompt_is_no_command(text: str) -> None:
    """Comments, headings and prose aren't commands."""
    assert not one(text).is_command


def test_a_command_goes_on_after_a_backslash() -> None:
    """A trailing backslash joins the next line, a continuation prompt too; numbers count the original lines."""
    lines = list(undress("$ docker run \\\n>   -p 25:25 \\\n  mail\nnext"))
    assert lines == [Line(1, "docker run -p 25:25 mail", None, is_command=True), Line(4, "next")]


@pytest.mark.parametrize(
    ("pasted", "texts"),
    [
        ("> a\n>> b\n> > c\n>\n", ["a", "b", "c", ""]),
        ("| quoted\n| Name | Value |", ["quoted", "| Name | Value |"]),
        ("```console\n    x  y\n```", ["", "    x  y", ""]),
        ("  ```\n  x  y\n  ```", ["", "x  y", ""]),
        ("See:\n\n    a  b\n      c\n", ["See:", "", "a  b", "  c"]),
        ("services:\n\n    mail:\n", ["services:", "", "    mail:"]),
        ("I get `bind: in use` here", ["I get bind: in use here"]),
        ("a\u00a0b\u200bc\ufeff", ["a bc"]),
        ("\ufeffa\r\nb\r\n", ["a", "b"]),
        ("a\rb\r", ["a", "b"]),
        ("a\tb", ["a\tb"]),
        ("\x1b[\x1b[31m31mred\x1b[0m \x1b]0;title\x07x", ["red x"]),
        ("a\x00\x07b", ["a\\x00\\x07b"]),
    ],
)
def test_marks_around_lines_go_and_columns_stay(pasted: str, texts: list[str]) -> None:
    """Quotes, fences, colours and odd blanks go; what is left keeps its columns."""
    assert [line.text for line in undress(pasted)] == texts


@given(st.text(max_size=400))
def test_any_text_is_lines(text: str) -> None:
    """Whatever was pasted gives printable lines in order, never an exception."""
    lines = list(undress(text))
    numbers = [line.number for line in lines]
    assert numbers == sorted(set(numbers))
    for line in lines:
        assert len(line.text) <= TEXT_LIMIT
        assert all(part == printable(part) for part in line.text.split("\t"))


PIECES = st.sampled_from(
    [
        "Nov 24 10:00:00 ",
        "mx1 ",
        "a[1]: ",
        "> ",
        "{",
        '"MESSAGE":',
        "[",
        "]",
        "\x1b[",
        "m",
        "| ",
        "$ ",
        "\\",
        "\n",
        "=",
        '"',
    ]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=40).map("".join))
def test_any_mix_of_dress_is_lines(text: str) -> None:
    """Half a prefix inside another is no exception either."""
    assert all(line.number >= 1 for line in undress(text))


@given(st.binary(max_size=600), st.integers(1, 50))
def test_any_bytes_are_lines_however_they_are_cut(raw: bytes, size: int) -> None:
    """Any bytes in any chunks are the same lines."""
    whole = read_stream([raw], matters)
    assert read_stream([raw[at : at + size] for at in range(0, len(raw), size)], matters) == whole
    assert whole[1].bytes_read == len(raw)


def test_of_a_long_log_what_matters_is_kept_with_what_stands_around_it() -> None:
    """The lines that may matter are kept with their context and their numbers; the rest is counted."""
    lines = [f"Nov 24 10:00:00 mx1 postfix/smtp[1]: {number:08d}: status=sent, relay" for number in range(60_000)]
    lines[40_000] = f"Nov 24 10:00:00 mx1 postfix/master[1]: {BIND}"
    lines[50_000] = ROW
    lines[50_001] = ""
    raw = "\n".join(lines).encode()
    kept, bounds = read_stream([raw[at : at + 10_000] for at in range(0, len(raw), 10_000)], matters)
    numbers = [line.number for line in kept]
    assert numbers[:5] == [39_999, 40_000, 40_001, 40_002, 40_003]
    assert 50_001 in numbers
    assert kept[2].text == BIND
    assert bounds.lines_read == 60_000
    assert bounds.lines_kept + bounds.lines_passed == 60_000
    assert bounds.said() == (f"of 60,000 lines the {len(kept)} that could matter were read",)


def test_a_small_text_is_whole_and_nothing_is_said() -> None:
    """A text that people paste is kept line for line."""
    kept, bounds = read_stream([b"a\nb\n\nc"], matters)
    assert [line.text for line in kept] == ["a", "b", "", "c"]
    assert bounds.said() == ()


def test_a_line_of_megabytes_is_cut() -> None:
    """A line without an end costs its beginning, and the next is read."""
    kept, bounds = read_stream((b"a" * 100_000 for _ in range(50)), matters)
    assert kept == []
    assert (bounds.lines_read, bounds.lines_cut) == (1, 1)
    tail = b"\nx already in use\n"
    kept, bounds = read_stream([*(b"a" * 100_000 for _ in range(50)), tail], matters)
    assert kept[-1].text == "x already in use"
    assert kept[-1].number == 2


def test_a_million_rows_leave_room_for_what_matters() -> None:
    """Rows of tables get three quarters of the limit, so that an error after them is still seen."""
    raw = (ROW + "\n").encode()
    kept, bounds = read_stream([raw * 40_000, BIND.encode()], matters, limit_lines=1_000)
    assert len(kept) == 751
    assert kept[-1].text == BIND
    assert bounds.lines_dropped == 39_250


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_windows_redirects_to_utf_16(encoding: str) -> None:
    """What PowerShell wrote into a file is read."""
    kept, bounds = read_stream([f"{ROW}\r\nx\r\n".encode(encoding)], matters)
    assert [line.text for line in kept] == [ROW, "x"]
    assert (bounds.encoding, bounds.nul_bytes) == ("utf-16", 0)


def test_binary_is_said() -> None:
    """NUL bytes are counted and said."""
    _, bounds = read_stream([bytes(range(256)) * 10], matters)
    assert bounds.said() == ("the input isn't plain text: it has 10 NUL bytes",)


def test_reading_stops_at_the_limit_of_bytes() -> None:
    """No more bytes than the limit are looked at, and it's said."""
    _, bounds = read_stream((b"abc\n" * 1_000 for _ in range(1_000)), matters, limit_bytes=50_000)
    assert bounds.bytes_read == 50_000
    assert bounds.said()[0] == "only the first 50,000 bytes were read"


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["\x1b[", "> ", "`", "[", "&gt;", "Nov 24 ", "=", '{"a":', "a@", "\\", "| ", "1", " ", "[pod/"]))
def test_a_long_line_of_one_thing_takes_no_time(piece: str) -> None:
    """No repetition makes a pattern run away."""
    assert list(undress(piece * 20_000))
