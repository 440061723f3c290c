"""This machine, through the system calls that only here are made.

Everything is read-only. Programs are started by argv, found on a fixed search path, with a clean
environment, no input, a deadline, a bounded output and a process group of their own.

A network namespace is entered by a short-lived thread (setns(2) concerns one thread), so that the
rest of the program never leaves its own: netlink sockets made there go on working from here, and a
program spawned there lives there.

Source: netlink(7), sock_diag(7), setns(2), pidfd_getfd(2), posix_spawn(3), proc(5).

Limits: a program that ignores SIGKILL (a task in uninterruptible sleep) is left behind once the
deadline is over. Files are opened without waiting, so that a FIFO in their place reads as empty.
"""

from __future__ import annotations

import _socket  # the C half of `socket`: the other half costs status 5 ms and isn't needed here
import errno as errno_module
import os
import sys
import time

from mailports.door import Name, Ran
from mailports.faults import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeVar

    Answer = TypeVar("Answer")

SEARCH_PATH = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
"""Where programs are looked for: never the caller's PATH, since root may run this."""

_OF_NAMESPACE = ("/proc/sys/net/", "/proc/thread-self/")
"""Where what is read depends on the network namespace of the thread that reads."""

_CLONE_NEWNET = 0x40000000
_AF_NETLINK, _NETLINK_ROUTE, _NETLINK_SOCK_DIAG, _NETLINK_NETFILTER = 16, 0, 4, 12
_NLMSG_ERROR, _NLMSG_DONE, _NLM_F_MULTI = 2, 3, 2
_RECEIVE_BYTES = 1 << 18
_ORDER = sys.byteorder
_PIDFD_GETFD = 438  # the same number on every architecture (kernel 5.6)


