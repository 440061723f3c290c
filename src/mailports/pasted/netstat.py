"""Tables of `netstat`: Linux (net-tools, busybox), Windows, macOS and the BSDs, with headings in any language.

A table is known by its rows: Linux prints `tcp6 0 0 :::25 :::* LISTEN`, the BSDs `tcp4 0 0 *.25 *.* LISTEN`,
Windows `TCP 0.0.0.0:25 0.0.0.0:0 LISTENING 1234`. The words for the states are translated by some, so a TCP row
whose word isn't known is a listener where it has no other end.

Source: netstat.c of net-tools 2.10 and its translations; Microsoft's reference of `netstat`; usr.bin/netstat of
FreeBSD and network_cmds of macOS (`tcp46` is dual-stack); netstat(1) of OpenBSD and NetBSD.

Limits: one holder a socket (net-tools and Windows name one); net-tools cuts long IPv6 addresses without -W, and
names of hosts aren't addresses: such rows are problems.
"""

from __future__ import annotations

import re

from mailports.model.facts import ANY6, NONE, SOME, Holder, Socket, natural
from mailports.pasted.ends import (
    LISTEN,
    Command,
    Cover,
    Table,
    command_before,
    endpoint_of,
    found_table,
    is_end,
    letters,
    read_dotted_end,
    read_end,
    state_named,
    state_of,
)
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailports.pasted.ends import End
    from mailports.pasted.found import Found, Line

_PROTOCOLS = frozenset(["tcp", "tcp4", "tcp6", "tcp46", "udp", "udp4", "udp6", "udp46"])
_OTHERS = frozenset(
    [
        "raw",
        "raw6",
        "udplite",
        "udpl",
        "udpl6",
        "udplite6",
        "sctp",
        "sctp6",
        "icmp",
        "icmp4",
        "icmp6",
        "icm4",
        "icm6",
        "igmp",
        "ip",
        "ip6",
        "divert",
        "mptcp",
    ]
)
_TITLE = re.compile(
    r"\s*(?:\(?(?:Active|Aktive|Connexions|Conexiones|Conex|Connessioni|Aktiv|Not all processes|will not be shown)"
    r"|.{0,60}(?:Internet|internet|インターネット))"
)
_HEADING = re.compile(r"\s*Proto\b")
_PROCESS = re.compile(r"(?:(\S+)\s+(\d{1,10})\s+)?(?:(\d{1,10})/(.{0,200})|-)")
_TIMER = re.compile(r"\s+(?:off|on|keepalive|timewait|unkn-\d+|probe) \([^)]{0,40}\)?\s*\Z")
_MACOS_PROCESS = re.compile(r"([^\s:][^:]{0,60}):(\d{1,10})(?:\s|\Z)")
_EXECUTABLE = re.compile(r"\s*\[([^\]\s][^\]]{0,120})\]\s*\Z")
_CUT_AT = 22
_HOW = {
    "": "netstat -tulpn (as root)",
    " (Windows)": "netstat -abno (as administrator)",
    " (BSD)": "netstat -an, and sockstat -l or lsof -nP -i (as root)",
}


class _Row(Record):
    protocol: str
    family: int
    local: End | None
    peer: End | None
    word: str | None
    holder: Holder | None
    v6only: bool | None = None
    uid: int | None = None
    inode: int = 0
    spelled: str = ""
    waiting: int = 0
    is_cut: bool = False


