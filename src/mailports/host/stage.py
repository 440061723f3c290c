"""A stage of its own: a network namespace with stand-ins in it, for `mailports demo`. Nothing is left behind.

The stage is a child process that enters a new network namespace (with a user namespace of its own where
it isn't root) and so never touches the machine's. Its stand-ins are children of that child; the kernel kills
them when it ends (PR_SET_PDEATHSIG), however it ends, and the namespace goes with the last of them.

Source: unshare(2), prctl(2), network_namespaces(7), netdevice(7).

Limits: where the system forbids unprivileged user namespaces, only root can make a stage.
"""

from __future__ import annotations

import _socket
import os
import sys
import time

from mailports.faults import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NAME, _SIGKILL = 1, 15, 9
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_LIFE_S = 60


class StandIn:
    """A process that listens, under the name of a program that it isn't.

    Args:
        name: the process name it shows.
        addresses: address and port of each listener.
        reuseport: whether it sets SO_REUSEPORT, as Postfix and HAProxy do.
    """

    def __init__(self, name: str, addresses: Sequence[tuple[str, int]], *, reuseport: bool = False) -> None:
        self.name = name
        self.addresses = addresses
        self.reuseport = reuseport


def play(stand_ins: Sequence[StandIn], act: Callable[[], int]) -> int:
    """Run `act` in a namespace of its own in which the stand-ins listen, and return its result.

    Raises:
        HostError: the system doesn't allow a namespace.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _in_child(stand_ins, act, write)
    os.close(write)
    problem = b""
    while part := os.read(read, 4096):
        problem += part
    os.close(read)
    _, status = os.waitpid(child, 0)
    if problem:
        errno, _, reason = problem.decode().partition(" ")
        raise HostError(
            "make a network namespace",
            errno,
            reason,
            "run as root, or allow user namespaces (user.max_user_namespaces)",
        )
    return os.waitstatus_to_exitcode(status)


def _in_child(stand_ins: Sequence[StandIn], act: Callable[[], int], report: int) -> None:
    """Never returns: what goes wrong before the act is reported, what goes wrong in it is the act's to say."""
    import errno as errno_module

    result = 70
    try:
        _die_with_parent()
        _enter_namespace()
        _loopback_up()
        for stand_in in stand_ins:
            _start(stand_in)
        os.close(report)
        result = act()
    except OSError as error:
        name = errno_module.errorcode.get(error.errno or 0, "")
        os.write(report, f"{name} {error.strerror}".encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(result)


def _enter_namespace() -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNET | (0 if uid == 0 else _CLONE_NEWUSER)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if uid != 0:  # be root in there, so that 25 can be bound
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            file = os.open(f"/proc/self/{name}", os.O_WRONLY)
            try:
                os.write(file, text.encode())
            finally:
                os.close(file)


def _loopback_up() -> None:
    import fcntl
    import struct

    control = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        answer = fcntl.ioctl(control.fileno(), _SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
        _, flags = struct.unpack("16sh22x", answer)
        fcntl.ioctl(control.fileno(), _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))
    finally:
        control.close()


def _start(stand_in: StandIn) -> None:
    """Start a stand-in, and return once it listens."""
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            _die_with_parent()
            _name(stand_in.name)
            listeners = [_listener(address, port, stand_in.reuseport) for address, port in stand_in.addresses]
            os.write(write, b"\1" if listeners else b"")
            os.close(write)
            time.sleep(_LIFE_S)
        finally:
            os._exit(0)
    os.close(write)
    is_up = os.read(read, 1)
    os.close(read)
    if not is_up:
        raise OSError(98, f"stand-in {stand_in.name} couldn't listen")


def _listener(address: str, port: int, reuseport: bool) -> _socket.socket:  # noqa: FBT001
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    made = _socket.socket(family, _socket.SOCK_STREAM)
    made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    if family == _socket.AF_INET6:
        made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
    if reuseport:
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
    made.bind((address, port))
    made.listen(16)
    return made


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def _name(name: str) -> None:
    import ctypes

    _prctl(_PR_SET_NAME, ctypes.create_string_buffer(name.encode()[:15]))


def _prctl(option: int, value: object) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
