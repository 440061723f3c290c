"""What reading pasted text and logs costs per megabyte, and that memory doesn't grow with them.

The text is made here, in chunks of a megabyte, and never stands in memory as a whole. Each input is read in a
process of its own, so that the peak of one isn't the peak of the next. Needs nothing but mailports.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from mailports.loglines.recognise import LONGEST, may_matter, read_line
from mailports.pasted.lines import SMALL_BYTES, read_stream, undress
from mailports.pasted.redact import redact

MEGABYTE = 1 << 20
EXIT_MEASURED, EXIT_MISSED = 0, 1
SENT = (
    "2026-11-24T10:{0:02d}:{1:02d}.{2:06d}+00:00 mx1 postfix/smtp[{3}]: 4F{2:08X}: to=<user{1}@example.org>, "
    "relay=mail.example.org[203.0.113.{1}]:25, delay=0.{1}, dsn=2.0.0, "
    "status=sent (250 2.0.0 Ok: queued as 4G{2:08X})\n"
)
LOGIN = (
    "2026-11-24T10:{0:02d}:{1:02d}.{2:06d}+00:00 mx1 dovecot: imap-login: Login: user=<user{1}>, method=PLAIN, "
    "rip=198.51.100.{1}, lip=192.0.2.1, mpid={3}, TLS, session=<c{2:08x}>\n"
)
CLIENT = (
    "2026-11-24T10:{0:02d}:{1:02d}.{2:06d}+00:00 mx1 postfix/smtpd[{3}]: 4F{2:08X}: "
    "client=out.example.net[203.0.113.{1}]\n"
)
HELD = "2026-11-24T10:40:22.898886+00:00 mx1 postfix/master[331]: fatal: bind 0.0.0.0 port 25: Address already in use\n"
ROW = 'LISTEN 0      100          0.0.0.0:25        0.0.0.0:*    users:(("master",pid=812,fd=13))\n'


class Input(NamedTuple):
    """One input: what it is, how many megabytes, and how fast and flat its reading must be."""

    what: str
    size_mb: int
    megabyte: Callable[[], bytes]
    aim_mb_s: float | None
    aim_peak_mb: float | None


def log() -> bytes:
    """Make a megabyte of log without a match."""
    return made(0)


def log_with_matches() -> bytes:
    """Make a megabyte of log in which a line of a thousand tells of a held port."""
    return made(1000)


def made(every: int) -> bytes:
    lines = []
    size = number = 0
    forms = (SENT, LOGIN, CLIENT)
    while size < MEGABYTE:
        pid = 20_000 + number % 10_000
        line = forms[number % 3].format(number // 60 % 60, number % 60, number * 37 % 1_000_000, pid)
        if every and number % every == every - 1:
            line = HELD
        lines.append(line)
        size += len(line)
        number += 1
    return "".join(lines).encode()


def one_line() -> bytes:
    return b"a" * MEGABYTE


def binary() -> bytes:
    return bytes(range(256)) * (MEGABYTE // 256)


def rows() -> bytes:
    return ROW.encode() * (MEGABYTE // len(ROW))


INPUTS = (
    Input("log without a match", 100, log, 20, 60),
    Input("log, 0.1 % matches", 20, log_with_matches, 20, 60),
    Input("one line of 50 MB", 50, one_line, 20, 60),
    Input("binary", 20, binary, 5, 60),
    Input("a million rows of ss", 90, rows, 5, 300),
)
SMALL = "a pasted megabyte"
HOSTILE = ("a", ":", "1.", "/x.", "127.0.0.1:25 ", "bind(", "[::", "port 25 ", "Error: bind(", "pid file ", "a.b-")
"""What a line is repeated from, that makes a form try again at every place."""
HOSTILE_AIM_MB_S = 0.27
"""Of the slowest: 15 ms for a line of 4,000 characters."""


def in_own_process(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Measure in a child, whose peak of memory is its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            os.write(writer, json.dumps(measure()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    result: dict[str, Any] = json.loads(said) if said else {"problem": "the process ended without a result"}
    return result


def measure_stream(one: Input, share: float) -> dict[str, Any]:
    megabyte = one.megabyte()
    count = max(int(one.size_mb * share), 3)

    def chunks() -> Iterator[bytes]:
        for _ in range(count):
            yield megabyte

    before = peak_mb()
    started = time.process_time()
    lines, bounds = read_stream(chunks(), may_matter)
    cpu_s = time.process_time() - started
    return {
        "mb": round(bounds.bytes_read / 1e6, 1),
        "cpu_s": round(cpu_s, 3),
        "mb_s": round(bounds.bytes_read / 1e6 / cpu_s, 1),
        "peak_mb": round(peak_mb() - before, 1),
        "lines": bounds.lines_read,
        "kept": len(lines),
        "said": bounds.said(),
    }


def measure_small(what: str, read: Callable[[str], object]) -> dict[str, Any]:
    text = log_with_matches().decode()[: SMALL_BYTES // 2]
    before = peak_mb()
    started = time.process_time()
    read(text)
    cpu_s = time.process_time() - started
    return {
        "what": what,
        "mb": round(len(text) / 1e6, 1),
        "cpu_s": round(cpu_s, 3),
        "mb_s": round(len(text) / 1e6 / cpu_s, 2),
        "peak_mb": round(peak_mb() - before, 1),
        "lines": text.count("\n"),
        "kept": text.count("\n"),
        "said": (),
    }


def measure_hostile() -> dict[str, Any]:
    slowest = 0.0
    for piece in HOSTILE:
        line = (piece * LONGEST)[: LONGEST - 30] + " bind: Address already in use"
        spent = []
        for _ in range(5):
            started = time.process_time()
            read_line(line, None, "here")
            spent.append(time.process_time() - started)
        slowest = max(slowest, min(spent))
    mb = LONGEST / 1e6
    row = {"mb": mb, "cpu_s": round(slowest, 4), "mb_s": round(mb / slowest, 2)}
    return {**row, "peak_mb": 0.0, "lines": 1, "kept": 1, "said": ()}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(share: float) -> dict[str, Any]:
    """Read every input, each in a process of its own."""
    table = {one.what: in_own_process(lambda one=one: measure_stream(one, share)) for one in INPUTS}  # type: ignore[misc]
    undressed = in_own_process(lambda: measure_small("undress", lambda text: sum(1 for _ in undress(text))))
    redacted = in_own_process(lambda: measure_small("redact", redact))
    return {
        "python": sys.version.split()[0],
        "table": {
            **table,
            f"undress, {SMALL}": undressed,
            f"redact, {SMALL}": redacted,
            "the slowest hostile line": in_own_process(measure_hostile),
        },
    }


def judge(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Hold what was measured against the aims."""
    judged = []
    for one in INPUTS:
        row = result["table"][one.what]
        for aim, key, unit in ((one.aim_mb_s, "mb_s", "MB/s"), (one.aim_peak_mb, "peak_mb", "MB of memory")):
            got = row.get(key)
            if aim is None:
                continue
            is_reached = None if got is None else got >= aim if key == "mb_s" else got <= aim
            sign = ">=" if key == "mb_s" else "<="
            judged.append({"aim": f"{one.what}: {sign} {aim:g} {unit}", "got": got, "reached": is_reached})
    slowest = result["table"]["the slowest hostile line"].get("mb_s")
    is_reached = None if slowest is None else slowest >= HOSTILE_AIM_MB_S
    wanted = f"the slowest hostile line: >= {HOSTILE_AIM_MB_S:g} MB/s"
    judged.append({"aim": wanted, "got": slowest, "reached": is_reached})
    return judged


