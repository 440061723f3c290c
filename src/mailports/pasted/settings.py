"""Addresses and settings: `ip addr` (also `-br`, `-o`), `ifconfig` (Linux, BSD), `sysctl` lines; `ps` is recognised.

Source: ip-address(8) of iproute2 5 and 6, ifconfig(8) of net-tools 1.60 and 2.10 and of FreeBSD, sysctl(8), ps(1).

Limits: a device's kind is said by `ip -d` alone; otherwise a name tells (`docker0`, `br-…`, `veth…`, `wg0`, `tun0`).
`ifconfig` doesn't show that an address is tentative. A process in `ps` says nothing about sockets: it is recognised,
so that its lines aren't taken for something else, and gives no fact.
"""

from __future__ import annotations

import re

from mailports.model.facts import ALL, SOME, Address, Look, Setting
from mailports.pasted.ends import canonical, command_before
from mailports.pasted.found import Found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailports.pasted.found import Line

_LINK = re.compile(r"\s{0,8}(\d{1,7}): ([^\s:@]{1,40})(?:@[^\s:]{1,40})?: <([A-Z0-9_,-]*)>.*")
_INET = re.compile(r"\s*inet6? ([0-9A-Fa-f:.]+)(?: peer ([0-9A-Fa-f:.]+))?(?:/(\d{1,3}))?(?=\s|$)(.*)")
_ONELINE = re.compile(r"\s{0,8}(\d{1,7}): ([^\s:@]{1,40})(?:@\S{1,40})?\s+inet6? .*")
_BRIEF = re.compile(r"\s{0,8}([^\s@/:]{1,40})(?:@\S{1,40})?\s+(UP|DOWN|UNKNOWN|LOWERLAYERDOWN|DORMANT)(?:\s+(.*))?")
_IFCONFIG = re.compile(r"([A-Za-z][\w.-]{0,30}(?::\w{1,10})?)(?:: flags=.*|:?\s+Link encap:.*)")
_IFCONFIG_INET = re.compile(r"\s+inet6? (?:addr: ?)?([0-9A-Fa-f:.]+)(?:%\S+)?(?:/(\d{1,3}))?(.*)")
_MASK = re.compile(r"(?:netmask|Mask:|prefixlen|Maske:|Masque:|Másc:)\s*(0x[0-9a-f]{8}|[\d.]{7,15}|\d{1,3})(?!\S)")
_SYSCTL = re.compile(r"\s{0,8}((?:net|kernel|fs|vm|user)(?:[./][\w*@-]+){1,8})(?:\s*=\s*(.*)|: ?([\d\s.-]+))")
_KINDS = (
    (
        re.compile(r"docker\d+|br-[0-9a-f]{6,}|(?:br|virbr|cni|podman|cni-podman|lxcbr|lxdbr)\d+"),
        "bridge",
    ),
    (re.compile(r"veth\w+"), "veth"),
    (re.compile(r"wg\d+"), "wireguard"),
    (re.compile(r"(?:tun|tap)\d+"), "tun"),
)
_NAMED = re.compile(r"\s+(bridge|veth|tun|wireguard|vlan|bond|dummy|macvlan|ipvlan|vxlan|vrf)(?:\s+[a-z].*|\s*)")
_ROWS = 20_000


class _Addresses:
    """Addresses as they are gathered from one listing."""

    def __init__(self, netns: str) -> None:
        self.netns = netns
        self.addresses: list[Address] = []
        self.problems: list[str] = []

    def add(self, address: str, prefix: str | None, device: str, *, tentative: bool = False) -> bool:
        """Add an address; whether it is one."""
        known = canonical(address)
        length = int(prefix) if prefix else 0
        if known is None:
            return False
        width = 32 if known[1] == 4 else 128
        if prefix is None:
            length = width
        if length > width:
            return False
        self.addresses.append(Address(known[0], length, device, self.netns, tentative, _kind_of(device)))
        return True

    def found(self, kind: str, taken: int, why: str | None) -> Found:
        """Return what was gathered."""
        look = Look("addresses", self.netns, SOME if why else ALL, kind, why, "ip addr" if why else None)
        return Found(
            kind, max(1, taken), addresses=tuple(self.addresses), looks=(look,), problems=tuple(self.problems[:20])
        )


def _kind_of(device: str) -> str | None:
    return next((kind for pattern, kind in _KINDS if pattern.fullmatch(device)), None)


