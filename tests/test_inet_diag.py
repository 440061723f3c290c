"""The kernel's socket table: requests as the kernel reads them, answers as rows."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailports.observe.inet_diag import (
    AF_INET,
    AF_INET6,
    CONNECTED,
    LISTEN,
    TCP,
    UDP,
    Row,
    address_bytes,
    address_text,
    decode_rows,
    request_dump,
    request_lookup,
)

bounded = settings(max_examples=100, deadline=None)
ports = st.integers(1, 65535)
DONE = struct.pack("=IHHIIi", 20, 3, 2, 1, 0, 0)


def attribute(kind: int, value: bytes) -> bytes:
    """An rtattr, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(family: int, attributes: bytes = b"", **more: Any) -> bytes:
    """An inet_diag_msg as include/uapi/linux/inet_diag.h lays it out, in its netlink header."""
    size = 4 if family == AF_INET else 16
    source, peer = (more.get(key, bytes(size)).ljust(16, b"\0") for key in ("source", "peer"))
    body = struct.pack("=BBBB", family, more.get("state", 10), 0, 0)  # family, state, timer, retrans
    body += struct.pack("!HH16s16s", more.get("port", 25), more.get("peer_port", 0), source, peer)
    body += struct.pack("=IQ", more.get("device", 0), more.get("cookie", 0))
    numbers = [more.get(key, 0) for key in ("expires", "waiting", "backlog", "uid", "inode")]
    body += struct.pack("=5I", *numbers) + attributes
    return struct.pack("=IHHII", 16 + len(body), 20, 2, 1, 0) + body


# Rows.


def test_a_listener_of_version_4() -> None:
    """Port and address are in network order, the rest in the machine's."""
    raw = message(AF_INET, source=bytes([127, 0, 0, 1]), port=587, waiting=3, backlog=100, uid=108, inode=4711)
    rows, problems = decode_rows(raw + DONE)
    assert problems == []
    address = bytes([127, 0, 0, 1])
    assert rows == [Row(4, "listen", 587, address, 0, bytes(4), 0, 0, 3, 100, 108, 4711, None, 0)]


def test_a_connection_of_version_6() -> None:
    """Addresses have 16 bytes, and the far end is there."""
    source, peer = bytes(15) + b"\1", bytes.fromhex("20010db8") + bytes(11) + b"\2"
    raw = message(AF_INET6, state=1, source=source, peer=peer, port=25, peer_port=40123, device=2)
    (row,), _ = decode_rows(raw)
    assert (row.family, row.state, row.port, row.address) == (6, "established", 25, source)
    assert (row.peer_port, row.peer, row.device, row.v6only) == (40123, peer, 2, None)


@pytest.mark.parametrize("v6only", [True, False])
def test_attributes(v6only: bool) -> None:
    """V6ONLY is a byte (padded), the control group's id eight; those that aren't known are passed over."""
    attributes = attribute(999, b"abcde") + attribute(11, bytes([v6only])) + attribute(21, struct.pack("=Q", 1 << 40))
    (row,), problems = decode_rows(message(AF_INET6, attributes))
    assert (row.v6only, row.cgroup, problems) == (v6only, 1 << 40, [])


def test_a_cookie_is_two_words() -> None:
    """The lower word comes first, on machines of either order."""
    low, high = 0x11223344, 0x55667788
    raw = bytearray(message(AF_INET))
    raw[16 + 44 : 16 + 52] = struct.pack("=II", low, high)
    assert decode_rows(bytes(raw))[0][0].cookie == high << 32 | low


def test_an_answer_has_rows_in_order() -> None:
    """Each message is a row; the end mark is none."""
    rows, problems = decode_rows(b"".join(message(AF_INET, port=port) for port in (25, 465, 587)) + DONE)
    assert ([row.port for row in rows], problems) == ([25, 465, 587], [])


