"""Trials of bind(2) and listen(2) on real sockets, in a network namespace of their own.

A *trial* makes an existing socket in some state, lets newcomers bind beside it, and compares what the kernel
says with `would_bind`. Everything happens in a forked child that leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import pickle
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import count, product
from typing import Any, NamedTuple, TypeVar, cast

from mailports.bind import would_bind, would_listen
from mailports.model.facts import Address, Endpoint, Setting, Socket
from mailports.model.verdicts import BindRequest, Verdict

T = TypeVar("T")

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SO_BINDTODEVICE, SO_REUSEADDR, SO_REUSEPORT, IPV6_V6ONLY = 25, 2, 15, 26
IPPROTO_MPTCP = 262
OTHER_UID = 1000
DEVICE = "other0"
DEVICES = (None, "lo", DEVICE)
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
PORT = 25  # the records say this port, whatever the real one: so equal cases are judged once
GLOBAL6 = "fd00::9"  # an IPv6 address that isn't loopback; given to `lo`

ADDRESSES = (
    Address("127.0.0.1", 8, "lo", None),
    Address("::1", 128, "lo", None),
    Address(GLOBAL6, 128, "lo", None),
)

STATES = {"established": 1, "syn-sent": 2, "fin-wait-2": 5, "time-wait": 6, "close-wait": 8, "listen": 10}
"""Numbers of the states in /proc/net/tcp."""


class Unavailable(Exception):  # noqa: N818 - no error: a reason to skip
    """This machine can't do what the trial needs."""


# The namespace.


def in_namespace(work: Callable[[], T], limit_s: float = 300) -> T:
    """Run `work` in a forked child with a network namespace of its own, and return its result."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reads)
        _run_and_exit(work, writes)
    os.close(writes)
    try:
        answer = _read_all(reads, time.monotonic() + limit_s)
    finally:
        os.close(reads)
        try:
            os.kill(pid, signal.SIGKILL)  # it has ended, unless something failed here
        except ProcessLookupError:
            pass
        os.waitpid(pid, 0)
    kind, value = pickle.loads(answer) if answer else ("failed", "the child died without an answer")
    if kind == "unavailable":
        raise Unavailable(value)
    if kind == "failed":
        raise AssertionError(value)
    return cast("T", value)


def _run_and_exit(work: Callable[[], Any], writes: int) -> None:
    try:
        try:
            enter_namespace()
            answer = ("done", work())
        except Unavailable as reason:
            answer = ("unavailable", str(reason))
        except BaseException:  # noqa: BLE001 - the parent must hear of it
            answer = ("failed", traceback.format_exc())
        with os.fdopen(writes, "wb") as pipe:
            pickle.dump(answer, pipe)
    finally:
        os._exit(0)


def _read_all(reads: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([reads], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(reads, 1 << 20) if ready else b""
        if not part:
            return b"".join(parts) if ready else b""
        parts.append(part)


def enter_namespace() -> None:
    """Move this process into a fresh network namespace with `lo` up and a second device."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    uid = os.geteuid()
    if libc.unshare(flags) != 0:
        raise Unavailable(f"unshare: {os.strerror(ctypes.get_errno())}")
    if flags & CLONE_NEWUSER:
        with open("/proc/self/uid_map", "w") as uid_map:  # noqa: PTH123
            uid_map.write(f"0 {uid} 1")
    with socket.socket() as door:
        fcntl.ioctl(door, 0x8914, struct.pack("16sH14x", b"lo", 0x49))  # SIOCSIFFLAGS: up, loopback, running
    if shutil.which("ip") is None:
        raise Unavailable("the program ip isn't there to make a second device")
    for kind in (["dummy"], ["bridge"], ["veth", "peer", "name", "other1"]):
        made = subprocess.run(["ip", "link", "add", DEVICE, "type", *kind], capture_output=True, check=False)
        if made.returncode == 0:
            break
    else:
        raise Unavailable("no second device: neither dummy, bridge nor veth is in this kernel")
    subprocess.run(["ip", "link", "set", DEVICE, "up"], check=True)
    subprocess.run(["ip", "addr", "add", f"{GLOBAL6}/128", "dev", "lo", "nodad"], check=True)


def uids() -> tuple[int, ...]:
    """Return the user ids that a socket can be given here; one only in an unprivileged user namespace."""
    with socket.socket() as trial:
        try:
            os.fchown(trial.fileno(), OTHER_UID, -1)
        except OSError:
            return (0,)
    return (0, OTHER_UID)


# What a socket may be.


class Form(NamedTuple):
    """A family, address and v6only that a socket may bind; `peer` is whom a connection of it goes to."""

    family: int
    address: str
    v6only: bool
    peer: str


