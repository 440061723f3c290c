"""Sockets as /proc/net/{tcp,tcp6,udp,udp6} list them, for where netlink is refused or can't reach. Pure.

What these files can't show: TCP sockets that are bound and not listening, v6only, bound devices, control
groups, cookies. The readers of the rows leave those unknown.

Source: proc(5); net/ipv4/tcp_ipv4.c tcp4_seq_show: addresses are 32-bit words in the machine's order.
"""

from __future__ import annotations

import struct

from mailports.observe.inet_diag import STATES, Row


def decode_table(text: bytes, family: int) -> tuple[list[Row], list[str]]:
    """Return the rows of one such file, and what was malformed in it. Never raises."""
    rows: list[Row] = []
    problems: list[str] = []
    for number, line in enumerate(text.split(b"\n")[1:], start=2):
        fields = line.split()
        if not fields:
            continue
        try:
            rows.append(_row(fields, family))
        except (ValueError, IndexError, struct.error) as error:
            problems.append(f"line {number}: {error}")
    return rows, problems


def _row(fields: list[bytes], family: int) -> Row:
    address, port = _end(fields[1], family)
    peer, peer_port = _end(fields[2], family)
    sent, _, received = fields[4].partition(b":")
    state = int(fields[3], 16)
    return Row(
        family,
        STATES.get(state, f"state-{state}"),
        port,
        address,
        peer_port,
        peer,
        0,
        0,
        int(received, 16),
        int(sent, 16),
        int(fields[7]),
        int(fields[9]),
        None,
        0,
    )


def _end(field: bytes, family: int) -> tuple[bytes, int]:
    address, _, port = field.partition(b":")
    size = 4 if family == 4 else 16
    raw = bytes.fromhex(address.decode("ascii"))
    if len(raw) != size:
        raise ValueError(f"address of {len(raw)} bytes, expected {size}")
    words = size // 4
    return struct.pack(f"={words}I", *struct.unpack(f">{words}I", raw)), int(port, 16)