def test_an_unknown_state_has_its_number() -> None:
    """A state that a later kernel may add is still shown."""
    assert decode_rows(message(AF_INET, state=77))[0][0].state == "state-77"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (message(99), "family 99"),
        (struct.pack("=IHHII", 20, 20, 0, 1, 0) + b"abcd", "4 bytes, expected 72 or more"),
        (struct.pack("=IHHII", 3, 20, 0, 1, 0), "netlink message of 3 bytes"),
        (struct.pack("=IHHII", 4000, 20, 0, 1, 0), "netlink message of 4000 bytes"),
    ],
)
def test_malformed_messages_are_problems(raw: bytes, problem: str) -> None:
    """A message that can't be read is said, and those before it are kept."""
    rows, problems = decode_rows(message(AF_INET, port=993) + raw)
    assert [row.port for row in rows] == [993]
    assert len(problems) == 1
    assert problem in problems[0]


@given(st.binary(max_size=400))
@bounded
def test_any_bytes_give_rows_and_problems(raw: bytes) -> None:
    """No answer raises."""
    rows, problems = decode_rows(raw)
    assert all(isinstance(row, Row) for row in rows)
    assert all(isinstance(problem, str) for problem in problems)


@given(st.binary(min_size=72, max_size=200))
@bounded
def test_any_bytes_of_a_row_give_rows_and_problems(body: bytes) -> None:
    """Neither does a well-framed message of nonsense: it is a row or a problem."""
    rows, problems = decode_rows(struct.pack("=IHHII", 16 + len(body), 20, 2, 1, 0) + body)
    assert len(rows) + len(problems) == 1


@given(st.data())
@bounded
def test_an_answer_that_was_cut_is_a_problem(data: st.DataObject) -> None:
    """Wherever within a message an answer ends, what was whole is kept and the rest isn't passed over in silence."""
    whole = [message(AF_INET6, attribute(11, b"\1"), port=25), message(AF_INET, port=587), message(AF_INET, port=993)]
    at = data.draw(st.integers(0, len(b"".join(whole))))
    rows, problems = decode_rows(b"".join(whole)[:at])
    ends = [sum(len(part) for part in whole[:n]) for n in range(len(whole) + 1)]
    assert len(rows) == sum(1 for end in ends if 0 < end <= at)
    assert bool(problems) == (at not in ends)


# Requests, as net/ipv4/inet_diag.c reads them.

NOP, JMP, AUTO, S_EQ = 0, 1, 6, 11


def bytecode_of(request: bytes) -> bytes:
    """The filter in a request: header, inet_diag_req_v2, then one attribute."""
    if len(request) == 72:
        return b""
    length, kind = struct.unpack_from("=HH", request, 72)
    assert (kind, 72 + length) == (1, len(request))
    return request[76:]


def is_on_the_way(code: bytes, left: int) -> bool:
    """valid_cc(): whether following `yes` from the start comes to where `left` bytes are left."""
    at = 0
    while len(code) - at > left:
        yes = code[at + 1]
        if yes < 4 or yes & 3:
            return False
        at += yes
    return len(code) - at == left


def is_accepted(code: bytes) -> bool:
    """inet_diag_bc_audit(): whether the kernel takes the filter at all, rather than answering EINVAL."""
    at = 0
    while at < len(code):
        left = len(code) - at
        op, yes, no = struct.unpack_from("=BBH", code, at)
        least = 8 if op == S_EQ else 4
        if op not in (JMP, AUTO, S_EQ) or left < least:
            return False
        if no < least or no > left + 4 or no & 3 or (no < left and not is_on_the_way(code, left - no)):
            return False
        if op != JMP and (yes < least or yes > left + 4 or yes & 3):
            return False
        at += least if op == JMP else yes
    return at == len(code)


def takes(code: bytes, port: int, *, autobound: bool) -> bool:
    """inet_diag_bc_run(): whether the filter lets a socket through."""
    at = 0
    while at < len(code):
        op, yes, no = struct.unpack_from("=BBH", code, at)
        holds = False
        if op == S_EQ:
            holds = port == struct.unpack_from("=H", code, at + 6)[0]
        elif op == AUTO:
            holds = autobound
        at += yes if holds else no
    return at == len(code)


