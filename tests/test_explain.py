"""A pasted text is judged like a host: what it says, what it doesn't, and what would settle it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailports.diagnose.overview import survey
from mailports.diagnose.questions import next_commands
from mailports.diagnose.rules import diagnose
from mailports.formats.documents import json_schema
from mailports.loglines.recognise import may_matter, read_line
from mailports.model.findings import Diagnosis
from mailports.pasted.assembly import read_text
from mailports.pasted.lines import read_stream, undress
from mailports.report.explained import first_line

SOURCES = Path(__file__).resolve().parent.parent / "src"
BIND = "Nov 24 10:21:42 mx1 postfix/master[331]: fatal: bind 0.0.0.0 port 25: Address already in use\n"
HEAD = "State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"
EXIM = 'LISTEN 0      20         127.0.0.1:25        0.0.0.0:*    users:(("exim4",pid=812,fd=4))\n'
PROXY = 'LISTEN 0      4096         0.0.0.0:25        0.0.0.0:*    users:(("docker-proxy",pid=99,fd=4))\n'


def judged(text: str) -> Diagnosis:
    return diagnose(read_text(text).snapshot)


def names(text: str) -> list[str]:
    return [f.name for f in judged(text).findings]


def test_a_bind_error_and_the_table_that_explains_it() -> None:
    """Exim on loopback keeps Postfix off the wildcard: who is in the way, and who moves."""
    (finding,) = judged(BIND + "root@mx1:~# ss -tlnp\n" + HEAD + EXIM).findings
    assert (finding.name, finding.is_conflict) == ("port-held", True)
    assert finding.summary == "postfix can't listen on 0.0.0.0:25: exim4 holds it"
    assert finding.remedies[0].moves == "exim4"


@pytest.mark.parametrize(
    "dressed",
    [
        "> " + BIND + "> " + HEAD + "> " + EXIM,
        "It says\n```\n" + BIND + "```\nand\n```\n" + HEAD + EXIM + "```\n",
        "\x1b[31m" + BIND.rstrip() + "\x1b[0m\n" + HEAD + EXIM,
        (BIND + HEAD + EXIM).replace("\n", "\r\n"),
        "mail-1  | fatal: bind 0.0.0.0 port 25: Address already in use\n" + HEAD + EXIM,
        json.dumps({"MESSAGE": BIND.rstrip().partition("]: ")[2], "SYSLOG_IDENTIFIER": "postfix/master"})
        + "\n" + HEAD + EXIM,
    ],
)  # fmt: skip
def test_what_it_came_wrapped_in_changes_nothing(dressed: str) -> None:
    """Quoting marks, fences, colours, line ends, a log's own format."""
    assert names(dressed) == ["port-held"]


def test_a_published_port_is_the_engines() -> None:
    """docker-proxy is a container's port, whatever its pid is."""
    assert names(BIND + HEAD + PROXY) == ["container-publishes-port"]


def test_the_same_program_again_is_another_run() -> None:
    """Postfix in Postfix's way is started twice, and nothing else moves."""
    table = HEAD + EXIM.replace("127.0.0.1", "0.0.0.0").replace("exim4", "master")
    (finding,) = judged(BIND + table).findings
    assert finding.name == "stale-instance"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("postfix/master[9]: fatal: bind 192.0.2.77 port 25: Cannot assign requested address", "address-missing"),
        (
            "dovecot: Error: service(imap-login): listen(::, 143): Address family not supported",
            "address-missing",
        ),
        ("nginx: [emerg] bind() to 0.0.0.0:25 failed (13: Permission denied)", "bind-not-permitted"),
        ("Fatal: Dovecot is already running with PID 36 (read from /run/dovecot/master.pid)", "stale-pid-file"),
        ("Error response from daemon: Pool overlaps with other one on this address space", "address-pool-clash"),
        ("postfix/smtp[9]: connect to mx.example.net[198.51.100.7]:25: Connection timed out", "blocked-upstream"),
    ],
)
def test_no_conflict_though_it_sounds_like_one(line: str, name: str) -> None:
    """The errno decides, not the words around it."""
    (finding,) = judged(line).findings
    assert (finding.name, finding.is_conflict) == (name, False)


