"""A Snapshot with the indexes that rules share, and who it is that holds a socket. Pure."""

from __future__ import annotations

from mailports.catalogue.ports import Port, port_of
from mailports.catalogue.programs import MAIL_KINDS, Program, is_mail_product, program_of, program_of_unit
from mailports.model.facts import ALL, ANY4, ANY6, Container, Endpoint, Holder, Snapshot, Socket, Unit
from mailports.model.findings import Party
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Made = TypeVar("Made")

HERE = "here"


class Owner(Record):
    """Whoever has a listener: a container, a unit, or a program that belongs to no service.

    Attributes:
        key: equal for sockets of one owner; workers of one service are one owner.
        name: what to call it in a sentence.
        product: product of the catalogue; None where it isn't a known one.
        kind: the product's kind; None likewise.
        unit: its systemd unit.
        container: its container.
        pid: its first process.
    """

    key: tuple[str, ...]
    name: str
    product: str | None = None
    kind: str | None = None
    unit: str | None = None
    container: str | None = None
    pid: int | None = None

    @property
    def has_queue(self) -> bool:
        """Whether stopping it may leave mail behind."""
        return self.kind in ("mta", "suite")

    @property
    def target(self) -> str:
        """What is stopped to stop it."""
        program = program_of_unit(self.unit)
        if program is not None and self.unit in program.units and not self.container:
            return program.units[0]  # an instance such as postfix@-.service is pulled in by its main unit
        return self.unit or self.name

    def party(self, endpoint: Endpoint | None, role: str = "holder") -> Party:
        """Return this owner as a party to a finding."""
        return Party(
            role,
            self.name,
            self.product,
            endpoint=endpoint,
            pid=self.pid,
            unit=self.unit,
            container=self.container,
        )


class Seen:
    """What the rules ask of a Snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.listeners = [s for s in snapshot.sockets if is_listener(s)]
        self._by_port: dict[tuple[str | None, str, int], list[Socket]] = {}
        for socket in self.listeners:
            e = socket.endpoint
            self._by_port.setdefault((e.netns, e.protocol, e.port), []).append(socket)
        self._looks = {(look.fact, look.netns): look for look in snapshot.looks}
        self._owners: dict[Socket, Owner | None] = {}
        self.units = {unit.name: unit for unit in snapshot.units}
        self._made: dict[object, Any] = {}

    def at(self, netns: str | None, protocol: str, port: int) -> list[Socket]:
        """Return the listeners on a port of a namespace."""
        return self._by_port.get((netns, protocol, port), [])

    def all_at(self, netns: str | None, protocol: str, port: int) -> list[Socket]:
        """Return the sockets of any state on a port of a namespace."""
        return self.once(_by_port).get((netns, protocol, port), [])

    def once(self, make: Callable[[Seen], Made]) -> Made:
        """Return what is made of this, made the first time that it is asked for."""
        if make not in self._made:
            self._made[make] = make(self)
        made: Made = self._made[make]
        return made

    def groups(self) -> list[tuple[tuple[str | None, str, int], list[Socket]]]:
        """Return the listeners by namespace, protocol and port, in that order."""
        return sorted(self._by_port.items(), key=lambda item: (item[0][0] != HERE, str(item[0][0]), item[0][2]))

    def is_all(self, fact: str, netns: str | None) -> bool:
        """Whether every fact of a kind was seen, so that what isn't there is absent."""
        look = self._looks.get((fact, netns))
        return look is not None and look.extent == ALL

    def was_looked_at(self, fact: str, netns: str | None = None) -> bool:
        """Whether a kind of fact was looked at, however far."""
        return (fact, netns) in self._looks

    def setting(self, name: str, netns: str | None) -> str | None:
        """Return a setting of a namespace (or of the host), or None where it isn't known."""
        for setting in self.snapshot.settings:
            if setting.name == name and setting.netns in (netns, None):
                return setting.value
        return None

    def owner(self, socket: Socket) -> Owner | None:
        """Return who has a socket; None where nobody was seen to."""
        if socket not in self._owners:
            self._owners[socket] = _owner_of(self, socket)
        return self._owners[socket]

    def is_of_interest(self, socket: Socket) -> bool:
        """Whether a listener is on a port of the catalogue or belongs to a mail product."""
        e = socket.endpoint
        if port_of(e.protocol, e.port) is not None:
            return True
        return any(is_mail_product(program_of_holder(h)) for h in socket.holders) or is_mail_product(
            program_of_unit(socket.unit)
        )

    def container_at(self, address: str | None) -> Container | None:
        """Return the container that has an address."""
        if address is None:
            return None
        for container in self.snapshot.containers:
            if address in container.addresses:
                return container
        for own in self.snapshot.addresses:
            if own.address == address and own.netns != HERE:
                return next((c for c in self.snapshot.containers if c.netns == own.netns), None)
        return None

    def is_containers(self, netns: str | None) -> bool:
        """Whether a namespace is a container's."""
        if netns is None or netns == HERE:
            return False
        return netns.startswith("container:") or any(c.netns == netns for c in self.snapshot.containers)

    def socket_unit(self, endpoint: Endpoint) -> Unit | None:
        """Return the socket unit that listens on an endpoint."""
        for unit in self.snapshot.units:
            if any(_listens_on(text, endpoint) for text in unit.listens):
                return unit
        return None


