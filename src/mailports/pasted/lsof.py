r"""Tables of `lsof -i`, and its field output (`-F`).

One row is one descriptor; rows of one socket are joined by its DEVICE (the inode on Linux, a kernel address on
macOS and the BSDs), where the table has it.

Source: lsof(8) of 4.95: COMMAND is cut to 9 characters without `+c`, what isn't printable is spelled `\x20`.

Limits: without root lsof shows its user's own processes and nothing of the rest, so a table is whole only where
root's are in it; otherwise it is `some`. It doesn't show v6only, devices or TIME_WAIT; where `-F` leaves out the
family a `*` is taken for IPv4.
"""

from __future__ import annotations

import re

from mailports.model.facts import ALL, SOME, Holder, Socket, natural
from mailports.pasted.ends import (
    LISTEN,
    Command,
    Cover,
    Shared,
    Table,
    command_before,
    endpoint_of,
    found_table,
    is_end,
    read_end,
    state_of,
)
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailports.pasted.found import Found, Line

_HEADING = re.compile(r"\s*COMMAND\s+PID\b.*\bUSER\b.*\bFD\b.*\bTYPE\b")
_ROW = re.compile(r"\s*(\S+)\s+(\d{1,10})\s+.{0,200}?\s(IPv4|IPv6)\s+(.*)")
_NODE = re.compile(r"(?:(\S+)\s+)?(?:\S+\s+)?(TCP|UDP)\s+(\S+)(?:\s+\(([A-Za-z_0-9]+)\))?")
_OTHER_ROW = re.compile(
    r"\s*\S+\s+\d{1,10}\s+.*\s(?:unix|REG|DIR|CHR|FIFO|sock|KQUEUE|systm|NPOLICY|a_inode|raw|IPv[46])\b"
)
_OF_ROOT = re.compile(r"\s*\S+\s+\d{1,10}\s+(?:\d{1,10}\s+)?root\s")
_PROCESS = re.compile(r"p\d{1,10}\Z")
_FIELD = re.compile(r"[a-zA-Z]\S* ?\Z|[cLnG].*")
_SPELLED = re.compile(r"\\x([0-9a-f]{2})")
_HOW = "lsof -nP -i (as root)"
_OWN_ONLY = "no process of root's is in it, so it may show one user's only"


class _File(Record):
    protocol: str | None
    family: int
    name: str
    word: str | None
    key: object


