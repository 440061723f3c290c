"""Tables of `ss` (iproute2), with any of its options, old and new.

Source: ss(8) and misc/ss.c of iproute2 6.1; older spellings (`*:25` for IPv4's wildcard, `:::25`,
`users:(("master",1234,12))`) from 3.x and 4.x. A new table prints `*:25` for a dual-stack socket and `[::]:25` for
an IPv6-only one; an old one hides which it is.

Limits: host names (`-r`) other than localhost aren't addresses; a table without State takes a row without a peer
for a listener.
"""

from __future__ import annotations

import re

from mailports.model.facts import ALL, ANY4, ANY6, NONE, SOME, Holder, Socket
from mailports.pasted.ends import (
    LISTEN,
    STAR,
    Command,
    Cover,
    Table,
    command_before,
    endpoint_of,
    found_table,
    is_end,
    letters,
    read_end,
    state_of,
)
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailports.pasted.ends import End
    from mailports.pasted.found import Found, Line

_STATES = frozenset(
    [
        "LISTEN",
        "ESTAB",
        "UNCONN",
        "TIME-WAIT",
        "CLOSE-WAIT",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "SYN-SENT",
        "SYN-RECV",
        "LAST-ACK",
        "CLOSING",
        "CLOSED",
    ]
)
_NETIDS = frozenset(
    [
        "nl",
        "u_str",
        "u_dgr",
        "u_seq",
        "p_raw",
        "p_dgr",
        "raw",
        "icmp6",
        "icmp",
        "???",
        "v_str",
        "v_dgr",
        "tipc",
        "xdp",
        "sctp",
        "mptcp",
        "dccp",
        "ti_st",
        "vsock",
    ]
)
_FIRST = frozenset(("tcp", "udp", "State", "Netid", "Recv-Q")) | _STATES | _NETIDS
_HEADING = re.compile(r"\s*(?:Netid\s+)?(?:State\s+)?Recv-Q\s+Send-Q\s+Local Address\s*:\s*Port")
_MORE = re.compile(
    r"\s*(?:users:\(|ino:\d|uid:\d|sk:|cgroup:|v6only:|timer:\(|skmem:|fwmark:|<->"
    r"|.*\b(?:cwnd|rto|mss|rtt|wscale|unacked|pmtu|ssthresh|bytes_\w+|segs_\w+|lastsnd|minrtt|rcv_\w+)\s*:)"
)
_USER = re.compile(r'\("([^"]{0,64})",(?:pid=)?(\d{1,10}),')
_OLD_USER = re.compile(r'\("[^"]{0,64}",\d')
_FACT = re.compile(r"\b(ino|uid|cgroup|v6only):(\S+)")
_HOW = "ss -tulnp (as root)"


class _Row(Record):
    protocol: str
    word: str | None
    local: str
    peer: str
    rest: str
    waiting: int
    backlog: int