class Machine:
    """The machine that this program runs on, seen from one network namespace.

    Args:
        deadline_s: how long all of it may take, from now; programs are killed and waits end then.
        netns: path of the namespace's file, such as `/proc/812/ns/net`; None for our own.
    """

    def __init__(self, deadline_s: float = 60.0, netns: str | None = None) -> None:
        self._ends = time.monotonic() + deadline_s
        self._netns = netns
        self.uid = os.geteuid() if hasattr(os, "geteuid") else -1
        self._diag: _socket.socket | None = None

    # Files

    def read(self, path: str, limit_bytes: int = 1 << 20) -> bytes:
        """Return the first `limit_bytes` of a regular file."""
        if self._netns is not None and path.startswith(_OF_NAMESPACE):
            return self._inside(lambda: _read(path, limit_bytes))
        return _read(path, limit_bytes)

    def names(self, path: str) -> list[Name]:
        """Return what is in a directory, in no order."""
        if self._netns is not None and path.startswith(_OF_NAMESPACE):
            return self._inside(lambda: _names(path))
        return _names(path)

    def link(self, path: str) -> str:
        """Return where a symbolic link points."""
        try:
            return os.readlink(path)
        except OSError as error:
            raise _host_error("read link", path, error) from error

    def inode(self, path: str) -> int:
        """Return the inode of what a path leads to, links followed."""
        try:
            return os.stat(path).st_ino
        except OSError as error:
            raise _host_error("look at", path, error) from error

    # Kernel

    def inet_diag(self, request: bytes, limit_bytes: int = 1 << 26) -> bytes:
        """Send one NETLINK_SOCK_DIAG request and return the answer's messages."""
        if self._diag is None:
            self._diag = self._netlink(_NETLINK_SOCK_DIAG)
        try:
            return self._ask(self._diag, request, limit_bytes, "sock_diag")
        except HostError:
            self._diag.close()  # what is left of a broken dump must not answer the next request
            self._diag = None
            raise

    def route(self, request: bytes, limit_bytes: int = 1 << 24) -> bytes:
        """Send one NETLINK_ROUTE request and return the answer's messages."""
        return self._ask_once(_NETLINK_ROUTE, request, limit_bytes, "rtnetlink")

    def netfilter(self, request: bytes, limit_bytes: int = 1 << 20) -> bytes:
        """Send one NETLINK_NETFILTER request and return the answer's messages."""
        return self._ask_once(_NETLINK_NETFILTER, request, limit_bytes, "nfnetlink")

    def socket_options(self, pid: int, descriptor: int) -> dict[str, int] | None:
        """Return options of another process's socket, or None where the system refuses.

        `reuseaddr`, `reuseport`, `v6only` (-1 where there is none) and `netns`, the inode of its namespace
        (-1 where it can't be had).
        """
        import ctypes
        import socket

        try:
            pidfd = os.pidfd_open(pid)
        except (OSError, AttributeError):
            return None
        try:
            copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, pidfd, descriptor, 0)
        finally:
            os.close(pidfd)
        if copy < 0:
            return None
        try:
            with socket.socket(fileno=copy) as other:
                return _options(other)
        except OSError:
            return None

    def _netlink(self, protocol: int) -> _socket.socket:
        def make() -> _socket.socket:
            made = _socket.socket(_AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol)
            made.settimeout(self._left("netlink"))
            return made

        try:
            return self._inside(make)
        except OSError as error:
            raise _host_error("open", "netlink socket", error) from error

    def _ask_once(self, protocol: int, request: bytes, limit_bytes: int, what: str) -> bytes:
        netlink = self._netlink(protocol)
        try:
            return self._ask(netlink, request, limit_bytes, what)
        finally:
            netlink.close()

    def _ask(self, netlink: _socket.socket, request: bytes, limit_bytes: int, what: str) -> bytes:
        """A dump ends in NLMSG_DONE, with a negative errno as payload where it couldn't be done."""
        parts: list[bytes] = []
        total = 0
        try:
            netlink.send(request)
            while True:
                part = netlink.recv(_RECEIVE_BYTES)
                parts.append(part)
                total += len(part)
                if _is_last(part, what):
                    return b"".join(parts)
                if total > limit_bytes:
                    raise HostError(f"ask {what}", "EMSGSIZE", f"the answer is longer than {limit_bytes} bytes")
        except OSError as error:
            raise _host_error("ask", what, error) from error

    # Run

    def run(self, argv: Sequence[str], limit_bytes: int = 1 << 24, timeout_s: float = 10.0) -> Ran:
        """Run a program to its end; it is killed when its time or its output is over."""
        program = _found(argv[0])
        if program is None:
            raise HostError(f"run {argv[0]}", "ENOENT", "no such program", None)
        ends = min(self._ends, time.monotonic() + timeout_s)
        return self._inside(lambda: _spawn(program, argv, limit_bytes, ends))

    def exchange(self, path: str, request: bytes, limit_bytes: int = 1 << 24, timeout_s: float = 3.0) -> bytes:
        """Send `request` on a local stream socket and return the answer up to its end."""
        import socket

        parts: list[bytes] = []
        total = 0
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as local:
                local.settimeout(min(timeout_s, self._left(path)))
                local.connect(path)
                local.sendall(request)
                while total < limit_bytes:
                    part = local.recv(1 << 16)
                    if not part:
                        break
                    parts.append(part)
                    total += len(part)
        except OSError as error:
            raise _host_error("speak with", path, error) from error
        return b"".join(parts)

    # Clock

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def stamp(self, seconds: float) -> str:
        """Return a time as RFC 3339 in UTC, to the second."""
        t = time.gmtime(seconds)
        return f"{t[0]:04}-{t[1]:02}-{t[2]:02}T{t[3]:02}:{t[4]:02}:{t[5]:02}Z"

    def boot(self) -> float | None:
        """Return when the machine started, in seconds since the epoch."""
        clock = getattr(time, "CLOCK_BOOTTIME", None)
        return None if clock is None else time.time() - time.clock_gettime(clock)

    # The whole

    def name(self) -> str:
        """Return the host's name."""
        return _socket.gethostname()

    def system(self) -> tuple[str, str]:
        """Return the system's name and its kernel's release."""
        if not hasattr(os, "uname"):
            import platform

            return platform.system(), platform.release()
        uname = os.uname()
        return uname.sysname, uname.release

    def within(self, path: str) -> Machine:
        """Return the same machine, seen from the network namespace at `path`."""
        return Machine(max(0.0, self._ends - time.monotonic()), path)

    def pids(self) -> list[int]:
        """Return the process ids that /proc shows, lowest first."""
        try:
            return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        except OSError as error:
            raise _host_error("read directory", "/proc", error) from error

    def descriptors(self, pid: int) -> Iterable[tuple[int, str]]:
        """Yield descriptor and link text of each open file of a process.

        Reading the links from the directory's own descriptor spares the kernel the walk from the root: that
        is a third of the cost of the search for holders.
        """
        path = f"/proc/{pid}/fd"
        try:
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _host_error("read directory", path, error) from error
        return _links(directory, path)

    def descriptor_count(self, pid: int) -> int:
        """Return how many files a process has open; 0 where the kernel doesn't say (before 6.2)."""
        try:
            return os.stat(f"/proc/{pid}/fd").st_size
        except OSError as error:
            raise _host_error("look at", f"/proc/{pid}/fd", error) from error

    def _left(self, what: str) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise HostError(f"ask {what}", "ETIMEDOUT", "no time left")
        return left

    def _inside(self, act: Callable[[], Answer]) -> Answer:
        """Run `act` in this machine's namespace: in a thread of its own where that isn't ours."""
        netns = self._netns
        if netns is None:
            return act()
        return _in_namespace(netns, act)


