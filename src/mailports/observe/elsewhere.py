"""A look at a machine that isn't Linux, through psutil: macOS, Windows, the BSDs.

What psutil can't tell is said so: one holder a socket, no bound sockets, no namespaces, units, containers,
firewalls or settings.

Limits: tested on Linux only, where psutil gives the same shapes; not run on the systems that it is for.
"""

from __future__ import annotations

from mailports.faults import HostError
from mailports.model.facts import ALL, ANY4, NONE, SOME, Endpoint, Holder, Look, Namespace, Snapshot, Socket, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mailports.door import Clock

_UNSEEN = ("bound", "units", "containers", "netfilter", "settings")


def observe_elsewhere(clock: Clock, host: str, system: tuple[str, str], *, udp: bool) -> Snapshot:
    """Return what psutil sees. Raises HostError where it isn't installed or is refused altogether."""
    try:
        import psutil
    except ImportError as error:
        raise HostError("look at sockets", "", "psutil isn't installed", "pip install psutil") from error
    kind = "inet" if udp else "tcp"
    try:
        rows = psutil.net_connections(kind)
    except psutil.AccessDenied as error:
        raise HostError("look at sockets", "EACCES", "permission denied", "run as root or administrator") from error
    holders: dict[int, Holder] = {}
    sockets = [s for s in (_socket(psutil, row, holders) for row in rows) if s is not None]
    unknown = sum(1 for s in sockets if not s.holders)
    looks = [
        Look("namespaces", None, ALL, "psutil"),
        Look("listeners", "here", SOME, "psutil", "psutil hides v6only and devices"),
        Look("holders", None, SOME, "psutil", "psutil names one process a socket" if unknown == 0 else
             f"psutil couldn't name the process of {unknown} sockets", "run as root or administrator"),
        *(Look(fact, None if fact in ("units", "containers") else "here", NONE, "psutil") for fact in _UNSEEN),
    ]  # fmt: skip
    return Snapshot(
        host,
        clock.stamp(clock.now()),
        *system,
        tuple(looks),
        (Namespace("here"),),
        tuple(sockets),
    )


def _socket(psutil: Any, row: Any, holders: dict[int, Holder]) -> Socket | None:
    if not row.laddr:
        return None
    family = 6 if row.family == 10 or "INET6" in str(row.family) else 4
    is_tcp = row.type == 1
    protocol = "tcp" if is_tcp else "udp"
    state = str(row.status).lower().replace("_", "-")
    if not is_tcp:
        state = "unconnected" if not row.raddr else "established"
    peer = Endpoint(protocol, row.raddr.ip, row.raddr.port, netns="here") if row.raddr else None
    found: tuple[Holder, ...] = ()
    if row.pid:
        if row.pid not in holders:
            holders[row.pid] = _holder(psutil, row.pid)
        found = (holders[row.pid],)
    endpoint = Endpoint(protocol, row.laddr.ip or ANY4, row.laddr.port, netns="here")
    return Socket(endpoint, family, state, peer, holders=found, holders_extent=SOME if found else NONE)


def _holder(psutil: Any, pid: int) -> Holder:
    try:
        process = psutil.Process(pid)
        name = printable(process.name())
    except psutil.Error:
        return Holder(pid)
    try:
        exe = printable(process.exe()) or None
        argv = tuple(printable(word) for word in process.cmdline())[:64]
    except psutil.Error:
        return Holder(pid, name)
    return Holder(pid, name, exe, argv=argv)
