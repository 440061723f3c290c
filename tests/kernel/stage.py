"""A stage for scenes: a fresh set of namespaces (network, processes, mounts, control groups) with actors in it.

What is staged sees only itself: its own /proc, an empty /run, no namespace of anybody else. An actor is a fork
of the test that enters, makes real sockets and waits. Killing the stage's first process ends everything in it,
and with the last process go the namespaces, their devices, their rules and their mounts.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import pickle
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Json = dict[str, Any]

NEWNS, NEWCGROUP, NEWPID, NEWNET = 0x20000, 0x2000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NAME = 1, 4, 15
_MS_PRIVATE_REC, _MNT_DETACH = 1 << 18 | 1 << 14, 2
LIMIT_S = 30.0
_libc = ctypes.CDLL(None, use_errno=True)

KEPT: list[Any] = []
"""In an actor: what must stay open while it lives."""


class At(NamedTuple):
    """A socket that an actor makes."""

    address: str
    port: int
    protocol: str = "tcp"
    v6only: bool | None = None
    device: str | None = None
    reuseaddr: bool = True
    reuseport: bool = False
    listens: bool = True
    transparent: bool = False


def shared(address: str, port: int) -> At:
    """Return a listener with SO_REUSEPORT, which others may join; `[::]` is dual-stack."""
    return At(address, port, v6only=False if address == "::" else None, reuseport=True)


class Done(NamedTuple):
    """What a command left."""

    status: int
    stdout: str
    stderr: str

    def json(self) -> Json:
        """Return its output as JSON, once it is sure that it ended well."""
        assert self.status in (0, 1, 3), self
        assert self.stderr == "", self
        document: Json = json.loads(self.stdout)
        return document


class Actor(NamedTuple):
    """A process on the stage: its pid there, what its job returned, and the child of ours that started it."""

    pid: int
    answer: Any
    outer: int
    parent: int

    def stop(self) -> None:
        """End it, by its own id, and wait for that."""
        os.kill(self.outer, signal.SIGKILL)
        os.waitpid(self.parent, 0)


class Stage:
    """The namespaces, while their first process lives."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._parents: list[int] = []

    def command(self, *argv: str) -> list[str]:
        """Return what runs a command on the stage."""
        return ["nsenter", "-t", str(self.pid), "--net", "--pid", "--mount", "--cgroup", "--", *argv]

    def run(self, *argv: str, text: str | None = None, check: bool = True) -> str:
        """Run a command on the stage and return what it printed."""
        done = subprocess.run(
            self.command(*argv), input=text, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(argv)}: {done.stderr}{done.stdout}")
        return done.stdout

    def mailports(self, *words: str, within: Sequence[str] = ()) -> Done:
        """Run mailports on the stage; `within` is a command that runs it there, such as `ip netns exec X`."""
        argv = self.command(*within, sys.executable, "-m", "mailports", *words)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def act(
        self,
        job: Callable[[], Any],
        *,
        name: bytes | str = "actor",
        netns: str | None = None,
        uid: int | None = None,
        then: Callable[[], Any] = signal.pause,
    ) -> Actor:
        """Start a process that does `job` on the stage, then stays.

        Args:
            job: what it does first; its sockets are kept by `KEPT`.
            name: the process's name.
            netns: the network namespace that it is in, by its name on the stage.
            uid: the user it becomes before the job.
            then: what it does for the rest of its life.
        """
        reads, writes = os.pipe()
        parent = os.fork()
        if parent == 0:
            os.close(reads)
            self._enter_and_act(job, name, netns, uid, then, writes)
        os.close(writes)
        self._parents.append(parent)
        kind, value, pid, outer = _heard(reads)
        if kind == "failed":
            raise AssertionError(value)
        if kind == "skip":
            pytest.skip(value)
        return Actor(pid, value, outer, parent)

    def ask(self, job: Callable[[], Any], **more: Any) -> Any:
        """Return what a function returns on the stage."""
        actor = self.act(job, **more)
        actor.stop()
        return actor.answer

    def program(
        self, name: str, *places: At, workers: int = 0, uid: int | None = None, netns: str | None = None
    ) -> Actor:
        """Start a program of that name with these sockets, and so many forked workers that share them.

        The answer is the list of its pids on the stage.
        """

        def job() -> list[int]:
            for place in places:
                bound(place)
            return [os.getpid(), *(fork_worker() for _ in range(workers))]

        return self.act(job, name=name, uid=uid, netns=netns)

    def server(self, name: str, *places: At, netns: str | None = None) -> Actor:
        """Start a program that answers every connection with its name."""
        listeners: list[socket.socket] = []

        def job() -> list[int]:
            listeners.extend(bound(place) for place in places)
            return [os.getpid()]

        def serve() -> None:
            while True:
                for listener in select.select(listeners, [], [])[0]:
                    accepted, _ = listener.accept()
                    with accepted:
                        accepted.sendall(name.encode())

        return self.act(job, name=name, netns=netns, then=serve)

    def reached(self, address: str, port: int, *, netns: str | None = None, tries: int = 1) -> set[str]:
        """Return the names of the servers that answer connections to an endpoint; none where it is refused."""

        def job() -> set[str]:
            return {answer for _ in range(tries) for answer in [asked(address, port)] if answer}

        found: set[str] = self.ask(job, netns=netns)
        return found

    def set(self, name: str, value: str) -> None:
        """Set a kernel setting of the stage."""
        self.run("sysctl", "-q", "-w", f"{name}={value}")

    def add_outside(self) -> None:
        """Join a namespace `outside` (10.9.0.2, 2001:db8:9::2) to the stage (10.9.0.1, 2001:db8:9::1) by a wire."""
        self.run(
            *("sh", "-e", "-c"),
            """
            ip netns add outside
            ip link add wire type veth peer name eth0 netns outside
            ip addr add 10.9.0.1/24 dev wire
            ip addr add 2001:db8:9::1/64 dev wire nodad
            ip link set wire up
            ip -n outside addr add 10.9.0.2/24 dev eth0
            ip -n outside addr add 2001:db8:9::2/64 dev eth0 nodad
            ip -n outside link set eth0 up
            ip -n outside link set lo up
            """,
        )

    def close(self) -> None:
        """End the first process, and with it all the others."""
        os.kill(self.pid, signal.SIGKILL)
        for parent in self._parents:
            try:
                os.waitpid(parent, 0)
            except ChildProcessError:  # stopped and waited for already
                pass

    def _enter_and_act(
        self,
        job: Callable[[], Any],
        name: bytes | str,
        netns: str | None,
        uid: int | None,
        then: Callable[[], Any],
        writes: int,
    ) -> None:
        try:
            _call("setns", os.pidfd_open(self.pid), NEWNET | NEWPID | NEWNS | NEWCGROUP)
            pids, tells = os.pipe()
            inner = os.fork()
            if inner:
                os.write(tells, struct.pack("i", inner))
                os.close(tells)
                os.close(writes)
                os.waitpid(inner, 0)
                os._exit(0)
            os.close(tells)
            _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            outer = struct.unpack("i", os.read(pids, 4))[0]
            os.setsid()
            if netns is not None:
                with open(f"/run/netns/{netns}", "rb") as file:  # noqa: PTH123
                    _call("setns", file.fileno(), NEWNET)
            if uid is not None:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                _call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)  # as if that user had started it
            set_name(name)
            if _tell(writes, job, outer):
                then()
        except BaseException:  # noqa: BLE001 -- nothing of the fork may get back into the test
            traceback.print_exc()
        finally:
            os._exit(1)


