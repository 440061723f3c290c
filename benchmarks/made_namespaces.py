"""Namespaces of a benchmark's own (pid, mount, network, cgroup, ipc, host name); all of it goes when the work ends.

Three processes: the one that calls `run_inside` stays outside; the keeper unshares and waits; the first process is
PID 1 inside, builds, and forks the one that measures. When PID 1 ends, the kernel ends all others in the namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NoReturn, TypeVar

Built = TypeVar("Built")

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_NAMESPACES = (
    0x00020000  # mount
    | 0x02000000  # cgroup
    | 0x04000000  # host name
    | 0x08000000  # ipc
    | 0x20000000  # pid, of the children
    | 0x40000000  # network
)
_MS_RDONLY, _MS_REC, _MS_PRIVATE = 0x1, 0x4000, 0x40000
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1

CGROUP_ROOT = Path("/sys/fs/cgroup")  # inside
HOME = Path("/run/home")  # inside: a tmpfs, so that nothing of this machine is read or written there
_SUBTREE = "mailports-bench-"


class NotMadeError(Exception):
    """The namespaces, or what should be in them, couldn't be made."""


def _call(function: str, *arguments: Any) -> None:
    if getattr(_LIBC, function)(*arguments) != 0:
        number = ctypes.get_errno()
        shown = ", ".join(a.decode() if isinstance(a, bytes) else repr(a) for a in arguments)
        raise OSError(number, f"{function}({shown}): {os.strerror(number)}")


def set_name(name: str) -> None:
    """Give this process the name that /proc/PID/comm shows (15 bytes)."""
    _call("prctl", _PR_SET_NAME, name.encode(), 0, 0, 0)


def enter_cgroup(path: str) -> None:
    """Move this process into a cgroup below the root that is seen inside."""
    directory = CGROUP_ROOT / path
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cgroup.procs").write_text("0")


def run_inside(build: Callable[[], Built], measure: Callable[[Built], Any], deadline: float) -> Any:
    """Build a host inside, measure it in a session of its own, hand back what `measure` returned (as JSON can carry).

    `deadline` is of `time.monotonic`. Whatever happens, nothing of it remains.
    """
    if os.geteuid() != 0:
        raise NotMadeError("namespaces of one's own need root")
    with _cgroup_subtree() as subtree:
        reading, writing = os.pipe()
        keeper = os.fork()
        if keeper == 0:
            os.close(reading)
            _end_with(_keep, subtree, build, measure, writing)
        os.close(writing)
        try:
            return _read_answer(reading, deadline)
        finally:
            os.close(reading)
            _end_keeper(keeper)


def _read_answer(reading: int, deadline: float) -> Any:
    collected = b""
    while not collected.endswith(b"\n"):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([reading], [], [], left_s)[0]:
            raise NotMadeError("the deadline has passed")
        chunk = os.read(reading, 1 << 16)
        if not chunk:
            raise NotMadeError("the processes inside ended without an answer")
        collected += chunk
    answer = json.loads(collected)
    if "error" in answer:
        raise NotMadeError(answer["error"])
    return answer["result"]


def _end_keeper(keeper: int) -> None:
    """The keeper ends PID 1 and returns when the kernel has ended every process inside."""
    with _signals_held():
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper, signal.SIGTERM)
        os.waitpid(keeper, 0)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _cgroup_subtree() -> Iterator[Path]:
    root = _cgroup2_mount()
    for old in root.glob(_SUBTREE + "*"):  # left by a run that was killed
        if not Path("/proc", old.name[len(_SUBTREE) :]).exists():
            _remove_cgroups(old)
    subtree = root / f"{_SUBTREE}{os.getpid()}"
    subtree.mkdir(exist_ok=True)
    try:
        yield subtree
    finally:
        with _signals_held():
            _remove_cgroups(subtree)


def _cgroup2_mount() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split(" ")
        if kind == "cgroup2" and Path(target, "cgroup.procs").exists():
            return Path(target)
    raise NotMadeError("no cgroup2 mount on this machine: mount -t cgroup2 cgroup2 SOMEWHERE")


def _remove_cgroups(subtree: Path) -> None:
    for _ in range(200):  # a cgroup stays busy for a moment after its last process
        for directory, _, _ in os.walk(subtree, topdown=False):
            with contextlib.suppress(OSError):
                Path(directory).rmdir()
        if not subtree.exists():
            return
        time.sleep(0.05)
    raise NotMadeError(f"{subtree} can't be removed: a process is still in it")


def _end_with(function: Callable[..., int], *arguments: Any) -> NoReturn:
    """End this forked process with what `function` returns; no exception leaves it."""
    status = 1
    try:
        status = function(*arguments)
    except BaseException:  # noqa: BLE001  a forked process has no caller to raise to
        traceback.print_exc()
    finally:
        os._exit(status)


def fork_to(function: Callable[..., int], *arguments: Any) -> int:
    """Fork a process that does `function` and ends; its process id."""
    child = os.fork()
    if child == 0:
        _end_with(function, *arguments)
    return child


def _die_with_parent() -> None:
    _call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _keep(subtree: Path, build: Callable[[], Any], measure: Callable[[Any], Any], writing: int) -> int:
    outside = os.getppid()
    first = 0

    def end(*_: object) -> None:
        if first:
            os.kill(first, signal.SIGKILL)
        else:
            os._exit(1)

    os.setsid()  # Ctrl-C is for the one outside, who then ends us
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    _die_with_parent()
    if os.getppid() != outside:
        return 1
    (subtree / "cgroup.procs").write_text("0")
    _call("unshare", _NEW_NAMESPACES)
    first = fork_to(_be_first, build, measure, writing)
    os.close(writing)
    _, status = os.waitpid(first, 0)
    return 0 if status == 0 else 1


def _be_first(build: Callable[[], Any], measure: Callable[[Any], Any], writing: int) -> int:
    _die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        _mount_all()
        _bring_loopback_up()
        enter_cgroup("init.scope")
        _call("sethostname", b"mx.example", 10)
        os.chdir("/")
        built = build()
    except BaseException:  # noqa: BLE001  told to the one outside
        _answer(writing, {"error": traceback.format_exc()})
        return 1
    session = fork_to(_be_session, built, measure, writing)
    while True:  # PID 1 reaps
        pid, status = os.wait()
        if pid == session:
            return 0 if status == 0 else 1


def _be_session(built: Any, measure: Callable[[Any], Any], writing: int) -> int:
    try:
        enter_cgroup("user.slice/user-0.slice/session-1.scope")
        _answer(writing, {"result": measure(built)})
    except BaseException:  # noqa: BLE001  told to the one outside
        _answer(writing, {"error": traceback.format_exc()})
    return 0


def _answer(writing: int, answer: dict[str, Any]) -> None:
    left = json.dumps(answer).encode() + b"\n"
    while left:
        left = left[os.write(writing, left) :]


def _mount_all() -> None:
    _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    # Detached first: a mount that is only covered would still be in the mount table.
    for directory in (b"/sys", b"/proc"):
        _call("umount2", directory, _MNT_DETACH)
    _call("mount", b"proc", b"/proc", b"proc", 0, None)
    _call("mount", b"sysfs", b"/sys", b"sysfs", _MS_RDONLY, None)
    _call("mount", b"cgroup2", b"/sys/fs/cgroup", b"cgroup2", 0, None)
    _call("mount", b"tmpfs", b"/run", b"tmpfs", 0, b"mode=755")
    HOME.mkdir()


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
