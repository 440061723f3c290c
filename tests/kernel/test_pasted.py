"""The tables that the real tools print are read as what the kernel says at that moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

SOURCES = Path(__file__).resolve().parent.parent.parent / "src"
TOOLS = (
    ("ss", "-tlnp"), ("ss", "-tulnp"), ("ss", "-ltn"), ("ss", "-tanp"), ("ss", "-Htlnp"), ("ss", "-tlnpe"),
    ("netstat", "-tlnp"), ("netstat", "-plant"), ("lsof", "-nP", "-iTCP", "-sTCP:LISTEN"),
)  # fmt: skip
STAGE = """
import json, socket, subprocess, sys
from mailports.host.local import Machine
from mailports.observe.look import Scope, observe
from mailports.pasted.assembly import read_text
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
held = []
v4, v6 = (("0.0.0.0", 25, None), ("127.0.0.1", 587, None)), (("::", 143, 0), ("::", 993, 1), ("::1", 995, 1))
for address, port, only in (*v4, *v6):
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    if only is not None:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    made.bind((address, port))
    made.listen()
    held.append(made)
client = socket.create_connection(("127.0.0.1", 25))

def listeners(sockets):
    found = [s for s in sockets if s.state == "listen"]
    return sorted((s.endpoint.address, s.endpoint.port, [h.pid for h in s.holders]) for s in found)

said = {"live": listeners(observe(Machine(), Scope(everyone=True, netns="here")).sockets)}
for argv in json.loads(sys.argv[1]):
    out = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    said[" ".join(argv)] = listeners(read_text("# " + " ".join(argv) + "\\n" + out).snapshot.sockets)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, list[list[object]]]:
    """What the kernel and what each tool's table say, of the same listeners in a fresh namespace."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a network namespace")
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", textwrap.dedent(STAGE), json.dumps(TOOLS)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(SOURCES)}, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[list[object]]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("tool", [" ".join(argv) for argv in TOOLS])
def test_a_table_says_what_the_kernel_says(tool: str, said: dict[str, list[list[object]]]) -> None:
    """Every listener, and its process where the tool shows one."""
    live = said["live"]
    assert len(live) == 5
    if tool == "ss -ltn":
        live = [[address, port, []] for address, port, _ in live]
    assert said[tool] == live
