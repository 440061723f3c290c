"""How MTAs say that a port failed them.

Source: captured lines of Postfix 3.7 and 3.10, Exim 4.96 and 4.98, OpenSMTPD 6.8 and 7.6, Sendmail 8.17 and 8.18,
Courier 1.1 to 1.4; Haraka's from its threads.

Limits: OpenSMTPD, Sendmail and Courier name no endpoint; Exim's deferrals never name the port.
"""

from __future__ import annotations

from mailports.loglines.rows import NONE, Row, form

MTAS: tuple[Row, ...] = (
    Row("postfix", "bind ", form(r"fatal: bind (?P<address>\S{1,64}) port (?P<port>\w{1,20}): ")),
    Row(
        "postfix",
        "no local interface",
        form(r"no local interface found for (?P<address>\S{1,64})"),
        errno="EADDRNOTAVAIL",
    ),
    Row("postfix", "exclusive lock", form(r"open lock file (?P<path>\S{1,200}): unable to set excl"), "start"),
    Row("postfix", "already running", form(r"the Postfix mail system is already running"), "start", NONE),
    Row(
        "postfix",
        "duplicate master.cf",
        form(r'duplicate master\.cf entry for service "(?P<entry>[^"]{1,80})" \((?P<port>\w{1,20})\)'),
        errno=NONE,
    ),
    Row("postfix", "inet_protocols", form(r"inet_protocols: disabling \S{1,10} name/address support: ")),
    Row("postfix", "protocols are", form(r"all network protocols are disabled \(inet_protocols"), errno="EAFNOSUPPORT"),
    Row("postfix", "active network", form(r"could not find any active network interfaces"), errno="EADDRNOTAVAIL"),
    Row(
        "postfix",
        "host not found",
        form(r"inet_interfaces: host not found: (?P<address>[0-9a-f]{0,4}:[0-9a-f:]{1,36})"),
        errno="EAFNOSUPPORT",
    ),
    Row(
        "postfix",
        "milter service",
        form(r"connect to Milter service (?:unix|local):(?P<path>\S{1,200}): "),
        "connect",
    ),
    Row(
        "postfix",
        "milter service",
        form(r"connect to Milter service inet6?:(?P<address>\[[^\]]{1,64}\]|[\w.-]{1,200}):(?P<port>\w{1,20}): "),
        "connect",
    ),
    Row(
        "postfix",
        "milter inet",
        form(r"milter inet6?:(?P<address>\[[^\]]{1,64}\]|[\w.-]{1,200}):(?P<port>\w{1,20}): (?:can't read|unexpected)"),
        "connect",
        NONE,
    ),
    Row(
        "postfix",
        "auth socket",
        form(r"auth socket 'inet:(?P<address>\[[^\]]{1,64}\]|[\w.-]{1,200}):(?P<port>\w{1,20})' failed: "),
        "connect",
    ),
    Row("postfix", "auth socket", form(r"auth socket '(?P<path>[^']{1,200})' failed: "), "connect"),
    Row(
        "postfix",
        "connect to ",
        form(r"connect to [^\s\[]{1,200}\[(?P<address>[0-9a-f.:]{2,45})\]:(?P<port>\d{1,5}): "),
        "connect",
    ),
    Row("postfix", "connect to ", form(r"connect to [^\s\[]{1,200}\[(?P<path>[^\]:]{2,200})\]: "), "connect"),
    Row(
        "postfix",
        "connect to ",
        form(r"connect to (?:transport )?(?P<path>(?:private|public)/\S{1,200}): "),
        "connect",
    ),
    Row(
        "postfix",
        "deferred (",
        form(
            r"relay=[^\s\[]{1,200}\[(?P<address>[0-9a-f.:]{2,45})\]:(?P<port>\d{1,5}),.{0,200}status=deferred \("
            r"(?:lost connection with|conversation with|host \S{1,200} refused to talk)"
        ),
        "connect",
        NONE,
    ),
    Row("postfix", "showq service", form(r"Connect to the Postfix showq service: "), "connect"),
    Row(
        "exim",
        "socket bind() to port",
        form(r"socket bind\(\) to port (?P<port>\d{1,5}) for address (?P<address>\(any IPv[46]\)|\S{1,64}) failed: "),
    ),
    Row("exim", "bind of [", form(r"bind of \[(?P<address>[^\]]{0,64})\]:(?P<port>\d{1,5}) failed")),
    Row(
        "exim",
        "ipv6 with ipv4",
        form(r"listening for SMTP on port (?P<port>\d{1,5}) \((?P<family>IPv6) with IPv4\)"),
        errno="EADDRINUSE",
    ),
    Row("exim", "daemon_notifier_socket", form(r"daemon_notifier_socket bind: "), "start", entry="notifier socket"),
    Row("exim", "wildcard listening", form(r"Failed to create IPv6 socket for wildcard listening \(")),
    Row(
        "exim",
        "clamd [",
        form(r"clamd \[(?P<address>[0-9a-f.:]{2,45})\]:(?P<port>\d{1,5}) : failed to connect"),
        "connect",
    ),
    Row("exim", "unix socket (", form(r"unable to connect to UNIX socket \((?P<path>[^)]{1,200})\): "), "connect"),
    Row(
        "exim",
        "spamd: failed",
        form(r"spamd: failed to connect to any address for (?P<address>[0-9a-f.:]{1,44}[0-9a-f])"),
        "connect",
    ),
    Row(
        "exim",
        " r=",
        form(
            r" == \S{1,200} R=\S{1,64} (?:T=\S{1,64} )?defer \(\d{1,4}\): "
            r"(?:[A-Za-z ]{1,40} H=\S{1,200} \[(?P<address>[0-9a-f.:]{2,45})\]|)"
        ),
        "connect",
    ),
    Row("opensmtpd", "smtpd: bind", form(r"(?:pony express|dispatcher): smtpd: bind: ")),
    Row("opensmtpd", ": listen: ", form(r"(?:pony express|dispatcher): listen: "), entry="listen"),
    Row("opensmtpd", "io_set_blocking", form(r"dispatcher: io_set_blocking:fcntl\(F_GETFL\)"), errno="EAFNOSUPPORT"),
    Row(
        "opensmtpd",
        "control socket",
        form(r"control: control socket already listening"),
        "start",
        NONE,
        "control socket",
    ),
    Row("opensmtpd", "mta error", form(r"mta error reason=IO Error: "), "connect"),
    Row(
        "sendmail",
        "opendaemonsocket",
        form(r"opendaemonsocket: daemon (?P<entry>[\w.-]{1,64}): (?:cannot|can't|problem|server SMTP socket wedged)"),
        errno="",
    ),
    Row(
        "sendmail",
        "stat=deferred",
        form(
            r"stat=Deferred: (?:Connection|Network|Operation|No route)[a-z ]{1,40}(?:\[(?P<address>[0-9a-f.:]{2,45})\])?"
        ),
        "connect",
    ),
    Row(
        "sendmail",
        "error connecting to filter",
        form(
            r"Milter \((?P<entry>[^)]{1,64})\): error connecting to filter: [A-Za-z ]{1,40}? by (?P<address>[0-9a-f.:]{2,45})"
        ),
        "connect",
    ),
    Row(
        "courier", "bind: ", form(r"(?:imapd|pop3d|esmtpd|courieresmtpd|couriertcpd)(?:-ssl)?(?:\[\d{1,9}\])?: bind: ")
    ),
    Row("haraka", "failed to setup listeners", form(r"Failed to setup listeners"), finds=True),
)
