"""From the control group id of a socket to its path, and on to the processes in it.

The kernel reports with each socket the id of the group in which it was made: the inode of that
group's directory. That names the unit without privilege, and leads to its few processes.

It is the *creator's* group: socket activation shows init's, a process that was moved its old one, a
group that is gone doesn't resolve.

Source: cgroups(7); net/ipv4/inet_diag.c, inet_diag_msg_attrs_fill (INET_DIAG_CGROUP_ID, 5.7).
"""

from __future__ import annotations

from collections import deque

from mailports.faults import HostError
from mailports.model.facts import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailports.door import Files

_PLACES = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
DIRECTORIES = 20_000
"""How many groups are looked through before the search for an id ends (systemd's own limit is lower)."""


class Groups:
    """The unified hierarchy, read no further than needed."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._root: str | None = None
        self._is_found = False
        self._paths: dict[int, str] = {}
        self._unread: deque[str] = deque()

    def root(self) -> str | None:
        """Return where the unified hierarchy is mounted, or None where it isn't."""
        if not self._is_found:
            self._is_found = True
            self._root = _mounted(self._files)
            if self._root is not None:
                self._unread.append("")
                try:
                    self._paths[self._files.inode(self._root)] = "/"
                except HostError:
                    self._root = None
        return self._root

    def resolve(self, ids: Iterable[int]) -> dict[int, str]:
        """Return the paths of those ids that exist; breadth first, since units are near the top."""
        root = self.root()
        wanted = frozenset(ids)
        missing = {number for number in wanted if number not in self._paths}
        looked = 0
        while root is not None and missing and self._unread and looked < DIRECTORIES:
            path = self._unread.popleft()
            looked += 1
            try:
                names = self._files.names(root + path)
            except HostError:
                continue
            for name in names:
                if name.kind == "directory":
                    child = f"{path}/{name.name}"
                    self._paths[name.inode] = printable(child)
                    self._unread.append(child)
                    missing.discard(name.inode)
        return {number: self._paths[number] for number in wanted if number in self._paths}

    def pids(self, path: str) -> list[int]:
        """Return the processes in a group itself (not in those below), lowest first."""
        root = self.root()
        if root is None:
            return []
        try:
            raw = self._files.read(f"{root}{path.rstrip('/')}/cgroup.procs")
        except HostError:
            return []
        # 0 stands for a process outside our pid namespace
        return sorted(int(word) for word in raw.split() if word.isdigit() and word != b"0")


def _mounted(files: Files) -> str | None:
    for place in _PLACES:
        try:
            files.inode(f"{place}/cgroup.procs")
        except HostError:
            continue
        return place
    try:
        mounts = files.read("/proc/self/mounts")
    except HostError:
        return None
    for line in mounts.split(b"\n"):
        fields = line.split(b" ")
        if len(fields) > 2 and fields[2] == b"cgroup2":
            return fields[1].decode("utf-8", "surrogateescape").replace("\\040", " ")
    return None
