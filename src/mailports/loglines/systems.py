"""How init systems and the system's own daemons say that a port failed them, and that something runs already.

Source: captured lines of systemd-socket-activate and systemd-resolved 252 and 257; [D] journal lines of PID 1.

Limits: PID 1 names the endpoint in newer releases only. `Start request repeated too quickly` is no cause.
"""

from __future__ import annotations

from mailports.loglines.rows import NONE, Row, form

SYSTEMS: tuple[Row, ...] = (
    Row(None, "start request repeated", form(r"Start request repeated too quickly"), silent=True),
    Row(
        "systemd",
        ".socket: failed to",
        form(r"(?P<entry>[\w@:.\\-]{1,120}\.socket): Failed to (?:create|listen)"),
        finds=True,
    ),
    Row(
        "systemd",
        "already active, refusing",
        form(r"(?P<entry>[\w@:.\\-]{1,120}\.socket): Socket service \S{1,120} already active"),
        errno="EBUSY",
    ),
    Row("systemd", "failed to create listening socket", form(r"Failed to create listening socket"), finds=True),
    Row("systemd", "failed to listen on", form(r"Failed to listen on sockets: ")),
    Row(
        "systemd-resolved",
        "already listening on",
        form(
            r"already listening on (?P<protocol>TCP|UDP) socket \[?(?P<address>[0-9a-f.:]{2,45}?)\]?:(?P<port>\d{1,5})"
        ),
    ),
    Row(None, "already running", form(r"\b(?:is |seems )?already running\b.{0,80}(?:pid|lock)"), "start", NONE),
    Row(None, "already running", form(r"(?:pid|lock).{0,80}\balready running\b"), "start", NONE),
    Row(
        None,
        "pid",
        form(r"pid ?file (?:\"|')?(?P<path>/[^\s\"',]{1,200})?.{0,20}(?:already )?exists"),
        "start",
        NONE,
    ),
)