FORMS = (
    Form(4, "0.0.0.0", False, "127.0.0.1"),
    Form(4, "127.0.0.1", False, "127.0.0.1"),
    Form(4, "127.0.0.2", False, "127.0.0.1"),
    Form(4, "127.0.0.6", False, "127.0.0.1"),  # as which an IPv6 connection poses
    Form(6, "::", False, "::1"),
    Form(6, "::", True, "::1"),
    Form(6, "::1", False, "::1"),
    Form(6, GLOBAL6, False, GLOBAL6),
    Form(6, "::ffff:0.0.0.0", False, "::ffff:127.0.0.1"),
    Form(6, "::ffff:127.0.0.1", False, "::ffff:127.0.0.1"),
    Form(6, "::ffff:127.0.0.2", False, "::ffff:127.0.0.1"),
)
VIA_IPV4 = Form(6, "::", False, "::ffff:127.0.0.1")
"""A dual-stack socket whose connection is an IPv4 one: another form for what connects."""


class Options(NamedTuple):
    """How a socket is bound."""

    reuseaddr: bool
    reuseport: bool
    device: str | None
    uid: int = 0


class Newcomer(NamedTuple):
    """A bind to try, and the same as a question to `would_bind`."""

    form: Form
    options: Options
    want: BindRequest


class Existing(NamedTuple):
    """A socket in some state, and whatever else is at its port."""

    port: int
    records: tuple[Socket, ...]
    kept: tuple[socket.socket, ...]

    def close(self) -> None:
        """Close everything without leaving TIME_WAIT."""
        for one in self.kept:
            _reset(one)


def opened(kind: int, form: Form, options: Options, protocol: int = 0) -> socket.socket:
    """Return a new socket with its options set, not yet bound."""
    one = socket.socket(socket.AF_INET if form.family == 4 else socket.AF_INET6, kind, protocol)
    if options.reuseaddr:
        one.setsockopt(socket.SOL_SOCKET, SO_REUSEADDR, 1)
    if options.reuseport:
        one.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
    if form.family == 6:
        one.setsockopt(socket.IPPROTO_IPV6, IPV6_V6ONLY, form.v6only)
    if options.device:
        one.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, options.device.encode())
    if options.uid:
        os.fchown(one.fileno(), options.uid, -1)
    return one


def newcomers(protocol: str) -> list[Newcomer]:
    """Return every bind to try: the product of forms, SO_REUSEADDR, SO_REUSEPORT, uid and device."""
    return [
        Newcomer(form, Options(addr, port, device, uid), wanted(protocol, form, Options(addr, port, device, uid)))
        for form, addr, port, uid, device in product(FORMS, (False, True), (False, True), uids(), DEVICES)
    ]


def wanted(protocol: str, form: Form, options: Options) -> BindRequest:
    """Return a bind as a question to `would_bind`."""
    endpoint = Endpoint(protocol, form.address, PORT, form.v6only if form.family == 6 else None, options.device)
    return BindRequest(endpoint, form.family, options.reuseaddr, options.reuseport, options.uid)


def record_of(one: socket.socket, state: str, device: str | None) -> Socket:
    """Return a socket as the kernel has it, every option told."""
    family = 4 if one.family == socket.AF_INET else 6
    only = None if family == 4 else bool(one.getsockopt(socket.IPPROTO_IPV6, IPV6_V6ONLY))
    protocol = "udp" if one.type == socket.SOCK_DGRAM else "tcp"
    return Socket(
        Endpoint(protocol, one.getsockname()[0], PORT, only, device),
        family,
        state,
        uid=os.fstat(one.fileno()).st_uid,
        reuseaddr=bool(one.getsockopt(socket.SOL_SOCKET, SO_REUSEADDR)),
        reuseport=bool(one.getsockopt(socket.SOL_SOCKET, SO_REUSEPORT)),
    )


def as_sock_diag_shows(record: Socket) -> Socket:
    """Return a socket without what sock_diag hides."""
    is_open = record.state in ("listen", "bound", "unconnected")
    endpoint = record.endpoint if is_open else record.endpoint._replace(v6only=None)
    uid = None if record.state == "time-wait" else record.uid
    return record._replace(endpoint=endpoint, uid=uid, reuseaddr=None, reuseport=None)


def as_netstat_shows(record: Socket) -> Socket:
    """Return a socket of which only endpoint, family and state are known."""
    endpoint = record.endpoint._replace(v6only=None)
    return record._replace(endpoint=endpoint, uid=None, reuseaddr=None, reuseport=None)


def _reset(one: socket.socket) -> None:
    if one.fileno() >= 0 and one.type == socket.SOCK_STREAM:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


# Ways to get a socket into a state. Each takes (world, form, options) and gives an Existing, or None where the
# combination can't be made.


