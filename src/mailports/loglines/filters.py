"""How mail filters say that a port failed them: libmilter's, Net::Server's, clamd, spamd, rspamd.

Source: captured lines of OpenDKIM 2.11, OpenDMARC 1.4, clamav-milter and clamd 1.4, postgrey 1.37, amavisd 2.13,
spamd 4.0, rspamd 3.4 to 3.8 (Debian 12 and 13).

Limits: what OpenDKIM and OpenDMARC print on stderr has no errno; their syslog has it.
"""

from __future__ import annotations

from mailports.loglines.rows import NONE, Row, form

_CONN = r"(?P<family>inet6?):(?P<port>\w{1,20})(?:@(?P<address>\[?[\w.:-]{0,63}[\w:]\]?))?"

FILTERS: tuple[Row, ...] = (
    Row("opendkim", "opendkim filter: unable", form(rf"OpenDKIM Filter: Unable to bind to port {_CONN}: ")),
    Row("opendmarc", "opendmarc filter: unable", form(rf"OpenDMARC Filter: Unable to bind to port {_CONN}: ")),
    Row("clamav-milter", "clamav: unable", form(rf"ClamAV: Unable to bind to port {_CONN}: ")),
    Row(None, "unable to bind to port inet", form(rf"Unable to bind to port {_CONN}: ")),
    Row(
        None,
        "unable to create listening socket",
        form(rf"Unable to create listening socket on conn {_CONN}"),
        errno="EAFNOSUPPORT",
    ),
    Row("clamav-milter", "failed to create socket inet", form(rf"Failed to create socket {_CONN}"), errno="EADDRINUSE"),
    Row("postgrey", "postgrey line", form(r"connect to TCP port (?P<port>\d{1,5}) on (?P<address>\S{1,64}) \[")),
    Row("amavis", "(!)net::server", form(r"connect to TCP port (?P<port>\d{1,5}) on (?P<address>\S{1,64}) \[")),
    Row(
        None,
        "can't connect to ",
        form(r"Can't connect to (?P<protocol>TCP|UDP) port (?P<port>\d{1,5}) on (?P<address>\S{1,64}) \["),
    ),
    Row(
        "amavis",
        "(!)connect to",
        form(r"\(!\)connect to \[(?P<address>[0-9a-f.:]{2,45})\]:(?P<port>\d{1,5}) failed"),
        "connect",
    ),
    Row(
        "spamassassin",
        "spamd: could not create",
        form(r"could not create IO::Socket::\S{1,12} socket on \[?(?P<address>[^\]\s]{1,64})\]:(?P<port>\d{1,5}): "),
    ),
    Row("clamd", "tcp: cannot bind", form(r"TCP: Cannot bind to \[(?P<address>[^\]]{0,64})\]:(?P<port>\d{1,5}): ")),
    Row(
        "clamd",
        "local: socket file",
        form(r"LOCAL: Socket file (?P<path>\S{1,200}) is in use by another"),
        "start",
        NONE,
        "control socket",
    ),
    Row(
        "rspamd",
        "rspamd_inet_address_listen",
        form(r"_listen: (?:bind|listen) \[?(?P<address>[0-9a-f.:*]{1,45}?)\]?:(?P<port>\d{1,5}) failed: "),
    ),
    Row("rspamd", "cannot listen on", form(r"spawn_workers: cannot listen on \w{1,20} socket (?P<address>\S{1,64}): ")),
    Row(
        "rspamd", "from backend", form(r"connection from backend: (?P<address>\S{1,64}):(?P<port>\d{1,5}), "), "connect"
    ),
)
