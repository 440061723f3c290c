"""What bind(2) and listen(2) would say: the question and its answer."""

from __future__ import annotations

from mailports.model.facts import Endpoint, Socket
from mailports.record import Record

YES, NO, UNKNOWN = "yes", "no", "unknown"


class BindRequest(Record):
    """An endpoint that a program would bind, and how.

    Attributes:
        endpoint: where; `endpoint.v6only` null for an IPv6 wildcard means "as net.ipv6.bindv6only says".
        family: 4 or 6: the socket's family.
        reuseaddr: SO_REUSEADDR set before bind.
        reuseport: SO_REUSEPORT set before bind.
        uid: the socket's user id.
        may_bind_privileged: whether it has CAP_NET_BIND_SERVICE; null unknown.
        nonlocal_ok: IP_FREEBIND or IP_TRANSPARENT is set, so the address needn't be on the host.
        listens: whether listen(2) follows (a TCP server), or bind alone counts.
    """

    endpoint: Endpoint
    family: int
    reuseaddr: bool = True
    reuseport: bool = False
    uid: int = 0
    may_bind_privileged: bool | None = True
    nonlocal_ok: bool = False
    listens: bool = True


class Obstacle(Record):
    """One thing in the way of a bind.

    Attributes:
        step: `bind` or `listen`: the call that would fail.
        errno: `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` or `EINVAL`.
        rule: the kernel's rule, as a sentence.
        socket: the socket in the way; null where it isn't a socket.
        certain: false where a fact that the kernel hides (an option of that socket) decides.
        unknown: what that fact is; null where certain.
    """

    step: str
    errno: str
    rule: str
    socket: Socket | None = None
    certain: bool = True
    unknown: str | None = None


class Verdict(Record):
    """Whether bind(2) and then listen(2) would succeed now.

    Attributes:
        bind: `yes`, `no` or `unknown`.
        listen: likewise, asked where bind would succeed; null where listen doesn't follow.
        errno: the errno that the first failing call would give; null where none is certain.
        obstacles: everything in the way, in the kernel's order of checks.
    """

    bind: str
    listen: str | None
    errno: str | None
    obstacles: tuple[Obstacle, ...] = ()
