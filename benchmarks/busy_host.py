"""How much of `ss -tlnp` a cold `mailports status` costs on a busy host, and what its peers cost.

The host is made of namespaces and forked processes and is gone afterwards. Needs root and a cgroup2 mount.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import made_host
import rounds
from installed import NotInstalledError, python_with_mailports
from made_namespaces import HOME, NotMadeError, run_inside

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PSUTIL_PROGRAM = """
import psutil
names = {}
for c in psutil.net_connections("tcp"):
    if c.status == psutil.CONN_LISTEN:
        if c.pid and c.pid not in names:
            names[c.pid] = psutil.Process(c.pid).name()
        print("LISTEN", c.laddr.ip, c.laddr.port, c.pid, names.get(c.pid))
"""
BARE, STATUS, SCRIPT = "python -c pass", "mailports status", "mailports status (script)"
ALL, JSON, SS = "mailports status --all", "mailports status --json", "ss -tlnp"
ALL_JSON = "mailports status --all --json"  # heard, not timed
NETSTAT, LSOF, PSUTIL = "netstat -tlnp", "lsof -nP -iTCP -sTCP:LISTEN", "psutil, the same rows"
BUSY, IN_FLIGHT, QUIET = "unified", "unified, one listener in flight", "quiet"
EXIT_MEASURED, EXIT_MISSED, EXIT_FAILED = 0, 1, 2


class Aim(NamedTuple):
    """A limit on CPU time: `measured` of `variant` against `base`, times `factor`, plus `more_ms`."""

    what: str
    variant: str
    measured: str
    base_variant: str
    base: str
    factor: float
    more_ms: float


AIMS = (
    Aim("busy host: status <= 0.05 of ss -tlnp", BUSY, STATUS, BUSY, SS, 0.05, 0),
    Aim("busy host: status --all <= 1.0 of ss -tlnp", BUSY, ALL, BUSY, SS, 1.0, 0),
    Aim("a listener that nobody holds: status <= 1.2 of status without", IN_FLIGHT, STATUS, BUSY, STATUS, 1.2, 0),
    Aim("quiet host: status <= bare interpreter + 35 ms", QUIET, STATUS, QUIET, BARE, 1.0, 35),
)


def find_commands(python: str) -> dict[str, list[str] | None]:
    """Find the argv of everything that is compared; None: not installed."""
    script = Path(python).parent / "mailports"
    commands: dict[str, list[str] | None] = {
        BARE: [python, "-c", "pass"],
        STATUS: [python, "-m", "mailports", "status"],
        SCRIPT: [str(script), "status"] if script.exists() else None,
        ALL: [python, "-m", "mailports", "status", "--all"],
        JSON: [python, "-m", "mailports", "status", "--json"],
    }
    for name in (SS, NETSTAT, LSOF):
        program, *arguments = name.split()
        path = shutil.which(program, path=SEARCH_PATH)
        commands[name] = [path, *arguments] if path else None
    has_psutil = rounds.hear([python, "-c", "import psutil"], environment()).status == 0
    commands[PSUTIL] = [python, "-c", PSUTIL_PROGRAM] if has_psutil else None
    return commands


def environment() -> dict[str, str]:
    """Make the environment that all of them run in."""
    return {"PATH": SEARCH_PATH, "HOME": str(HOME), "LANG": "C.UTF-8"}


def measure(commands: Mapping[str, Sequence[str] | None], repeats: int, expected: Mapping[str, int]) -> dict[str, Any]:
    """Hear every command once, time those that work, and see that the peers list what is there."""
    table: dict[str, dict[str, Any]] = {}
    working: dict[str, Sequence[str]] = {}
    for name, argv in commands.items():
        if argv is None:
            table[name] = {"problem": "not installed"}
            continue
        said = rounds.hear(argv, environment())
        problem = problem_of(name, said)
        rows = said.stdout.count("LISTEN") if name in {SS, NETSTAT, LSOF, PSUTIL} else None
        table[name] = {"problem": problem, "status": said.status, "listen_rows": rows}
        if problem is None:
            working[name] = argv
        if name in expected and rows != expected[name]:
            raise NotMadeError(f"{name} lists {rows} listeners of {expected[name]}")
    for name, samples in rounds.run_rounds(working, environment(), repeats).items():
        table[name].update(rounds.summarise(samples))
    base = table[SS].get("cpu_ms")
    for row in table.values():
        row["of_ss"] = round(row["cpu_ms"] / base, 4) if base and "cpu_ms" in row else None
    return {"table": table, "seen": hear_status(commands)}


def rows_expected(there: Mapping[str, int]) -> dict[str, int]:
    """Tell how many rows a peer has: one a listener, or one a holder."""
    return {SS: there["listeners"], NETSTAT: there["listeners"], LSOF: there["holders"]}


def problem_of(name: str, said: rounds.Said) -> str | None:
    """Tell why it makes no sense to time this command, if it doesn't."""
    if "mailports" in name:  # its exit status may tell of findings (1) or of what can't be seen (3)
        if said.status not in {0, 1, 3} or "Traceback" in said.stderr or "No module named" in said.stderr:
            return f"doesn't run: {last_line(said.stderr)} (exit {said.status})"
        if not said.stdout.strip():
            return f"says nothing: {last_line(said.stderr)} (exit {said.status})"
    elif said.status != 0:
        return f"exit {said.status}: {last_line(said.stderr)}"
    return None


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def hear_status(commands: Mapping[str, Sequence[str] | None]) -> dict[str, Any]:
    """What `status` says it saw: a quick answer must be a right one."""
    seen: dict[str, Any] = {}
    python = (commands[BARE] or [""])[0]
    for name, more in ((JSON, []), (ALL_JSON, ["--all"])):
        said = rounds.hear([python, "-m", "mailports", "status", "--json", *more], environment())
        try:
            listeners = json.loads(said.stdout)["listeners"]
        except (ValueError, KeyError, TypeError):
            continue
        held = [one for one in listeners if one.get("holders")]
        seen[name] = {
            "listeners": len(listeners),
            "with_holders": len(held),
            "with_units": sum(any(holder.get("unit") for holder in one["holders"]) for one in held),
            "holders": sum(len(one["holders"]) for one in held),
            "with_all_holders": sum(one.get("holders_extent") == "all" for one in listeners),
        }
    return seen