class World:
    """A namespace with a server to connect to."""

    def __init__(self) -> None:
        self.ports = count(2000)
        self.server_port = 1999
        self.servers = {4: self._server(FORMS[0], 1024), 6: self._server(FORMS[5], 1024)}
        self.full_port = 1998
        self.chosen: set[int] = set()
        self.crowd: list[socket.socket] = []

    def _server(self, form: Form, backlog: int, port: int = 1999) -> socket.socket:
        one = opened(socket.SOCK_STREAM, form, Options(True, False, None))
        one.bind((form.address, port))
        one.listen(backlog)
        return one

    def fill(self) -> None:
        """Make a server that answers no SYN any more, as its backlog is full."""
        for form in (FORMS[0], FORMS[5]):
            self.crowd.append(self._server(form, 0, self.full_port))
            for _ in range(2):
                client = opened(socket.SOCK_STREAM, form, Options(False, False, None))
                client.setblocking(False)
                client.connect_ex((form.peer, self.full_port))
                self.crowd.append(client)

    def connect(self, client: socket.socket, peer: str) -> socket.socket:
        """Connect to the server and return its side."""
        client.connect((peer, self.server_port))
        return self.servers[4 if "." in peer else 6].accept()[0]


Make = Callable[[World, Form, Options], "Existing | None"]


def _bound(world: World, form: Form, options: Options, port: int | None = None) -> tuple[int, socket.socket]:
    at = next(world.ports) if port is None else port
    one = opened(socket.SOCK_STREAM, form, options)
    one.bind((form.address, at))
    return one.getsockname()[1], one


def bound(world: World, form: Form, options: Options) -> Existing:
    port, one = _bound(world, form, options)
    return Existing(port, (record_of(one, "bound", options.device),), (one,))


def listening(world: World, form: Form, options: Options) -> Existing:
    port, one = _bound(world, form, options)
    one.listen()
    return Existing(port, (record_of(one, "listen", options.device),), (one,))


def listening_by_mptcp(world: World, form: Form, options: Options) -> Existing:
    port = next(world.ports)
    try:
        one = opened(socket.SOCK_STREAM, form, options, IPPROTO_MPTCP)
    except OSError as failed:
        raise Unavailable(f"no MPTCP: {failed}") from failed
    one.bind((form.address, port))
    one.listen()
    record = record_of(one, "listen", options.device)
    if form.address in ("::1", GLOBAL6):  # asked, MPTCP says what its program set; sock_diag says what counts
        record = record._replace(endpoint=record.endpoint._replace(v6only=True))
    return Existing(port, (record,), (one,))


def shut_down(world: World, form: Form, options: Options) -> Existing:
    port, one = _bound(world, form, options)
    one.listen()
    one.shutdown(socket.SHUT_RDWR)
    return Existing(port, (record_of(one, "bound", options.device),), (one,))


def disconnected(world: World, form: Form, options: Options) -> Existing:
    """A listener that connect(AF_UNSPEC) turned back into a bound socket."""
    port, one = _bound(world, form, options)
    one.listen()
    if ctypes.CDLL(None).connect(one.fileno(), b"\0" * 16, 16) != 0:
        raise AssertionError("connect(AF_UNSPEC) failed")
    return Existing(port, (record_of(one, "bound", options.device),), (one,))


def _late(begin: Make, level: int, option: int, *, on: bool) -> Make:
    """Return a way that changes an option afterwards, from what it was at bind to `on`."""

    def make(world: World, form: Form, options: Options) -> Existing | None:
        existing = begin(world, form, options)
        if existing is None:
            return None
        one = existing.kept[0]
        one.setsockopt(level, option, on)
        record = existing.records[0]
        changed = record._replace(reuseaddr=on) if option == SO_REUSEADDR else record._replace(reuseport=on)
        return existing._replace(records=(changed, *existing.records[1:]))

    return make


def device_late(world: World, form: Form, options: Options) -> Existing | None:
    if options.device is None:
        return None
    port, one = _bound(world, form, options._replace(device=None))
    one.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, options.device.encode())
    return Existing(port, (record_of(one, "bound", options.device),), (one,))


def uid_late(world: World, form: Form, options: Options) -> Existing:
    if len(uids()) == 1:
        raise Unavailable("one user id only in this user namespace")
    port, one = _bound(world, form, options)
    os.fchown(one.fileno(), OTHER_UID, -1)
    return Existing(port, (record_of(one, "bound", options.device),), (one,))


def _far(options: Options) -> bool:
    return options.device == DEVICE  # no connection to this host passes there


def client(world: World, form: Form, options: Options) -> Existing:
    """A client that bound its port itself; its device may be set once it is connected."""
    port, one = _bound(world, form, options._replace(device=None) if _far(options) else options)
    other = world.connect(one, form.peer)
    if _far(options):
        one.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, DEVICE.encode())
    return Existing(port, (record_of(one, "established", options.device),), (one, other))


def autobound_client(world: World, form: Form, options: Options) -> Existing | None:
    """A client whose port connect() chose; it has no address of its own to choose."""
    if _far(options) or form.address not in ("0.0.0.0", "::", "::ffff:0.0.0.0"):
        return None
    while True:
        one = opened(socket.SOCK_STREAM, form, options)
        other = world.connect(one, form.peer)
        port = one.getsockname()[1]
        if port not in world.chosen:  # else it may share it with the TIME_WAIT of another peer's client
            break
        _reset(one)
        _reset(other)
    world.chosen.add(port)
    return Existing(port, (record_of(one, "established", options.device),), (one, other))


