r"""What was seen about one host at one moment: the Snapshot and its parts.

Plain, immutable and serialisable. Nothing here judges, reads or prints.

*Extent before absence*: an empty tuple means nothing by itself. `Snapshot.looks` says
for each kind of fact, and for each network namespace where it matters, whether all, some
or none of it was seen, from which source, and why not more. Rules ask the looks before
they conclude anything from something that isn't there.

Text that came from the machine (names, arguments, paths) is printable: what isn't becomes
``\xNN`` where it is read (see `printable`).
"""

from __future__ import annotations

from mailports.record import Record

ALL, SOME, NONE = "all", "some", "none"
"""The three extents of a look."""

ANY4, ANY6 = "0.0.0.0", "::"  # noqa: S104 -- words to compare with, not addresses to bind
"""The wildcards."""


class Endpoint(Record):
    """Where a socket is, or wants to be.

    Attributes:
        protocol: `tcp` or `udp`.
        address: IP address in canonical text, without brackets; `0.0.0.0` and `::` are the wildcards.
        port: 1 to 65535; 0 where none is known.
        v6only: whether an IPv6 wildcard leaves IPv4 alone; null for IPv4 or where unknown.
        device: the network device that the socket is bound to.
        netns: label of the network namespace (`here`, `name:X`, `container:X`, `unit:X`, `inode:N`); null unknown.
    """

    protocol: str
    address: str
    port: int
    v6only: bool | None = None
    device: str | None = None
    netns: str | None = None


class Look(Record):
    """What was looked at, and how far.

    Attributes:
        fact: the kind: `listeners`, `bound`, `udp`, `connections`, `holders`, `namespaces`, `units`,
            `containers`, `netfilter`, `settings`, `addresses`.
        netns: label of the namespace that was looked into; null where the fact is the whole host's.
        extent: `all`, `some` or `none`.
        source: where it was read, such as `sock_diag`.
        why: why not all of it; null where all was seen.
        how_to_see: what would show the rest.
    """

    fact: str
    netns: str | None
    extent: str
    source: str
    why: str | None = None
    how_to_see: str | None = None


class Namespace(Record):
    """A network namespace.

    Attributes:
        label: `here`, `name:X`, `container:X`, `unit:X` or `inode:N`; unique in a Snapshot.
        inode: inode of its nsfs file: its identity while it lives.
        pids: some of the processes in it, lowest first (at most 8); empty where only a mount keeps it.
        mount: the bind mount that keeps it, if there is one.
    """

    label: str
    inode: int | None = None
    pids: tuple[int, ...] = ()
    mount: str | None = None


class Holder(Record):
    """A process with a descriptor of a socket; where the process couldn't be seen, what is known of it.

    Attributes:
        pid: as seen from the observer; null where only the unit or container is known.
        name: the process's name (`comm`; at most 15 bytes on Linux).
        exe: path of its executable.
        unit: systemd unit that the process is in now.
        container: name of its container, or id where the name is unknown.
        uid: the process's real user id.
        argv: its arguments, cut to 4 KiB.
        started_at: when it started, RFC 3339.
        group: its process group: a service's workers mostly share their master's.
        seen_by: `fd` (its descriptor was seen), `io_uring` (a ring's fixed file), `cgroup` (only the socket's
            control group names it), `in flight` (a suspect).
    """

    pid: int | None
    name: str | None = None
    exe: str | None = None
    unit: str | None = None
    container: str | None = None
    uid: int | None = None
    argv: tuple[str, ...] = ()
    started_at: str | None = None
    group: int | None = None
    seen_by: str = "fd"