def read_netstat(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Return the table of `netstat` that begins at a line (its title, heading or a plain row), or None."""
    line = lines[at]
    text = line.text
    if line.is_command or not _may_begin(text):
        return None
    start, header = _after_heading(lines, at)
    if start >= len(lines):
        return None
    row_of, system = _dialect(lines[start].text, lines[start + 1].text if start + 1 < len(lines) else "")
    if row_of is None or (header is None and not _is_plain(row_of, text)):
        return None
    return _Reading(lines, at, netns, (start, header, row_of, system)).found()


def _may_begin(text: str) -> bool:
    first = text[:40].split(None, 1)
    if not first:
        return False
    word = first[0]
    if word in _PROTOCOLS or word in ("TCP", "UDP", "Proto"):
        return True
    return len(text) < 160 and _TITLE.match(text) is not None


def _after_heading(lines: Sequence[Line], at: int) -> tuple[int, str | None]:
    """Return where the rows begin, and the line of headings, where there is one."""
    header = None
    place = at
    while place < min(len(lines), at + 8):
        text = lines[place].text
        if lines[place].is_command:
            break
        if _HEADING.match(text):
            header = text
        elif not (is_end(text) or _is_note(text)):
            break
        place += 1
    if header is None and place > at:
        return len(lines), None
    return place, header


def _is_note(text: str) -> bool:
    first = text[:40].split(None, 1)
    return (
        len(text) < 160 and first[0] not in _PROTOCOLS and first[0] not in ("TCP", "UDP") and bool(_TITLE.match(text))
    )


def _dialect(text: str, following: str) -> tuple[Callable[[list[str], str], _Row | None] | None, str]:
    words = text.split()
    if not words:
        return None, ""
    if words[0] in ("TCP", "UDP"):
        return (_windows_row, " (Windows)") if len(words) > 2 and read_end(words[1]) else (None, "")
    if len(words) < 5:
        words = f"{text} {following}".split()
    if words[0] not in _PROTOCOLS | _OTHERS or len(words) < 5 or not (words[1].isdigit() and words[2].isdigit()):
        return None, ""
    if words[0] in ("tcp4", "udp4", "tcp46", "udp46") or (words[0] in _OTHERS and not read_end(words[3])):
        return _bsd_row, " (BSD)"
    if read_end(words[3]):
        return _linux_row, ""
    return (_bsd_row, " (BSD)") if read_dotted_end(words[3]) else (_linux_row, "")


def _is_plain(row_of: Callable[[list[str], str], _Row | None], text: str) -> bool:
    """Whether a row without a heading is unmistakable."""
    row = row_of(text.split(), text)
    if row is None or row.local is None or row.peer is None:
        return False
    return row.protocol == "udp" or (row.word is not None and state_named(row.word) is not None)


class _Reading:
    def __init__(
        self,
        lines: Sequence[Line],
        at: int,
        netns: str,
        plan: tuple[int, str | None, Callable[[list[str], str], _Row | None], str],
    ) -> None:
        self.lines = lines
        self.at = at
        self.next, self.header, self.row_of, self.system = plan
        self.table = Table(netns)
        self.command = command_before(lines, at, "netstat")
        self.is_split = False  # whether the protocols name their family, so that tcp6 is IPv6 only
        self.columns = (self.header or "").partition("(state)")[2].split()
        words = self.command.words if self.command else ()
        self.may_cut = self.system == "" and "W" not in letters(words) and "--wide" not in words

    def found(self) -> Found:
        while self.next < len(self.lines):
            line = self.lines[self.next]
            if line.is_command:
                break
            if is_end(line.text):
                if not self._goes_on():
                    break
                self.next += 1
                continue
            taken = self._take(self.next)
            if taken == 0:
                break
            self.next += taken
        self._finish()
        kind = (self.command.kind if self.command else "netstat") + self.system
        cover = _cover(self.command, self.system)
        looks = self.table.looks(kind, cover, has_header=self.header is not None, how=_HOW[self.system])
        return found_table(kind, self.next - self.at, self.table, looks)

    def _goes_on(self) -> bool:
        place = self.next + 1
        return place < len(self.lines) and not self.lines[place].is_command and self._starts(self.lines[place].text)

    def _starts(self, text: str) -> bool:
        words = text[:60].split(None, 3)
        if self.system == " (Windows)":
            return len(words) > 1 and words[0] in ("TCP", "UDP")
        return len(words) > 2 and words[0] in _PROTOCOLS | _OTHERS and words[1].isdigit() and words[2].isdigit()

    def _take(self, at: int) -> int:
        """Add the row at a line; return how many lines it takes, 0 where there is none."""
        text = self.lines[at].text
        if not self._starts(text):
            return 0
        words = text.split()
        taken = 1
        if self._is_torn(words) and at + 1 < len(self.lines):
            following = self.lines[at + 1]
            if not (following.is_command or is_end(following.text) or self._starts(following.text)):
                text = f"{text} {following.text.strip()}"
                words = text.split()
                taken = 2
        name = None
        if self.system == " (Windows)":
            name, more = self._executable(at + taken)
            taken += more
        if words[0] in _OTHERS:
            return taken
        row = self.row_of(words, text)
        if row is None:
            self.table.miss(self.lines[at].number, "a row of netstat that is cut off")
        else:
            self._add(self.lines[at].number, row, words, name)
        return taken

    def _is_torn(self, words: list[str]) -> bool:
        """Whether a row lacks columns that the heading promises, so that the next line may have them."""
        if self.system == " (Windows)":
            has_pid = (self.header or "").rstrip().endswith("PID")
            return len(words) < 3 or (has_pid and not words[-1].isdigit())
        is_named = "PID/" in (self.header or "")
        least = 5 if words[0].startswith("udp") else 6
        if self.system == " (BSD)":
            return len(words) < 5
        return len(words) < least or (is_named and len(words) == least and words[0].startswith("tcp"))

    def _executable(self, at: int) -> tuple[str | None, int]:
        """Return the name that `netstat -b` prints below a row, and how many lines that takes."""
        for ahead in range(4):
            if at + ahead >= len(self.lines):
                break
            line = self.lines[at + ahead]
            if line.is_command or is_end(line.text) or self._starts(line.text):
                break
            named = _EXECUTABLE.match(line.text)
            if named:
                return named[1], ahead + 1
            if "ownership" in line.text or "Besitzer" in line.text or "propri" in line.text:
                return None, ahead + 1
            if not line.text.startswith(" ") and ahead == 0 and len(line.text.split()) > 1:
                break
        return None, 0

    def _add(self, number: int, row: _Row, words: list[str], name: str | None) -> None:
        if row.local is None:
            self.table.miss(number, f"no endpoint in {row.spelled[:80]!r}")
            return
        if not row.local.port:
            return
        self.is_split = self.is_split or words[0] in ("tcp4", "tcp46", "udp4", "udp46")
        endpoint = endpoint_of(row.local, row.protocol, row.family, self.table.netns, v6only=row.v6only)
        if endpoint is None:
            self.table.miss(number, f"a host's name isn't an address: {row.spelled[:80]!r}")
            return
        if self.may_cut and row.is_cut:
            self.table.note(number, f"{row.spelled[:80]!r} may be cut off (netstat -W prints it whole)")
        holder = row.holder
        if name is not None:
            holder = Holder(holder.pid if holder else None, name)
        elif holder is None and self.columns:
            holder = _bsd_holder(words, self.columns, row.word is not None)
        state = state_of(row.word, row.protocol, row.peer)
        peer = endpoint_of(row.peer, row.protocol, row.family, self.table.netns) if row.peer and row.peer.port else None
        self.table.sockets.append(
            Socket(
                endpoint,
                row.family,
                state,
                peer,
                row.uid,
                row.inode,
                waiting=row.waiting if state == LISTEN else 0,
                holders=(holder,) if holder else (),
                holders_extent=SOME if holder else NONE,
            )
        )

    def _finish(self) -> None:
        """Where `tcp46` is a word of its own, `tcp6` leaves IPv4 alone."""
        if not self.is_split:
            return
        for place, socket in enumerate(self.table.sockets):
            endpoint = socket.endpoint
            if endpoint.address == ANY6 and endpoint.v6only is None:
                self.table.sockets[place] = socket._replace(endpoint=endpoint._replace(v6only=True))


def _linux_row(words: list[str], text: str) -> _Row | None:  # noqa: ARG001 -- all rows are read alike
    if len(words) < 5 or not (words[1].isdigit() and words[2].isdigit()):
        return None
    protocol = words[0][:3]
    local, peer = read_end(words[3]), read_end(words[4])
    family = 6 if words[0].endswith("6") or (local is not None and local.family == 6) else 4
    rest = words[5:]
    word = None
    if rest and _is_state(rest[0], protocol):
        word = rest.pop(0)
    uid, inode, holder = _linux_process(" ".join(rest))
    host, _, port = words[3].rpartition(":")
    is_cut = len(host) + len(port) >= _CUT_AT and family == 6
    waiting = natural(words[1]) or 0
    return _Row(protocol, family, local, peer, word, holder, None, uid, inode, words[3], waiting, is_cut)


def _is_state(word: str, protocol: str) -> bool:
    if state_named(word) is not None:
        return True
    return protocol == "tcp" and word != "-" and "/" not in word and not word[0].isdigit()


def _linux_process(rest: str) -> tuple[int | None, int, Holder | None]:
    """Return uid, inode and holder of what stands behind the state."""
    match = _PROCESS.match(_TIMER.sub("", rest))
    if match is None:
        return None, 0, None
    user, inode, pid, title = match.groups()
    holder = None
    if pid:
        name = title.strip()
        holder = Holder(int(pid), (name.partition(": ")[0].rstrip(":") or name) or None)
    return natural(user or ""), natural(inode or "") or 0, holder


def _windows_row(words: list[str], text: str) -> _Row | None:  # noqa: ARG001 -- all rows are read alike
    if len(words) < 3:
        return None
    protocol = words[0].lower()
    local, peer = read_end(words[1]), read_end(words[2])
    rest = words[3:]
    if rest and rest[-1] in ("InHost", "Offload"):
        rest.pop()
    pid = natural(rest.pop()) if rest and rest[-1].isdigit() else None
    word = "_".join(rest) or None
    if local is not None and local.device is not None:
        local = local._replace(device=None)  # a zone's number, not a device
    family = local.family if local is not None and local.family else 4
    if protocol == "tcp" and word is None and pid is None and (peer is None or peer.port == 0):
        return None
    holder = Holder(pid, "System" if pid == 4 else None) if pid else None
    return _Row(protocol, family, local, peer, word, holder, None, spelled=words[1])


def _bsd_row(words: list[str], text: str) -> _Row | None:  # noqa: ARG001 -- all rows are read alike
    if len(words) < 5 or not (words[1].isdigit() and words[2].isdigit()):
        return None
    protocol, suffix = words[0][:3], words[0][3:]
    local, peer = read_dotted_end(words[3]), read_dotted_end(words[4])
    family = 6 if suffix in ("6", "46") or (local is not None and local.family == 6) else 4
    word = words[5] if len(words) > 5 and state_named(words[5]) else None
    v6only = False if suffix == "46" else None
    return _Row(protocol, family, local, peer, word, None, v6only, spelled=words[3])


def _bsd_holder(words: list[str], columns: list[str], has_state: bool) -> Holder | None:  # noqa: FBT001
    """Return the process of a row of macOS's `netstat -v`."""
    rest = words[6 if has_state else 5 :]
    if "process:pid" in columns:
        match = _MACOS_PROCESS.search(" ".join(rest[columns.index("process:pid") :]))
        return Holder(int(match[2]), match[1]) if match else None
    if "pid" in columns:
        place = columns.index("pid")
        pid = natural(rest[place]) if place < len(rest) else None
        return Holder(pid) if pid else None
    return None


def _cover(command: Command | None, system: str) -> Cover | None:
    """Return what a command of netstat asks for."""
    if command is None:
        return None
    words = [word.lower() if system == " (Windows)" else word for word in command.words]
    flags = letters(words).replace("/", "")
    limit = "the command filters its output" if command.is_filtered else None
    tcp, udp = True, True
    if system:
        for index, word in enumerate(words):
            value = words[index + 1].lower() if index + 1 < len(words) else ""
            if word.startswith("-") and word.endswith("p") and value:
                tcp, udp = value.startswith("tcp"), value.startswith("udp")
                if system == " (Windows)":
                    limit = limit or "the command asks for one address family"
            if word.startswith("-") and word.endswith("f") and value.startswith("inet"):
                limit = limit or "the command asks for one address family"
        return Cover(tcp, udp, "a" in flags or "l" in flags, limit)
    if "4" in flags or "6" in flags or {"--inet", "--inet6", "-A"} & set(words):
        limit = limit or "the command asks for one address family"
    if any(not word.startswith("-") for word in words):
        limit = limit or "the command filters its output"
    tcp, udp = "t" in flags or "--tcp" in words, "u" in flags or "--udp" in words
    is_any = not tcp and not udp
    listeners = bool(set(flags) & set("la")) or bool({"--listening", "--all"} & set(words))
    return Cover(tcp or is_any, udp or is_any, listeners, limit)


READERS = (read_netstat,)
"""The readers of this module."""