def client_of_port_zero(world: World, form: Form, options: Options) -> Existing | None:
    """A client that chose its address, and let bind() choose the port."""
    if _far(options):
        return None
    port, one = _bound(world, form, options, 0)
    other = world.connect(one, form.peer)
    return Existing(port, (record_of(one, "established", options.device),), (one, other))


def syn_sent(world: World, form: Form, options: Options) -> Existing | None:
    if _far(options):
        return None
    if not world.crowd:
        world.fill()
    port, one = _bound(world, form, options)
    one.setblocking(False)
    one.connect_ex((form.peer, world.full_port))
    return Existing(port, (record_of(one, "syn-sent", options.device),), (one,))


def refused(world: World, form: Form, options: Options) -> Existing | None:
    """A client whose connect() failed: bound still."""
    if _far(options):
        return None
    port, one = _bound(world, form, options)
    if one.connect_ex((form.peer, 1)) != errno.ECONNREFUSED:
        raise AssertionError("port 1 listens?")
    return Existing(port, (record_of(one, "bound", options.device),), (one,))


def refused_unread(world: World, form: Form, options: Options) -> Existing | None:
    """The same, and the program hasn't heard of it yet: the address is still the connection's."""
    if _far(options):
        return None
    port, one = _bound(world, form, options)
    one.setblocking(False)
    one.connect_ex((form.peer, 1))
    return Existing(port, (record_of(one, "bound", options.device),), (one,))


def _accepted(world: World, form: Form, options: Options) -> tuple[int, socket.socket, socket.socket, socket.socket]:
    """Return port, listener, accepted child, and the client on another port."""
    port, listener = _bound(world, form, options)
    listener.listen()
    to = form.peer if form.address in ("0.0.0.0", "::", "::ffff:0.0.0.0") else form.address
    to = to.replace("::ffff:", "")
    near = socket.create_connection((to, port))
    return port, listener, listener.accept()[0], near


def child_beside_listener(world: World, form: Form, options: Options) -> Existing | None:
    if _far(options):
        return None
    port, listener, child, near = _accepted(world, form, options)
    records = record_of(listener, "listen", options.device), record_of(child, "established", options.device)
    return Existing(port, records, (listener, child, near))


def child_not_accepted(world: World, form: Form, options: Options) -> Existing | None:
    if _far(options):
        return None
    port, listener, child, near = _accepted(world, form, options)
    waiting = socket.create_connection(near.getpeername()[:2])
    records = record_of(listener, "listen", options.device), record_of(child, "established", options.device)
    return Existing(port, records, (listener, child, near, waiting))


def child_alone(world: World, form: Form, options: Options) -> Existing | None:
    port, listener, child, near = _accepted(world, form, options._replace(device=None) if _far(options) else options)
    listener.close()
    if _far(options):
        child.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, DEVICE.encode())
    return Existing(port, (record_of(child, "established", options.device),), (child, near))


def child_in_close_wait(world: World, form: Form, options: Options) -> Existing | None:
    if _far(options):
        return None
    port, listener, child, near = _accepted(world, form, options)
    listener.close()
    near.shutdown(socket.SHUT_WR)
    return Existing(port, (record_of(child, "close-wait", options.device),), (child, near))


def child_in_time_wait(world: World, form: Form, options: Options) -> Existing | None:
    if _far(options):
        return None
    port, listener, child, near = _accepted(world, form, options)
    listener.close()
    record = _close_first(child, near, options.device)
    return Existing(port, (record,), ())


def time_wait_beside_listener(world: World, form: Form, options: Options) -> Existing | None:
    if _far(options):
        return None
    port, listener, child, near = _accepted(world, form, options)
    record = _close_first(child, near, options.device)
    return Existing(port, (record_of(listener, "listen", options.device), record), (listener,))


def client_in_time_wait(world: World, form: Form, options: Options) -> Existing | None:
    if _far(options):
        return None
    port, one = _bound(world, form, options)
    record = _close_first(one, world.connect(one, form.peer), options.device)
    return Existing(port, (record,), ())


def autobound_client_in_time_wait(world: World, form: Form, options: Options) -> Existing | None:
    existing = autobound_client(world, form, options)
    if existing is None:
        return None
    record = _close_first(existing.kept[0], existing.kept[1], options.device)
    return Existing(existing.port, (record,), ())


def fin_wait_2(world: World, form: Form, options: Options) -> Existing | None:
    existing = None if _far(options) else client(world, form, options)
    if existing is None:
        return None
    existing.kept[0].shutdown(socket.SHUT_WR)
    _acknowledge(existing.kept[1])
    return existing._replace(records=(existing.records[0]._replace(state="fin-wait-2"),))


def orphan_in_fin_wait_2(world: World, form: Form, options: Options) -> Existing | None:
    """Closed on this side only: the kernel keeps a TIME_WAIT object, and doesn't tell its uid."""
    existing = None if _far(options) else client(world, form, options)
    if existing is None:
        return None
    existing.kept[0].close()
    _acknowledge(existing.kept[1])
    record = existing.records[0]._replace(state="fin-wait-2", uid=None)
    return Existing(existing.port, (record,), existing.kept[1:])


