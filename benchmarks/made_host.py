"""A mail host made of forked processes: units, listeners, descriptors, connections. Built inside `made_namespaces`."""

from __future__ import annotations

import array
import contextlib
import gc
import os
import re
import resource
import select
import signal
import socket
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

from made_namespaces import NotMadeError, enter_cgroup, fork_to, set_name

DESCRIPTORS = 50  # of each process of a unit
HANDOVER_PORT = 24  # LMTP over TCP: a mail port that no unit below has
_PREFORK, _ALONE = True, False  # do the workers inherit the listeners?
_CLIENTS = "clients.service"
_HANDOVER = "handover.service"
_READY_TIMEOUT_S = 120
_LISTEN, _ESTABLISHED = "0A", "01"  # as /proc/net/tcp says it


class Unit(NamedTuple):
    """A unit: its processes and what they listen on."""

    name: str
    leader: str
    workers: tuple[str, ...]
    listeners: tuple[tuple[str, int], ...]
    is_prefork: bool  # the workers inherit the listeners
    processes: int
    accepting: int | None = None  # the port whose connections its first worker holds


class Shape(NamedTuple):
    """What a host is made of."""

    units: tuple[Unit, ...]
    connections: int  # rows of established connections: both ends are here, so twice the connections made
    handover_processes: int  # of the unit that can put a listener in flight; 0: there is none

    @property
    def accepting_ports(self) -> list[int]:
        """The ports that the clients connect to."""
        return [unit.accepting for unit in self.units if unit.accepting is not None]

    @property
    def per_port(self) -> int:
        """How many connections each accepting port has."""
        return self.connections // 2 // len(self.accepting_ports) if self.connections else 0

    @property
    def listeners(self) -> int:
        """How many listeners there are."""
        return sum(len(unit.listeners) for unit in self.units)

    @property
    def holders(self) -> int:
        """How many descriptors of listeners there are, over all processes: what `lsof` lists."""
        total = 0
        for unit in self.units:
            extra = unit.accepting is not None and bool(self.connections)
            total += len(unit.listeners) * unit.processes if unit.is_prefork else len(unit.listeners) + extra
        return total

    @property
    def processes(self) -> int:
        """How many processes the units have, without those that are clients only."""
        return sum(unit.processes for unit in self.units)


class Switch(NamedTuple):
    """Puts a listener in flight: write a byte, read a byte."""

    control: int
    done: int


def _everywhere(*ports: int) -> tuple[tuple[str, int], ...]:
    return tuple((address, port) for port in ports for address in ("0.0.0.0", "::"))


def _inside(*ports: int) -> tuple[tuple[str, int], ...]:
    return tuple(("127.0.0.1", port) for port in ports)


def _mail_units(processes: int) -> list[Unit]:
    postfix = ("smtpd", "qmgr", "pickup", "cleanup", "tlsmgr", "anvil", "smtp", "bounce")
    dovecot = ("imap-login", "pop3-login", "managesieve-login"[:15], "anvil", "log", "stats", "auth", "imap")
    return [
        Unit("postfix.service", "master", postfix, _everywhere(25, 465, 587), _PREFORK, processes, 25),
        Unit("dovecot.service", "dovecot", dovecot, _everywhere(110, 143, 993, 995, 4190), _PREFORK, processes, 993),
        Unit("rspamd.service", "rspamd", ("rspamd",), _inside(11332, 11333, 11334), _PREFORK, processes),
        Unit("opendkim.service", "opendkim", ("opendkim",), _inside(8891), _ALONE, processes),
        Unit("opendmarc.service", "opendmarc", ("opendmarc",), _inside(8893), _ALONE, processes),
        Unit("clamav-daemon.service", "clamd", ("clamd",), _inside(3310), _ALONE, processes),
        Unit("spamassassin.service", "spamd", ("spamd child",), _inside(783), _PREFORK, processes),
        Unit("amavis.service", "amavisd-new", ("amavisd-new",), _inside(10024, 10026), _PREFORK, processes),
        Unit("postgrey.service", "postgrey", ("postgrey",), _inside(10023), _ALONE, processes),
        Unit("postsrsd.service", "postsrsd", ("postsrsd",), _inside(10001, 10002), _ALONE, processes),
        Unit("sogo.service", "sogod", ("sogod",), _inside(20000), _PREFORK, processes),
        Unit("mailman3.service", "mailman", ("runner",), _inside(8001, 8024), _ALONE, processes),
    ]