def show(result: dict[str, Any]) -> None:
    """Print it all."""
    print(f"Python {result['python']}\n")
    print(f"{'':28} {'MB':>6} {'CPU s':>7} {'MB/s':>8} {'peak MB':>8} {'lines':>9} {'kept':>7}")
    for what, row in result["table"].items():
        if "problem" in row:
            print(f"{what:28} {row['problem']}")
            continue
        print(
            f"{what:28} {row['mb']:6} {row['cpu_s']:7.2f} {row['mb_s']:8.1f} {row['peak_mb']:8.1f}"
            f" {row['lines']:9} {row['kept']:7}"
        )
        for sentence in row["said"]:
            print(f"{'':28} {sentence}")
    print()
    for one in result["aims"]:
        verdict = {True: "reached", False: "MISSED", None: "not measured"}[one["reached"]]
        print(f"{verdict:12} {one['aim']}" + ("" if one["got"] is None else f": {one['got']}"))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, metavar="X", help="of each input's size (default 1)")
    parser.add_argument("--json", metavar="FILE", help="store the numbers there")
    parser.add_argument("--check", action="store_true", help="exit 1 when an aim is missed or not measured")
    options = parser.parse_args()
    result = measure(options.share)
    result["aims"] = judge(result)
    show(result)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    is_missed = not all(one["reached"] for one in result["aims"])
    return EXIT_MISSED if options.check and is_missed else EXIT_MEASURED


if __name__ == "__main__":
    sys.exit(main())