def _acknowledge(one: socket.socket) -> None:
    assert one.recv(1) == b""
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # a FIN's acknowledgement may wait 40 ms


def _close_first(first: socket.socket, second: socket.socket, device: str | None) -> Socket:
    """Close one side, then the other, and return the TIME_WAIT that is left."""
    record = record_of(first, "time-wait", device)
    first.close()
    second.close()
    return record


TCP_WAYS: dict[str, Make] = {
    "bound": bound,
    "bound, SO_REUSEADDR set late": _late(bound, socket.SOL_SOCKET, SO_REUSEADDR, on=True),
    "bound, SO_REUSEADDR cleared late": _late(bound, socket.SOL_SOCKET, SO_REUSEADDR, on=False),
    "bound, SO_REUSEPORT set late": _late(bound, socket.SOL_SOCKET, SO_REUSEPORT, on=True),
    "bound, device set late": device_late,
    "listening": listening,
    "listening, SO_REUSEADDR set late": _late(listening, socket.SOL_SOCKET, SO_REUSEADDR, on=True),
    "listening, SO_REUSEPORT set late": _late(listening, socket.SOL_SOCKET, SO_REUSEPORT, on=True),
    "listening by MPTCP": listening_by_mptcp,
    "listener shut down": shut_down,
    "listener disconnected": disconnected,
    "client": client,
    "client, SO_REUSEADDR set late": _late(client, socket.SOL_SOCKET, SO_REUSEADDR, on=True),
    "client autobound by connect": autobound_client,
    "client bound to port 0": client_of_port_zero,
    "client in SYN_SENT": syn_sent,
    "client refused": refused,
    "client refused, not told yet": refused_unread,
    "client in FIN_WAIT2": fin_wait_2,
    "client in FIN_WAIT2, orphaned": orphan_in_fin_wait_2,
    "client in TIME_WAIT": client_in_time_wait,
    "autobound client in TIME_WAIT": autobound_client_in_time_wait,
    "accepted child beside its listener": child_beside_listener,
    "accepted child beside its listener, another waits": child_not_accepted,
    "accepted child alone": child_alone,
    "accepted child in CLOSE_WAIT": child_in_close_wait,
    "accepted child in TIME_WAIT": child_in_time_wait,
    "accepted child in TIME_WAIT beside its listener": time_wait_beside_listener,
}


def udp_unconnected(world: World, form: Form, options: Options) -> Existing:
    port = next(world.ports)
    one = opened(socket.SOCK_DGRAM, form, options)
    one.bind((form.address, port))
    return Existing(port, (record_of(one, "unconnected", options.device),), (one,))


def udp_connected(world: World, form: Form, options: Options) -> Existing | None:
    if _far(options):
        return None
    existing = udp_unconnected(world, form, options)
    existing.kept[0].connect((form.peer, 9))
    return existing._replace(records=(record_of(existing.kept[0], "established", options.device),))


def udp_autobound(_world: World, form: Form, options: Options) -> Existing | None:
    if _far(options) or form.address not in ("0.0.0.0", "::", "::ffff:0.0.0.0"):
        return None
    one = opened(socket.SOCK_DGRAM, form, options)
    one.connect((form.peer, 9))
    return Existing(one.getsockname()[1], (record_of(one, "established", options.device),), (one,))


def udp_shut_down(world: World, form: Form, options: Options) -> Existing | None:
    existing = udp_connected(world, form, options)
    if existing is not None:
        existing.kept[0].shutdown(socket.SHUT_RDWR)
    return existing


UDP_WAYS: dict[str, Make] = {
    "unconnected": udp_unconnected,
    "unconnected, SO_REUSEADDR set late": _late(udp_unconnected, socket.SOL_SOCKET, SO_REUSEADDR, on=True),
    "unconnected, SO_REUSEPORT set late": _late(udp_unconnected, socket.SOL_SOCKET, SO_REUSEPORT, on=True),
    "unconnected, SO_REUSEPORT cleared late": _late(udp_unconnected, socket.SOL_SOCKET, SO_REUSEPORT, on=False),
    "connected": udp_connected,
    "connected, SO_REUSEADDR cleared late": _late(udp_connected, socket.SOL_SOCKET, SO_REUSEADDR, on=False),
    "autobound by connect": udp_autobound,
    "connected and shut down": udp_shut_down,
}


MARKING_WAYS: dict[str, Make] = {
    "bound, SO_REUSEPORT cleared late": _late(bound, socket.SOL_SOCKET, SO_REUSEPORT, on=False),
    "listening, SO_REUSEPORT cleared late": _late(listening, socket.SOL_SOCKET, SO_REUSEPORT, on=False),
    "bound, uid changed late": uid_late,
}
"""Ways after which TCP still lets in whom the socket would have let in when it was bound."""


# The trial itself.