def _by_port(seen: Seen) -> dict[tuple[str | None, str, int], list[Socket]]:
    found: dict[tuple[str | None, str, int], list[Socket]] = {}
    for socket in seen.snapshot.sockets:
        e = socket.endpoint
        found.setdefault((e.netns, e.protocol, e.port), []).append(socket)
    return found


def is_listener(socket: Socket) -> bool:
    """Whether a socket receives what comes to its port: TCP in LISTEN, or UDP without a peer."""
    return socket.state == "listen" or (socket.endpoint.protocol == "udp" and socket.state == "unconnected")


def program_of_holder(holder: Holder) -> Program | None:
    """Return the product that a holder is, from its name, executable and unit."""
    return program_of(holder.name, holder.exe, holder.unit)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"


def is_wildcard(address: str) -> bool:
    """Whether an address stands for all of the host's."""
    return address in (ANY4, ANY6, "::ffff:0.0.0.0")


def catalogue_port(endpoint: Endpoint) -> Port | None:
    """Return the catalogue's entry for an endpoint's port."""
    return port_of(endpoint.protocol, endpoint.port)


def called(holder: Holder) -> str:
    """Return what an administrator calls a process: `exim4` as it is, `master` by its product."""
    program = program_of_holder(holder)
    if program is not None and program.kind in _BY_PRODUCT and not (holder.name or "").startswith(program.product):
        return program.product
    return holder.name or holder.unit or "unknown"


def spelled(holder: Holder) -> str:
    """Return a process as Postfix's own log spells it, `postfix/master`, where its name alone means little."""
    product, name = called(holder), holder.name or "unknown"
    return name if product == name else f"{product}/{name}"


_BY_PRODUCT = (*sorted(MAIL_KINDS), "proxy")


def _owner_of(seen: Seen, socket: Socket) -> Owner | None:
    known = [h for h in socket.holders if h.pid is not None or h.unit or h.container]
    if not known:
        return None
    # With socket activation pid 1 and the service both have it: the service is who answers.
    chosen = next((h for h in known if h.pid != 1), known[0])
    program = program_of_holder(chosen) or program_of_unit(chosen.unit)
    product, kind = (program.product, program.kind) if program else (None, None)
    if chosen.container:
        name = f"container {chosen.container}"
        return Owner(("container", chosen.container), name, product, kind, chosen.unit, chosen.container, chosen.pid)
    if chosen.pid == 1 or chosen.unit == "init.scope":
        unit = seen.socket_unit(socket.endpoint)
        name = unit.name if unit else "systemd"
        return Owner(("init", name), name, product, kind, unit.name if unit else chosen.unit, None, chosen.pid)
    unit_name = chosen.unit
    name = called(chosen)
    if unit_name and unit_name.endswith(".service") and not unit_name.startswith("user@"):
        return Owner(("unit", unit_name), name, product, kind, unit_name, None, chosen.pid)
    key = ("program", chosen.exe or "", chosen.name or "", *chosen.argv[:8], str(chosen.group))
    return Owner(key, name, product, kind, unit_name, None, chosen.pid)


def _listens_on(text: str, endpoint: Endpoint) -> bool:
    """Whether systemd's `[::]:143 (Stream)` is this endpoint. A wildcard `[::]` serves IPv4 too, as one socket."""
    where, _, kind = text.partition(" (")
    wanted = "Stream" if endpoint.protocol == "tcp" else "Datagram"
    if kind.rstrip(")") != wanted:
        return False
    address, _, port = where.rpartition(":")
    return port == str(endpoint.port) and address.strip("[]") == endpoint.address


def is_mail_port(seen: Seen, socket: Socket) -> bool:
    """Whether a listener is a mail product's, or on a port that little else uses."""
    port = catalogue_port(socket.endpoint)
    owner = seen.owner(socket)
    if owner is not None and owner.kind in MAIL_KINDS:
        return True
    return port is not None and port.is_mail and not port.is_common