class Socket(Record):
    """A kernel socket that occupies a port.

    Attributes:
        endpoint: its local endpoint.
        family: 4 or 6: the socket's family, not the address's (`::ffff:1.2.3.4` is a 6).
        state: `listen`, `bound` (TCP bound, not listening), `unconnected` (UDP), or a TCP state such as
            `established`, `time-wait`, `fin-wait-2`, `close-wait`, `syn-sent`, `syn-recv`, `last-ack`, `closing`;
            `open` where all that is known is who has the port: not on which address, nor whether it listens.
        peer: the other end of a connection.
        uid: user id of the socket; null where the kernel says 0 for unknown (TIME_WAIT, orphans).
        inode: its inode; 0 where it has none (not accepted yet, TIME_WAIT, orphan).
        cookie: the kernel's never reused id; 0 unknown.
        reuseaddr: SO_REUSEADDR; null where the kernel hides it (always in sock_diag).
        reuseport: SO_REUSEPORT, likewise.
        autobound: whether the kernel chose the port (also true of accepted children); null unknown.
        waiting: connections waiting for accept(2), for a listener.
        backlog: how many may wait, for a listener.
        cgroup: path of the control group in which it was created; null unknown.
        unit: systemd unit of that group (`init.scope` for socket activation).
        container: container id of that group.
        holders: the processes that have it.
        holders_extent: `all` where every process was looked at, `some` where the search stopped early, `none`.
        suspects: where no process holds it, those that have descriptors in flight, of which it may be one.
    """

    endpoint: Endpoint
    family: int
    state: str
    peer: Endpoint | None = None
    uid: int | None = None
    inode: int = 0
    cookie: int = 0
    reuseaddr: bool | None = None
    reuseport: bool | None = None
    autobound: bool | None = None
    waiting: int = 0
    backlog: int = 0
    cgroup: str | None = None
    unit: str | None = None
    container: str | None = None
    holders: tuple[Holder, ...] = ()
    holders_extent: str = NONE
    suspects: tuple[Holder, ...] = ()


class Unit(Record):
    """A systemd unit.

    Attributes:
        name: `exim4.service`, `dovecot.socket`.
        load: `loaded`, `not-found`, `masked`.
        active: `active`, `inactive`, `failed`, `activating`, `deactivating`.
        sub: the finer state (`running`, `dead`, `listening`, `auto-restart`).
        enabled: what `is-enabled` says (`enabled`, `disabled`, `static`, `generated`, …); null unknown.
        result: why it ended (`success`, `exit-code`, `start-limit-hit`, …).
        main_pid: its main process; 0 none.
        restarts: how often systemd restarted it.
        cgroup: its control group.
        listens: for a socket unit, what it listens on (`tcp [::]:143`), as systemd spells it.
        accept: for a socket unit, Accept=.
        triggers: units that it starts (socket to service).
        triggered_by: units that start it.
        pulled_in_by: units that want or require it.
        conflicts: units in Conflicts=, but for `shutdown.target`.
        netns: label of its own network namespace; null for the host's.
    """

    name: str
    load: str | None = None
    active: str | None = None
    sub: str | None = None
    enabled: str | None = None
    result: str | None = None
    main_pid: int = 0
    restarts: int = 0
    cgroup: str | None = None
    listens: tuple[str, ...] = ()
    accept: bool | None = None
    triggers: tuple[str, ...] = ()
    triggered_by: tuple[str, ...] = ()
    pulled_in_by: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    netns: str | None = None


class Publish(Record):
    """A container port that an engine makes reachable on the host.

    Attributes:
        endpoint: the endpoint on the host.
        to_address: the container's address; null where the engine doesn't say.
        to_port: the container's port.
        source: what said so: `docker-proxy arguments`, `engine API`, `rootlessport arguments`, …
        pid: the process whose arguments said so.
    """

    endpoint: Endpoint
    to_address: str | None
    to_port: int
    source: str
    pid: int | None = None


