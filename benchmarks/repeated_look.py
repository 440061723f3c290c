"""How long a second and later look takes inside one process: what a watch that polls pays each time.

By default in a quiet host of namespaces (needs root, a cgroup2 mount); `--here` looks at this machine instead.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Callable

import made_host
import rounds
from busy_host import EXIT_FAILED, EXIT_MEASURED, EXIT_MISSED, end_on, environment, tell
from installed import NotInstalledError, python_with_mailports
from made_namespaces import NotMadeError, run_inside

AIM_MS = 1.0
WARM_UP = 3


def find_look() -> Callable[[], Any] | str:
    """Find the call that is timed; or say why there is none. This is the one place that knows the API."""
    try:
        api = importlib.import_module("mailports.api")
    except ModuleNotFoundError as error:
        return f"{error}: nothing to measure yet"
    observe = getattr(api, "observe", None)
    if observe is None:
        return "mailports.api has no observe: nothing to measure yet"
    try:
        inspect.signature(observe).bind()
    except TypeError as error:
        return f"mailports.api.observe{inspect.signature(observe)} can't be called without arguments: {error}"
    look: Callable[[], Any] = observe
    return look


def look_repeatedly(times: int) -> dict[str, Any]:
    """Time the first look, then the later ones."""
    started = time.perf_counter()
    look = find_look()
    if isinstance(look, str):
        return {"problem": look}
    imported = time.perf_counter()
    look()
    first = time.perf_counter()
    for _ in range(WARM_UP):
        look()
    wall: list[float] = []
    cpu_before = time.process_time()
    for _ in range(times):
        before = time.perf_counter()
        look()
        wall.append(1000 * (time.perf_counter() - before))
    cpu_ms = 1000 * (time.process_time() - cpu_before) / times
    return {
        "problem": None,
        "python": sys.version.split()[0],
        "import_ms": round(1000 * (imported - started), 3),
        "first_ms": round(1000 * (first - imported), 3),
        "looks": times,
        "median_ms": round(statistics.median(wall), 3),
        "min_ms": round(min(wall), 3),
        "p95_ms": round(sorted(wall)[int(0.95 * (times - 1))], 3),
        "cpu_mean_ms": round(cpu_ms, 3),
    }


def look_inside(python: str, times: int, deadline: float) -> dict[str, Any]:
    """Run this file with `--here` in a quiet host."""
    shape = made_host.quiet()

    def look(_: made_host.Switch | None) -> dict[str, Any]:
        made_host.check(shape)
        argv = [python, str(Path(__file__).resolve()), "--here", "--raw", "--times", str(times)]
        said = rounds.hear(argv, environment())
        if said.status != 0:
            raise NotMadeError(f"{' '.join(argv)}: exit {said.status}: {said.stderr.strip()}")
        answer: dict[str, Any] = json.loads(said.stdout)
        return answer

    answer: dict[str, Any] = run_inside(lambda: made_host.build(shape), look, deadline)
    return answer


def show(where: str, looked: dict[str, Any]) -> None:
    if looked["problem"]:
        print(f"not measured: {looked['problem']}")
        return
    print(f"{where}, Python {looked['python']}: import {looked['import_ms']} ms, first look {looked['first_ms']} ms")
    print(
        f"{looked['looks']} looks after {WARM_UP} more: median {looked['median_ms']} ms, min {looked['min_ms']},"
        f" 95 % below {looked['p95_ms']}, CPU {looked['cpu_mean_ms']} each"
    )
    verdict = "reached" if looked["median_ms"] < AIM_MS else "MISSED"
    print(f"{verdict:12} a repeated look at the listeners < {AIM_MS} ms")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Time repeated looks inside one process.")
    parser.add_argument("--python", metavar="PATH", help="interpreter that has mailports (default: a cached venv)")
    parser.add_argument("--times", type=int, default=300, metavar="N", help="looks (default 300)")
    parser.add_argument("--here", action="store_true", help="look at this machine, with the interpreter that runs this")
    parser.add_argument("--raw", action="store_true", help="print JSON")
    parser.add_argument("--deadline", type=float, default=120, metavar="S", help="seconds for everything")
    parser.add_argument("--check", action="store_true", help="exit 1 when the aim is missed")
    return parser


def main() -> int:
    arguments = make_parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_on)
    try:
        if arguments.here:
            looked = look_repeatedly(arguments.times)
        else:
            deadline = time.monotonic() + arguments.deadline
            looked = look_inside(python_with_mailports(arguments.python), arguments.times, deadline)
    except (NotMadeError, NotInstalledError) as error:
        tell(f"repeated_look.py: {error}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if arguments.raw:
        print(json.dumps(looked))
    else:
        show("this machine" if arguments.here else "quiet host", looked)
    if looked["problem"]:
        return EXIT_MEASURED if arguments.raw else EXIT_FAILED
    return EXIT_MISSED if arguments.check and looked["median_ms"] >= AIM_MS else EXIT_MEASURED


if __name__ == "__main__":
    sys.exit(main())