def read_lsof(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Return the table of `lsof` that begins at a line, or None."""
    line = lines[at]
    text = line.text
    has_header = "COMMAND" in text[:40] and _HEADING.match(text) is not None
    if line.is_command or not (has_header or (" IPv" in text and _is_plain(text))):
        return None
    command = command_before(lines, at, "lsof")
    table, shared = Table(netns), Shared()
    is_root = False
    place = at + (1 if has_header else 0)
    while place < len(lines):
        taken = _take(lines, place, table, shared)
        if taken == 0:
            break
        is_root = is_root or _OF_ROOT.match(lines[place].text) is not None
        place += taken
    shared.finish(table, ALL if is_root else SOME)
    kind = command.kind if command else "lsof -i"
    looks = table.looks(kind, _cover(command, is_root=is_root), has_header=has_header, how=_HOW)
    return found_table(kind, place - at, table, looks)


def _is_plain(text: str) -> bool:
    row = _ROW.match(text)
    return row is not None and _NODE.match(row[4]) is not None


def _take(lines: Sequence[Line], at: int, table: Table, shared: Shared) -> int:
    """Add the row at a line; return how many lines it takes, 0 where there is none."""
    line = lines[at]
    if line.is_command:
        return 0
    if is_end(line.text):
        is_more = at + 1 < len(lines) and not lines[at + 1].is_command and _is_plain(lines[at + 1].text)
        return 1 if is_more else 0
    row = _ROW.match(line.text)
    if row is None:
        return 1 if _OTHER_ROW.match(line.text) else 0
    node = _NODE.match(row[4])
    taken = 1
    if at + 1 < len(lines):  # wrapped: the name, or the state, is on the next line
        following = lines[at + 1]
        more = following.text.strip()
        is_free = bool(more) and not following.is_command and not _ROW.match(following.text)
        if is_free and node is None and not _OTHER_ROW.match(following.text):
            node = _NODE.match(f"{row[4]} {more}")
            taken = 2 if node else 1
        elif is_free and node is not None and node[4] is None and more.startswith("(") and more.endswith(")"):
            node = _NODE.match(f"{row[4].rstrip()} {more}")
            taken = 2
    if node is None:
        table.miss(line.number, "a row of lsof that is cut off")
        return taken
    family = 6 if row[3] == "IPv6" else 4
    key = (node[1], node[2], node[3]) if node[1] else (row[2], line.number)
    file = _File(node[2].lower(), family, node[3], node[4], key)
    _add(table, shared, line.number, file, Holder(int(row[2]), _plain(row[1])))
    return taken


def _plain(name: str) -> str:
    return _SPELLED.sub(lambda found: chr(int(found[1], 16)) if found[1] == "20" else found[0], name)


def _add(table: Table, shared: Shared, number: int, file: _File, holder: Holder | None) -> None:
    spelled, arrow, other = file.name.partition("->")
    local = read_end(spelled)
    peer = read_end(other) if arrow else None
    if local is None:
        if spelled not in ("*:*", "no"):
            table.miss(number, f"no endpoint in {spelled[:80]!r}")
        return
    if not local.port:
        return
    family = file.family or local.family or 4
    protocol = file.protocol or "tcp"
    endpoint = endpoint_of(local, protocol, family, table.netns)
    if endpoint is None:
        table.miss(number, f"a host's name isn't an address: {spelled[:80]!r}")
        return
    there = endpoint_of(peer, protocol, family, table.netns) if peer and peer.port else None
    state = "established" if arrow and file.word is None else state_of(file.word, protocol, peer)
    if protocol == "tcp" and file.word is None and not arrow:
        state = "bound" if file.protocol and isinstance(file.key, tuple) and len(file.key) == 3 else LISTEN
    inode = natural(str(file.key[0])) if isinstance(file.key, tuple) and len(file.key) == 3 else None
    shared.add(table, file.key, Socket(endpoint, family, state, there, inode=inode or 0), holder)


def _cover(command: Command | None, *, is_root: bool) -> Cover | None:
    """Return what a command of lsof asks for, and whether it could see it."""
    if command is None:
        return None if is_root else Cover(tcp=True, udp=True, listeners=True, limit=_OWN_ONLY)
    limit = "the command filters its output" if command.is_filtered else None if is_root else _OWN_ONLY
    tcp, udp = True, True
    is_after = False
    for word in command.words:
        what = None
        if word.startswith("-") and "i" in word and not word.startswith(("-F", "-s", "-c", "-u", "-p")):
            what = word.partition("i")[2]
            is_after = not what
        elif is_after and not word.startswith(("-", "+")):
            what, is_after = word, False
        elif word[:2] in ("-p", "-c", "-u", "-g", "-d"):
            limit = limit or "the command asks for some processes"
        if what:
            tcp, udp, part = _narrowed(what.upper())
            limit = limit or part
    return Cover(tcp, udp, True, limit)  # noqa: FBT003 -- a noun's fields


def _narrowed(what: str) -> tuple[bool, bool, str | None]:
    """Return what `-i TCP:25` asks for: TCP, UDP, and how it is narrowed."""
    if ":" in what or "@" in what:
        return "UDP" not in what, "TCP" not in what, "the command asks for some ports"
    part = "the command asks for one address family" if what[:1] in ("4", "6") else None
    return "UDP" not in what, "TCP" not in what, part


def read_lsof_fields(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Return the field output (`lsof -F`) that begins at a line, or None."""
    text = lines[at].text
    if text[:1] != "p" or lines[at].is_command or not _PROCESS.match(text.rstrip()):
        return None
    fields = _Fields(netns)
    place = at
    while place < len(lines) and not lines[place].is_command and _FIELD.match(lines[place].text):
        fields.take(lines[place].number, lines[place].text.rstrip())
        place += 1
    fields.flush()
    if not fields.has_ends:
        return None
    fields.shared.finish(fields.table, ALL if fields.is_root else SOME)
    command = command_before(lines, at, "lsof")
    kind = command.kind if command else "lsof -F"
    cover = _cover(command, is_root=fields.is_root)
    looks = fields.table.looks(kind, cover, has_header=True, how=_HOW)
    return found_table(kind, place - at, fields.table, looks)


class _Fields:
    def __init__(self, netns: str) -> None:
        self.table = Table(netns)
        self.shared = Shared()
        self.has_ends = False
        self.is_root = False
        self.pid = 0
        self.comm: str | None = None
        self.uid: int | None = None
        self.file: dict[str, str] = {}
        self.number = 0

    def take(self, number: int, text: str) -> None:
        letter, value = text[:1], text[1:]
        if letter == "p" and value.isdigit():
            self.flush()
            self.pid, self.comm, self.uid = int(value[:10]), None, None
        elif letter == "c":
            self.comm = value or None
        elif letter == "u":
            self.uid = natural(value)
            self.is_root = self.is_root or self.uid == 0
        elif letter == "L":
            self.is_root = self.is_root or value == "root"
        elif letter == "f":
            self.flush()
            self.file["f"] = value
        elif letter == "T":
            key, _, what = value.partition("=")
            self.file[key] = what
        elif letter in "tPdn":
            if letter in self.file:
                self.flush()
            self.file[letter] = value
            if letter == "n":
                self.number = number

    def flush(self) -> None:
        """Add the file whose fields are complete."""
        file, self.file = self.file, {}
        name = file.get("n")
        kind = file.get("t")
        if not name or kind not in (None, "IPv4", "IPv6") or file.get("P", "TCP") not in ("TCP", "UDP"):
            return
        local = read_end(name.partition("->")[0])
        if local is None and kind is None:
            return  # a file's path, or a host that isn't known
        self.has_ends = True
        protocol = file["P"].lower() if "P" in file else None
        if protocol is None:
            protocol = "udp" if "QR" in file and "ST" not in file else "tcp"
        family = {"IPv4": 4, "IPv6": 6}.get(kind or "", 0)
        device = file.get("d")
        key: object = (device, protocol, name) if device else (self.pid, self.number)
        holder = Holder(self.pid, self.comm, uid=self.uid) if self.pid else None
        _add(self.table, self.shared, self.number, _File(protocol, family, name, file.get("ST"), key), holder)


READERS = (read_lsof, read_lsof_fields)
"""The readers of this module."""