def _in_namespace(netns: str, act: Callable[[], Answer]) -> Answer:
    import ctypes
    import threading

    answers: list[Answer] = []
    failures: list[BaseException] = []

    def enter() -> None:
        try:
            file = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(file, _CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(file)
            answers.append(act())
        except BaseException as error:  # noqa: BLE001 -- carried over to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    thread.join()
    if failures:
        failure = failures[0]
        if isinstance(failure, OSError):
            raise _host_error("enter", netns, failure) from failure
        raise failure
    return answers[0]


def _links(directory: int, path: str) -> Iterator[tuple[int, str]]:
    """Lazily, so that a search that ends early doesn't pay for a process with thousands of descriptors."""
    readlink = os.readlink
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                try:
                    yield int(name), readlink(name, dir_fd=directory)
                except FileNotFoundError:  # closed since
                    continue
    except OSError as error:
        raise _host_error("read directory", path, error) from error
    finally:
        os.close(directory)


def _read(path: str, limit_bytes: int) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _host_error("open", path, error) from error
    try:
        data = os.read(file, limit_bytes)
        if not data or len(data) == limit_bytes:
            return data
        parts = [data]
        left = limit_bytes - len(data)
        while left > 0 and data:  # /proc gives a page at a time
            data = os.read(file, left)
            parts.append(data)
            left -= len(data)
        return b"".join(parts)
    except OSError as error:
        raise _host_error("read", path, error) from error
    finally:
        os.close(file)


def _names(path: str) -> list[Name]:
    try:
        with os.scandir(path) as entries:
            return [Name(e.name, e.inode(), _kind(e)) for e in entries]
    except OSError as error:
        raise _host_error("read directory", path, error) from error


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def _host_error(verb: str, what: str, error: OSError) -> HostError:
    if isinstance(error, TimeoutError) and error.errno is None:
        return HostError(f"{verb} {what}", "ETIMEDOUT", "timed out")
    name = errno_module.errorcode.get(error.errno or 0, "")
    return HostError(f"{verb} {what}", name, error.strerror or str(error))


def _is_last(part: bytes, what: str) -> bool:
    """Whether a datagram ends the answer. Raises HostError where it says that the kernel couldn't."""
    at = 0
    flags = 0
    while at + 16 <= len(part):
        length = int.from_bytes(part[at : at + 4], _ORDER)
        kind = int.from_bytes(part[at + 4 : at + 6], _ORDER)
        flags = int.from_bytes(part[at + 6 : at + 8], _ORDER)
        if kind in (_NLMSG_DONE, _NLMSG_ERROR):
            code = int.from_bytes(part[at + 16 : at + 20], _ORDER, signed=True) if length >= 20 else 0
            if code < 0:
                name = errno_module.errorcode.get(-code, "")
                raise HostError(f"ask {what}", name, os.strerror(-code))
            return True
        if length < 16:
            raise HostError(f"ask {what}", "EBADMSG", "malformed netlink message")
        at += (length + 3) & ~3
    return not flags & _NLM_F_MULTI


def _found(program: str) -> str | None:
    for folder in SEARCH_PATH:
        path = f"{folder}/{program}"
        if os.access(path, os.X_OK):
            return path
    return None


def _spawn(program: str, argv: Sequence[str], limit_bytes: int, ends: float) -> Ran:
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, out_write, 1),
        (os.POSIX_SPAWN_DUP2, err_write, 2),
    ]
    environment = {"PATH": ":".join(SEARCH_PATH), "LC_ALL": "C", "HOME": "/", "TERM": "dumb"}
    # Signals that Python ignores would stay ignored in the program: SIGPIPE (13), SIGXFSZ (25).
    try:
        pid = os.posix_spawn(program, list(argv), environment, file_actions=actions, setpgroup=0, setsigdef=(13, 25))
    except OSError as error:
        os.close(out_read)
        os.close(err_read)
        raise _host_error("run", program, error) from error
    finally:
        os.close(out_write)
        os.close(err_write)
    outputs, finished = _collect((out_read, err_read), limit_bytes, ends)
    if not finished:
        os.killpg(pid, 9)
    _, status = os.waitpid(pid, 0)
    if not finished and time.monotonic() >= ends:
        raise HostError(f"run {argv[0]}", "ETIMEDOUT", "timed out")
    return Ran(os.waitstatus_to_exitcode(status), outputs[0], outputs[1], not finished)


