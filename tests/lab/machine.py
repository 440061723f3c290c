"""A booted Debian system that a test drives from outside: it runs commands, mailports among them.

    with machine("mail") as mx:
        mx.run("systemctl", "stop", "postfix")
        assert "postfix" not in mx.sh("ss -tlnp")

systemd is PID 1, the packages' services are up, and nothing that is written outlives the `with`. The commands
run in a root login session (`session-1.scope`), as an administrator's would.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from . import roots

SOURCE = Path(__file__).resolve().parents[2] / "src"
BOOT_S = 90
"""Deadline of a boot; it takes about one second, and three with a container engine."""
COMMAND_S = 30
END_S = 20


class Done(NamedTuple):
    """A command that has ended."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def checked(self) -> str:
        """Return what it printed, where it succeeded."""
        assert self.status == 0, f"{' '.join(self.argv)}: status {self.status}: {self.stderr.strip()}"
        return self.stdout


class Machine:
    """The running system; `run` and `sh` are all that it needs."""

    def __init__(self, boot: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self._boot = boot
        self._log = log
        self._buffer = b""

    def attempt(self, *argv: str, stdin: str = "", timeout_s: float = COMMAND_S) -> Done:
        """Run a command and return how it ended, well or not."""
        request = {"argv": argv, "stdin": stdin, "timeout_s": timeout_s}
        assert self._boot.stdin is not None
        self._boot.stdin.write(json.dumps(request).encode() + b"\n")
        self._boot.stdin.flush()
        answer = json.loads(self._line(timeout_s + END_S))
        done = Done(argv, answer["status"], answer["stdout"], answer["stderr"])
        if done.status == 124:
            raise TimeoutError(f"{' '.join(argv)}: no end after {timeout_s} s")
        return done

    def run(self, *argv: str, stdin: str = "", timeout_s: float = COMMAND_S) -> str:
        """Run a command that has to succeed; return what it printed."""
        return self.attempt(*argv, stdin=stdin, timeout_s=timeout_s).checked()

    def sh(self, text: str, timeout_s: float = COMMAND_S) -> str:
        """Run a shell text that has to succeed to its last line; return what it printed."""
        return self.run("sh", "-euc", text, timeout_s=timeout_s)

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Write a file, with its directories."""
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, stdin=text)

    def mailports(self, *arguments: str) -> Done:
        """Run mailports, from this repository's source; JSON is asked for."""
        return self.attempt("env", "PYTHONPATH=/src", "python3", "-m", "mailports", *arguments, "--json")

    def until(self, condition: str, timeout_s: float = 10) -> None:
        """Wait until a shell condition holds."""
        loop = f"for _ in $(seq {int(timeout_s * 20)}); do if {condition}; then exit 0; fi; sleep 0.05; done; exit 1"
        done = self.attempt("sh", "-c", loop, timeout_s=timeout_s + COMMAND_S)
        assert done.status == 0, f"after {timeout_s} s still not: {condition}"

    def until_listening(self, *ports: int) -> None:
        """Wait until TCP sockets listen on all of the ports."""
        for port in ports:
            self.until(f"[ -n \"$(ss -tlnH 'sport = :{port}')\" ]")

    def wait_ready(self) -> None:
        """Wait until the agent inside is up."""
        line = self._line(BOOT_S)
        assert line == b"ready", f"not ready: {line!r}"

    def end(self) -> None:
        """End the machine: gently, then by its own script's trap, then at once."""
        assert self._boot.stdin is not None
        for step in (self._boot.stdin.close, self._boot.terminate, self._boot.kill):
            try:
                step()
                self._boot.wait(END_S)
            except (subprocess.TimeoutExpired, BrokenPipeError):
                continue
            return

    def _line(self, timeout_s: float) -> bytes:
        assert self._boot.stdout is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._boot.stdout], [], [], left)[0]:
                raise TimeoutError(f"the machine doesn't answer: {self._said()}")
            piece = os.read(self._boot.stdout.fileno(), 65536)
            if not piece:
                raise RuntimeError(f"the machine is gone: {self._said()}")
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode("utf-8", "backslashreplace").strip()[-2000:]


@contextmanager
def machine(name: str, *, tmpfs: str = "", daemon: dict[str, Any] | None = None) -> Iterator[Machine]:
    """Boot a root; end it, and everything in it, when the block ends.

    Args:
        name: which of `roots.ROOTS`.
        tmpfs: directories that need a file system of their own (an engine's images).
        daemon: Docker's daemon.json; given at all, the machine comes with its engine up and an image `lab:busybox`.
    """
    script = "boot.sh" if daemon is None else "dockerd.sh"
    environment = {
        "PATH": os.environ["PATH"],
        "BIND": f"{SOURCE}:/src {roots.SCRIPTS}:/lab",
        "TMPFS": tmpfs,
        "DAEMON_JSON": json.dumps(daemon) if daemon else "",
    }
    with roots.using(name) as root, tempfile.TemporaryFile() as log:
        argv = [str(roots.SCRIPTS / script), str(root), "python3", "-u", "/lab/agent.py"]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, env=environment, stdin=pipe, stdout=pipe, stderr=log) as boot:
            running = Machine(boot, log)
            try:
                running.wait_ready()
                yield running
            finally:
                running.end()


def boot(name: str, script: str, *, timeout_s: float = COMMAND_S) -> Done:
    """Boot a root, run one shell text in it, and end it."""
    with machine(name) as running:
        return running.attempt("sh", "-c", script, timeout_s=timeout_s)