def measure_busy(python: str, shape: made_host.Shape, repeats: int, deadline: float) -> dict[str, Any]:
    """Make the busy host; measure it, then again with a listener in flight."""
    commands = find_commands(python)
    started = time.monotonic()

    def measure_both(switch: made_host.Switch | None) -> dict[str, Any]:
        built_s = round(time.monotonic() - started, 1)
        there = made_host.check(shape)
        tell(f"busy host made in {built_s} s: {there}")
        measured = {BUSY: {"built_s": built_s, "host": there, **measure(commands, repeats, rows_expected(there))}}
        if switch:
            made_host.put_listener_in_flight(switch)
            few = {name: commands[name] for name in (BARE, STATUS, ALL, JSON, SS)}
            tell("the same with a listener in flight")
            again = measure(few, repeats, {SS: there["listeners"] + 1})
            measured[IN_FLIGHT] = {"host": made_host.count(), **again}
        return measured

    result: dict[str, Any] = run_inside(lambda: made_host.build(shape), measure_both, deadline)
    return result


def measure_quiet(python: str, repeats: int, deadline: float) -> dict[str, Any]:
    """Make and measure the quiet host."""
    commands = find_commands(python)
    shape = made_host.quiet()

    def measure_it(_: made_host.Switch | None) -> dict[str, Any]:
        there = made_host.check(shape)
        tell(f"quiet host made: {there}")
        return {QUIET: {"host": there, **measure(commands, repeats, rows_expected(there))}}

    result: dict[str, Any] = run_inside(lambda: made_host.build(shape), measure_it, deadline)
    return result


def describe_machine(python: str) -> dict[str, Any]:
    """Say what this was measured on."""
    cpu = [
        line.split(":", 1)[1].strip() for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")
    ]
    versions = {}
    for name, argv in {
        "python": [python, "-c", "import sys; print(sys.version)"],
        "base python": [python, "-c", "import os, sys; print(os.path.realpath(sys.executable))"],
        "mailports": [python, "-c", "import mailports; print(mailports.__version__)"],
        "psutil": [python, "-c", "import psutil; print(psutil.__version__)"],
        "ss": ["ss", "-V"],
        "netstat": ["netstat", "-V"],
        "lsof": ["lsof", "-v"],
    }.items():
        versions[name] = version_of(argv)
    return {
        "kernel": os.uname().release,
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu[0] if cpu else "unknown",
        "load": read("/proc/loadavg").split()[0],
        **versions,
    }


def version_of(argv: list[str]) -> str:
    path = shutil.which(argv[0], path=SEARCH_PATH)
    if path is None:
        return "not installed"
    said = rounds.hear([path, *argv[1:]], environment())
    lines = [line.strip() for line in (said.stdout + said.stderr).splitlines() if line.strip()]
    if "Traceback" in said.stderr or not lines:
        return "not installed"
    return next((line for line in lines if line.startswith("revision")), lines[0])


def read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


