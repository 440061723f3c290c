"""The command line: which verb was meant, what is said where it can't be done, and the exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mailports
from machine_tree import held, listens, snapshot
from mailports.cli.main import VERBS
from mailports.formats.documents import snapshot_to_json
from mailports.model.facts import Look, Namespace, Snapshot

SOURCES = Path(mailports.__file__).parent


def run(*words: str, given: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """`mailports WORDS`, as a pipe sees it: no terminal, UTF-8."""
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES.parent), "PYTHONIOENCODING": "utf-8", **environment}
    argv = [sys.executable, "-m", "mailports", *words]
    return subprocess.run(argv, input=given, capture_output=True, env=clean, timeout=60, check=False)


def said(done: subprocess.CompletedProcess[bytes]) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def fails(*words: str, given: bytes = b"") -> str:
    """What is said of a command that can't be done: on standard error alone, with status 2."""
    status, out, error = said(run(*words, given=given))
    assert (status, out) == (2, "")
    assert "bug" not in error
    assert "Traceback" not in error
    assert error.startswith("error: ")
    return error


def hosts() -> dict[str, Snapshot]:
    """Another host, as several looks saw it."""
    postfix, exim = held("master", 812), held("exim4", 900)
    blind = (
        Look("listeners", "here", "all", "x"),
        Look("netfilter", "here", "none", "nft", "no permission", "run as root"),
    )
    filtered = listens("0.0.0.0:11334", held("rspamd", 8))
    mail = [Namespace("here", 1), Namespace("name:mail", 2, (50,))]
    return {
        "fine": snapshot(listens("0.0.0.0:25", postfix)),
        "conflict": snapshot(listens("0.0.0.0:25", postfix), listens("0.0.0.0:25", exim)),
        "warning": snapshot(listens("0.0.0.0:25", postfix), filtered),
        "blind": snapshot(listens("0.0.0.0:25", postfix), looks=blind),
        "spaces": snapshot(
            listens("0.0.0.0:25", postfix), listens("0.0.0.0:25", exim, netns="name:mail"), namespaces=tuple(mail)
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with each of these Snapshots."""
    folder = tmp_path_factory.mktemp("saved")
    for name, seen in hosts().items():
        (folder / f"{name}.json").write_text(snapshot_to_json(seen))
    return folder


# Help and version.


def test_the_version() -> None:
    """Alone on a line."""
    for word in ("--version", "-V"):
        assert said(run(word)) == (0, f"mailports {mailports.__version__}\n", "")


def test_the_help() -> None:
    """Every verb with what it does, the most used first, and the exit statuses."""
    for word in ("--help", "-h", "help"):
        status, out, error = said(run(word))
        assert (status, error) == (0, "")
        assert re.findall(r"^  (\w+)  +\S", out, re.MULTILINE) == list(VERBS)
        assert "exit status: 0 nothing to report, 1 findings" in out
        assert max(map(len, out.split("\n"))) <= 100


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    """Each that the help names is there."""
    status, out, error = said(run(verb, "--help", COLUMNS="80"))
    assert (status, error) == (0, "")
    assert out.startswith(f"usage: mailports {verb}")


def test_a_port_is_the_same_as_why(saved: Path) -> None:
    """`mailports 25` is `mailports why 25`."""
    source = ("--from", str(saved / "conflict.json"))
    assert said(run("25", *source)) == said(run("why", "25", *source))
    assert said(run("smtp", *source))[1] == said(run("25", *source))[1]


def test_every_command_in_a_message_exists() -> None:
    """What hints and texts say to type (`mailports X`) begins with a verb or a port."""
    typed = re.compile(r"`mailports ([a-z]{3,})|[\"'](?:[^\"'\n]*: )?mailports ([a-z]{3,})")
    found = {
        (path.name, first or second)
        for path in SOURCES.rglob("*.py")
        for first, second in typed.findall(path.read_text())
        if path.name != "__init__.py"
    }
    assert len(found) > 10
    assert {pair for pair in found if pair[1] not in (*VERBS, "imaps")} == set()


# What can't be done.


def test_a_word_that_means_nothing() -> None:
    """It is quoted, and the hint names verbs that exist."""
    error = fails("foo")
    assert error.split("\n")[0] == "error: `foo` is no verb, port or service"
    verbs = error.split("verbs: ")[1].split(";")[0].split(", ")
    assert verbs == list(VERBS)


@pytest.mark.parametrize("word", ["0", "65536", "99999", "9" * 5000, "²", "٢٥", "1.2.3.4:", "[::]:0", "udp/0"])
def test_a_number_that_is_no_port(word: str) -> None:
    """It is quoted, and what is expected is said."""
    error = fails(word)
    assert "is no" in error
    assert "expected 1 to 65535" in error or "is no verb, port or service" in error
    assert len(error) < 500


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("why",), "error: the following arguments are required: PORT\nhint: mailports why --help\n"),
        (("--nonsense",), "error: unrecognized arguments: --nonsense\nhint: mailports status --help\n"),
        (("why", "25", "--address", "x"), "error: `x` is no IP address\n"),
        (("x:25",), "error: `x` is no IP address\n"),
        (("status", "--port", "25,x"), "error: --port: `x` is no port; expected 1 to 65535 or a service name\n"),
        (("why", "25", "--as-user", "no-such-user"), "error: --as-user: no user no-such-user here\n"),
        (("rule", "nonsense"), "error: no finding `nonsense`\nhint: mailports rule lists them\n"),
        (("schema", "x"), "error: no kind `x`; there are status, findings, explain, why, snapshot\n"),
    ],
)
def test_what_is_wrong_with_the_words(words: tuple[str, ...], message: str) -> None:
    """The whole of what is said."""
    assert fails(*words) == message


def test_hostile_words_are_made_printable() -> None:
    """An escape in an argument doesn't reach the terminal, and a long one is cut."""
    assert "\x1b" not in fails("\x1b[2J")
    assert len(fails("x" * 10_000)) < 1000


def test_files_that_are_no_snapshots(tmp_path: Path) -> None:
    """Which file, where in it, and what was expected."""
    bad = tmp_path / "bad.json"
    told = {
        b"": f"error: {bad}:1:1: expected a Snapshot as JSON: Expecting value\n",
        b'{\n  "schema": x}': f"error: {bad}:2:13: expected a Snapshot as JSON: Expecting value\n",
        b'{"schema": "other/1"}': f"error: {bad}: expected a Snapshot (mailports.snapshot/1), got schema `other/1`; "
        "`mailports snapshot` writes one\n",
        b"\x7fELF\xff\xfe": f"error: {bad}: expected UTF-8 text: byte 4 isn't\n",
    }
    for content, message in told.items():
        bad.write_bytes(content)
        assert fails("audit", "--from", str(bad)) == message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """What failed, and the system's reason."""
    assert fails("audit", "--from", f"{tmp_path}/x") == f"error: can't read {tmp_path}/x: No such file or directory\n"
    assert fails("audit", "--from", str(tmp_path)) == f"error: can't read {tmp_path}: Is a directory\n"
    assert fails("audit", "--from", "-") == "error: standard input:1:1: expected a Snapshot as JSON: Expecting value\n"


def test_a_namespace_that_a_snapshot_does_not_have(saved: Path) -> None:
    """Those that it has are named."""
    error = fails("status", "--from", str(saved / "spaces.json"), "--netns", "x")
    assert error == "error: no network namespace x in this Snapshot; it has here, name:mail\n"


@pytest.mark.parametrize(
    "words",
    [("status", "--netns", "²"), ("25", "--netns", "²"), ("25", "--as-user", "²"), ("status", "--port", "²")],
)
def test_a_superscript_is_no_number(saved: Path, words: tuple[str, ...]) -> None:
    """Wherever a number may stand, what str.isdigit() takes for one and int() doesn't is refused as any word is."""
    assert "²" in fails(*words)
    assert "²" in fails(*words, "--from", str(saved / "spaces.json"))


def test_a_monitor_is_told_in_its_own_way(tmp_path: Path) -> None:
    """Where an audit can't be done the plugin is UNKNOWN, on standard output with status 3: not CRITICAL."""
    status, out, _ = said(run("audit", "--format", "nagios", "--from", f"{tmp_path}/x"))
    assert (status, out.startswith("MAILPORTS UNKNOWN - can't read ")) == (3, True)


# A saved Snapshot of another host.


@pytest.mark.parametrize(
    ("name", "level", "status"),
    [
        ("fine", "note", 0),
        ("conflict", "error", 1),
        ("warning", "error", 0),
        ("warning", "warning", 1),
        ("warning", "note", 1),
        ("blind", "error", 3),
    ],
)
@pytest.mark.parametrize("verb", [("status",), ("audit",), ("audit", "--json"), ("status", "--json")])
def test_the_exit_status(saved: Path, verb: tuple[str, ...], name: str, level: str, status: int) -> None:
    """0 nothing to report, 1 findings from that severity on, 3 something unseen may hide one."""
    done = run(*verb, "--from", str(saved / f"{name}.json"), "--fail-on", level)
    assert (done.returncode, done.stderr) == (status, b"")


@pytest.mark.parametrize(
    ("words", "kind"),
    [(("status", "--json"), "status"), (("audit", "--json"), "findings"), (("25", "--json"), "why")],
)
def test_json_is_one_object(saved: Path, words: tuple[str, ...], kind: str) -> None:
    """With its schema, the host that was looked at, and when."""
    done = run(*words, "--from", "-", given=(saved / "conflict.json").read_bytes())
    value = json.loads(done.stdout)
    assert (value["schema"], value["host"]) == (f"mailports.{kind}/1", "mx")
    assert value["taken_at"] == "2026-01-01T12:00:00Z"
    assert done.returncode == 1


def test_status_as_text(saved: Path) -> None:
    """The answer is the first line."""
    _, out, _ = said(run("--from", str(saved / "conflict.json")))
    assert out.startswith("mail ports: 1 listening, 1 in conflict\n\n  PORT  SERVICE  ADDRESS  HELD BY\n")


def test_a_saved_host_looks_like_a_live_one(saved: Path) -> None:
    """Status is of this namespace unless another is asked for, from a file as from the machine."""
    source = ("--from", str(saved / "spaces.json"))
    assert "name:mail" not in said(run("status", *source))[1]
    assert "name:mail" in said(run("status", *source, "--netns", "all"))[1]
    assert "exim4" in said(run("status", *source, "--netns", "mail"))[1]
    assert "exim4" in said(run("why", "25", *source, "--netns", "50"))[1]


def test_audit_for_a_monitor(saved: Path) -> None:
    """One line, and its own status."""
    status, out, _ = said(run("audit", "--format", "nagios", "--from", str(saved / "conflict.json")))
    assert (status, out.startswith("MAILPORTS CRITICAL - shared-port: ")) == (2, True)
    assert run("audit", "--format", "nagios", "--from", str(saved / "blind.json")).returncode == 3


def test_snapshots_of_a_hostile_host_are_harmless(saved: Path) -> None:
    """A saved Snapshot can't write to one's terminal what its host couldn't."""
    text = (saved / "conflict.json").read_text().replace('"exim4"', '"\\u001b]0;pwned\\u0007"')
    for words in (("status",), ("audit",), ("25",)):
        assert b"\x1b" not in run(*words, "--from", "-", given=text.encode()).stdout


# Rules and schemas.


def test_rules_are_listed_and_shown() -> None:
    """Each listed name has a page."""
    listed = [line.split()[0] for line in said(run("rule"))[1].splitlines()]
    assert "shared-port" in listed
    status, out, _ = said(run("rule", "shared-port"))
    assert (status, out.split("\n")[0]) == (0, "shared-port: at worst an error, a conflict")


def test_schemas_are_listed_and_shown() -> None:
    """Each is a JSON Schema."""
    kinds = [line.split()[0] for line in said(run("schema"))[1].splitlines()]
    assert kinds == ["status", "findings", "explain", "why", "snapshot"]
    assert json.loads(run("schema", "status").stdout)["title"] == "mailports.status/1"


# How output leaves.


def test_colour(saved: Path) -> None:
    """Never to a pipe unless asked for; `always` is stronger than NO_COLOR, which the user set for all programs."""
    source = ("--from", str(saved / "conflict.json"))
    assert b"\x1b" not in run("status", *source).stdout
    assert b"\x1b[1;31m" in run("status", *source, "--color", "always").stdout
    assert b"\x1b" not in run("status", *source, "--color", "never", NO_COLOR="").stdout
    assert b"\x1b[1;31m" in run("status", *source, "--color", "always", NO_COLOR="1").stdout


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C"}]
)
def test_other_encodings(saved: Path, environment: dict[str, str]) -> None:
    """What can't be shown is spelled in what can."""
    given = (saved / "conflict.json").read_bytes()
    done = run("status", "--from", "-", given=given, **{"PYTHONIOENCODING": "", **environment})
    assert (done.returncode, done.stderr) == (1, b"")
    if environment.get("PYTHONIOENCODING"):
        assert done.stdout.decode("ascii").split("\n")[3].startswith("x   25  smtp")


@pytest.mark.parametrize("columns", ["40", "100", "0", "-1", "x", "²", "9" * 5000, ""])
def test_columns(saved: Path, columns: str) -> None:
    """COLUMNS is heeded where it is a number, and harmless where not."""
    done = run("audit", "--from", str(saved / "conflict.json"), COLUMNS=columns)
    assert (done.returncode, done.stderr) == (1, b"")


def piped(words: list[str], reader: str) -> tuple[int, str]:
    """The status of mailports before a pipe, and what it said on standard error."""
    command = f'{sys.executable} -m mailports "$@" | {reader}; echo "${{PIPESTATUS[0]}}" >&2'
    done = subprocess.run(
        ["bash", "-c", command, "-", *words], capture_output=True, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES.parent)},
    )  # fmt: skip
    *error, status = done.stderr.decode().splitlines()
    return int(status), "\n".join(error)