def busy(
    *, units: int = 50, processes: int = 40, listeners: int = 200, connections: int = 30_000, handover: int = 4
) -> Shape:
    """Make the shape of a busy host; `processes` are of each unit."""
    made = _mail_units(processes)
    left = listeners - sum(len(unit.listeners) for unit in made)
    apps = units - len(made)
    for number in range(apps):
        how_many = left // apps + (number < left % apps)
        ports = [12_000 + 10 * number + offset for offset in range(how_many)]
        name = f"app{number:02}"
        accepting = ports[0] if number < 3 else None
        is_prefork = number % 3 == 0
        addresses = tuple(("0.0.0.0", port) for port in ports)
        made.append(Unit(f"{name}.service", name, (name,), addresses, is_prefork, processes, accepting))
    return Shape(tuple(made), connections, handover)


def quiet() -> Shape:
    """Make the shape of a host with next to nothing on it."""
    postfix = Unit("postfix.service", "master", ("qmgr", "pickup"), (("0.0.0.0", 25),), _ALONE, 3)
    dovecot = Unit("dovecot.service", "dovecot", ("anvil", "log"), (("0.0.0.0", 143),), _ALONE, 3)
    return Shape((postfix, dovecot), 0, 0)


def build(shape: Shape) -> Switch | None:
    """Start everything, as PID 1 of the namespaces; it is all there on return."""
    gc.collect()
    gc.freeze()  # the forked processes share the pages
    gc.disable()
    reading, ready = os.pipe()
    for unit in shape.units:
        fork_to(_lead, unit, shape, ready)
    _wait_ready(reading, shape.processes, "processes of the units")
    if shape.connections:
        fork_to(_lead_clients, shape, ready)
        _wait_ready(reading, 2 * len(shape.accepting_ports), "ends of the connections")
    switch = _start_handover(shape, ready) if shape.handover_processes else None
    if switch:
        _wait_ready(reading, shape.handover_processes, f"processes of {_HANDOVER}")
    os.close(reading)
    os.close(ready)
    return switch


def _wait_ready(reading: int, expected: int, what: str) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    seen = 0
    while seen < expected:
        if not select.select([reading], [], [], max(0, deadline - time.monotonic()))[0]:
            raise NotMadeError(f"{seen} of {expected} {what} were there after {_READY_TIMEOUT_S} s")
        seen += len(os.read(reading, expected - seen))


def _open_descriptors() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own is closed again
            os.fstat(int(name))
            found.append(int(name))
    return found


def _close_all_but(*kept: int) -> None:
    for descriptor in _open_descriptors():
        if descriptor > 2 and descriptor not in kept:
            os.close(descriptor)


def _fill_descriptors(beside: int) -> None:
    """Open what a daemon has open: a quarter Unix sockets, some pipes, the rest files."""
    missing = DESCRIPTORS + beside - len(_open_descriptors())
    if missing < 20:
        raise NotMadeError(f"{missing} descriptors left to open: too few for the mixture")
    for _ in range(6):
        for end in socket.socketpair():
            end.detach()
    for _ in range(4):
        os.pipe()
    for _ in range(missing - 20):
        _null(os.O_RDONLY)


def _null(flags: int) -> int:
    return os.open("/dev/null", flags)


def _stay(ready: int) -> NoReturn:
    """Tell that this process is complete, and wait for the namespace's end."""
    for descriptor in (0, 1, 2):
        null = _null(os.O_RDWR)
        os.dup2(null, descriptor)
        os.close(null)
    os.write(ready, b".")
    os.close(ready)
    while True:
        signal.pause()


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((address, port))
    listener.listen(4096)
    return listener


def _lead(unit: Unit, shape: Shape, ready: int) -> int:
    _close_all_but(ready)
    enter_cgroup(f"system.slice/{unit.name}")
    set_name(unit.leader)
    listeners = [_listen(address, port) for address, port in unit.listeners]
    for number in range(unit.processes - 1):
        fork_to(_work, unit, number, listeners, shape, ready)
    _fill_descriptors(beside=1)
    _stay(ready)


def _work(unit: Unit, number: int, listeners: list[socket.socket], shape: Shape, ready: int) -> int:
    set_name(unit.workers[number % len(unit.workers)])
    accepts = unit.accepting if number == 0 and shape.connections else None
    if not unit.is_prefork:
        for listener in listeners:
            if listener.getsockname()[1] != accepts:
                listener.close()
    _fill_descriptors(beside=1)
    if accepts is not None:
        os.write(ready, b".")
        _raise_limit(shape.per_port)
        accepting = next(one for one in listeners if one.fileno() >= 0 and one.getsockname()[1] == accepts)
        for _ in range(shape.per_port):
            accepting.accept()[0].detach()
    _stay(ready)