def judge(variants: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Hold the medians against the aims."""
    judged = []
    for aim in AIMS:
        measured = variants.get(aim.variant, {}).get("table", {}).get(aim.measured, {}).get("cpu_ms")
        base = variants.get(aim.base_variant, {}).get("table", {}).get(aim.base, {}).get("cpu_ms")
        limit = None if base is None else round(base * aim.factor + aim.more_ms, 2)
        reached = None if measured is None or limit is None else measured <= limit
        ratio = round(measured / base, 4) if measured is not None and base else None
        judged.append({"aim": aim.what, "cpu_ms": measured, "limit_ms": limit, "ratio": ratio, "reached": reached})
    return judged


def all_reached(judged: Sequence[Mapping[str, Any]], variants: Mapping[str, Any]) -> bool:
    """Tell whether each aim was reached whose hosts were made; one that couldn't be measured wasn't."""
    made = [aim.variant in variants and aim.base_variant in variants for aim in AIMS]
    return all(one["reached"] for one, is_made in zip(judged, made) if is_made)


def show(result: Mapping[str, Any]) -> None:
    """Print it all."""
    for name, fact in result["machine"].items():
        print(f"{name:12} {fact}")
    for variant, measured in result["variants"].items():
        show_variant(variant, measured)
    print()
    for judged in result["aims"]:
        verdict = {True: "reached", False: "MISSED", None: "not measured"}[judged["reached"]]
        numbers = ""
        if judged["cpu_ms"] is not None:
            numbers = f": {judged['cpu_ms']} ms, limit {judged['limit_ms']} ms, ratio {judged['ratio']}"
        print(f"{verdict:12} {judged['aim']}{numbers}")


def show_variant(variant: str, measured: Mapping[str, Any]) -> None:
    """Print one host's table."""
    print(f"\n{variant}: " + ", ".join(f"{number} {what}" for what, number in measured["host"].items()))
    print(f"{'':30} {'runs':>4} {'CPU ms':>9} {'min':>9} {'wall ms':>9} {'min':>9} {'of ss':>8} {'rows':>6}")
    for name, row in measured["table"].items():
        if row["problem"]:
            print(f"{name:30} {row['problem']}")
            continue
        rows = "" if row["listen_rows"] is None else str(row["listen_rows"])
        print(
            f"{name:30} {row['runs']:4} {row['cpu_ms']:9.1f} {row['cpu_min_ms']:9.1f} {row['wall_ms']:9.1f}"
            f" {row['wall_min_ms']:9.1f} {row['of_ss'] or 0:8.4f} {rows:>6}"
        )
    for name, seen in measured["seen"].items():
        print(f"{name} saw " + ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in seen.items()))


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", metavar="PATH", help="interpreter that has mailports (default: a cached venv)")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="timed rounds (default 7)")
    parser.add_argument("--variant", choices=("busy", "quiet", "both"), default="both")
    parser.add_argument("--processes", type=int, default=40, metavar="N", help="of each of the 50 units (default 40)")
    parser.add_argument("--connections", type=int, default=30_000, metavar="N", help="rows (default 30000)")
    parser.add_argument(
        "--handover-processes", type=int, default=4, metavar="N", help="of the unit with a listener in flight"
    )
    parser.add_argument("--deadline", type=float, default=300, metavar="S", help="seconds for everything")
    parser.add_argument("--json", metavar="FILE", help="store the numbers there")
    parser.add_argument("--check", action="store_true", help="exit 1 when an aim is missed or not measured")
    return parser


def end_on(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> int:
    arguments = make_parser().parse_args()
    deadline = time.monotonic() + arguments.deadline
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_on)
    variants: dict[str, Any] = {}
    try:
        python = python_with_mailports(arguments.python)
        machine = describe_machine(python)
        if "/.pyenv/" in machine["base python"]:
            tell("warning: a pyenv build starts several times slower than the system's Python: no fair numbers")
        if arguments.variant != "quiet":
            shape = made_host.busy(
                processes=arguments.processes,
                connections=arguments.connections,
                handover=arguments.handover_processes,
            )
            variants.update(measure_busy(python, shape, arguments.repeats, deadline))
        if arguments.variant != "busy":
            variants.update(measure_quiet(python, arguments.repeats, deadline))
    except (NotMadeError, NotInstalledError) as error:
        tell(f"busy_host.py: {error}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    aims = judge(variants)
    result: dict[str, Any] = {"machine": machine, "variants": variants, "aims": aims}
    show(result)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    return EXIT_MISSED if arguments.check and not all_reached(aims, variants) else EXIT_MEASURED


if __name__ == "__main__":
    sys.exit(main())
