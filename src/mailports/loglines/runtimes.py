"""How servers beside the mail and language runtimes say that a port failed them.

Source: captured lines of redis 7 and 8, PostgreSQL 15 and 17, Apache 2.4, Unbound 1.17 to 1.22, dnsmasq 2.90, BIND
9.18 and 9.20, Python 3.11 and 3.13, Node.js 18 and 20, Go 1.19 and 1.24, PHP 8, Perl 5; MariaDB's from the daemon.

Limits: PostgreSQL and dnsmasq leave the port out (a HINT line has PostgreSQL's); Java, MariaDB and plain Python sockets
leave out the endpoint. `PermissionError: [Errno 13]` alone may be a file's.
"""

from __future__ import annotations

from mailports.loglines.rows import NONE, Row, form

RUNTIMES: tuple[Row, ...] = (
    Row(
        "redis",
        "create server tcp listening socket",
        form(
            r"listening socket \[?(?P<address>\*|[0-9a-z.:-]{1,64}?)\]?:(?P<port>\d{1,5}): (?:bind|unable to bind|listen)"
        ),
    ),
    Row(
        "postgresql",
        "could not bind ipv",
        form(r'could not bind IPv(?P<family>[46]) address "(?P<address>[^"]{1,64})": '),
    ),
    Row("postgresql", "lock file", form(r'lock file "(?P<path>[^"]{1,200})" already exists'), "start", NONE),
    Row(
        "apache",
        "make_sock",
        form(r"make_sock: could not bind to address \[?(?P<address>[0-9a-f.:*]{1,45}?)\]?:(?P<port>\d{1,5})"),
    ),
    Row(
        "unbound",
        "can't bind socket",
        form(r"can't bind socket: .{1,60} for (?P<address>\S{1,64}) port (?P<port>\d{1,5})"),
    ),
    Row(
        "dnsmasq",
        "dnsmasq: ",
        form(r"(?:listening socket for|Empfangs-Socket f\S{1,3}r) (?P<address>[0-9a-f.:]{1,44}[0-9a-f]|::)"),
    ),
    Row("bind", "creating tcp socket", form(r"creating TCP socket: ")),
    Row("mysql", "start server: bind on tcp", form(r"Can't start server: Bind on TCP/IP port"), finds=False),
    Row(
        None,
        "could not bind on any address",
        form(r"out of \[\('(?P<address>[^']{1,64})', (?P<port>\d{1,5})\)"),
        errno="EADDRNOTAVAIL",
    ),
    Row(
        None,
        "stream_socket_server",
        form(r"connect to (?P<protocol>tcp|udp)://\[?(?P<address>[0-9a-z.:-]{1,64}?)\]?:(?P<port>\d{1,5}) \("),
    ),
    Row(
        None,
        "listen e",
        form(r"listen E[A-Z]{4,15}\b.{0,60}? (?P<address>::\S{0,38}|\*|[0-9a-f.:]{2,45}):(?P<port>\d{1,5})\s*$"),
    ),
    Row(
        None,
        "connect econnrefused",
        form(r"connect ECONNREFUSED (?P<address>\S{1,64}):(?P<port>\d{1,5})"),
        "connect",
    ),
    Row(None, "socket::", form(r"IO::Socket::\w{2,8}: connect: "), "connect"),
)
