"""One look at a machine: which facts, in which order, and how far.

A look for `status` reads what is cheap: the listeners, the first holder of each that matters, and what
these lead to (a socket unit, a container). A look for `audit` and `why` reads all there is.
"""

from __future__ import annotations

from mailports.catalogue.ports import numbers
from mailports.catalogue.programs import is_mail_product, program_of, program_of_unit
from mailports.faults import HostError
from mailports.model.facts import (
    ALL,
    ANY4,
    ANY6,
    NONE,
    SOME,
    Container,
    Endpoint,
    Holder,
    Look,
    Lookup,
    Namespace,
    Snapshot,
    Socket,
    natural,
)
from mailports.observe.cgroups import Groups
from mailports.observe.containers import ROOTLESS, Known, join_addresses, read_engines, read_helper, read_podman
from mailports.observe.holders import Search, in_flight
from mailports.observe.namespaces import HERE, Census, take_census
from mailports.observe.processes import read_holder, read_name
from mailports.observe.sockets import Seen, receiver
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailports.door import Host
    from mailports.model.facts import Address, Gate, Redirect, Setting, Unit

ADDRESSES_ASKED = 64
"""Of how many addresses the kernel is asked who listens."""

HELPERS = ("docker-proxy", "dockerd", "conmon", *ROOTLESS)
"""Processes of container engines that hold a published port for a container."""


NEAR = "near"
"""Our own namespace, and those that are found without looking at every process."""


class Scope(Record):
    """How far to look.

    Attributes:
        everyone: every holder of every socket, rather than the first of those that matter.
        everything: all of that, and bound sockets, connections, settings, and the rules of every namespace.
        netns: `near` (our own namespace, and those that mounts keep), `here` (only our own), `all`, a
            namespace's name, or a process id.
        udp: UDP sockets too.
        ports: ports to look at beside those of the catalogue.
    """

    everyone: bool = False
    everything: bool = False
    netns: str = NEAR
    udp: bool = False
    ports: tuple[int, ...] = ()


def observe(host: Host, scope: Scope = Scope()) -> Snapshot:  # noqa: B008 -- immutable
    """Return what is seen of a machine. Raises HostError only where a namespace that was asked for isn't there."""
    system = host.system()
    if system[0] != "Linux":
        from mailports.observe.elsewhere import observe_elsewhere

        return observe_elsewhere(host, host.name(), system, udp=scope.udp or scope.everything)
    return _Observation(host, scope).snapshot()


