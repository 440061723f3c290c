r"""Excerpts of Compose files: the `ports:` of a service, where it is unmistakable what they are.

Two facts are drawn: what a service publishes (a Container that nobody has seen run), and the trap of YAML 1.1, which
reads an unquoted `25:25` as a number in base 60 (1525): an attempt to publish that port.

Source: the Compose specification, `ports` in short and long syntax; YAML 1.1, 10.2.1.2 (integers: base 60 where each
part after the first is below 60); Docker's and Podman's own warnings of it.

Limits: variables aren't filled in; a port without a host's port is published on one that the engine chooses, and is
left out. Whether the reader of that file takes YAML 1.1 (Compose 1.x, PyYAML) or 1.2 (Compose 2.x) isn't in the text.
"""

from __future__ import annotations

import re

from mailports.model.facts import ANY4, SOME, Attempt, Container, Endpoint, Look, Publish, port_number
from mailports.pasted.ends import canonical
from mailports.pasted.found import Found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailports.pasted.found import Line

KIND = "Compose file"

_KEY = re.compile(r"(\s*)([\w.-]{1,100}):\s*(?:#.*)?")
_PORTS = re.compile(r"(\s*)ports:\s*(\[.*\])?\s*(?:#.*)?")
_ITEM = re.compile(r"(\s*)-\s+(.*)")
_LONG = re.compile(r"(target|published|host_ip|protocol|mode|name|app_protocol):\s*(.*)")
_SHORT = re.compile(r"(?:(\[[^\]]+\]|[\d.]+):)?(\d{1,5})(?:-(\d{1,5}))?:(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp))?")
_BASE_60 = re.compile(r"([1-9]\d{0,4}):([0-5]?\d)")
_SPAN = 4096


class _Ports:
    def __init__(self, netns: str) -> None:
        self.netns = netns
        self.publishes: list[Publish] = []
        self.attempts: list[Attempt] = []
        self.problems: list[str] = []

    def short(self, item: str, line: Line, service: str | None) -> bool:
        """Take an item in short syntax; whether it looks like one."""
        value = item.strip()
        is_quoted = value[:1] in "\"'" and value[:1] != ""
        value = _unquoted(value)
        trap = None if is_quoted else _BASE_60.fullmatch(value)
        if trap is not None:
            self._misread(int(trap[1]), int(trap[2]), line, service)
            return True
        found = _SHORT.fullmatch(value)
        if found is None:
            if re.fullmatch(r"\d{1,5}(?:-\d{1,5})?(?:/(?:tcp|udp))?", value):
                return True
            self.problems.append(f"line {line.number}: a port that can't be read: {value[:80]}")
            return "$" in value
        low, high = int(found[2]), int(found[3] or found[2])
        for step in range(min(high - low + 1, _SPAN)):
            inner = int(found[4]) + (step if found[5] else 0)
            self.add(found[1] or ANY4, str(low + step), str(inner), found[6] or "tcp")
        return True

    def long(self, values: dict[str, str]) -> None:
        """Take an item in long syntax."""
        published = values.get("published")
        if published:
            protocol = values.get("protocol", "tcp")
            self.add(values.get("host_ip") or ANY4, published, values.get("target", ""), protocol)

    def add(self, address: str, port: str, to_port: str, protocol: str) -> None:
        known, outer, inner = canonical(address.strip("[]")), port_number(port), port_number(to_port)
        if known is not None and outer is not None and inner is not None and protocol in ("tcp", "udp"):
            self.publishes.append(Publish(Endpoint(protocol, known[0], outer, netns=self.netns), None, inner, KIND))

    def _misread(self, high: int, low: int, line: Line, service: str | None) -> None:
        read = high * 60 + low
        text = f"{line.text.strip()}: an unquoted {high}:{low} is {read} to YAML 1.1"
        self.attempts.append(
            Attempt(
                "docker",
                None,
                Endpoint("tcp", ANY4, high, netns=self.netns) if port_number(high) else None,
                "",
                "publish",
                container=service,
                line=line.number,
                text=text[:300],
            )
        )


def read_ports(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Read the `ports:` of one service."""
    head = _PORTS.fullmatch(lines[at].text) if "ports:" in lines[at].text else None
    if head is None or lines[at].is_command:
        return None
    service = _service(lines, at, len(head[1]))
    ports = _Ports(netns)
    until = at + 1
    if head[2] is not None:
        for item in head[2][1:-1].split(","):
            if item.strip() and not ports.short(item, lines[at], service):
                return None
    else:
        until = _items(lines, until, len(head[1]), ports, service)
    if not (ports.publishes or ports.attempts):
        return None
    container = Container("unknown", "", service, publishes=tuple(ports.publishes))
    look = Look("containers", None, SOME, KIND, "a file says what shall run, not what does", "docker ps -a --no-trunc")
    return Found(
        KIND,
        until - at,
        containers=(container,) if ports.publishes else (),
        attempts=tuple(ports.attempts),
        looks=(look,),
        problems=tuple(ports.problems[:20]),
    )


def _items(lines: Sequence[Line], at: int, indent: int, ports: _Ports, service: str | None) -> int:
    """Take the items of a list and return where it ends."""
    values: dict[str, str] = {}
    until = end = at
    while until < len(lines) and not lines[until].is_command:
        text = lines[until].text
        item = _ITEM.fullmatch(text)
        is_deeper = len(text) - len(text.lstrip()) > indent
        if item is not None and len(item[1]) >= indent:
            ports.long(values)
            values = {}
            pair = _LONG.fullmatch(item[2])
            if pair is not None:
                values[pair[1]] = _unquoted(pair[2])
            elif not ports.short(_uncommented(item[2]), lines[until], service):
                break
        elif is_deeper and values and _LONG.fullmatch(text.strip()):
            pair = _LONG.fullmatch(text.strip())
            if pair is not None:
                values[pair[1]] = _unquoted(pair[2])
        elif text.strip() and not text.lstrip().startswith("#"):
            break
        until += 1
        end = until if text.strip() else end
    ports.long(values)
    return max(end, at)


def _service(lines: Sequence[Line], at: int, indent: int) -> str | None:
    """Return the name of the service that a key belongs to: the next key above that is indented less."""
    for back in range(at - 1, max(at - 60, -1), -1):
        text = lines[back].text
        found = _KEY.fullmatch(text)
        if found is not None and len(found[1]) < indent:
            return found[2] if found[2] != "services" else None
        if lines[back].is_command:
            return None
    return None


def _uncommented(text: str) -> str:
    return text.partition(" #")[0].strip()


def _unquoted(text: str) -> str:
    value = _uncommented(text)
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value.strip("\"'")


READERS = (read_ports,)
