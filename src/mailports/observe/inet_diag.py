"""The kernel's socket table by sock_diag(7): requests as bytes, answers as rows. Pure.

A row isn't a `Socket` yet: it has numbers where that has words, and a control group's id instead of
its path.

Source: include/uapi/linux/inet_diag.h, include/uapi/linux/sock_diag.h, net/ipv4/inet_diag.c (6.18);
sock_diag(7).

Limits: what the kernel never tells is not here: SO_REUSEADDR and SO_REUSEPORT of any socket, V6ONLY of
connected and TIME_WAIT ones, the uid of TIME_WAIT and orphans (it says 0).
"""

from __future__ import annotations

import struct
from struct import Struct, pack, unpack_from

from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

AF_INET, AF_INET6 = 2, 10
TCP, UDP = 6, 17

STATES = {
    1: "established",
    2: "syn-sent",
    3: "syn-recv",
    4: "fin-wait-1",
    5: "fin-wait-2",
    6: "time-wait",
    7: "close",
    8: "close-wait",
    9: "last-ack",
    10: "listen",
    11: "closing",
    12: "syn-recv",  # NEW_SYN_RECV: a request that the handshake hasn't finished
}
LISTEN = 1 << 10
BOUND = 1 << 13
"""TCP sockets that are bound and nothing else (TCPF_BOUND_INACTIVE, kernel 6.8); their row says state 7."""
CONNECTED = sum(1 << n for n in (1, 2, 3, 4, 5, 6, 8, 9, 11))
UNCONNECTED = 1 << 7

PORTS_AT_ONCE = 1000
"""How many ports a filter takes: its length has 16 bits, and the kernel runs it for each socket."""

_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_INET_DIAG_REQ_BYTECODE = 1
_BC_JMP, _BC_S_EQ, _BC_AUTO = 1, 11, 6
_ATTRIBUTE_V6ONLY, _ATTRIBUTE_CGROUP, _ATTRIBUTE_SOCKOPT = 11, 21, 22
_NO_COOKIE = b"\xff" * 8

_HEADER = Struct("=IHHII")
_MESSAGE = Struct("=BBBB")
_ID = Struct("!HH16s16s")
_NUMBERS = Struct("=I8s5I")
_ATTRIBUTE = Struct("=HH")


class Row(Record):
    """One socket as the kernel lists it.

    Attributes:
        family: 4 or 6.
        state: a word of `STATES`, or `bound`.
        port: local port.
        address: local address, 4 or 16 bytes.
        peer_port: the other end's port.
        peer: the other end's address.
        device: index of the device it is bound to; 0 none.
        cookie: SO_COOKIE.
        waiting: for a listener, connections that wait for accept(2).
        backlog: for a listener, how many may.
        uid: the socket's user id.
        inode: its inode, or 0.
        v6only: None where the row doesn't say.
        cgroup: id of the control group it was made in, or 0.
    """

    family: int
    state: str
    port: int
    address: bytes
    peer_port: int
    peer: bytes
    device: int
    cookie: int
    waiting: int
    backlog: int
    uid: int
    inode: int
    v6only: bool | None
    cgroup: int