class _Observation:
    def __init__(self, host: Host, scope: Scope) -> None:
        self.host = host
        self.scope = scope
        self.groups = Groups(host)
        self.known = Known()
        self.looks: list[Look] = []
        self.sockets: list[Socket] = []
        self.units: list[Unit] = []
        self.redirects: list[Redirect] = []
        self.gates: list[Gate] = []
        self.settings: list[Setting] = []
        self.addresses: list[Address] = []
        self.lookups: list[Lookup] = []
        self.census = Census()

    def snapshot(self) -> Snapshot:
        host = self.host
        taken_at = host.stamp(host.now())
        self.census = take_census(host, everyone=self._needs_every_namespace())
        self._say_namespaces()
        entered = self._entered()
        for namespace in entered:
            self._look_into(namespace)
        self._find_holders()
        self._find_containers()
        self._find_units()
        system, release = host.system()
        snapshot = Snapshot(
            host.name(),
            taken_at,
            system,
            release,
            tuple(self.looks),
            tuple(self.census.namespaces),
            tuple(self.sockets),
            tuple(self.units),
            tuple(self.known.containers.values()),
            tuple(self.redirects),
            tuple(self.gates),
            tuple(self.settings),
            tuple(self.addresses),
            tuple(self.lookups),
        )
        return _relabelled(snapshot)

    # Namespaces

    def _entered(self) -> list[Namespace]:
        """Those to look into. Raises HostError where the one that was asked for doesn't exist."""
        wanted = self.scope.netns
        if wanted in (NEAR, "all"):
            return list(self.census.namespaces)
        for namespace in self.census.namespaces:
            labels = (namespace.label, namespace.label.partition(":")[2])
            if wanted in labels or natural(wanted) in self._pids(namespace.label):
                return [namespace]
        raise HostError(f"find network namespace {wanted}", "", "no namespace has that name or process")

    def _pids(self, label: str) -> list[int]:
        return [pid for pid, own in self.census.labels.items() if own == label]

    def _needs_every_namespace(self) -> bool:
        return self.scope.netns not in (NEAR, HERE)

    def _say_namespaces(self) -> None:
        if self._needs_every_namespace():
            self.looks.append(Look("namespaces", None, ALL, "/proc/*/ns/net, nsfs mounts"))
        else:
            self.looks.append(Look("namespaces", None, SOME, "nsfs mounts"))

    # Sockets

    def _look_into(self, namespace: Namespace) -> None:
        label = namespace.label
        path = self.census.paths[label]
        inside = self.host if path is None else self.host.within(path)
        proc = "thread-self" if path is None else str(namespace.pids[0]) if namespace.pids else None
        seen = Seen(inside, label, self.groups, proc)
        seen.look_at_listeners(autobound=self.scope.everything)
        if self.scope.udp or self.scope.everything:
            seen.look_at_udp()
        if self.scope.everything:
            ports = sorted(self._ports_of_interest(seen.sockets))
            seen.look_at_bound()
            seen.look_at_connections(ports)
        self.sockets += seen.sockets
        self.looks += seen.looks
        if self.scope.everything and self._can_enter(label, seen.looks):
            self._look_around(inside, label)
            self._look_up(inside, label)
        elif label == HERE:
            self._look_at_addresses(inside, label)
            self._look_at_netfilter(inside, label)

    def _ports_of_interest(self, sockets: Iterable[Socket]) -> set[int]:
        mail = {s.endpoint.port for s in sockets if is_mail_product(program_of_unit(s.unit))}
        return mail | numbers("tcp") | set(self.scope.ports)

    def _can_enter(self, label: str, looks: Iterable[Look]) -> bool:
        return label == HERE or any(look.source == "sock_diag" and look.extent == ALL for look in looks)

    def _look_around(self, inside: Host, label: str) -> None:
        from mailports.observe.settings import read_settings

        settings, look = read_settings(inside, label)
        self.settings += settings
        self.looks.append(look)
        self._look_at_addresses(inside, label)
        self._look_at_netfilter(inside, label)

    def _look_at_addresses(self, inside: Host, label: str) -> None:
        from mailports.observe.links import read_addresses, read_links

        try:
            self.addresses += read_addresses(inside, label, read_links(inside))
            self.looks.append(Look("addresses", label, ALL, "rtnetlink"))
        except HostError as error:
            self.looks.append(Look("addresses", label, NONE, "rtnetlink", str(error)))

    def _look_up(self, inside: Host, label: str) -> None:
        """Ask the kernel who gets a packet to each address, for the ports that were asked about."""
        own = [a.address for a in self.addresses if a.netns == label][:ADDRESSES_ASKED]
        try:
            for port in self.scope.ports:
                for address in own:
                    cookie = receiver(inside, "tcp", address, port)
                    self.lookups.append(Lookup(Endpoint("tcp", address, port, netns=label), cookie))
        except HostError as error:
            self.looks.append(Look("lookups", label, SOME, "sock_diag", str(error)))

    def _look_at_netfilter(self, inside: Host, label: str) -> None:
        from mailports.observe.netfilter import look_at_netfilter

        reading, look = look_at_netfilter(inside, label)
        self.looks.append(look)
        if reading is not None:
            self.redirects += reading.redirects
            self.gates += reading.gates

    # Holders

    def _find_holders(self) -> None:
        everyone = self.scope.everyone or self.scope.everything
        search = Search(self.host, self.groups, everyone=everyone)
        wanted = self.sockets if everyone else self._worth_a_search()
        self.sockets = search.attach(self.sockets, wanted)
        if self.scope.ports and self.scope.everything:
            self.sockets = search.with_options(self.sockets, self.scope.ports)
            self._suspect()
        if everyone:
            extent = SOME if search.unreadable else ALL
        else:
            extent = SOME
        if search.unreadable:
            why = f"no permission to read the descriptors of {search.unreadable} processes"
            self.looks.append(Look("holders", None, extent, "/proc/*/fd", why, "run as root"))
        else:
            self.looks.append(Look("holders", None, extent, "/proc/*/fd"))

    def _suspect(self) -> None:
        """For a listener that no process holds: who has descriptors in flight."""
        lost = [s for s in self.sockets if s.endpoint.port in self.scope.ports and s.inode and _is_unheld(s)]
        if lost:
            pids = in_flight(self.host)
            holders = [read_holder(self.host, self.host, pid) for pid in pids]
            suspects = tuple(h._replace(seen_by="in flight") for h in holders if h is not None)
            self.sockets = [s._replace(suspects=suspects) if s in lost else s for s in self.sockets]

    def _worth_a_search(self) -> list[Socket]:
        """Sockets of the catalogue's ports, and those that a mail product's unit or process made."""
        known = {"tcp": numbers("tcp"), "udp": numbers("udp") | {53}}
        leaders: dict[str, bool] = {}
        chosen = []
        for socket in self.sockets:
            number = socket.endpoint.port
            if number in known[socket.endpoint.protocol] or number in self.scope.ports:
                chosen.append(socket)
            elif socket.cgroup and socket.cgroup != "/":
                is_mail = leaders.get(socket.cgroup)
                if is_mail is None:
                    is_mail = leaders[socket.cgroup] = self._is_led_by_mail(socket)
                if is_mail:
                    chosen.append(socket)
            elif not socket.cgroup or socket.cgroup == "/":
                chosen.append(socket)  # its group says nothing, so only its holder can
        return chosen

    def _is_led_by_mail(self, socket: Socket) -> bool:
        if is_mail_product(program_of_unit(socket.unit)):
            return True
        pids = self.groups.pids(socket.cgroup or "/")
        return bool(pids) and is_mail_product(program_of(read_name(self.host, pids[0])))

    # Containers

    def _find_containers(self) -> None:
        self._add_helpers()
        holders = [h for s in self.sockets for h in s.holders]
        ids = {h.container for h in holders} | {s.container for s in self.sockets}
        names = {h.name for h in holders}
        if self.scope.everything or ids - {None} or names & {"docker-proxy", "dockerd"}:
            read_engines(self.host, self.known)
        if self.scope.everything:
            users = {h.uid for h in holders if h.uid is not None and _is_podmans(h)}
            read_podman(self.host, self.known, sorted(users))
        join_addresses(self.known)
        self._place_containers()
        self.sockets = [self._named(s) for s in self.sockets]
        self.looks += self.known.looks

    def _add_helpers(self) -> None:
        done: set[int] = set()
        for socket in self.sockets:
            for holder in socket.holders:
                if holder.pid is None or holder.name not in HELPERS or holder.pid in done:
                    continue
                done.add(holder.pid)
                found = read_helper(self.host, self.groups, holder, socket.endpoint)
                if found is not None:
                    self.known.add(found)

    def _place_containers(self) -> None:
        """Say which namespace a container is in, and add those that only a control group names."""
        for socket in self.sockets:
            if socket.container and socket.state == "listen" and socket.container[:12] not in self.known.containers:
                self.known.add(Container("unknown", socket.container, unit=socket.unit))
        for namespace in self.census.namespaces:
            kind, _, identity = namespace.label.partition(":")
            owner = identity if kind == "container" else self._only_container(namespace.label)
            if owner and owner[:12] in self.known.containers:
                known = self.known.containers[owner[:12]]
                pid = namespace.pids[0] if namespace.pids else known.pid
                self.known.containers[owner[:12]] = known._replace(netns=namespace.label, pid=pid)

    def _only_container(self, label: str) -> str | None:
        """The container of a namespace's listeners, for a namespace that only a mount names."""
        owners = {s.container for s in self.sockets if s.endpoint.netns == label and s.container}
        return owners.pop() if len(owners) == 1 and label != HERE else None

    def _named(self, socket: Socket) -> Socket:
        if not any(h.container or h.name in HELPERS for h in socket.holders):
            return socket
        holders = tuple(self._named_holder(h, socket.endpoint) for h in socket.holders)
        return socket._replace(holders=holders)

    def _named_holder(self, holder: Holder, endpoint: Endpoint) -> Holder:
        if holder.container:
            return holder._replace(container=self.known.name_of(holder.container))
        if holder.name not in HELPERS:
            return holder
        for container in self.known.containers.values():
            for publish in container.publishes:
                if publish.pid == holder.pid or (publish.pid is None and _is_at(publish.endpoint, endpoint)):
                    return holder._replace(container=container.name or container.id[:12] or None)
        found = read_helper(self.host, self.groups, holder, endpoint) if _is_podmans(holder) else None
        return holder._replace(container=found.name) if found else holder

    # Units

    def _find_units(self) -> None:
        """Ask systemd where it matters: always for a full look, else where a socket unit or a session holds."""
        names, init_holds = self._units_to_ask()
        if not (self.scope.everything or names or init_holds):
            return
        from mailports.observe.units import read_units

        units, look = read_units(self.host, names, every_socket=self.scope.everything or init_holds)
        self.units = units
        self.looks.append(look)
        triggered = {name for unit in units for name in unit.triggers} - {unit.name for unit in units}
        if triggered:
            more, _ = read_units(self.host, triggered, every_socket=False)
            self.units += more

    def _units_to_ask(self) -> tuple[set[str], bool]:
        names: set[str] = set()
        init_holds = False
        for socket in self.sockets:
            if socket.state != "listen" and socket.endpoint.protocol == "tcp":
                continue
            for holder in socket.holders:
                program = program_of(holder.name, holder.exe, holder.unit)
                init_holds = init_holds or holder.pid == 1
                if self.scope.everything and holder.unit:
                    names.add(holder.unit)
                is_outside = holder.unit is None or not holder.unit.endswith(".service")
                if program is not None and (self.scope.everything or (is_outside and is_mail_product(program))):
                    names.update(program.units)
        return names, init_holds


