"""mailports as a user has it: in a venv of the system's interpreter, not editable, its bytecode compiled."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SYSTEM_PYTHON = "/usr/bin/python3"


class NotInstalledError(Exception):
    """No interpreter with mailports could be had."""


def python_with_mailports(given: str | None) -> str:
    """Find the interpreter to measure: the given one, or that of the cached venv, made or renewed if need be."""
    if given:
        return str(Path(given).absolute())  # not resolved: a venv's link is what makes it a venv
    if not Path(SYSTEM_PYTHON).exists():
        raise NotInstalledError(f"no {SYSTEM_PYTHON}: say which interpreter with --python")
    cache = Path(tempfile.gettempdir(), f"mailports-bench-venv-{os.getuid()}")
    cache.mkdir(mode=0o700, exist_ok=True)
    about = cache.lstat()
    if about.st_uid != os.getuid() or about.st_mode & 0o022 or cache.is_symlink():
        raise NotInstalledError(f"{cache} isn't ours alone: remove it")
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _renewed(cache)


def _renewed(cache: Path) -> str:
    python = cache / "venv/bin/python"
    stamp = cache / "installed"
    wanted = _digest_of_sources()
    if not python.exists():
        _tell(f"making a venv of {SYSTEM_PYTHON} in {cache} (once)")
        _run([SYSTEM_PYTHON, "-m", "venv", str(cache / "venv")])
        _run([str(python), "-m", "pip", "install", "--quiet", "psutil"], may_fail=True)
    if not stamp.exists() or stamp.read_text() != wanted:
        _tell("installing mailports from the working tree")
        _run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", str(PROJECT)])
        stamp.write_text(wanted)
    return str(python)


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    package = PROJECT / "src/mailports"
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in [PROJECT / "pyproject.toml", *sorted(files)]:
        digest.update(f"{path.relative_to(PROJECT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _run(argv: list[str], *, may_fail: bool = False) -> None:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, env=environment, check=False)
    if done.returncode != 0 and not may_fail:
        raise NotInstalledError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
