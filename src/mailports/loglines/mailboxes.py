"""How servers of mailboxes say that a port failed them.

Source: captured lines of Dovecot 2.3.19 and 2.4.1, Cyrus 3.6 and 3.10; [D] lines from threads.

Limits: Cyrus names its entry and the family only.
"""

from __future__ import annotations

from mailports.loglines.rows import NONE, Row, form

MAILBOXES: tuple[Row, ...] = (
    Row(
        "dovecot",
        "listen(",
        form(r"service\((?P<entry>[\w-]{1,64})\): listen\((?P<address>[^,()\s]{1,64}), (?P<port>\d{1,5})\) failed: "),
    ),
    Row("dovecot", "bind(", form(r"Error: bind\((?P<address>[^,()\s]{1,64}), (?P<port>\d{1,5})\) failed: ")),
    Row("dovecot", "socket() failed", form(r"Error: socket\(\) failed: ")),
    Row(
        "dovecot",
        "already running with pid",
        form(r"Dovecot is already running with PID \d{1,10}(?: \(read from (?P<path>[^)]{1,200})\))?"),
        "start",
        NONE,
    ),
    Row(
        "dovecot",
        "duplicate listener",
        form(r"duplicate listener: (?P<port>\d{1,5})(?::(?P<address>[^\s:]{0,64}))?"),
        errno=NONE,
    ),
    Row("dovecot", "systemd listens on port", form(r"systemd listens on port (?P<port>\d{1,5}), but"), errno=NONE),
    Row(
        "dovecot",
        "connect(",
        form(
            r"(?:proxy\(|conn |lmtp|relay|dict|imap|pop3|submission).{0,200}"
            r"connect\((?P<address>[0-9a-f.:\[\]]{2,45}?)(?:, |:)(?P<port>\d{1,5})\) failed: "
        ),
        "connect",
    ),
    Row("dovecot", "conn unix:", form(r"conn unix:(?P<path>[^\s:]{1,200})(?: \([^)]{0,80}\))?: connect\("), "connect"),
    Row(
        "cyrus",
        "unable to",
        form(r"unable to (?:bind to|open|create) (?P<entry>[\w.-]{1,64})/ipv(?P<family>[46]) socket: "),
    ),
    Row("cyrus", "unable to create", form(r"unable to create (?P<entry>[\w.-]{1,64}) listener socket: ")),
    Row("cyrus", "exclusive lock", form(r"cannot get exclusive lock on pidfile"), "start", NONE),
)
