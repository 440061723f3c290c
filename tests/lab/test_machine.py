"""The lab itself: what a test may rely on."""

from __future__ import annotations

import pytest

from .machine import boot, machine


def test_a_root_boots_to_a_running_system() -> None:
    """PID 1 is systemd, no unit has failed, and the repository's mailports is there."""
    done = boot("mail", "systemctl is-system-running; cat /proc/1/comm; ls /src/mailports/__init__.py")
    assert done.stdout.split() == ["running", "systemd", "/src/mailports/__init__.py"]


def test_nothing_that_a_machine_writes_outlives_it() -> None:
    """A root is as it was, so that tests can't see one another."""
    with machine("mail") as first:
        first.write("/etc/left-behind", "x")
    with machine("mail") as second:
        assert second.attempt("test", "-e", "/etc/left-behind").status == 1


def test_a_daemon_left_behind_doesnt_keep_its_command_waiting() -> None:
    """A command ends with its own process, not with the last one that has its descriptors."""
    with machine("mail") as mx:
        assert mx.sh("sleep 60 & echo done", timeout_s=5) == "done\n"


def test_a_command_that_hangs_is_ended() -> None:
    """Each command has a deadline, and the machine serves the next one afterwards."""
    with machine("mail") as mx:
        with pytest.raises(TimeoutError, match="sleep 60"):
            mx.run("sleep", "60", timeout_s=0.2)
        assert mx.run("echo", "still here") == "still here\n"