def test_where_the_holder_is_missing_it_asks() -> None:
    """An error line alone names the claimant: the table of listeners would settle it, and nothing is guessed."""
    reading = read_text(BIND)
    diagnosis = diagnose(reading.snapshot)
    assert diagnosis.findings == ()
    assert "ss -tlnp" in next_commands(reading.snapshot, diagnosis)


REFUSED = "mx postfix/smtp[46]: connect to 127.0.0.1[127.0.0.1]:10024: Connection refused\n"


@pytest.mark.parametrize(
    "line",
    [
        "mx sendmail[46]: 6AO: to=u@[127.0.0.2], relay=[127.0.0.2], stat=Deferred: Connection refused by [127.0.0.2]\n",
        "mx postfix/smtp[46]: connect to mx.example.org[192.0.2.77]:25: Connection refused\n",
        "mx postfix/smtp[46]: connect to mx.example.org[2001:db8::1]:587: Network is unreachable\n",
        "nginx: [emerg] a duplicate listen 0.0.0.0:25 in /etc/nginx/nginx.conf:12\n",
        REFUSED,
    ],
)
def test_what_failed_is_never_called_fine(line: str) -> None:
    """Without a port, at another machine, by no errno: it isn't explained, and that is said."""
    reading = read_text(line)
    diagnosis = diagnose(reading.snapshot)
    assert len(reading.snapshot.attempts) == 1
    assert diagnosis.findings == ()
    assert first_line(reading.snapshot, reading.recognised, diagnosis).startswith("not enough to tell")


def test_what_serves_again_is_fine() -> None:
    """Refused then, listened on now."""
    reading = read_text(REFUSED + HEAD + 'LISTEN 0 9 127.0.0.1:10024 0.0.0.0:* users:(("amavisd",pid=8,fd=4))\n')
    diagnosis = diagnose(reading.snapshot)
    assert first_line(reading.snapshot, reading.recognised, diagnosis) == "nothing wrong is seen here"


def test_a_pid_without_a_name_accuses_nobody() -> None:
    """Windows' `netstat -ano` shows no names: which program it is remains open."""
    table = "  Proto  Local Address  Foreign Address  State  PID\n  TCP  0.0.0.0:25  0.0.0.0:0  LISTENING  1234\n"
    reading = read_text("Active Connections\n\n" + table)
    diagnosis = diagnose(reading.snapshot)
    assert diagnosis.findings == ()
    assert next_commands(reading.snapshot, diagnosis) == ('tasklist /FI "PID eq 1234"',)


def test_fuser_names_a_holder_and_no_address() -> None:
    """It says who is in the way; that the port is open to the world it doesn't say."""
    table = "                     USER        PID ACCESS COMMAND\n{}/tcp:            root        700 F.... {}\n"
    assert names("# fuser -v 8891/tcp\n" + table.format(8891, "opendkim")) == []
    (finding,) = judged("# fuser -v 25/tcp\n" + table.format(25, "exim4") + BIND).findings
    assert (finding.name, finding.parties[0].name) == ("port-held", "exim4")
    assert "tcp port 25 is in use" in [e.fact for e in finding.evidence]


@pytest.mark.parametrize(("user", "found"), [("bob", []), ("root", ["dangling-reference"])])
def test_lsof_without_root_shows_one_users_sockets(user: str, found: list[str]) -> None:
    """What isn't in its table may be another user's."""
    heading = "COMMAND  PID USER   FD   TYPE DEVICE SIZE/OFF NODE NAME\n"
    row = f"node    1234 {user}    21u  IPv4  33333      0t0  TCP 127.0.0.1:3000 (LISTEN)\n"
    assert names("$ lsof -nP -iTCP -sTCP:LISTEN\n" + heading + row + "$ tail mail.log\n" + REFUSED) == found


