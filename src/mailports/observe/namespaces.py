"""Which network namespaces there are, and what to call them.

A namespace lives while a process is in it, a bind mount keeps it, or a descriptor points to it. The
first two are found here: `/proc/PID/net`, and the mounts of type nsfs.

A namespace's identity is the inode of `/proc/PID/ns/net`, which takes ptrace rights to look at. The
inode of `/proc/PID/net/tcp` can be looked at by anyone and tells namespaces apart as well, since proc
gives each its own entries: another number, but as good for a process that we may not trace.

Source: network_namespaces(7), namespaces(7), proc(5); fs/proc/proc_net.c.

Limits: a namespace that only a descriptor keeps isn't found; neither is one that only a thread other
than a process's first is in.
"""

from __future__ import annotations

from mailports.faults import HostError
from mailports.model.facts import Namespace, printable
from mailports.observe.processes import container_of, read_cgroup, unit_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailports.door import Host

HERE = "here"
_PIDS_KEPT = 8
_ANONYMOUS_UNITS = ("session-", "user@", "init.scope", "run-")


class Census:
    """The namespaces that were found, each with a path by which it can be entered.

    Attributes:
        namespaces: `here` first.
        paths: by label, the file to give to setns(2); None for our own.
        labels: by process id, the label of its namespace, for those processes that were looked at.
    """

    def __init__(self) -> None:
        self.namespaces: list[Namespace] = []
        self.paths: dict[str, str | None] = {}
        self.labels: dict[int, str] = {}


def take_census(host: Host, *, everyone: bool) -> Census:
    """Find the network namespaces: those that mounts keep, and with `everyone` those of every process."""
    census = Census()
    mounts = _mounted(host)
    by_inode: dict[int, list[int]] = {}
    untraced: dict[int, list[int]] = {}
    entered: dict[int, int] = {}
    own = _look(host, "self/ns/net") or _look(host, "self/net/tcp")
    if everyone:
        for pid in _pids(host):
            inode = _look(host, f"{pid}/ns/net")
            if inode is not None:
                by_inode.setdefault(inode, []).append(pid)
            else:
                entry = _look(host, f"{pid}/net/tcp")
                if entry is not None:
                    untraced.setdefault(entry, []).append(pid)
        entered = {inode: pids[0] for inode, pids in by_inode.items()}
        if untraced:
            _join(host, by_inode, untraced, own)
    census.namespaces.append(Namespace(HERE, own, tuple(by_inode.get(own or 0, ())[:_PIDS_KEPT])))
    census.paths[HERE] = None
    for pid in by_inode.get(own or 0, ()):
        census.labels[pid] = HERE
    for inode in list(mounts) + [inode for inode in by_inode if inode not in mounts]:
        if inode != own:
            _add(host, census, inode, by_inode.get(inode, []), mounts.get(inode), entered.get(inode))
    return census


def _add(host: Host, census: Census, inode: int, pids: list[int], mount: str | None, way_in: int | None) -> None:
    label = _label(host, inode, pids, mount)
    if label in census.paths:
        label = f"inode:{inode}"
    census.namespaces.append(Namespace(label, inode, tuple(pids[:_PIDS_KEPT]), printable(mount) if mount else None))
    census.paths[label] = mount or f"/proc/{way_in or pids[0]}/ns/net"
    for pid in pids:
        census.labels[pid] = label


def _label(host: Host, inode: int, pids: list[int], mount: str | None) -> str:
    """A name that an administrator gave is best, then the container's, then the unit's."""
    if mount is not None and mount.startswith(("/run/netns/", "/var/run/netns/")):
        name = mount.rpartition("/")[2]
        if not name.startswith(("netns-", "cni-")):  # Podman's and CNI's are only ids
            return f"name:{printable(name)}"
    for pid in pids[:_PIDS_KEPT]:
        cgroup = read_cgroup(host, pid)
        container = container_of(cgroup)
        if container:
            return f"container:{container[:12]}"
        unit = unit_of(cgroup)
        if unit and unit.endswith(".service") and not unit.startswith(_ANONYMOUS_UNITS):
            return f"unit:{unit}"
    return f"inode:{inode}"


def _join(host: Host, by_inode: dict[int, list[int]], untraced: dict[int, list[int]], own: int | None) -> None:
    """Add processes that may not be traced to the namespaces of those that may, by their proc entries."""
    known = {_look(host, "self/net/tcp"): own}
    for inode, pids in by_inode.items():
        known.setdefault(_look(host, f"{pids[0]}/net/tcp"), inode)
    for entry, pids in untraced.items():
        inode = known.get(entry) or entry
        by_inode[inode] = sorted(by_inode.get(inode, []) + pids)


def _pids(host: Host) -> Iterable[int]:
    try:
        return host.pids()
    except HostError:
        return ()  # no /proc: our own namespace is all there is to see


def _look(host: Host, path: str) -> int | None:
    try:
        return host.inode(f"/proc/{path}")
    except HostError:
        return None


def unescaped(field: bytes) -> str:
    r"""Return a path of /proc/*/mounts: the kernel spells blank, tab, newline and backslash as `\040` and so on."""
    for code, byte in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(code, byte)
    return field.decode("utf-8", "surrogateescape")


def _mounted(host: Host) -> dict[int, str]:
    """Namespace inodes and the mount that keeps each: `... - nsfs nsfs rw`, with root `net:[4026532202]`."""
    try:
        raw = host.read("/proc/self/mountinfo", 1 << 22)
    except HostError:
        return {}
    mounts: dict[int, str] = {}
    for line in raw.split(b"\n"):
        if b" - nsfs " not in line:
            continue
        fields = line.split(b" ")
        root = fields[3]
        if root.startswith(b"net:[") and root.endswith(b"]") and root[5:-1].isdigit():
            path = unescaped(fields[4])
            mounts.setdefault(int(root[5:-1]), path)
    return mounts
