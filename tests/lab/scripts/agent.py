r"""Runs the commands that come in on standard input, inside a booted root: the other half of `lab.machine`.

A request is a line of JSON, ``{"argv": […], "stdin": "…", "timeout_s": 30}``; so is the answer,
``{"status": 0, "stdout": "…", "stderr": "…"}``. Output goes through files, not pipes, since a daemon that a
command leaves behind keeps its descriptors: a pipe would never end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

TIMED_OUT, NOT_THERE = 124, 127
"""The statuses that timeout(1) and the shell use."""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one command; return what it said and its status."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(request["stdin"].encode())
        stdin.seek(0)
        try:
            status = subprocess.run(
                request["argv"], stdin=stdin, stdout=stdout, stderr=stderr, timeout=request["timeout_s"], check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = TIMED_OUT
        except OSError as error:
            status = NOT_THERE
            stderr.write(str(error).encode())
        return {"status": status, "stdout": _text(stdout), "stderr": _text(stderr)}


def _text(file: Any) -> str:
    file.seek(0)
    content: bytes = file.read()
    return content.decode("utf-8", "backslashreplace")


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
