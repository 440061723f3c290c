"""A redacted text can be shared, and says the same of ports."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailports.pasted.redact import redact


@pytest.mark.parametrize(
    ("pasted", "redacted"),
    [
        ("bind 10.0.0.5 port 25: in use", "bind 198.51.100.1 port 25: in use"),
        ("8.8.4.4:25 9.9.9.9:25 8.8.4.4:26", "192.0.2.1:25 192.0.2.2:25 192.0.2.1:26"),
        ("[2a01:4f8::2]:25 2a01:4F8:0::2 fe80::1%eth0", "[2001:db8::1]:25 2001:db8::1 2001:db8:fe80::1%eth0"),
        ("::ffff:10.0.0.5", "::ffff:198.51.100.1"),
        ("10.0.0.5.25 mail.firma.de.25", "198.51.100.1.25 host1.example.25"),
        ("a-10.0.0.1-10.0.0.2", "a-198.51.100.1-198.51.100.2"),
        ("root@mx1:~# ss -tlnp", "root@host1:~# ss -tlnp"),
        ("jane@mx1:~$ cat /home/jane/x", "user1@host1:~$ cat /home/user1/x"),
        ("[jane@mx1 ~]$ ss", "[user1@host1 ~]$ ss"),
        (
            "Nov 24 10:21:42 mx1 postfix/master[3]: on mx1.firma.de",
            "Nov 24 10:21:42 host1 postfix/master[3]: on host1.example",
        ),
        ("to=<bob@firma.de>, from=<bob@firma.de>", "to=<user1@host1.example>, from=<user1@host1.example>"),
        ("user=<jane>, sasl_username=jane", "user=<user1>, sasl_username=user1"),
        ("a[1]: 4F3A21C0D5: message-id=<x.1@mx.firma.de>", "a[1]: 0000000001: message-id=<id1@host1.example>"),
        ("1rJ4kA-0007Bq-2x <= bob@firma.de", "000000-000001-00 <= user1@host1.example"),
        ('{"_HOSTNAME":"mx1"}', '{"_HOSTNAME":"host1"}'),
        ("ssh jane@mx1 ss", "ssh user1@host1 ss"),
        ("/etc/letsencrypt/live/mx.firma.de/key.pem", "/etc/letsencrypt/live/host1.example/key.pem"),
        ("/etc/nginx/mx.firma.de.conf", "/etc/nginx/host1.example.conf"),
        ("inet:8891@mx.firma.de", "inet:8891@host1.example"),
        ("link/ether 52:54:00:12:34:56 brd", "link/ether 00:00:5e:00:00:01 brd"),
    ],
)
def test_names_are_replaced(pasted: str, redacted: str) -> None:
    """Each kind of name has a replacement of its kind."""
    assert redact(pasted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:25 [::]:25 127.0.0.1:25 127.0.0.53%lo:53 [::1]:25 :::25 ::1:25 255.255.255.0 224.0.0.1",
        "tcp6       0      0 :::25                   :::*                    LISTEN      812/master",
        "version 1.2.3.4, 24.11.2026 10:40:22, OID 1.3.6.1.4.1.311",
        "/etc/postfix/main.cf master.cf exim4.conf docker-compose.yml java.net.BindException user@1000.service",
        "postfix@-.service nginx.service system.slice libc.so.6 net.ipv4.ip_local_port_range",
        "inet:8891@127.0.0.1 inet:8891@localhost root@localhost localhost.localdomain",
        "https://github.com/a/b docker.io/library/postfix docs.docker.com example.org mx.example.org",
        "2026-11-24T10:44:24.297992018Z could not bind: address already in use",
        "[   12.345678] usb device: new",
        "Nov 24 10:00:00 Error: bind: Address already in use",
        "postfix/master[331]: fatal: bind 0.0.0.0 port 25: Address already in use (98) EADDRINUSE",
    ],
)
def test_what_tells_of_nobody_stays(text: str) -> None:
    """Wildcards, loopback, versions, files, units and projects aren't touched."""
    assert redact(text) == text


def test_columns_stay_where_they_were() -> None:
    """In a table the blanks after a word take up the difference."""
    table = (
        "Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name\n"
        "tcp        0      0 10.0.0.5:25             0.0.0.0:*               LISTEN      812/master\n"
        "tcp        0      0 172.17.0.2:25           8.8.8.8:44123           ESTABLISHED 812/master\n"
        "tcp6       0      0 2a01:4f8:10a:1::2:25    :::*                    LISTEN      812/master\n"
    )
    rows = redact(table).splitlines()
    assert [row.index("812/") for row in rows[1:]] == [row.index("812/") for row in table.splitlines()[1:]]
    assert rows[3] == "tcp6       0      0 2001:db8::1:25          :::*                    LISTEN      812/master"


def test_private_and_public_are_kept_apart() -> None:
    """Whether an address was an inside one can still be seen."""
    assert redact("10.1.1.1 8.8.8.8") == "198.51.100.1 192.0.2.1"


def test_a_replacement_that_the_text_already_has_is_not_given_again() -> None:
    """Two hosts never become one."""
    assert redact("192.0.2.1 8.8.8.8") == "192.0.2.1 192.0.2.2"
    assert redact("host1.example mx.firma.de") == "host1.example host2.example"


def test_a_short_and_a_full_name_of_one_host_are_one() -> None:
    """A short host name and the full one that begins with it share a number."""
    assert (
        redact("root@mx1:~# hostname\nmx1.firma.de\nmx1 is up\n")
        == "root@host1:~# hostname\nhost1.example\nhost1 is up\n"
    )


PIECES = st.sampled_from(
    [
        *("8.8.8.8", "10.0.0.1", "2a01:4f8::2", "fe80::1", "mx.firma.de", "bob@firma.de", "<bob@mx1>", "root@mx1:~#"),
        *("jane@ns-2:~$", "/home/jane", "25", ":25", "user=jane", "message-id=<a@b.de>", "tcp6", "LISTEN", "a[1]:"),
        *("4F3A21C0D5:", "1rJ4kA-0007Bq-2x", "Nov", ".", ":", "@", "-", "host1", "user1", "192.0.2.1", "from="),
    ]
)
TEXTS = st.lists(PIECES | st.sampled_from([" ", "  ", "\n", "Nov 24 10:00:00 "]) | st.text(max_size=3), max_size=30)


@given(st.text(max_size=300) | TEXTS.map("".join) | TEXTS.map(" ".join))
def test_any_text_is_redacted_once(text: str) -> None:
    """A second pass changes nothing, and lines are as many as they were."""
    redacted = redact(text)
    assert redact(redacted) == redacted
    assert redacted.count("\n") == text.count("\n")


ADDRESSES = st.ip_addresses(v=4).filter(
    lambda a: (
        not (a.is_loopback or a.is_multicast or a.is_unspecified or a.is_reserved) and int(a) >> 24 and a.is_global
    )
)


@given(st.lists(ADDRESSES, min_size=1, max_size=20))
def test_no_address_is_left_and_each_has_one_replacement(addresses: list[object]) -> None:
    """No original address is left; equal ones stay equal and different ones different."""
    text = "\n".join(f"tcp  0  0 {address}:25  0.0.0.0:*  LISTEN" for address in addresses)
    redacted = redact(text)
    found = re.findall(r"(\S+):25", redacted)
    assert not {str(a) for a in addresses} & set(found)
    assert len(set(found)) == len(set(addresses))
    assert dict(zip(map(str, addresses), found)) == dict(zip(map(str, reversed(addresses)), reversed(found)))
