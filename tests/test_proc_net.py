"""Sockets as /proc/net lists them, for where the kernel's tables can't be asked."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailports.observe.inet_diag import Row
from mailports.observe.proc_net import decode_table

bounded = settings(max_examples=100, deadline=None)
little = pytest.mark.skipif(sys.byteorder != "little", reason="the samples are from amd64")

TCP = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0019 00000000:0000 0A 00000000:00000002 00:00000000 00000000     0        0 23045 1 0000000000000000 100 0 0 10 0
   1: 0100007F:2B5C 00000000:0000 0A 00000000:00000000 00:00000000 00000000   108        0 23110 1 0000000000000000 100 0 0 10 0
   2: 0200A8C0:0019 0102A8C0:D431 01 00000024:00000000 01:00000014 00000000   105        0 24871 2 0000000000000000 20 4 29 10 -1
   3: 0200A8C0:0019 0902A8C0:9C40 06 00000000:00000000 03:00001176 00000000     0        0 0 3 0000000000000000
"""  # noqa: E501
TCP6 = b"""\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:03E1 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 23049 1 0000000000000000 100 0 0 10 0
   1: B80D0120000000000000000001000000:03E1 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 23050 1 0000000000000000 100 0 0 10 0
"""  # noqa: E501
UDP = b"""\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 1203: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 17002 2 0000000000000000 0
"""


@little
def test_a_table_of_version_4() -> None:
    """Addresses are words in the machine's order; queue, owner and inode are at their places."""
    rows, problems = decode_table(TCP, 4)
    assert problems == []
    assert [(row.state, row.port, row.address, row.uid, row.inode) for row in rows] == [
        ("listen", 25, bytes([0, 0, 0, 0]), 0, 23045),
        ("listen", 11100, bytes([127, 0, 0, 1]), 108, 23110),
        ("established", 25, bytes([192, 168, 0, 2]), 105, 24871),
        ("time-wait", 25, bytes([192, 168, 0, 2]), 0, 0),
    ]
    assert rows[0].waiting == 2
    assert (rows[2].peer, rows[2].peer_port) == (bytes([192, 168, 2, 1]), 54321)


@little
def test_a_table_of_version_6() -> None:
    """An address is four such words."""
    rows, problems = decode_table(TCP6, 6)
    assert problems == []
    assert [(row.family, row.port, row.address.hex()) for row in rows] == [
        (6, 993, "0" * 31 + "1"),
        (6, 993, "20010db8" + "0" * 23 + "1"),
    ]


@little
def test_a_table_of_udp() -> None:
    """A UDP socket without a peer is in state 7."""
    (row,), problems = decode_table(UDP, 4)
    assert (row.state, row.port, row.address, row.uid, problems) == ("close", 53, bytes([127, 0, 0, 53]), 101, [])


def test_what_the_table_does_not_tell_is_unknown() -> None:
    """No v6only, control group, device or cookie."""
    for row in decode_table(TCP6, 6)[0]:
        assert (row.v6only, row.cgroup, row.device, row.cookie) == (None, 0, 0, 0)


def test_a_broken_line_is_a_problem_with_its_number() -> None:
    """The lines about it are read."""
    lines = TCP.split(b"\n")
    lines.insert(2, b"   9: 0100007F:ZZZZ nonsense")
    rows, problems = decode_table(b"\n".join(lines), 4)
    assert len(rows) == 4
    assert [problem.partition(":")[0] for problem in problems] == ["line 3"]


def test_the_wrong_table_is_problems_alone() -> None:
    """Addresses of the other version aren't taken for ours."""
    rows, problems = decode_table(TCP6, 4)
    assert rows == []
    assert problems == ["line 2: address of 16 bytes, expected 4", "line 3: address of 16 bytes, expected 4"]


def test_an_empty_table_has_no_rows() -> None:
    """Neither nothing nor a heading alone is a problem."""
    assert decode_table(b"", 4) == ([], [])
    assert decode_table(TCP.split(b"\n")[0] + b"\n", 4) == ([], [])


@given(st.binary(max_size=300), st.sampled_from((4, 6)))
@bounded
def test_any_bytes_give_rows_and_problems(text: bytes, family: int) -> None:
    """No table raises."""
    rows, problems = decode_table(b"heading\n" + text, family)
    assert all(isinstance(row, Row) for row in rows)
    assert len(rows) + len(problems) <= text.count(b"\n") + 1


@given(st.integers(0, len(TCP) + len(TCP6)))
@bounded
def test_a_table_that_was_cut_keeps_what_was_whole(at: int) -> None:
    """Wherever it ends, the lines before are rows, and they are the same."""
    for text, family in ((TCP, 4), (TCP6, 6)):
        whole, _ = decode_table(text, family)
        rows, _ = decode_table(text[:at], family)
        assert rows[: text[:at].count(b"\n") - 1] == whole[: max(0, text[:at].count(b"\n") - 1)]


@given(
    st.binary(min_size=4, max_size=4),
    st.integers(0, 65535),
    st.sampled_from((1, 2, 3, 4, 5, 6, 8, 9, 10, 11)),
    st.integers(0, 2**32 - 1),
)
@bounded
def test_a_line_as_the_kernel_prints_it(address: bytes, port: int, state: int, uid: int) -> None:
    """tcp4_seq_show()'s format gives back what was put in."""
    (word,) = struct.unpack("=I", address)
    line = (
        f"   0: {word:08X}:{port:04X} 00000000:0000 {state:02X} 00000000:00000000 00:00000000 00000000 {uid:5d} 0 7 1"
    )
    (row,), _ = decode_table(b"heading\n" + line.encode(), 4)
    assert (row.address, row.port, row.uid, row.inode) == (address, port, uid, 7)
