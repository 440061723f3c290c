"""What `fuser` and FreeBSD's `sockstat` print.

Source: fuser(1) of psmisc 23 (names go to standard error, bare pids to standard output); sockstat(1) of FreeBSD.

Limits: fuser names a local port, not an address, and its processes may hold connections rather than the listener:
the state is `open`, the address the wildcard, with a problem that says so. Rows of sockstat with one endpoint are one
socket: it shows nothing that would tell two apart.
"""

from __future__ import annotations

import re

from mailports.model.facts import ALL, ANY4, ANY6, SOME, Endpoint, Holder, Look, Socket, natural
from mailports.pasted.ends import (
    OPEN,
    Command,
    Cover,
    Shared,
    Table,
    command_before,
    endpoint_of,
    found_table,
    is_end,
    letters,
    read_end,
    service_port,
    state_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailports.pasted.found import Found, Line

_FUSER_HEADING = re.compile(r"\s*USER\s+PID\s+ACCESS\s+COMMAND\s*\Z")
_FUSER_PORT = re.compile(r"\s*([A-Za-z0-9_.-]{1,40})/(tcp|udp):\s*(.*)\Z")
_FUSER_ROW = re.compile(r"\s*(\S+)\s+(\d{1,10}|kernel)\s+([Fcefrm.]{5,6}|\.+)\s*(\S.{0,60}?)?\s*\Z")
_FUSER_PID = re.compile(r"(\d{1,10})[cefrmFE]?(?:\([^)]{0,40}\))?\Z")
_SOCKSTAT_HEADING = re.compile(r"\s*USER\s+COMMAND\s+PID\s+FD\s+PROTO\s+LOCAL ADDRESS\s+FOREIGN ADDRESS")
_SOCKSTAT_ROW = re.compile(
    r"\s*(\S+)\s+(\S.{0,60}?)\s+(\d{1,10}|\?)\s+(\d{1,6}|\?|-)\s+(tcp|udp)(46|4|6)\s+(\S+)\s+(\S+)(?:\s+([A-Z_0-9]+))?"
)
_SOCKSTAT_OTHER = re.compile(
    r"\s*\S+\s+\S.{0,60}?\s+[\d?]+\s+[\d?-]+\s+(?:stream|dgram|seqpac|divert|icm|raw|sctp|udpl)"
)


def read_fuser(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Return what `fuser PORT/tcp` printed from a line on, with or without -v, or None."""
    text = lines[at].text
    if lines[at].is_command or ("/" not in text and "ACCESS" not in text):
        return None
    place = at
    if _FUSER_HEADING.match(text):
        place += 1
    if place >= len(lines) or not _is_fuser_port(lines[place].text):
        return None
    command = command_before(lines, at, "fuser")
    family = 6 if command is not None and "6" in letters(command.words) else 4
    table, shared = Table(netns), Shared()
    current: tuple[str, int] | None = None
    is_verbose = place > at
    while place < len(lines) and not lines[place].is_command and not is_end(lines[place].text):
        line = lines[place]
        match = _FUSER_PORT.match(line.text)
        rest = line.text
        if match is not None:
            port = natural(match[1]) or service_port(match[1]) or 0
            current = (match[2], port)
            rest = match[3]
            if 0 < port < 65536:
                table.note(line.number, f"fuser doesn't say on which address port {port}/{match[2]} is held")
        elif not _FUSER_ROW.match(rest) or current is None:
            if not _FUSER_HEADING.match(rest):
                break
            rest = ""
        is_verbose = is_verbose or bool(_FUSER_ROW.match(rest))
        if current is not None and 0 < current[1] < 65536:
            _add_fuser(table, shared, current, rest, family)
        place += 1
    shared.finish(table, SOME)
    kind = command.kind if command else ("fuser -v" if is_verbose else "fuser")
    why = "fuser shows the holders of single ports, and no addresses"
    fact = "udp" if all(s.endpoint.protocol == "udp" for s in table.sockets) and table.sockets else "listeners"
    looks = (Look(fact, netns, SOME, kind, why, "ss -tulnp (as root)"),)
    return found_table(kind, place - at, table, looks)


def _is_fuser_port(text: str) -> bool:
    match = _FUSER_PORT.match(text)
    if match is None or not (natural(match[1]) or service_port(match[1])):
        return False
    words = match[3].split()
    return bool(_FUSER_ROW.match(match[3])) or (bool(words) and all(_FUSER_PID.match(word) for word in words))


def _add_fuser(table: Table, shared: Shared, place: tuple[str, int], rest: str, family: int) -> None:
    row = _FUSER_ROW.match(rest)
    holders = []
    if row is not None:
        if row[2] != "kernel":
            holders.append(Holder(int(row[2]), row[4]))
    else:
        matches = (_FUSER_PID.match(word) for word in rest.split())
        holders += [Holder(int(match[1])) for match in matches if match]
    protocol, port = place
    endpoint = Endpoint(protocol, ANY6 if family == 6 else ANY4, port, None, None, table.netns)
    for holder in holders:
        shared.add(table, place, Socket(endpoint, family, OPEN), holder)


def read_sockstat(lines: Sequence[Line], at: int, netns: str) -> Found | None:
    """Return the table of `sockstat` that begins at a line, or None."""
    line = lines[at]
    has_header = "PROTO" in line.text and _SOCKSTAT_HEADING.match(line.text) is not None
    if line.is_command or not (has_header or (("tcp" in line.text or "udp" in line.text) and _is_sockstat(line.text))):
        return None
    command = command_before(lines, at, "sockstat")
    table, shared = Table(netns), Shared()
    place = at + (1 if has_header else 0)
    while place < len(lines) and not lines[place].is_command:
        text = lines[place].text
        row = _SOCKSTAT_ROW.match(text)
        if row is not None:
            _add_sockstat(table, shared, lines[place].number, row)
        elif not _SOCKSTAT_OTHER.match(text):
            break
        place += 1
    shared.finish(table, ALL)
    kind = command.kind if command else "sockstat"
    looks = table.looks(kind, _sockstat_cover(command), has_header=has_header, how="sockstat -46l (as root)")
    return found_table(kind, place - at, table, looks)


def _is_sockstat(text: str) -> bool:
    row = _SOCKSTAT_ROW.match(text)
    return row is not None and read_end(row[7]) is not None and read_end(row[8]) is not None


def _add_sockstat(table: Table, shared: Shared, number: int, row: re.Match[str]) -> None:
    _, name, pid, _, protocol, suffix, here, there, word = row.groups()
    local, peer = read_end(here), read_end(there)
    if local is None:
        table.miss(number, f"no endpoint in {here[:80]!r}")
        return
    if not local.port:
        return
    family = 4 if suffix == "4" else 6
    endpoint = endpoint_of(local, protocol, family, table.netns, v6only=suffix == "6")
    if endpoint is None:
        table.miss(number, f"a host's name isn't an address: {here[:80]!r}")
        return
    other = endpoint_of(peer, protocol, family, table.netns) if peer and peer.port else None
    holder = Holder(int(pid), name) if pid.isdigit() else None
    socket = Socket(endpoint, family, state_of(word, protocol, peer), other)
    shared.add(table, (endpoint, other, word), socket, holder)


def _sockstat_cover(command: Command | None) -> Cover | None:
    """Return what a command of sockstat asks for."""
    if command is None:
        return None
    limit = "the command filters its output" if command.is_filtered else None
    flags = letters(command.words)
    if ("4" in flags) != ("6" in flags):
        limit = limit or "the command asks for one address family"
    if set(flags) & set("jLpP"):
        limit = limit or "the command asks for a part of the sockets"
    return Cover(tcp=True, udp=True, listeners="c" not in flags or "l" in flags, limit=limit)


READERS = (read_fuser, read_sockstat)
"""The readers of this module."""