def _tell(writes: int, job: Callable[[], Any], outer: int) -> bool:
    """Do the job and tell the test what came of it; whether it was done."""
    try:
        said = ("done", job())
    except Skip as reason:
        said = ("skip", str(reason))
    except BaseException:  # noqa: BLE001 -- the test must hear of it
        said = ("failed", traceback.format_exc())
    with os.fdopen(writes, "wb") as pipe:
        pickle.dump((*said, os.getpid(), outer), pipe)
    return said[0] == "done"


def _heard(reads: int) -> tuple[str, Any, int, int]:
    """Wait for what an actor tells."""
    if not select.select([reads], [], [], LIMIT_S)[0]:
        os.close(reads)
        return "failed", f"nothing happened for {LIMIT_S} s", 0, 0
    with os.fdopen(reads, "rb") as pipe:
        try:
            found: tuple[str, Any, int, int] = pickle.load(pipe)  # to its end, which isn't the pipe's: workers have it
        except EOFError:
            return "failed", "the actor died", 0, 0
    return found


class Skip(Exception):  # noqa: N818
    """What a job needs isn't here."""


@contextmanager
def stage() -> Iterator[Stage]:
    """Open a stage; skip the test where the machine doesn't allow one."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make namespaces")
    for program in ("nsenter", "ip", "ss", "nft", "sysctl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} isn't installed")
    reads, writes = os.pipe()
    parent = os.fork()
    if parent == 0:
        os.close(reads)
        _open_stage(writes)
    os.close(writes)
    kind, value, _, outer = _heard(reads)
    if kind != "done":
        os.waitpid(parent, 0)
        if kind == "skip":
            pytest.skip(f"no namespaces here: {value}")
        raise AssertionError(value)
    made = Stage(outer)
    try:
        yield made
    finally:
        made.close()
        os.waitpid(parent, 0)


def _open_stage(writes: int) -> None:
    """In a child of the test: make the namespaces, and be their first process's parent."""
    try:
        _call("unshare", NEWNET | NEWPID | NEWNS | NEWCGROUP)
        pids, tells = os.pipe()
        first = os.fork()
        if first:
            os.write(tells, struct.pack("i", first))
            os.close(writes)
            os.waitpid(first, 0)
            os._exit(0)
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        outer = struct.unpack("i", os.read(pids, 4))[0]
        set_name("first")
        is_up = _tell(writes, _set_up, outer)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans that come to it are no zombies
        while is_up:
            signal.pause()
    except BaseException as error:  # noqa: BLE001 -- nothing of the fork may get back into the test
        with os.fdopen(writes, "wb") as pipe:
            pickle.dump(("skip", str(error), 0, 0), pipe)
    finally:
        os._exit(1)