def _is_unheld(socket: Socket) -> bool:
    return socket.state == "listen" and not socket.holders and socket.holders_extent == ALL


def _is_podmans(holder: Holder) -> bool:
    return holder.name is not None and (holder.name == "conmon" or holder.name.startswith(ROOTLESS))


def _is_at(published: Endpoint, held: Endpoint) -> bool:
    same_port = (published.protocol, published.port) == (held.protocol, held.port)
    return same_port and (published.address == held.address or {published.address, held.address} <= {ANY4, ANY6})


def _relabelled(snapshot: Snapshot) -> Snapshot:
    """Call the namespaces of containers by the containers' names, now that these are known."""
    names: dict[str | None, str] = {}
    for container in snapshot.containers:
        if container.netns and container.netns != HERE:
            better = f"container:{container.name or container.id[:12]}"
            if container.netns.startswith(("container:", "inode:")) and better not in names.values():
                names[container.netns] = better
    if not names:
        return snapshot

    def of(label: str | None) -> str | None:
        return names.get(label, label)

    def endpoint(e: Endpoint) -> Endpoint:
        return e._replace(netns=of(e.netns)) if e.netns in names else e

    return snapshot._replace(
        looks=tuple(x._replace(netns=of(x.netns)) for x in snapshot.looks),
        namespaces=tuple(x._replace(label=names.get(x.label, x.label)) for x in snapshot.namespaces),
        sockets=tuple(
            x._replace(endpoint=endpoint(x.endpoint), peer=endpoint(x.peer) if x.peer else None)
            for x in snapshot.sockets
        ),
        units=tuple(x._replace(netns=of(x.netns)) for x in snapshot.units),
        containers=tuple(x._replace(netns=of(x.netns)) for x in snapshot.containers),
        redirects=tuple(x._replace(netns=of(x.netns)) for x in snapshot.redirects),
        gates=tuple(x._replace(netns=of(x.netns)) for x in snapshot.gates),
        settings=tuple(x._replace(netns=of(x.netns)) for x in snapshot.settings),
        addresses=tuple(x._replace(netns=of(x.netns)) for x in snapshot.addresses),
        lookups=tuple(x._replace(endpoint=endpoint(x.endpoint)) for x in snapshot.lookups),
    )