class Container(Record):
    """A container that some engine runs or remembers.

    Attributes:
        engine: `docker`, `podman`, or `unknown`.
        id: its id, at least 12 characters; empty where only a publish is known.
        name: its name; null unknown.
        image: the image's name.
        state: `running`, `created`, `restarting`, `exited`, …; null unknown.
        network: network mode (`bridge`, `host`, `none`, a network's name).
        restart: restart policy.
        pid: pid of its first process.
        netns: label of its network namespace; null unknown.
        addresses: its addresses.
        publishes: its published ports.
        unit: systemd unit that runs it (quadlet, `docker-ID.scope`).
    """

    engine: str
    id: str
    name: str | None = None
    image: str | None = None
    state: str | None = None
    network: str | None = None
    restart: str | None = None
    pid: int | None = None
    netns: str | None = None
    addresses: tuple[str, ...] = ()
    publishes: tuple[Publish, ...] = ()
    unit: str | None = None


class Redirect(Record):
    """A netfilter rule that takes an endpoint's traffic elsewhere.

    Attributes:
        kind: `dnat`, `redirect` or `tproxy`.
        hook: `prerouting` (from outside), `output` (from this host) or `input`.
        netns: label of the namespace that has the rule.
        family: 4, 6, or 0 for both.
        protocol: `tcp`, `udp`, or `any`.
        ports: inclusive ranges of destination ports that it matches; empty: every port.
        addresses: destination addresses or networks that it must match; empty: every one.
        local_only: whether it asks for a destination that is one of the host's own addresses.
        to_address: where to; null: the host itself.
        to_ports: first and last port; null where the port stays.
        when: what else the rule asks for, as text (`iifname != "docker0"`, `skuid 1000`); null: nothing.
        backend: `nft` or `iptables-legacy`; `iptables` where a pasted listing doesn't say which.
        place: family, table and chain, and the handle or position: `ip nat DOCKER handle 12`.
        text: the rule, near to how its tool prints it.
    """

    kind: str
    hook: str
    netns: str | None
    family: int
    protocol: str
    ports: tuple[tuple[int, int], ...]
    addresses: tuple[str, ...]
    local_only: bool
    to_address: str | None
    to_ports: tuple[int, int] | None
    when: str | None
    backend: str
    place: str
    text: str


class Gate(Record):
    """A netfilter rule or chain policy that lets an endpoint's traffic in, or doesn't.

    Attributes:
        verdict: `accept`, `drop` or `reject`.
        hook: `input`, `forward` or `output`.
        netns: label of the namespace that has it.
        family: 4, 6, or 0 for both.
        protocol: `tcp`, `udp`, or `any`.
        ports: inclusive ranges of destination ports; empty: every port (a policy, or a rule that names none).
        addresses: destination addresses or networks that it must match; empty: every one.
        when: what else the rule asks for, as text; null: nothing, so it decides for every packet that gets there.
        is_policy: whether it is a base chain's policy.
        backend: `nft` or `iptables-legacy`; `iptables` where a pasted listing doesn't say which.
        place: family, table, chain, and handle or position.
        text: the rule, near to how its tool prints it.
    """

    verdict: str
    hook: str
    netns: str | None
    family: int
    protocol: str
    ports: tuple[tuple[int, int], ...]
    addresses: tuple[str, ...]
    when: str | None
    is_policy: bool
    backend: str
    place: str
    text: str


class Setting(Record):
    """A kernel setting, or a line of a system file that acts like one.

    Attributes:
        name: dotted as `sysctl` names it: `net.ipv4.ip_local_port_range`.
        value: its text, blanks folded.
        netns: label of its namespace; null where the setting is the whole host's.
    """

    name: str
    value: str
    netns: str | None = None


class Address(Record):
    """An IP address that the host has.

    Attributes:
        address: canonical text.
        prefix: prefix length.
        device: its network device.
        netns: label of its namespace.
        tentative: duplicate address detection isn't done, so the kernel treats it as absent.
        device_kind: the device's kind as the kernel names it (`bridge`, `veth`, `wireguard`, …); null for
            plain devices and loopback.
    """

    address: str
    prefix: int
    device: str
    netns: str | None
    tentative: bool = False
    device_kind: str | None = None