def _set_up() -> None:
    _mount(b"none", b"/", None, _MS_PRIVATE_REC)
    with open("/proc/self/mountinfo", "rb") as file:  # noqa: PTH123
        mounts = [line.split(b" ") for line in file]
    for fields in mounts:
        if b"nsfs" in fields[5:]:  # other people's namespaces
            _libc.umount2(fields[4], _MNT_DETACH)
    _mount(b"proc", b"/proc", b"proc", 0)
    _mount(b"run", b"/run", b"tmpfs", 0)
    for place in (b"/sys/fs/cgroup", b"/sys/fs/cgroup/unified"):
        if os.path.exists(place + b"/cgroup.procs"):
            try:
                _mount(b"cgroup2", place, b"cgroup2", 0)  # from our own group down
            except OSError as error:
                if error.errno != errno.EBUSY:  # that is where it begins already
                    raise
    raise_device("lo")


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
    if _libc.mount(source, target, kind, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)


def _call(name: str, *words: int) -> None:
    if getattr(_libc, name)(*words):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


# What actors do


def bound(at: At) -> socket.socket:
    """Make a socket and keep it."""
    family = socket.AF_INET6 if ":" in at.address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM if at.protocol == "tcp" else socket.SOCK_DGRAM)
    KEPT.append(made)
    if at.v6only is not None:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(at.v6only))
    if at.device is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, at.device.encode())
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(at.reuseaddr))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(at.reuseport))
    if at.transparent:
        made.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
    made.bind((at.address, at.port))
    if at.protocol == "tcp" and at.listens:
        made.listen(16)
    return made


def asked(address: str, port: int) -> str | None:
    """Return what the server at an endpoint says; None where there is none. Leaves no TIME_WAIT behind."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.settimeout(2)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            made.connect((address, port))
            return made.recv(64).decode() or None
        except OSError:
            return None


def fork_worker(job: Callable[[], Any] | None = None) -> int:
    """Fork a child that has all that is open, does its job, and stays as long as its parent. Return its pid."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if job is not None:
                job()
            os.write(writes, b"x")
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        assert pipe.read(1), "the worker died"
    return pid


def set_name(name: bytes | str) -> None:
    """Give this process a name."""
    raw = name if isinstance(name, bytes) else name.encode()
    _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(raw), 0, 0, 0)


def raise_device(name: str) -> None:
    """Set a network device of this process's namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        fcntl.ioctl(door, 0x8914, struct.pack("16sh14x", name.encode(), 0x1))  # SIOCSIFFLAGS, IFF_UP


def enter_fresh_netns() -> None:
    """Move this process into a network namespace of its own, which nothing else keeps."""
    _call("unshare", NEWNET)
    raise_device("lo")


def conversation(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Connect to a listener of one's own: both ends, the client's first."""
    client = socket.create_connection(listener.getsockname()[:2])
    accepted, _ = listener.accept()
    KEPT.extend((client, accepted))
    return client, accepted


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    """Poll until something is so."""
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)