def _collect(pipes: tuple[int, int], limit_bytes: int, ends: float) -> tuple[tuple[bytes, bytes], bool]:
    """Read both pipes to their ends; False where time or size ended it first."""
    import select

    parts: dict[int, list[bytes]] = {pipe: [] for pipe in pipes}
    waiting = set(pipes)
    total = 0
    poll = select.poll()
    for pipe in pipes:
        poll.register(pipe, select.POLLIN | select.POLLHUP)
    try:
        while waiting and total <= limit_bytes:
            left = ends - time.monotonic()
            if left <= 0:
                break
            for pipe, _ in poll.poll(left * 1000):
                data = os.read(pipe, 1 << 16)
                parts[pipe].append(data)
                total += len(data)
                if not data:
                    waiting.discard(pipe)
                    poll.unregister(pipe)
    finally:
        for pipe in pipes:
            os.close(pipe)
    return (b"".join(parts[pipes[0]]), b"".join(parts[pipes[1]])), not waiting


def _options(other: _socket.socket) -> dict[str, int]:
    import fcntl

    options = {
        "reuseaddr": other.getsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR),
        "reuseport": other.getsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT),
        "v6only": -1,
        "netns": -1,
    }
    if other.family == _socket.AF_INET6:
        options["v6only"] = other.getsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY)
    try:
        namespace = fcntl.ioctl(other.fileno(), _SIOCGSKNS)
    except OSError:
        return options  # needs CAP_NET_ADMIN there
    try:
        options["netns"] = os.fstat(namespace).st_ino
    finally:
        os.close(namespace)
    return options


_SIOCGSKNS = 0x894C  # include/uapi/linux/sockios.h: a descriptor of the socket's network namespace