@pytest.mark.parametrize("words", [["schema", "snapshot"], ["--help"], ["--version"], ["why", "--help"], ["rule"]])
def test_a_reader_that_is_gone(words: list[str]) -> None:
    """`mailports … | true` says nothing, whatever was printed by then."""
    for reader in ("head -1", "true"):
        _, error = piped(words, reader)
        assert error == ""


@pytest.mark.parametrize("words", ["--version", "--help", "rule", "schema status"])
def test_a_full_disk(words: str) -> None:
    """What couldn't be written is an error and no bug, and the status says so."""
    status, error = full(words)
    assert status == 2
    assert error.startswith("error: can't write")
    assert "Traceback" not in error


def full(words: str) -> tuple[int, str]:
    """Status and standard error of a command whose output can't be written."""
    with Path("/dev/full").open("wb") as target:
        argv = [sys.executable, "-m", "mailports", *words.split()]
        environment = {"PYTHONPATH": str(SOURCES.parent)}
        done = subprocess.run(argv, stdout=target, stderr=subprocess.PIPE, env=environment, timeout=60, check=False)
    return done.returncode, done.stderr.decode()


def test_no_output_at_all() -> None:
    """A closed standard output (`>&-`, a cron job) is no bug."""
    command = f"{sys.executable} -m mailports rule shared-port >&-"
    environment = {"PYTHONPATH": str(SOURCES.parent)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment, timeout=60, check=False)
    assert b"bug" not in done.stderr
    assert b"Traceback" not in done.stderr
