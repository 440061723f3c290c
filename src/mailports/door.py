"""What may be asked of a machine, in narrow parts. Types only: nothing here runs.

`Files` reads, `Kernel` asks the kernel about sockets, `Run` starts a program or speaks on a local
socket, `Clock` tells the time. A `Host` is all four; a function takes the narrowest it needs. Real
ones: `host.local.Machine` (this machine). Writing is another type, which nothing here has.

What can't be asked raises `faults.HostError`, which says which call, its errno and what it limits; a reader
turns that into a Look that says why it saw less.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol

    from mailports.record import Record
else:
    from mailports.record import Record

    class Protocol:
        """Run-time stand-in for typing.Protocol, which costs an import."""


class Name(Record):
    """One name in a directory: `kind` is `file`, `directory`, `link`, or `other`."""

    name: str
    inode: int
    kind: str


class Ran(Record):
    """What a program left: its exit status (negative: killed by that signal) and what it wrote, cut at the limit."""

    status: int
    stdout: bytes
    stderr: bytes
    is_cut: bool


class Files(Protocol):
    """Reads files below one root. Each call raises HostError where the system refuses."""

    def read(self, path: str, limit_bytes: int = 1 << 20) -> bytes:
        """Return the first `limit_bytes` of a file."""

    def names(self, path: str) -> list[Name]:
        """Return what is in a directory, in no order."""

    def link(self, path: str) -> str:
        """Return where a symbolic link points."""

    def inode(self, path: str) -> int:
        """Return the inode of what a path leads to, links followed."""


class Kernel(Protocol):
    """Asks the kernel of one network namespace."""

    def inet_diag(self, request: bytes, limit_bytes: int = 1 << 26) -> bytes:
        """Send one NETLINK_SOCK_DIAG request and return every message of the answer, joined."""

    def route(self, request: bytes, limit_bytes: int = 1 << 24) -> bytes:
        """The same for NETLINK_ROUTE."""

    def netfilter(self, request: bytes, limit_bytes: int = 1 << 20) -> bytes:
        """The same for NETLINK_NETFILTER."""

    def socket_options(self, pid: int, descriptor: int) -> dict[str, int] | None:
        """Return options of another process's socket (`reuseaddr`, `reuseport`, `v6only`, `netns`), or None.

        The descriptor is copied for a moment (pidfd_getfd(2)) and closed at once.
        """


class Run(Protocol):
    """Starts programs: argv only, found on a fixed search path, clean environment, no input unless given."""

    def run(self, argv: Sequence[str], limit_bytes: int = 1 << 24, timeout_s: float = 10.0) -> Ran:
        """Run a program to its end."""

    def exchange(self, path: str, request: bytes, limit_bytes: int = 1 << 24, timeout_s: float = 3.0) -> bytes:
        """Send `request` on a local stream socket and return the answer up to its end."""


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> float:
        """Return seconds since the epoch."""

    def stamp(self, seconds: float) -> str:
        """Return a time as RFC 3339 in UTC, to the second."""

    def boot(self) -> float | None:
        """Return when the machine started, in seconds since the epoch; None unknown."""


class Host(Files, Kernel, Run, Clock, Protocol):
    """All of a machine, seen from one network namespace."""

    uid: int
    """The effective user id that looks."""

    def name(self) -> str:
        """Return the host's name."""

    def system(self) -> tuple[str, str]:
        """Return the system's name and its kernel's release."""

    def within(self, path: str) -> Host:
        """Return the same machine, with kernel calls, settings and programs in the namespace at `path`."""

    def pids(self) -> Iterable[int]:
        """Return the process ids that /proc shows, lowest first."""

    def descriptors(self, pid: int) -> Iterable[tuple[int, str]]:
        """Yield descriptor and link text of each open file of a process."""

    def descriptor_count(self, pid: int) -> int:
        """Return how many files a process has open; 0 where the kernel doesn't say."""