class Tally(NamedTuple):
    """What a trial came to.

    Attributes:
        rows: binds that were tried.
        listens: calls of listen that were tried.
        unsure: rows where what sock_diag hides decides.
        admitted: rows in which the kernel let in a SO_REUSEPORT newcomer by the mark of one that was bound.
        wrong: the other rows in which the verdict doesn't hold.
    """

    rows: int
    listens: int
    unsure: int = 0
    admitted: int = 0
    wrong: tuple[str, ...] = ()


class Judge:
    """Asks `would_bind`, once for equal questions."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[Socket, ...], BindRequest], tuple[str, str | None, str | None]] = {}

    def all_views(self, records: tuple[Socket, ...], want: BindRequest) -> list[tuple[str, str | None, str | None]]:
        """Return bind, listen and errno: all told, as sock_diag shows the sockets, and as netstat does."""
        views = records, tuple(map(as_sock_diag_shows, records)), tuple(map(as_netstat_shows, records))
        return [self(view, want) for view in views]

    def __call__(self, records: tuple[Socket, ...], want: BindRequest) -> tuple[str, str | None, str | None]:
        """Return bind, listen and errno of the verdict."""
        key = records, want
        if key not in self._known:
            verdict = would_bind(want, records, addresses=ADDRESSES)
            self._known[key] = verdict.bind, verdict.listen, verdict.errno
        return self._known[key]


def try_all(protocol: str, make: Make) -> Tally:
    """Let every newcomer bind beside an existing socket of every form in one state, and compare."""
    world, judge, chance = World(), Judge(), random.Random(25)
    rows, listens, unsure, admitted = 0, 0, 0, 0
    wrong: list[str] = []
    everyone = newcomers(protocol)
    for form, addr, port, device in product((*FORMS, VIA_IPV4), (False, True), (False, True), DEVICES):
        options = Options(addr, port, device)
        chance.shuffle(everyone)
        for newcomer, records, said in _beside(world, make, protocol, form, options, everyone):
            told, *hidden = judge.all_views(records, newcomer.want)
            rows += 1
            listens += said[1] is not None
            unsure += hidden[0][0] == "unknown"
            is_told = all(record.uid is not None for record in records)
            if _agrees(told, said, sure=is_told) and all(_agrees(view, said) for view in hidden):
                continue
            if said == ("yes", "yes") and port and newcomer.options.reuseport:
                admitted += 1
            else:
                wrong.append(f"{form} {options} / {newcomer.form} {newcomer.options}: {said}, not {told} {hidden}")
    return Tally(rows, listens, unsure, admitted, tuple(wrong))


def _beside(
    world: World, make: Make, protocol: str, form: Form, options: Options, everyone: list[Newcomer]
) -> Iterator[tuple[Newcomer, tuple[Socket, ...], tuple[str, str | None]]]:
    """Yield what bind and listen said to each newcomer beside a socket of this form.

    A SO_REUSEPORT newcomer that was let in leaves a mark in the kernel's table which lets others in, as if it
    were still there. The existing socket is made anew after it; or, where it has no SO_REUSEPORT itself, the
    mark is wiped by the same bind without.
    """
    if not _can_be(form, options):
        return
    existing, kind = make(world, form, options), KINDS[protocol]
    if existing is None:
        return
    if options == Options(False, False, None):  # once a form: the table takes milliseconds
        check_states(existing)
    for newcomer in sorted(everyone, key=lambda one: one.options.reuseport):
        said = attempt(kind, newcomer.form, newcomer.options, existing.port)
        yield newcomer, existing.records, said
        if said[0] == "yes" and newcomer.options.reuseport:
            if any(record.reuseport for record in existing.records):
                existing.close()
                existing = make(world, form, options) or existing
            else:
                attempt(kind, newcomer.form, newcomer.options._replace(reuseport=False), existing.port)
    existing.close()


def check_states(existing: Existing) -> None:
    """Make sure that the kernel has the states which the records claim."""
    shown = set()
    for name in ("tcp", "tcp6"):
        with open(f"/proc/net/{name}") as table:  # noqa: PTH123
            rows = [line.split() for line in table][1:]
        shown |= {int(row[3], 16) for row in rows if int(row[1].rpartition(":")[2], 16) == existing.port}
    tcp = [record for record in existing.records if record.endpoint.protocol == "tcp"]
    claimed = {STATES[record.state] for record in tcp if record.state in STATES}
    assert claimed <= shown, f"{existing.records}: the kernel shows {shown}"


def _can_be(form: Form, options: Options) -> bool:
    return (form.address, options.device) != ("::1", DEVICE)


def attempt(kind: int, form: Form, options: Options, port: int) -> tuple[str, str | None]:
    """Bind, and listen if that went well: return `yes` or the errno's name of each."""
    one = opened(kind, form, options)
    try:
        try:
            one.bind((form.address, port))
        except OSError as failed:
            return errno.errorcode[failed.errno or 0], None
        if kind == socket.SOCK_DGRAM:
            return "yes", None
        try:
            one.listen()
        except OSError as failed:
            return "yes", errno.errorcode[failed.errno or 0]
        return "yes", "yes"
    finally:
        one.close()