def _raise_limit(descriptors: int) -> None:
    needed = descriptors + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(hard, needed)))


def _lead_clients(shape: Shape, ready: int) -> int:
    _close_all_but(ready)
    enter_cgroup(f"system.slice/{_CLIENTS}")
    set_name("clients")
    for port in shape.accepting_ports:
        fork_to(_connect, port, shape.per_port, ready)
    os.close(ready)
    while True:
        signal.pause()


def _connect(port: int, how_many: int, ready: int) -> int:
    _raise_limit(how_many)
    _fill_descriptors(beside=1)
    for _ in range(how_many):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.connect(("127.0.0.1", port))
        client.detach()
    _stay(ready)


def _start_handover(shape: Shape, ready: int) -> Switch:
    control_read, control = os.pipe()
    done, done_write = os.pipe()
    fork_to(_hand_over, shape.handover_processes, control_read, done_write, ready)
    os.close(control_read)
    os.close(done_write)
    return Switch(control, done)


def _hand_over(processes: int, control: int, done: int, ready: int) -> int:
    """On a byte, make a listener and leave it in flight: sent over a Unix socket, not received, closed here."""
    _close_all_but(control, done, ready)
    enter_cgroup(f"system.slice/{_HANDOVER}")
    set_name("handover")
    for _ in range(processes - 1):
        fork_to(_be_idle, control, done, ready)
    near, far = socket.socketpair()
    _fill_descriptors(beside=3)
    os.write(ready, b".")
    os.read(control, 1)
    with _listen("0.0.0.0", HANDOVER_PORT) as listener:
        near.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener.fileno()]))])
    os.write(done, b".")
    while far.fileno() >= 0:
        signal.pause()
    return 0


def _be_idle(control: int, done: int, ready: int) -> int:
    os.close(control)
    os.close(done)
    _fill_descriptors(beside=1)
    _stay(ready)


def put_listener_in_flight(switch: Switch) -> None:
    """Make the listener that no process holds, and see that it is so."""
    os.write(switch.control, b".")
    if not select.select([switch.done], [], [], _READY_TIMEOUT_S)[0]:
        raise NotMadeError("no listener was put in flight")
    os.read(switch.done, 1)
    inode = next((row[9] for row in _tcp_rows() if row[3] == _LISTEN and row[1].endswith(f":{HANDOVER_PORT:04X}")), "")
    if not inode:
        raise NotMadeError(f"the listener in flight isn't listening on {HANDOVER_PORT}")
    wanted = f"socket:[{inode}]"
    for process in _processes():
        if any(os.readlink(f"/proc/{process}/fd/{name}") == wanted for name in _descriptors(process)):
            raise NotMadeError(f"process {process} holds the listener that nobody should hold")


def _tcp_rows() -> list[list[str]]:
    rows: list[list[str]] = []
    for name in ("tcp", "tcp6"):
        rows += [line.split() for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return rows


def _processes() -> list[int]:
    """All but the one that measures, whose listing of its own descriptors would be gone again."""
    numbers = [int(name) for name in os.listdir("/proc") if re.fullmatch(r"\d+", name)]
    return [number for number in numbers if number != os.getpid()]


def _descriptors(process: int) -> list[str]:
    return os.listdir(f"/proc/{process}/fd")


def count() -> dict[str, int]:
    """Count what is really there, by the kernel's own files."""
    states = [row[3] for row in _tcp_rows()]
    in_units, descriptors = 0, 0
    units = set()
    for process in _processes():
        cgroup = Path("/proc", str(process), "cgroup").read_text()
        unit = re.search(r"^0::/system\.slice/([^/\n]+)$", cgroup, re.MULTILINE)
        if unit and unit[1] not in {_CLIENTS, _HANDOVER}:
            units.add(unit[1])
            in_units += 1
        descriptors += len(_descriptors(process))
    return {
        "units": len(units),
        "processes": in_units,
        "descriptors": descriptors,
        "listeners": states.count(_LISTEN),
        "established": states.count(_ESTABLISHED),
    }


def check(shape: Shape) -> dict[str, int]:
    """Compare what is there with what should be; what is there."""
    there = count()
    expected = {
        "units": len(shape.units),
        "processes": shape.processes,
        "listeners": shape.listeners,
        "established": shape.connections,
    }
    wrong = {name: (there[name], wanted) for name, wanted in expected.items() if there[name] != wanted}
    if wrong or there["descriptors"] < shape.processes * DESCRIPTORS:
        raise NotMadeError(f"the host isn't as it should be (there, wanted): {wrong or there['descriptors']}")
    return {**there, "holders": shape.holders}
