"""What is loaded to answer: a verb pays only for what it uses, and nothing comes from elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mailports
from machine_tree import held, listens, snapshot
from mailports.cli.main import VERBS
from mailports.formats.documents import snapshot_to_json

SOURCES = str(Path(mailports.__file__).parent.parent)
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
bare = set(sys.modules)
if sys.argv.pop(2) == "alone":
    import _socket
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.bind(("0.0.0.0", 4190))
    listener.listen(1)
from mailports.cli.main import main
try:
    main(sys.argv[2:])
except SystemExit:
    pass
print("\\n" + " ".join(sorted(set(sys.modules) - bare)), file=sys.stderr)
"""

STATUS = {
    *("_collections", "collections", "itertools", "keyword", "operator", "_operator", "reprlib"),
    *("_socket", "_struct", "struct", "errno", "importlib", "warnings", "_warnings", "select"),
    *("os", "os.path", "posixpath", "genericpath", "stat", "_stat", "_collections_abc", "__future__"),
    *("importlib._bootstrap", "importlib._bootstrap_external"),
}
"""What `mailports` alone may load of the standard library."""

HEAVY = {
    *("argparse", "json", "re", "typing", "socket", "subprocess", "dataclasses", "pathlib", "ssl", "asyncio"),
    *("logging", "enum", "ipaddress", "inspect", "tempfile", "datetime", "hashlib", "threading", "functools"),
}
"""What it must not: each costs more than reading the sockets does."""

JSON = {
    *("argparse", "json", "json.decoder", "json.encoder", "json.scanner", "_json", "gettext", "locale", "_locale"),
    *("re", "re._casefix", "re._compiler", "re._constants", "re._parser", "_sre", "sre_compile", "sre_constants"),
    *("sre_parse", "enum", "types", "functools", "_functools", "copyreg", "collections.abc", "shutil", "fnmatch"),
    *("bz2", "_bz2", "zlib", "lzma", "_lzma", "_compression", "grp", "pwd", "_typing", "typing", "contextlib"),
}
"""What words and JSON cost beside: argparse, json, and what these load themselves."""


def alone() -> list[str]:
    """What starts a program in a network namespace of its own, where no firewall or engine adds work; or nothing."""
    for start in (["unshare", "-n"], ["unshare", "-rn"]):
        if (
            shutil.which("unshare")
            and subprocess.run([*start, "true"], capture_output=True, check=False).returncode == 0
        ):
            return start
    return []


ALONE = alone()


def loaded(*words: str) -> set[str]:
    """The modules that a bare interpreter has loaded after `mailports WORDS`, beside its own."""
    where = "alone" if ALONE else "here"
    argv = [*ALONE, sys.executable, "-I", "-S", "-c", PROGRAM, SOURCES, where, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert "bug" not in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return set(done.stderr.rstrip("\n").split("\n")[-1].split())


def foreign(modules: set[str]) -> set[str]:
    """Those that aren't ours."""
    return {module for module in modules if module.partition(".")[0] != "mailports"}


@pytest.fixture(scope="module")
def conflict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved Snapshot with something to say."""
    path = tmp_path_factory.mktemp("saved") / "conflict.json"
    path.write_text(snapshot_to_json(snapshot(*(listens("0.0.0.0:25", held(name, 5)) for name in ("master", "exim4")))))
    return str(path)


def test_the_version_costs_nothing() -> None:
    """Only the command line's own module is loaded."""
    assert loaded("--version") - {"_socket"} == {"mailports", "mailports.cli", "mailports.cli.main", "__future__"}


def test_status_loads_what_it_uses() -> None:
    """The allow-list, for a host that listens on a mail port."""
    modules = loaded()
    assert foreign(modules) - STATUS == set()
    assert foreign(modules) & HEAVY == set()


def test_status_leaves_the_rest_of_us_alone() -> None:
    """No verb, format or parser of rules that isn't needed for a table."""
    ours = loaded() - foreign(loaded())
    other = {f"mailports.cli.{verb}" for verb in VERBS if verb != "status"} | {
        "mailports.api",
        "mailports.cli.arguments",
    }
    assert ours & other == set()
    assert not any(module.startswith("mailports.formats") for module in ours)


def test_json_adds_json() -> None:
    """And argparse, since there is a word to parse; nothing else."""
    assert foreign(loaded("--json")) - STATUS - JSON == set()


@pytest.mark.parametrize("verb", ["status", "audit", "why", "snapshot", "rule", "schema"])
def test_no_verb_needs_anything_installed(verb: str, conflict: str) -> None:
    """Each runs on an interpreter without site-packages, and loads the standard library and us alone."""
    words = {"rule": ["rule"], "schema": ["schema"], "snapshot": ["snapshot", "/dev/null"]}
    more = words.get(verb, [verb, *(["25"] if verb == "why" else []), "--from", conflict])
    standard = sys.stdlib_module_names if sys.version_info >= (3, 10) else frozenset()
    for module in foreign(loaded(*more)):
        assert module.partition(".")[0] in standard or not standard


def test_judging_a_file_asks_no_machine(conflict: str) -> None:
    """The door to this one isn't even loaded."""
    for words in (("status",), ("audit",), ("why", "25")):
        assert "mailports.host.local" not in loaded(*words, "--from", conflict)


def test_a_saved_snapshot_is_what_it_was(conflict: str) -> None:
    """The file that the tests above use is one."""
    assert json.loads(Path(conflict).read_text())["schema"] == "mailports.snapshot/1"