def request_dump(
    family: int, protocol: int, states: int, ports: Iterable[int] = (), *, autobound: bool = False
) -> bytes:
    """Return the request for every socket of one family in `states`.

    Args:
        family: AF_INET or AF_INET6.
        protocol: TCP or UDP.
        states: a mask of `1 << state`, or BOUND.
        ports: local ports to look at; none, or more than PORTS_AT_ONCE: all, and the caller picks.
        autobound: only sockets whose port the kernel chose, which accepted children count as, too.
    """
    numbers = sorted(ports)
    bytecode = _bytecode(numbers if len(numbers) <= PORTS_AT_ONCE else [])
    if autobound:
        length = 4 + len(bytecode)
        bytecode = pack("=BBH", _BC_AUTO, 4, length + 4) + bytecode
    attribute = pack("=HH", 4 + len(bytecode), _INET_DIAG_REQ_BYTECODE) + bytecode if bytecode else b""
    body = pack("=BBBxI", family, protocol, 0, states) + bytes(48) + attribute
    return _HEADER.pack(16 + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + body


def request_lookup(family: int, protocol: int, address: bytes, port: int) -> bytes:
    """Return the request for the one listener that a packet to this address and port reaches.

    The kernel answers as for an incoming SYN, or with ENOENT. For UDP it wants the local end as `dst`.
    """
    nowhere = bytes(16)
    if protocol == UDP:
        identity = _ID.pack(0, port, nowhere, address.ljust(16, b"\0"))
    else:
        identity = _ID.pack(port, 0, address.ljust(16, b"\0"), nowhere)
    body = pack("=BBBxI", family, protocol, 0, 0xFFFFFFFF) + identity + pack("=I", 0) + _NO_COOKIE
    return _HEADER.pack(16 + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body


def _bytecode(ports: list[int]) -> bytes:
    """A chain of `source port == P` tests; the first that holds accepts the socket.

    Each test is two operations of 4 bytes (S_EQ with the port in host order); where it fails it jumps
    over the JMP that leads to the end.
    """
    code = b""
    for port in reversed(ports):
        last = not code
        if last:
            # yes: 8 bytes on is the end, and the socket is taken; no: 12, past the end, and it isn't
            code = pack("=BBH", _BC_S_EQ, 8, 12) + pack("=BBH", 0, 0, port)
        else:
            # yes: the JMP behind it, to the end; no: the next test
            code = (
                pack("=BBH", _BC_S_EQ, 8, 12)
                + pack("=BBH", 0, 0, port)
                + pack("=BBH", _BC_JMP, 4, 4 + len(code))
                + code
            )
    return code


def decode_rows(answer: bytes) -> tuple[list[Row], list[str]]:
    """Return the rows of an answer, and what was malformed in it. Never raises."""
    rows: list[Row] = []
    problems: list[str] = []
    at, end = 0, len(answer)
    while at + 16 <= end:
        length, kind, _, _, _ = _HEADER.unpack_from(answer, at)
        if length < 16 or at + length > end:
            problems.append(f"netlink message of {length} bytes at {at} doesn't fit")
            break
        if kind == _SOCK_DIAG_BY_FAMILY:
            try:
                rows.append(_row(answer, at + 16, at + length))
            except (struct.error, ValueError) as error:
                problems.append(f"socket row at {at}: {error}")
        at += (length + 3) & ~3
    if at < end and not problems:
        problems.append(f"{end - at} bytes at the end are no message")
    return rows, problems


def _row(answer: bytes, at: int, end: int) -> Row:
    if end - at < 72:
        raise ValueError(f"{end - at} bytes, expected 72 or more")
    family, state, _, _ = _MESSAGE.unpack_from(answer, at)
    port, peer_port, source, peer = _ID.unpack_from(answer, at + 4)
    device, cookie, _, waiting, backlog, uid, inode = _NUMBERS.unpack_from(answer, at + 40)
    v6only, cgroup = _attributes(answer, at + 72, end)
    if family == AF_INET:
        source, peer = source[:4], peer[:4]
    elif family != AF_INET6:
        raise ValueError(f"family {family}")
    return Row(
        4 if family == AF_INET else 6,
        STATES.get(state, f"state-{state}"),
        port,
        source,
        peer_port,
        peer,
        device,
        int.from_bytes(cookie[4:] + cookie[:4], "big") if _IS_BIG else int.from_bytes(cookie, "little"),
        waiting,
        backlog,
        uid,
        inode,
        v6only,
        cgroup,
    )


def _attributes(answer: bytes, at: int, end: int) -> tuple[bool | None, int]:
    v6only: bool | None = None
    cgroup = 0
    while at + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(answer, at)
        if length < 4 or at + length > end:
            break
        if kind == _ATTRIBUTE_V6ONLY and length >= 5:
            v6only = answer[at + 4] != 0
        elif kind == _ATTRIBUTE_CGROUP and length >= 12:
            (cgroup,) = unpack_from("=Q", answer, at + 4)
        at += (length + 3) & ~3
    return v6only, cgroup


def address_text(raw: bytes) -> str:
    """Return an address of 4 or 16 bytes as inet_ntop(3) spells it."""
    if len(raw) == 4:
        return f"{raw[0]}.{raw[1]}.{raw[2]}.{raw[3]}"
    if raw[:12] == _MAPPED:
        return f"::ffff:{address_text(raw[12:])}"
    if raw[:12] == bytes(12) and raw[12:14] != b"\0\0":
        return f"::{address_text(raw[12:])}"  # IPv4-compatible, as glibc writes it
    groups = [f"{raw[at] << 8 | raw[at + 1]:x}" for at in range(0, 16, 2)]
    start, length = _longest_zeros(groups)
    if length < 2:
        return ":".join(groups)
    return ":".join(groups[:start]) + "::" + ":".join(groups[start + length :])


def _longest_zeros(groups: list[str]) -> tuple[int, int]:
    """Where the longest run of zero groups begins, and how long it is; the first of equals."""
    best = (0, 0)
    start = None
    for at, group in enumerate([*groups, "end"]):
        if group == "0":
            start = at if start is None else start
        elif start is not None:
            if at - start > best[1]:
                best = (start, at - start)
            start = None
    return best


def address_bytes(text: str) -> bytes:
    """Return the 4 or 16 bytes of an address. Raises ValueError."""
    from ipaddress import ip_address

    return ip_address(text).packed


_MAPPED = bytes(10) + b"\xff\xff"
_IS_BIG = pack("=H", 1) == b"\0\1"
