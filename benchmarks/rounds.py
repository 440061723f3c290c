"""Cold processes timed in turn: A B C A B C …, so that a disturbance meets all of them."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

SLOW_S = 1.5  # what takes longer runs in the first rounds only
SLOW_ROUNDS = 3


class Sample(NamedTuple):
    """One run of a process: its CPU time (user and system, its reaped children's too) and how long it took."""

    cpu_s: float
    wall_s: float


class Said(NamedTuple):
    """What a process said in the run before the timed ones."""

    status: int
    stdout: str
    stderr: str


def hear(argv: Sequence[str], environment: Mapping[str, str]) -> Said:
    """Run once, untimed: the caches are warm afterwards, and what it says can be judged."""
    done = subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False
    )
    return Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def run_once(argv: Sequence[str], environment: Mapping[str, str]) -> Sample:
    """Run a cold process with its output thrown away."""
    files = [(os.POSIX_SPAWN_OPEN, descriptor, "/dev/null", os.O_RDWR, 0) for descriptor in (0, 1, 2)]
    started = time.perf_counter()
    process = os.posix_spawn(argv[0], list(argv), environment, file_actions=files)
    _, _, used = os.wait4(process, 0)
    return Sample(used.ru_utime + used.ru_stime, time.perf_counter() - started)


def run_rounds(
    commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], rounds: int
) -> dict[str, list[Sample]]:
    """Time every command once a round."""
    samples: dict[str, list[Sample]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, argv in commands.items():
            so_far = samples[name]
            if number >= SLOW_ROUNDS and min(sample.wall_s for sample in so_far) > SLOW_S:
                continue
            so_far.append(run_once(argv, environment))
    return samples


def summarise(samples: Sequence[Sample]) -> dict[str, Any]:
    """Draw median and minimum from the samples, in milliseconds."""
    cpu = [1000 * sample.cpu_s for sample in samples]
    wall = [1000 * sample.wall_s for sample in samples]
    return {
        "runs": len(samples),
        "cpu_ms": round(statistics.median(cpu), 2),
        "cpu_min_ms": round(min(cpu), 2),
        "wall_ms": round(statistics.median(wall), 2),
        "wall_min_ms": round(min(wall), 2),
    }