def test_a_container_is_what_its_tables_say_together() -> None:
    """A Compose file says what shall run; `docker ps` what does, whichever comes first."""
    compose = 'services:\n  mail:\n    ports:\n      - "25:25"\n\n'
    heading = "CONTAINER ID   IMAGE    COMMAND   CREATED       STATUS       PORTS                NAMES\n"
    row = 'f00dfeed0123   mail:1   "run"     2 hours ago   Up 2 hours   0.0.0.0:25->25/tcp   mail\n'
    for text in (compose + heading + row, heading + row + "\n" + compose):
        (container,) = read_text(text).snapshot.containers
        assert (container.id, container.state) == ("f00dfeed0123", "running")
        assert [p.source for p in container.publishes] == ["docker ps"]


def test_a_blocked_way_out_breaks_the_mail_that_is_sent() -> None:
    """Not the mail that comes in."""
    (finding,) = judged("mx postfix/smtp[9]: connect to a.example[198.51.100.7]:25: Connection timed out").findings
    assert [b.flow for b in finding.breaks] == ["outbound relay"]


def test_a_socket_in_use_is_not_a_pid_file() -> None:
    """The advice is never to remove a running program's socket."""
    (finding,) = judged("ERROR: LOCAL: Socket file /run/clamav/clamd.ctl is in use by another process.").findings
    assert "only if it doesn't, remove /run/clamav/clamd.ctl" in finding.remedies[0].summary


def test_the_holder_is_marked_whose_address_is_not_the_wanted_one() -> None:
    """`status` shows what is in the way where it is, though the finding is about the wildcard."""
    snapshot = read_text(BIND + HEAD + EXIM).snapshot
    (row,) = survey(snapshot, diagnose(snapshot)).listeners
    assert (row.endpoint.address, row.findings) == ("127.0.0.1", ("port-held",))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Dear list, how does one set up a mail server?\n",
        HEAD + 'LISTEN 0 100 0.0.0.0:25 0.0.0.0:* users:(("master",pid=9,fd=13))\n'
        + 'LISTEN 0 100 [::]:25 [::]:* users:(("master",pid=9,fd=14))\n',
        HEAD + 'LISTEN 0 128 0.0.0.0:8125 0.0.0.0:* users:(("statsd",pid=25,fd=5))\n'
        + 'LISTEN 0 128 0.0.0.0:25672 0.0.0.0:* users:(("beam.smp",pid=26,fd=5))\n',
        HEAD + 'ESTAB 0 0 192.0.2.2:41234 198.51.100.7:25 users:(("smtp",pid=25,fd=5))\n',
        "Nov 24 10:00:00 mx1 postfix/smtp[25]: 4BCDEF: to=<a@example.net>, relay=mx[198.51.100.7]:25, status=sent\n",
        HEAD + PROXY + PROXY.replace("0.0.0.0:25 ", "[::]:25 ").replace("pid=99", "pid=100"),
    ],
)  # fmt: skip
def test_what_only_looks_like_one_is_silent(text: str) -> None:
    """Healthy tables, other ports, a process id, a remote port, ordinary traffic."""
    assert names(text) == []


def test_a_grepped_table_is_some_of_it() -> None:
    """What it doesn't show may be there all the same: an attempt at another port stays open."""
    text = BIND.replace("port 25", "port 587") + "$ ss -tlnp | grep :25\n" + EXIM
    reading = read_text(text)
    (look,) = (look for look in reading.snapshot.looks if look.fact == "listeners")
    assert look.extent == "some"
    assert judged(text).findings == ()


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400))
def test_any_text_has_an_answer(text: str) -> None:
    """Whatever is pasted is read without an exception."""
    reading = read_text(BIND + text + "\n" + HEAD + EXIM)
    diagnose(reading.snapshot)
    list(undress(text))
    read_line(text, None, "here")