def _agrees(told: tuple[str, str | None, str | None], said: tuple[str, str | None], *, sure: bool = False) -> bool:
    """Say whether a verdict holds before what the kernel said; `sure`: it must also be certain."""
    bind, listen, code = told
    if bind == "unknown":
        return not sure
    if bind == "no":
        return said[0] != "yes" and code in (None, said[0])
    return said[0] == "yes" and (said[1] is None or listen == "unknown" or (listen == "yes") == (said[1] == "yes"))


# listen() on a socket that is bound, after another has begun to listen.


def try_second_listen() -> Tally:
    """Bind two sockets, let the first listen, then the second, and compare with `would_listen`."""
    ports, rows, wrong = count(2000), 0, []
    kinds = [
        (form, Options(addr, port, device, uid))
        for form, addr, port, device, uid in product(FORMS, (False, True), (False, True), (None, "lo"), uids())
    ]
    for (form, options), (other, others) in product(kinds, kinds):
        if options.uid:
            continue
        first, second = opened(socket.SOCK_STREAM, form, options), opened(socket.SOCK_STREAM, other, others)
        with first, second:
            at = next(ports)
            first.bind((form.address, at))
            try:
                second.bind((other.address, at))
            except OSError:
                continue
            finally:
                ports = count(2000) if at > 60000 else ports
            first.listen()
            held = record_of(first, "listen", options.device)
            asks = record_of(second, "bound", others.device)
            rows += 1
            try:
                second.listen()
                said = "yes"
            except OSError as failed:
                said = errno.errorcode[failed.errno or 0]
        told = would_listen(asks, [asks, held])
        hidden = would_listen(as_sock_diag_shows(asks), [as_sock_diag_shows(held)])
        if (told.listen == "yes") != (said == "yes") or hidden.listen not in ("unknown", told.listen):
            wrong.append(f"{form} {options} / {other} {others}: {said}, not {told} {hidden}")
    return Tally(rows, rows, wrong=tuple(wrong))


# Arguments, addresses and privilege.

ARGUMENT_ADDRESSES = (
    *("0.0.0.0", "127.0.0.1", "127.9.9.9", "10.9.0.1", "10.9.0.255", "10.9.0.77", "10.8.3.4", "192.0.2.1"),
    *("224.0.0.1", "255.255.255.255"),
    *("::", "::1", "fd00::9", "fd00::7", "fd00::99", "fd00::dad", "fe80::5", "fe80::6", "ff02::1", "ff05::1"),
)
IP_FREEBIND, IPV6_FREEBIND = 15, 78


def give_addresses() -> tuple[Address, ...]:
    """Give the namespace addresses of many kinds, and return all that it has."""
    given = (
        Address("10.9.0.1", 24, DEVICE, None),
        Address("10.8.0.1", 16, "lo", None),
        Address("fd00::7", 64, DEVICE, None),
        Address("fe80::5", 64, DEVICE, None),
    )
    for one in given:
        nodad = ["nodad"] if ":" in one.address else []
        argv = ["ip", "addr", "add", f"{one.address}/{one.prefix}", "dev", one.device, *nodad]
        subprocess.run(argv, check=True)
    return (*ADDRESSES, *given)


def try_arguments(settings: dict[str, str], *, is_root: bool) -> Tally:
    """Bind every kind of address in every way that the arguments allow, to a port that is free."""
    if not is_root and len(uids()) == 1:
        raise Unavailable("one user id only in this user namespace")
    addresses = give_addresses()
    for name, value in settings.items():
        with open("/proc/sys/" + name.replace(".", "/"), "w") as setting:  # noqa: PTH123
            setting.write(value)
    if not is_root:
        os.setresuid(OTHER_UID, OTHER_UID, OTHER_UID)
    told = [Setting(name, value) for name, value in settings.items()]
    rows, wrong = 0, []
    for want in _argument_wants(may_bind_privileged=is_root):
        verdict, said = would_bind(want, (), told, addresses), _bind_said(want)
        rows += 1
        if (verdict.bind, verdict.errno) != (("yes", None) if said == "yes" else ("no", said)):
            wrong.append(f"{want}: {said}, not {verdict}")
    return Tally(rows, 0, wrong=tuple(wrong))


def _argument_wants(*, may_bind_privileged: bool) -> Iterator[BindRequest]:
    mapped = ["::ffff:" + address for address in ARGUMENT_ADDRESSES if ":" not in address]
    for address, protocol, port, device, v6only, nonlocal_ok in product(
        (*ARGUMENT_ADDRESSES, *mapped), KINDS, (25, 4000), DEVICES, (None, True, False), (False, True)
    ):
        family = 6 if ":" in address else 4
        if family == 6 or v6only is None:
            at = Endpoint(protocol, address, port, v6only, device)
            yield BindRequest(
                at, family, may_bind_privileged=may_bind_privileged, nonlocal_ok=nonlocal_ok, listens=False
            )