@given(st.sets(ports, min_size=1, max_size=40), ports, st.booleans())
@bounded
def test_the_filter_takes_the_ports_asked_for(wanted: set[int], other: int, only_auto: bool) -> None:
    """A socket passes if its port is one of them and, where asked, the kernel chose it; else it doesn't."""
    code = bytecode_of(request_dump(AF_INET, TCP, CONNECTED, wanted, autobound=only_auto))
    for port in (*wanted, other):
        for auto in (True, False):
            assert takes(code, port, autobound=auto) == (port in wanted and (auto or not only_auto))


@given(st.sets(ports, max_size=40), st.booleans())
@bounded
def test_the_kernel_would_take_the_filter(wanted: set[int], only_auto: bool) -> None:
    """Each jump lands on an operation, at the end, or just past it, which is how a socket is turned down."""
    assert is_accepted(bytecode_of(request_dump(AF_INET6, TCP, LISTEN, wanted, autobound=only_auto)))


def test_two_ports_by_hand() -> None:
    """Test, jump to the end, test: the last one's `no` leads four bytes past the end."""
    code = bytecode_of(request_dump(AF_INET, TCP, LISTEN, (587, 25)))
    operations = [struct.unpack_from("=BBH", code, at) for at in range(0, len(code), 4)]
    assert operations == [(S_EQ, 8, 12), (0, 0, 25), (JMP, 4, 12), (S_EQ, 8, 12), (0, 0, 587)]


def test_a_plain_dump_has_no_filter() -> None:
    """The request is a header and an inet_diag_req_v2 of which only family, protocol and states are set."""
    request = request_dump(AF_INET6, UDP, 0x82)
    assert struct.unpack_from("=IHHII", request) == (72, 20, 0x301, 1, 0)
    assert request[16:] == struct.pack("=BBBxI", AF_INET6, UDP, 0, 0x82) + bytes(48)


def test_sockets_whose_port_the_kernel_chose() -> None:
    """Without ports there is one test alone."""
    code = bytecode_of(request_dump(AF_INET, TCP, CONNECTED, autobound=True))
    assert (takes(code, 25, autobound=True), takes(code, 25, autobound=False)) == (True, False)


def test_more_ports_than_a_filter_can_hold() -> None:
    """An attribute has 16 bits for its length: no number of ports raises."""
    assert request_dump(AF_INET, TCP, CONNECTED, range(1, 65536))


def test_a_lookup_names_one_listener() -> None:
    """TCP has the local end as source, UDP as destination; the cookie is `none`."""
    address = bytes([192, 0, 2, 1])
    tcp, udp = (request_lookup(AF_INET, protocol, address, 25) for protocol in (TCP, UDP))
    assert struct.unpack_from("=IHHII", tcp) == (72, 20, 1, 1, 0)
    assert struct.unpack_from("!HH", tcp, 24) == (25, 0)
    assert struct.unpack_from("!HH", udp, 24) == (0, 25)
    assert (tcp[28:32], udp[44:48], tcp[-8:]) == (address, address, b"\xff" * 8)


# Addresses.


@given(st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)))
@bounded
def test_addresses_are_spelled_as_the_system_does(raw: bytes) -> None:
    """As inet_ntop(3), and back."""
    from socket import AF_INET as V4
    from socket import AF_INET6 as V6
    from socket import inet_ntop

    assert address_text(raw) == inet_ntop(V4 if len(raw) == 4 else V6, raw)
    assert address_bytes(address_text(raw)) == raw


@given(st.lists(st.sampled_from((b"\0\0", b"\0\1", b"\xff\xff")), min_size=8, max_size=8))
@bounded
def test_runs_of_zeros_are_shortened_as_the_system_does(groups: list[bytes]) -> None:
    """The first of the longest runs, and none of one group."""
    from socket import AF_INET6 as V6
    from socket import inet_ntop

    assert address_text(b"".join(groups)) == inet_ntop(V6, b"".join(groups))
