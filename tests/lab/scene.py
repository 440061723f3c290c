"""What was seen of a staged machine: by mailports, and by the tools that it is held against.

A scene is a fixture: it boots a root, stages a situation and its look-alikes side by side, and looks once
(`look`). The tests then say one thing each about what was seen.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from .machine import Done, Machine

Json = dict[str, Any]

LISTENERS = "ss --tcp --listening --numeric --processes --cgroup --no-header"
UNITS = "systemctl show --property=Id,ActiveState,MainPID,ControlGroup,Result '*.service' '*.socket' '*.scope'"
MEMBERS = "find /sys/fs/cgroup -name cgroup.procs -exec grep -H . {} + || :"


class Listener(NamedTuple):
    """A TCP listener as `ss` shows it."""

    address: str
    port: int
    pids: frozenset[int]
    names: frozenset[str]
    cgroup: str


class Seen:
    """Everything that was seen of one machine."""

    def __init__(self, said: dict[str, Done], references: dict[str, str]) -> None:
        self._said = said
        self.listeners = [_listener(line) for line in references["listeners"].splitlines()]
        self.units = _units(references["units"])
        self._members = _members(references["members"])

    def said(self, command: str) -> Json:
        """Return the JSON that mailports printed for a command."""
        done = self._said[command]
        assert done.status in {0, 1, 3}, f"mailports {command}: status {done.status}: {done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        assert done.stdout, f"mailports {command} printed no JSON: {done.stderr}"
        answer: Json = json.loads(done.stdout)
        return answer

    def findings(self, *names: str) -> list[Json]:
        """Return audit's findings of these names; all of them where none is given."""
        return [each for each in self.said("audit")["findings"] if not names or each["name"] in names]

    def ports(self, *names: str) -> set[int]:
        """Return the ports that audit's findings of these names are about."""
        return {endpoint["port"] for finding in self.findings(*names) for endpoint in finding["endpoints"]}

    def names_on(self, port: int) -> set[str]:
        """Return the names of all findings about a port."""
        return {f["name"] for f in self.findings() if any(e["port"] == port for e in f["endpoints"])}

    def the_finding(self, name: str, port: int) -> Json:
        """Return the one finding of this name about a port."""
        found = [f for f in self.findings(name) if any(e["port"] == port for e in f["endpoints"])]
        assert len(found) == 1, f"{name} on {port}: {len(found)} findings; all: {_brief(self.findings())}"
        return found[0]

    def here(self) -> list[Json]:
        """Return status' TCP listeners in the machine's own network namespace, which is the one that `ss` shows."""
        listeners = self.said("status --all")["listeners"]
        return [e for e in listeners if (e["endpoint"]["protocol"], e["endpoint"]["netns"]) == ("tcp", "here")]

    def status_of(self, port: int) -> list[Json]:
        """Return those of them on a port."""
        return [each for each in self.here() if each["endpoint"]["port"] == port]

    def unit_of(self, pid: int) -> str | None:
        """Return the systemd unit that a process is in, by its control group."""
        path = self._members.get(pid, "")
        while path not in ("", "/"):
            for name, unit in self.units.items():
                if unit["ControlGroup"] == path:
                    return name
            path = path.rpartition("/")[0]
        return "init.scope" if pid == 1 else None


def look(machine: Machine, *commands: str) -> Seen:
    """Look at a staged machine: `status --all`, `audit`, the named commands more, and the references."""
    references = {
        "listeners": machine.sh(LISTENERS),
        "units": machine.sh(UNITS),
        "members": machine.sh(MEMBERS),
    }
    said = {command: machine.mailports(*command.split()) for command in ("status --all", "audit", *commands)}
    return Seen(said, references)


def holders(listener: Json, key: str) -> set[Any]:
    """Return one property of a listener's holders, as status gives them."""
    return {holder[key] for holder in listener["holders"]}


def parties(finding: Json, key: str) -> set[Any]:
    """Return one property of a finding's parties, where they have it."""
    return {party[key] for party in finding["parties"] if party[key] is not None}


def _brief(findings: list[Json]) -> list[str]:
    return [finding["summary"] for finding in findings]


def _listener(line: str) -> Listener:
    local = line.split()[3]
    address, _, port = local.rpartition(":")
    address = address.strip("[]").partition("%")[0]
    return Listener(
        "::" if address == "*" else address,
        int(port),
        frozenset(map(int, re.findall(r"pid=(\d+)", line))),
        frozenset(re.findall(r'\("([^"]*)",pid=', line)),
        line.partition("cgroup:")[2].strip(),
    )


def _units(text: str) -> dict[str, dict[str, str]]:
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return {block["Id"]: block for block in blocks}


def _members(text: str) -> dict[int, str]:
    found = {}
    for line in text.splitlines():
        path, _, pid = line.rpartition(":")
        found[int(pid)] = path.removeprefix("/sys/fs/cgroup").removesuffix("/cgroup.procs")
    return found