def _bind_said(want: BindRequest) -> str:
    at = want.endpoint
    with socket.socket(socket.AF_INET if want.family == 4 else socket.AF_INET6, KINDS[at.protocol]) as one:
        if at.device:
            one.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, at.device.encode())
        if at.v6only is not None:
            one.setsockopt(socket.IPPROTO_IPV6, IPV6_V6ONLY, at.v6only)
        if want.nonlocal_ok:
            one.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            if want.family == 6:
                one.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        try:
            one.bind((at.address, at.port))
        except OSError as failed:
            return errno.errorcode[failed.errno or 0]
    return "yes"


def try_tentative() -> tuple[bool, str, str | None]:
    """Bind an address whose duplicate detection isn't done: was it tentative, and both answers."""
    subprocess.run(["ip", "addr", "add", "fd00::dad/64", "dev", DEVICE], check=True)
    want = BindRequest(Endpoint("tcp", "fd00::dad", PORT), 6)
    said = _bind_said(want)
    with open("/proc/net/if_inet6") as table:  # noqa: PTH123
        flags = [int(line.split()[4], 16) for line in table if line.startswith("fd000000000000000000000000000dad")]
    has = Address("fd00::dad", 64, DEVICE, None, tentative=bool(flags[0] & 0x40))
    return has.tentative, said, would_bind(want, (), (), (has,)).errno


# Three sockets and more at one port.


class Step(NamedTuple):
    """One thing that happens at a port: `open`, `listen`, `close`, or an option is set.

    Attributes:
        act: what happens.
        which: to which socket, counted round the ones that are there.
        form: for `open`, how.
        options: likewise.
        on: for an option, to what.
    """

    act: str
    which: int
    form: Form
    options: Options
    on: bool


class Crowd:
    """Sockets at one port, and how often the kernel let in what the rule for two sockets forbids.

    Attributes:
        asked: binds and listens that were compared.
        seen: the kernel let in a SO_REUSEPORT newcomer past another socket, beside a SO_REUSEPORT socket of its
            uid that is there: the verdict says unknown.
        left: it did by the mark of one that was closed or changed since: the verdict says no.
    """

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.ports = count(2000)
        self.asked = self.seen = self.left = 0

    def play(self, steps: list[Step]) -> None:
        """Do these steps at a fresh port; raise AssertionError where kernel and verdict differ."""
        self.port, self.sharers = next(self.ports), 0
        if self.port > 60000:
            self.ports = count(2000)
        self.there: list[tuple[socket.socket, str, str | None]] = []
        try:
            for step in steps:
                self._do(step)
        finally:
            for one, _, _ in self.there:
                one.close()

    def _do(self, step: Step) -> None:
        if step.act == "open":
            self._open(step.form, step.options)
        elif self.there:
            index = step.which % len(self.there)
            one, state, _ = self.there[index]
            if step.act == "listen" and state == "bound":
                self._listen(index)
            elif step.act == "close":
                one.close()
                del self.there[index]
            elif step.act == "reuseaddr":
                one.setsockopt(socket.SOL_SOCKET, SO_REUSEADDR, step.on)
            elif step.act == "reuseport":
                one.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, step.on)

    def _records(self) -> list[Socket]:
        return [
            record_of(one, state, device)._replace(inode=os.fstat(one.fileno()).st_ino)
            for one, state, device in self.there
        ]

    def _open(self, form: Form, options: Options) -> None:
        if not _can_be(form, options):
            return
        records, want = self._records(), wanted(self.protocol, form, options)
        one = opened(KINDS[self.protocol], form, options)
        try:
            one.bind((form.address, self.port))
            said = True
        except OSError:
            one.close()
            said = False
        views = [would_bind(want, view) for view in (records, list(map(as_sock_diag_shows, records)))]
        self._compare("bind", said, views[0], views[1].bind, shares=options.reuseport)
        if said:
            self.sharers += options.reuseport
            self.there.append((one, "bound" if self.protocol == "tcp" else "unconnected", options.device))

    def _listen(self, index: int) -> None:
        records = self._records()
        one, _, device = self.there[index]
        try:
            one.listen()
            said = True
        except OSError:
            said = False
        views = [would_listen(view[index], view) for view in (records, list(map(as_sock_diag_shows, records)))]
        self._compare("listen", said, views[0], str(views[1].listen), shares=bool(records[index].reuseport))
        if said:
            self.there[index] = one, "listen", device

    def _compare(self, call: str, said: bool, told: Verdict, hidden: str, *, shares: bool) -> None:
        """Hold the rule for two sockets (any obstacle: all is told here) against what the kernel said."""
        self.asked += 1
        verdict = told.bind if call == "bind" else told.listen
        case = f"{call}: kernel {said}, verdict {told}, hidden {hidden}, beside {self._records()}"
        if not said:
            assert told.obstacles, case  # never the reverse
            assert hidden != "yes", case
        elif told.obstacles:
            assert shares, case  # the class: SO_REUSEPORT,
            assert self.sharers, case  # and one that was bound before with it
            self.seen += verdict == "unknown"
            self.left += verdict == "no"
        else:
            assert hidden != "no", case
