"""Kernel settings that decide who may bind what.

Source: ip-sysctl.rst (ip_local_port_range, ip_local_reserved_ports, ip_unprivileged_port_start,
ip_nonlocal_bind, bindv6only, disable_ipv6); net/sunrpc/xprtsock.c (min_resvport, max_resvport).
"""

from __future__ import annotations

from mailports.faults import HostError
from mailports.model.facts import ALL, NONE, SOME, Look, Setting, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.door import Files

IN_NAMESPACE = (
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv6.bindv6only",
    "net.ipv6.ip_nonlocal_bind",
    "net.ipv6.conf.all.disable_ipv6",
)
OF_HOST = ("sunrpc.min_resvport", "sunrpc.max_resvport")


def read_settings(files: Files, netns: str) -> tuple[list[Setting], Look]:
    """Return a namespace's settings, and how far they could be seen."""
    found: list[Setting] = []
    refused: HostError | None = None
    for name in IN_NAMESPACE + OF_HOST:
        try:
            raw = files.read("/proc/sys/" + name.replace(".", "/"), 1 << 17)
        except HostError as error:
            if error.errno != "ENOENT":  # a setting that isn't there is off: no IPv6, no sunrpc
                refused = error
            continue
        value = printable(b" ".join(raw.split()))
        found.append(Setting(name, value, None if name in OF_HOST else netns))
    found += _route_localnet(files, netns)
    if refused is not None or not found:
        why = str(refused) if refused else "/proc/sys/net can't be read"
        return found, Look("settings", netns, SOME if found else NONE, "/proc/sys", why, None)
    return found, Look("settings", netns, ALL, "/proc/sys")


def _route_localnet(files: Files, netns: str) -> list[Setting]:
    """Whether a device may pass packets to 127/8: by device, since one is enough."""
    found = []
    try:
        devices = sorted(name.name for name in files.names("/proc/sys/net/ipv4/conf"))
    except HostError:
        return []
    for device in devices[:_DEVICES]:
        try:
            raw = files.read(f"/proc/sys/net/ipv4/conf/{device}/route_localnet", 64)
        except HostError:
            continue
        found.append(Setting(f"net.ipv4.conf.{printable(device)}.route_localnet", printable(raw.strip()), netns))
    return found


_DEVICES = 256
