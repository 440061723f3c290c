"""How proxies and super-servers say that a port failed them.

Source: captured lines of HAProxy 2.6 and 3.0, nginx 1.22 and 1.26, stunnel 5.68 and 5.74, openbsd-inetd, xinetd 2.3.15.

Limits: stunnel says `Binding service [x] to …: Address already in use` at every healthy start with `accept = PORT`:
on IPv6's wildcard (`:::465`) the line is nothing by itself; `Binding service [x] failed` is the cause, without an
endpoint. HAProxy's `is DOWN` names no endpoint.
"""

from __future__ import annotations

from mailports.loglines.rows import NONE, Row, form

PROXIES: tuple[Row, ...] = (
    Row(
        "haproxy",
        "binding [",
        form(
            r"Binding \[(?P<path>[^\]:]{1,200}):(?P<line>\d{1,6})\] for (?P<entry>\w{1,20} [^:]{1,80}): .{0,120}"
            r" for \[(?P<address>[^\]\s]{1,64}):(?P<port>\d{1,5})\]"
        ),
    ),
    Row(
        "haproxy",
        " is down, reason: layer4",
        form(r"Server (?P<entry>\S{1,100}) is DOWN, reason: Layer4"),
        "connect",
    ),
    Row(
        "nginx",
        "() ",
        form(
            r"(?:bind|listen|socket)\(\) (?:to )?\[?(?P<address>[^\]\s]{1,64}?)\]?:(?P<port>\d{1,5})(?:,.{1,40})? failed \("
        ),
    ),
    Row(
        "nginx",
        "duplicate",
        form(
            r'duplicate "\[?(?P<address>[^\]"\s]{1,64}?)\]?:(?P<port>\d{1,5})" address and port pair in (?P<path>[^:]{1,200})'
        ),
        errno=NONE,
    ),
    Row(
        "nginx",
        "duplicate listen",
        form(r"a duplicate listen \[?(?P<address>[^\]\s]{1,64}?)\]?:(?P<port>\d{1,5}) in (?P<path>[^:]{1,200})"),
        errno=NONE,
    ),
    Row(
        "nginx",
        "to upstream",
        form(
            r'while connecting to upstream,.{1,1500}upstream: "[a-z:/]{0,12}\[?(?P<address>[^\]"\s/]{1,64}?)\]?:(?P<port>\d{1,5})'
        ),
        "connect",
    ),
    Row("stunnel", "binding service", form(r"Binding service \[[^\]]{0,64}\] to :::\d{1,5}: "), silent=True),
    Row(
        "stunnel",
        "binding service",
        form(r"Binding service \[(?P<entry>[^\]]{0,64})\] to (?P<address>\S{1,64}):(?P<port>\d{1,5}): "),
    ),
    Row(
        "stunnel",
        "s_connect",
        form(r"s_connect: connect (?P<address>\S{1,64}):(?P<port>\d{1,5}): "),
        "connect",
    ),
    Row("xinetd", "bind failed (", form(r"bind failed \(.{1,80}service = (?P<service>[\w-]{1,40})")),
    Row(
        "inetd",
        "/tcp",
        form(
            r"(?P<service>[\w-]{1,40})/(?P<protocol>tcp)(?P<family>6?): (?:bind: |\*: the address family is not supported)"
        ),
        errno="EAFNOSUPPORT?",
    ),
)