def read_ss(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Return the table of `ss` that begins at a line, or None."""
    text = lines[at].text
    first = text[:80].split(None, 1)
    if not first or first[0] not in _FIRST or lines[at].is_command:
        return None
    header = _HEADING.match(text)
    if header is None and not _is_plain_row(text):
        return None
    return _Reading(lines, at, netns, text if header else None).found()


def _is_plain_row(text: str) -> bool:
    """Whether a row without a heading is unmistakable: a state, or a protocol and a state, before two numbers."""
    words = text.split(None, 7)
    if words and words[0] in ("tcp", "udp"):
        words = words[1:]
    return (
        len(words) >= 5
        and words[0] in _STATES
        and words[1].isdigit()
        and words[2].isdigit()
        and read_end(words[3]) is not None
        and read_end(words[4].partition("users:")[0]) is not None
    )


class _Reading:
    def __init__(self, lines: Sequence[Line], at: int, netns: str, header: str | None) -> None:
        self.lines = lines
        self.at = at
        self.header = header
        self.table = Table(netns)
        self.command = command_before(lines, at, "ss")
        self.next = at + (1 if header else 0)
        if header:
            self._skip_cut_heading()
        words = (header or "").split()
        self.has_state = header is None or "State" in words
        self.protocol = self._only_protocol()
        self.unplaced: list[tuple[int, _Row]] = []
        self.is_old = False
        self.is_new = bool(header and "Process" in header)

    def _skip_cut_heading(self) -> None:
        """Pass over what a wrapped heading left on the next line."""
        if self.next < len(self.lines):
            words = self.lines[self.next].text.split()
            if words and all(
                word in ("Peer", "Address:Port", "Address:PortProcess", "Process", "Port") for word in words
            ):
                self.next += 1

    def _only_protocol(self) -> str:
        flags = letters(self.command.words) if self.command else ""
        return "udp" if "u" in flags and "t" not in flags else "tcp"

    def found(self) -> Found | None:
        rows = 0
        while self.next < len(self.lines):
            line = self.lines[self.next]
            if line.is_command:
                break
            if is_end(line.text):
                if not self._goes_on(self.next + 1):
                    break
                self.next += 1
                continue
            row, taken = self._row(self.next)
            if taken == 0:
                break
            rows += 1
            if row is not None:
                self._see(line.number, row)
            self.next += taken
        if rows == 0 and self.header is None:
            return None
        for number, row in self.unplaced:
            self._add(number, row)
        kind = self.command.kind if self.command else "ss"
        looks = self.table.looks(kind, _cover(self.command), has_header=self.header is not None, how=_HOW)
        return found_table(kind, self.next - self.at, self.table, looks)

    def _goes_on(self, at: int) -> bool:
        """Whether the table goes on after one blank line (mail programs double the spacing)."""
        return at < len(self.lines) and not self.lines[at].is_command and self._starts_row(self.lines[at].text)

    def _starts_row(self, text: str) -> bool:
        words = text[:80].split(None, 3)
        if not words:
            return False
        if words[0] in _NETIDS or words[0] in ("tcp", "udp"):
            return len(words) > 1 and (words[1] in _STATES or words[1].isdigit())
        if words[0] in _STATES:
            return len(words) > 1 and words[1].isdigit()
        return not self.has_state and len(words) > 2 and words[0].isdigit() and words[1].isdigit()

    def _row(self, at: int) -> tuple[_Row | None, int]:
        """Return a row and how many lines it takes: 0 where it is none; no row where it is another protocol's."""
        text = self.lines[at].text
        if not self._starts_row(text):
            return None, 0
        taken = 1
        row = self._split(text)
        while taken < 6 and at + taken < len(self.lines):
            line = self.lines[at + taken]
            if line.is_command or is_end(line.text) or self._starts_row(line.text):
                break
            is_torn = "users:((" in text and "))" not in text.partition("users:((")[2]
            if row is not None and not is_torn and not _MORE.match(line.text):
                break
            if row is None and text.split(None, 1)[0] in _NETIDS and not _MORE.match(line.text):
                break
            text += line.text.strip() if is_torn else f" {line.text.strip()}"
            row = self._split(text)
            taken += 1
        if row is None and text.split(None, 1)[0] not in _NETIDS:
            self.table.miss(self.lines[at].number, "a row of ss that is cut off")
        elif row is not None and row.protocol not in ("tcp", "udp"):
            row = None
        return row, taken

    def _split(self, text: str) -> _Row | None:
        """Return a row's columns; None where it isn't whole."""
        body, users, rest = text.partition("users:((")
        words = body.split()
        protocol = self.protocol
        if words and (words[0] in _NETIDS or words[0] in ("tcp", "udp")):
            protocol = words.pop(0)
        word = None
        if words and words[0] in _STATES:
            word = words.pop(0)
            if word == "UNCONN" and protocol == self.protocol and "Netid" not in (self.header or ""):
                protocol = self._unnamed(text, protocol)
        if len(words) < 4 or not (words[0].isdigit() and words[1].isdigit()):
            return None
        tail = f"{' '.join(words[4:])} {users}{rest}"
        return _Row(protocol, word, words[2], words[3], tail, _number(words[0]), _number(words[1]))

    def _unnamed(self, text: str, protocol: str) -> str:
        """Without Netid, an unconnected row is UDP's unless the command asked for TCP."""
        if text.lstrip().startswith(("tcp", "udp")) or self.command is not None:
            return protocol
        return "udp"

    def _see(self, number: int, row: _Row) -> None:
        """Keep a row until the table has shown whether it is old."""
        if not (self.is_old or self.is_new):
            local, peer = read_end(row.local), read_end(row.peer)
            if (local and (local.is_bare or (local.family == 4 and peer and peer.address == STAR))) or (
                peer and peer.is_bare
            ):
                self.is_old = True
            elif "[" in row.local or row.local.startswith(ANY4) or row.peer.startswith(ANY4):
                self.is_new = True
            elif _OLD_USER.search(row.rest):
                self.is_old = True
        self.unplaced.append((number, row))

    def _add(self, number: int, row: _Row) -> None:
        local, peer = read_end(row.local), read_end(row.peer)
        if local is None or not local.port:
            if local is None:
                self.table.miss(number, f"no endpoint in {row.local[:80]!r}")
            return
        facts = dict(_FACT.findall(row.rest)) if row.rest.strip() else {}
        family = self._family(local, peer)
        endpoint = endpoint_of(local, row.protocol, family, self.table.netns, v6only=self._v6only(local, facts))
        if endpoint is None:
            self.table.miss(number, f"a host's name isn't an address: {row.local[:80]!r}")
            return
        if row.word is None and self.command and "listening" not in self.command.words:
            state = state_of(None, row.protocol, peer)
        else:
            state = state_of(row.word, row.protocol, peer)
        is_listener = state == LISTEN
        holders, extent = _holders(row.rest)
        cgroup = facts.get("cgroup")
        if cgroup is not None and not cgroup.startswith("/"):
            cgroup = None
        self.table.sockets.append(
            Socket(
                endpoint,
                family,
                state,
                endpoint_of(peer, row.protocol, family, self.table.netns) if peer and peer.port else None,
                _number(facts["uid"]) if facts.get("uid", "").isdigit() else None,
                _number(facts.get("ino", "0")),
                waiting=row.waiting if is_listener else 0,
                backlog=row.backlog if is_listener else 0,
                cgroup=cgroup,
                unit=_unit(cgroup),
                holders=holders,
                holders_extent=extent,
            )
        )

    def _family(self, local: End, peer: End | None) -> int:
        if local.family:
            return local.family
        if local.address == STAR:
            return 4 if self.is_old else 6
        return 6 if peer is not None and peer.family == 6 else 4

    def _v6only(self, local: End, facts: dict[str, str]) -> bool | None:
        if facts.get("v6only") in ("0", "1"):
            return facts["v6only"] == "1"
        if self.is_old or local.is_bare:
            return None
        if local.address == STAR:
            return False
        return True if local.address == ANY6 else None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _holders(rest: str) -> tuple[tuple[Holder, ...], str]:
    _, users, listed = rest.partition("users:((")
    if not users:
        return (), NONE
    found: dict[int, Holder] = {}
    for name, pid in _USER.findall(f"({listed}"):
        number = int(pid)
        if number not in found:
            found[number] = Holder(number, name or None)
    if found:
        return tuple(found.values()), ALL if "))" in listed else SOME
    name = listed[1:].partition('"')[0].strip() if listed.startswith('"') else ""
    return ((Holder(None, name),), SOME) if name else ((), NONE)


def _unit(cgroup: str | None) -> str | None:
    """Return the innermost unit of a control group's path."""
    for part in reversed((cgroup or "").split("/")):
        if part.endswith((".service", ".scope", ".socket")):
            return part
    return None


def _cover(command: Command | None) -> Cover | None:
    """Return what a command of ss asks for."""
    if command is None:
        return None
    limit = "the command filters its output" if command.is_filtered else None
    words = command.words
    skip = False
    for index, word in enumerate(words):
        if skip:
            skip = False
        elif word in ("-f", "-A", "-N", "-D", "-F", "--family", "--query", "--socket", "--net"):
            skip = True
            value = words[index + 1] if index + 1 < len(words) else ""
            if value in ("inet", "inet6") or word == "-F":
                limit = limit or "the command asks for a part of the sockets"
        elif word in ("--ipv4", "--ipv6"):
            limit = limit or "the command asks for one address family"
        elif not word.startswith("-") and word not in ("state", "listening", "all"):
            limit = limit or "the command filters its output"
    flags = letters(words)
    if "4" in flags or "6" in flags:
        limit = limit or "the command asks for one address family"
    tcp, udp = "t" in flags or "--tcp" in words, "u" in flags or "--udp" in words
    is_any = not tcp and not udp and not set(flags) & set("wxd0S") and "-A" not in words
    listeners = bool(set(flags) & set("la")) or bool({"--listening", "--all", "listening", "all"} & set(words))
    return Cover(tcp or is_any, udp or is_any, listeners, limit)


READERS = (read_ss,)
"""The readers of this module."""
