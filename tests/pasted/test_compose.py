"""Excerpts of Compose files, as people paste them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailports.pasted.compose import READERS, read_ports
from mailports.pasted.found import Found, Line

FILE = """\
services:
  mailserver:
    image: mailserver/docker-mailserver
    ports:
      - "25:25"    # SMTP
      - "127.0.0.1:465:465"
      - '143-145:1143-1145/tcp'
      - "[::1]:587:587"
      - 8025
      - target: 993
        published: "9993"
        host_ip: 192.0.2.1
        protocol: tcp
    volumes:
      - ./data:/data
"""


def read(text: str, at: int) -> Found | None:
    """Return what the reader makes of the lines from there."""
    return read_ports([Line(i, row) for i, row in enumerate(text.splitlines(), 1)], at, "here")


def test_ports_of_a_service() -> None:
    """Short and long syntax, ranges and addresses; a port for which the engine chooses the host's is none."""
    found = read(FILE, 3)
    assert found is not None
    (container,) = found.containers
    assert container.name == "mailserver"
    assert [(p.endpoint.address, p.endpoint.port, p.to_port) for p in container.publishes] == [
        ("0.0.0.0", 25, 25),
        ("127.0.0.1", 465, 465),
        ("0.0.0.0", 143, 1143),
        ("0.0.0.0", 144, 1144),
        ("0.0.0.0", 145, 1145),
        ("::1", 587, 587),
        ("192.0.2.1", 9993, 993),
    ]
    assert found.taken == 10
    assert found.attempts == ()


def test_the_trap_of_base_60() -> None:
    """An unquoted 25:25 is 1525 to YAML 1.1; 143:143 and a quoted one are what they seem."""
    found = read("    ports:\n      - 25:25\n      - 143:143\n      - '22:22'\n", 0)
    assert found is not None
    (attempt,) = found.attempts
    assert attempt.endpoint is not None
    assert (attempt.endpoint.port, attempt.line, attempt.call) == (25, 2, "publish")
    assert "1525" in attempt.text
    assert [p.endpoint.port for p in found.containers[0].publishes] == [143, 22]


def test_look_alikes_are_none() -> None:
    """A heading in prose, a list of something else, a firewall's ports."""
    for text in ("ports:", "open ports: 25", "  ports: ssh\n", "ports:\n  - name: x\n", "  ports: 25/tcp 80/tcp"):
        assert read(text, 0) is None


PIECES = st.sampled_from([*FILE.splitlines(), "    ports: ['25:25', 1:2]"])
CUT = st.builds(lambda row, a, b: row[a:b], PIECES, st.integers(0, 60), st.integers(0, 300))


@given(st.lists(st.one_of(PIECES, CUT, st.text(max_size=80)), min_size=1, max_size=12))
def test_any_lines_give_found_or_none(rows: list[str]) -> None:
    """No text raises, and what is taken is there."""
    lines = [Line(i, row) for i, row in enumerate(rows, 1)]
    for reader in READERS:
        for at in range(len(lines)):
            found = reader(lines, at, "here")
            assert found is None or 1 <= found.taken <= len(lines) - at