class Lookup(Record):
    """The kernel's own answer to which listener a packet reaches.

    Attributes:
        endpoint: where the packet is sent.
        cookie: cookie of the listener that gets it; null: nobody.
    """

    endpoint: Endpoint
    cookie: int | None


class Attempt(Record):
    """A bind, listen or connect that was tried, as a log line, an error message or a trace says.

    Attributes:
        program: who tried, as it calls itself: `postfix/master`, `exim`, `docker`.
        product: the catalogue's product; null where it isn't a known one.
        endpoint: the endpoint that was wanted; null where the text names no port.
        errno: `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, `EAFNOSUPPORT`, `ECONNREFUSED`, …; empty where none was said.
        call: `bind` (listen included), `connect`, `publish`, or `start` (a pid file, a lock: no socket involved).
        when: when, as the text says; null unknown.
        unit: the systemd unit that tried, where the text says.
        container: the container that tried or that is published, where the text says.
        entry: the entry of its configuration, where the text names one (`smtp/inet`, `frontend mail`).
        path: a file that the text names for it.
        line: line of that file, or of the text that was read, from 1.
        text: the line itself, cut to 300 characters.
        address: the address that was wanted, where the text names one without a port.
    """

    program: str | None
    product: str | None
    endpoint: Endpoint | None
    errno: str
    call: str = "bind"
    when: str | None = None
    unit: str | None = None
    container: str | None = None
    entry: str | None = None
    path: str | None = None
    line: int | None = None
    text: str = ""
    address: str | None = None


class Snapshot(Record):
    """Everything that was seen about one host at one moment.

    Attributes:
        host: the host's name.
        taken_at: when, RFC 3339 in UTC.
        system: `Linux`, `Darwin`, …
        release: the kernel's release, which decides what its tables can show.
        looks: what was looked at, and how far.
        namespaces: the network namespaces that were found; `here` first.
        sockets: listeners, bound sockets, and those connections that explain something.
        units: the systemd units that matter to the sockets.
        containers: containers, and published ports whose container is unknown.
        redirects: netfilter rules that take traffic elsewhere.
        gates: netfilter rules and policies that let it in or not.
        settings: kernel settings.
        addresses: the host's addresses.
        lookups: for ports that were asked about, which listener the kernel says gets a packet.
        attempts: binds and connects that were tried and what came of them.
    """

    host: str
    taken_at: str
    system: str
    release: str
    looks: tuple[Look, ...]
    namespaces: tuple[Namespace, ...] = ()
    sockets: tuple[Socket, ...] = ()
    units: tuple[Unit, ...] = ()
    containers: tuple[Container, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    gates: tuple[Gate, ...] = ()
    settings: tuple[Setting, ...] = ()
    addresses: tuple[Address, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    attempts: tuple[Attempt, ...] = ()


def shown(endpoint: Endpoint) -> str:
    """Return an endpoint as administrators write it: `0.0.0.0:25`, `[::]:25`, `udp 0.0.0.0:53`, `…%eth0`."""
    address = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    device = f"%{endpoint.device}" if endpoint.device else ""
    protocol = "udp " if endpoint.protocol == "udp" else ""
    return f"{protocol}{address}{device}:{endpoint.port}"


def natural(text: str) -> int | None:
    """Return the number that ASCII digits spell, or None: `²` is a digit to str.isdigit(), and isn't a number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def port_number(value: object) -> int | None:
    """Return a port that text or a JSON number names, or None where it is none (0, 70000, 2.5, true)."""
    if isinstance(value, str):
        value = natural(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
        return value
    return None


def printable(raw: bytes | str) -> str:
    r"""Return text that is safe to show: what isn't printable becomes ``\xNN``.

    Bytes are taken as UTF-8 where they are; control characters, newlines, escapes, lone surrogates
    and unprintable code points are spelled out, so that a hostile process name can't move a cursor.
    """
    if isinstance(raw, bytes):
        text = raw.decode("utf-8", "surrogateescape")
    else:
        text = raw
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that wasn't UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
