"""Addresses, settings and processes, as people paste them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailports.pasted.found import Found, Line
from mailports.pasted.settings import READERS

IP_ADDR = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: eth0@if5: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP group default qlen 1000
    link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff
    inet 192.0.2.10/24 brd 192.0.2.255 scope global eth0
       valid_lft forever preferred_lft forever
    inet6 2001:db8::10/64 scope global tentative dadfailed
       valid_lft forever preferred_lft forever
3: docker0: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue state DOWN group default
    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0
"""
BRIEF = """\
lo               UNKNOWN        127.0.0.1/8 ::1/128
eth0@if5         UP             192.0.2.10/24 2001:db8::10/64
docker0          DOWN           172.17.0.1/16
"""
IFCONFIG = """\
eth0: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1500
        inet 192.0.2.10  netmask 255.255.255.0  broadcast 192.0.2.255
        inet6 fe80::1  prefixlen 64  scopeid 0x20<link>
        ether 52:54:00:12:34:56  txqueuelen 1000  (Ethernet)

lo: flags=73<UP,LOOPBACK,RUNNING>  mtu 65536
        inet 127.0.0.1  netmask 255.0.0.0
"""
OLD_IFCONFIG = """\
eth0      Link encap:Ethernet  HWaddr 52:54:00:12:34:56
          inet addr:192.0.2.10  Bcast:192.0.2.255  Mask:255.255.255.0
          inet6 addr: 2001:db8::10/64 Scope:Global
"""
PS = """\
USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND
root         741  0.0  0.1   9876  5432 ?        Ss   10:00   0:00 /usr/sbin/dovecot -F
postfix      900  0.0  0.1   9876  5432 ?        S    Nov23   0:01 qmgr -l -t unix -u
"""


def read(text: str, command: str | None = None) -> Found | None:
    """Return what the readers make of a text."""
    lines = [Line(0, command, is_command=True)] if command else []
    lines += [Line(i, row) for i, row in enumerate(text.splitlines(), 1)]
    at = 1 if command else 0
    return next(filter(None, (reader(lines, at, "here") for reader in READERS)), None)


def addresses(text: str, command: str | None = None) -> list[tuple[str, int, str]]:
    """Return the addresses of a whole text."""
    found = read(text, command)
    assert found is not None
    assert found.taken == len(text.splitlines())
    return [(a.address, a.prefix, a.device) for a in found.addresses]


WANTED = [
    ("127.0.0.1", 8, "lo"),
    ("192.0.2.10", 24, "eth0"),
    ("2001:db8::10", 64, "eth0"),
    ("172.17.0.1", 16, "docker0"),
]


def test_ip_addr() -> None:
    """Devices without their peer, a tentative address, a bridge by its name; the whole of it is all."""
    found = read(IP_ADDR)
    assert found is not None
    assert addresses(IP_ADDR) == WANTED
    assert [a.tentative for a in found.addresses] == [False, False, True, False]
    assert [a.device_kind for a in found.addresses] == [None, None, None, "bridge"]
    assert found.looks[0].extent == "all"


def test_a_part_of_ip_addr_is_some() -> None:
    """One device, one family, or a grep."""
    part = read("\n".join(IP_ADDR.splitlines()[4:8]))
    grepped = read("    inet 192.0.2.10/24 brd 192.0.2.255 scope global eth0", "ip a | grep inet")
    narrowed = read(IP_ADDR, "ip -4 addr")
    for found in (part, grepped, narrowed):
        assert found is not None
        assert found.looks[0].extent == "some"
    assert grepped is not None
    assert [(a.address, a.device) for a in grepped.addresses] == [("192.0.2.10", "eth0")]


def test_ip_brief() -> None:
    """One line for each device."""
    assert [row for row in addresses(BRIEF) if row[0] != "::1"] == WANTED


def test_ifconfig() -> None:
    """New and old, with a mask as people write it."""
    assert addresses(IFCONFIG) == [("192.0.2.10", 24, "eth0"), ("fe80::1", 64, "eth0"), ("127.0.0.1", 8, "lo")]
    assert addresses(OLD_IFCONFIG) == [("192.0.2.10", 24, "eth0"), ("2001:db8::10", 64, "eth0")]


def test_sysctl() -> None:
    """Blanks are folded; the namespace belongs to what is the network's."""
    found = read("net.ipv4.ip_local_port_range = 32768\t60999\nnet.ipv6.bindv6only=0\nkernel.osrelease = 6.1.0")
    assert found is not None
    assert [(s.name, s.value, s.netns) for s in found.settings] == [
        ("net.ipv4.ip_local_port_range", "32768 60999", "here"),
        ("net.ipv6.bindv6only", "0", "here"),
        ("kernel.osrelease", "6.1.0", None),
    ]


def test_ps_is_known_and_says_nothing() -> None:
    """It is recognised, and no fact of sockets comes of it."""
    found = read(PS)
    assert found == Found("ps aux", 3)


def test_look_alikes_are_none() -> None:
    """Prose and other tools' lines aren't taken."""
    for text in (
        "inet is up",
        "1: first of all",
        "net.example.org: a host",
        "UP and DOWN",
        "kernel: x",
        "root 12 times",
    ):
        assert read(text) is None


PIECES = st.sampled_from(
    [*IP_ADDR.splitlines(), *BRIEF.splitlines(), *IFCONFIG.splitlines(), *OLD_IFCONFIG.splitlines(), *PS.splitlines()]
)
CUT = st.builds(lambda row, a, b: row[a:b], PIECES, st.integers(0, 60), st.integers(0, 300))


@given(st.lists(st.one_of(PIECES, CUT, st.text(max_size=80)), min_size=1, max_size=12))
def test_any_lines_give_found_or_none(rows: list[str]) -> None:
    """No text raises, and what is taken is there."""
    lines = [Line(i, row) for i, row in enumerate(rows, 1)]
    for reader in READERS:
        for at in range(len(lines)):
            found = reader(lines, at, "here")
            assert found is None or 1 <= found.taken <= len(lines) - at