def _narrowed(lines: Sequence[Line], at: int, tool: str) -> str | None:
    """Return why a listing may not be all of it: by its command."""
    command = command_before(lines, at, tool)
    if command is None:
        return None
    if command.is_filtered:
        return "its output was filtered"
    plain = ("a", "addr", "address", "show", "list", "ls", "-a", "-c", "-d", "-br", "-brief", "-o", "-s", "-c=never")
    more = [word for word in command.words if word not in plain and not word.startswith(("-c", "--color"))]
    return f"the command asks for {' '.join(more)[:60]} only" if more else None


# ip addr


def read_ip_addr(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Read `ip addr`, from a device's heading, or `inet` lines whose device ends the line."""
    text = lines[at].text
    is_inet = "inet" in text and _ONELINE.fullmatch(text) is None and text.lstrip().startswith("inet")
    if lines[at].is_command or not ((": <" in text and _LINK.fullmatch(text)) or is_inet):
        return None
    if is_inet and (_INET.fullmatch(text) is None or " scope " not in text):
        return None
    gathered = _Addresses(netns)
    kinds: dict[str, str] = {}
    device, until = "", at
    while until < len(lines) and not lines[until].is_command and until - at < _ROWS:
        line = lines[until].text
        link = _LINK.fullmatch(line) if ": <" in line else None
        inet = _INET.fullmatch(line) if link is None and "inet" in line else None
        if link is not None:
            device = link[2]
        elif inet is not None:
            _take_inet(gathered, inet, device, lines[until].number)
        elif device and "    " in line and _NAMED.match(line):
            kinds[device] = line.split()[0]
        elif not (line.strip() and (line[:1].isspace() or line.lstrip().startswith(("link/", "valid_lft")))):
            break
        until += 1
    why = _narrowed(lines, at, "ip")
    if why is None and (is_inet or not text.lstrip().startswith("1: lo")):
        why = "part of a listing"
    if not gathered.addresses:  # `ip link` has none to show
        why = why or "no address is in it"
    gathered.addresses = [a._replace(device_kind=kinds.get(a.device, a.device_kind)) for a in gathered.addresses]
    return gathered.found("ip addr", until - at, why)


def _take_inet(gathered: _Addresses, inet: re.Match[str], device: str, number: int) -> None:
    words = inet[4].split()
    named = device
    if not named:
        at = len(words) - 1
        while (at > 0 and words[at] in ("forever", "0", "sec")) or (at > 0 and words[at].endswith("sec")):
            at -= 2
        named = words[at] if at >= 0 and "." not in words[at] else ""
    is_tentative = "tentative" in words or "dadfailed" in words
    if not gathered.add(inet[1], inet[3], named or "?", tentative=is_tentative):
        gathered.problems.append(f"line {number}: no address: {inet[1][:60]}")


def read_ip_oneline(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Read `ip -o addr`."""
    if lines[at].is_command or "inet" not in lines[at].text or _ONELINE.fullmatch(lines[at].text) is None:
        return None
    gathered = _Addresses(netns)
    until = at
    while until < len(lines) and not lines[until].is_command:
        row = _ONELINE.fullmatch(lines[until].text)
        inet = _INET.match(lines[until].text[lines[until].text.find("inet") :]) if row else None
        if row is None or inet is None:
            break
        _take_inet(gathered, inet, row[2], lines[until].number)
        until += 1
    why = _narrowed(lines, at, "ip") or (None if lines[at].text.lstrip().startswith("1: lo") else "part of a listing")
    return gathered.found("ip -o addr", until - at, why)


def read_ip_brief(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Read `ip -br addr`."""
    text = lines[at].text
    first = _BRIEF.fullmatch(text) if "UP" in text or "DOWN" in text or "UNKNOWN" in text or "DORM" in text else None
    if lines[at].is_command or first is None:
        return None
    if not re.match(r"[0-9A-Fa-f:.]+/\d", first[3] or "") and first[1] != "lo":
        return None
    gathered = _Addresses(netns)
    until = at
    while until < len(lines) and not lines[until].is_command:
        row = _BRIEF.fullmatch(lines[until].text)
        if row is None:
            break
        words = (row[3] or "").split()
        for place, word in enumerate(words):
            address, slash, prefix = word.partition("/")
            if slash and prefix.isdigit() and len(prefix) < 4:
                gathered.add(address, prefix, row[1], tentative="tentative" in words[place + 1 : place + 2])
        until += 1
    why = _narrowed(lines, at, "ip") or (None if first[1] == "lo" else "part of a listing")
    return gathered.found("ip -br addr", until - at, why)


# ifconfig


def read_ifconfig(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Read `ifconfig`, with `netmask` or `Mask:`."""
    text = lines[at].text
    if lines[at].is_command or not ("flags=" in text or "Link encap:" in text):
        return None
    if _IFCONFIG.fullmatch(lines[at].text) is None:
        return None
    gathered = _Addresses(netns)
    device, until, end = "", at, at
    while until < len(lines) and not lines[until].is_command and until - at < _ROWS:
        text = lines[until].text
        head = _IFCONFIG.fullmatch(text)
        inet = _IFCONFIG_INET.fullmatch(text) if "inet" in text else None
        if head is not None:
            device = head[1].partition(":")[0]
        elif inet is not None:
            gathered.add(inet[1], inet[2] or _mask(inet[3]), device)
        elif text.strip() and not text[:1].isspace():
            break
        until += 1
        end = until if text.strip() else end
    names = command_before(lines, at, "ifconfig")
    is_narrow = names is not None and (names.is_filtered or any(not w.startswith("-") for w in names.words))
    has_loopback = any(a.address == "127.0.0.1" for a in gathered.addresses)
    why = "the command or its output was narrowed" if is_narrow else None if has_loopback else "part of a listing"
    return gathered.found("ifconfig", end - at, why)


def _mask(rest: str) -> str | None:
    found = _MASK.search(rest)
    if found is None:
        return None
    text = found[1]
    if text.startswith("0x"):
        return str(bin(int(text, 16)).count("1"))
    if "." not in text:
        return text
    parts = text.split(".")
    return str(sum(bin(int(p)).count("1") for p in parts)) if all(p.isdigit() and int(p) < 256 for p in parts) else None


# sysctl


def read_sysctl(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Read lines `net.ipv4.ip_local_port_range = 32768 60999`."""
    if "." not in lines[at].text or lines[at].is_command or _setting(lines[at], netns) is None:
        return None
    settings: list[Setting] = []
    until = at
    while until < len(lines) and not lines[until].is_command:
        setting = _setting(lines[until], netns)
        if setting is None:
            break
        settings.append(setting)
        until += 1
    look = Look("settings", netns, SOME, "sysctl", "those in the text", "sysctl -a")
    return Found("sysctl", until - at, settings=tuple(settings), looks=(look,))


def _setting(line: Line, netns: str) -> Setting | None:
    found = _SYSCTL.fullmatch(line.text)
    if found is None:
        return None
    name = found[1].replace("/", ".") if "." not in found[1] else found[1]
    return Setting(name, " ".join((found[2] or found[3] or "").split()), netns if name.startswith("net.") else None)


# ps

_PS_HEADINGS = (
    ("USER", "PID", "%CPU"),
    ("UID", "PID", "PPID"),
    ("PID", "TTY", "STAT"),
    ("PID", "TTY", "TIME"),
    ("F", "S", "UID"),
    ("F", "UID", "PID"),
)
_PS_AUX = re.compile(
    r"\S{1,32}\s+\d{1,8}\s+\d{1,3}\.\d\s+\d{1,3}\.\d\s+\d+\s+\d+\s+\S+\s+[A-Z]\S{0,6}\s+\S+\s+\d+:\d\d\s.*"
)
_PS_EF = re.compile(r"\S{1,32}\s+\d{1,8}\s+\d{1,8}\s+\d{1,3}\s+\S{4,8}\s+(?:\?|pts/\d+|tty\S*)\s+\d\d:\d\d:\d\d\s.*")
_SECOND = re.compile(r"\S{1,32}\s+\d")
_PS_ROW = re.compile(r"\s*(?:\S+\s+){0,3}\d{1,8}\s.*\d:\d\d.*")


def read_ps(lines: Sequence[Line], at: int, netns: str) -> Found | None:  # noqa: ARG001 -- processes are the host's
    """Recognise `ps`; it says nothing of sockets, so nothing but that it is one comes of it."""
    text = lines[at].text
    if lines[at].is_command or not ("PID" in text or _SECOND.match(text)):
        return None
    words = text.split(None, 3)
    is_headed = (tuple(words[:3]) in _PS_HEADINGS and text.isprintable() and "CMD" in text) or "COMMAND" in text
    is_headed = is_headed and tuple(words[:3]) in _PS_HEADINGS
    if not is_headed and not (_PS_AUX.fullmatch(text) or _PS_EF.fullmatch(text)):
        return None
    until = at + 1
    while until < len(lines) and not lines[until].is_command and lines[until].dress is None:
        row = lines[until].text
        if _PS_ROW.fullmatch(row) is None if is_headed else not (_PS_AUX.fullmatch(row) or _PS_EF.fullmatch(row)):
            break
        until += 1
    is_ef = tuple(words[:3]) == ("UID", "PID", "PPID") or _PS_EF.fullmatch(text) is not None
    return Found("ps -ef" if is_ef else "ps aux", until - at)


READERS = (read_ip_addr, read_ip_oneline, read_ip_brief, read_ifconfig, read_sysctl, read_ps)