def test_a_large_log_is_read_in_pieces() -> None:
    """Of many lines only those that may matter are kept, and it is said how many weren't."""
    dull = b"Nov 24 10:00:00 mx1 postfix/qmgr[9]: 4BCDEF: removed\n" * 60_000
    lines, bounds = read_stream([dull, BIND.encode(), dull], may_matter)
    assert sum("bind 0.0.0.0" in line.text for line in lines) == 1
    assert bounds.said()


def test_a_line_without_an_end_is_cut() -> None:
    """50 MB without a line break are neither kept nor waited for."""
    lines, _ = read_stream([b"x" * (1 << 20)] * 50, may_matter)
    assert all(len(line.text) <= 4000 for line in lines)


def test_the_command(tmp_path: Path) -> None:
    """The answer is the first line; JSON says which lines were what and validates; the status is the audit's."""
    from jsonschema import Draft202012Validator

    paste = tmp_path / "paste.txt"
    paste.write_text(BIND + HEAD + EXIM)
    argv = [sys.executable, "-m", "mailports", "explain", str(paste)]
    environment = {"PYTHONPATH": str(SOURCES)}
    text = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert text.returncode == 1
    assert text.stdout.startswith("a port conflict: postfix can't listen on 0.0.0.0:25: exim4 holds it\n")
    out = subprocess.run([*argv, "--json"], capture_output=True, text=True, env=environment, check=False, timeout=60)
    document = json.loads(out.stdout)
    Draft202012Validator(json_schema("explain")).validate(document)
    assert document["schema"] == "mailports.findings/1"
    assert document["recognised"][0] == {"first_line": 1, "last_line": 1, "as": "postfix error line"}


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps({"MESSAGE": "fatal: bind 0.0.0.0 port 25: Address already in use", "_HOSTNAME": "mx"}).encode(),
        b"caf\xe9\n" + BIND.encode(),
    ],
)
def test_from_takes_whatever_explain_reads(tmp_path: Path, raw: bytes) -> None:
    """The journal's JSON, and text that isn't UTF-8."""
    paste = tmp_path / "paste.txt"
    paste.write_bytes(raw)
    argv = [sys.executable, "-m", "mailports", "audit", "--from", str(paste)]
    done = subprocess.run(
        argv, capture_output=True, text=True, env={"PYTHONPATH": str(SOURCES)}, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert "who holds 0.0.0.0:25" in done.stdout


@pytest.mark.parametrize(("verb", "says"), [("status", "127.0.0.1"), ("audit", "port-held"), ("why", "exim4 812")])
def test_other_verbs_take_the_same_text(tmp_path: Path, verb: str, says: str) -> None:
    """A table that somebody pasted is a host to status, audit and why as well."""
    paste = tmp_path / "paste.txt"
    paste.write_text(BIND + HEAD + EXIM)
    argv = [sys.executable, "-m", "mailports", verb, *(["25"] if verb == "why" else []), "--from", str(paste)]
    done = subprocess.run(
        argv, capture_output=True, text=True, env={"PYTHONPATH": str(SOURCES)}, check=False, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert says in done.stdout


def test_redact_prints_the_same_text_without_its_names(tmp_path: Path) -> None:
    """What a text says of ports stays; the host's name and a public address don't."""
    pasted = tmp_path / "pasted.txt"
    pasted.write_text(BIND + BIND.replace("0.0.0.0", "8.8.4.4"))
    done = subprocess.run(
        [sys.executable, "-m", "mailports", "explain", "--redact", str(pasted)],
        env={"PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fatal: bind 0.0.0.0 port 25: Address already in use" in done.stdout
    assert "mx1" not in done.stdout
    assert "8.8.4.4" not in done.stdout
