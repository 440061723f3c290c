"""Would this endpoint bind beside these sockets, and which socket or rule is in the way?

One job: to say what bind(2) and then listen(2) would answer, from facts that were read before. It must
not ask the machine itself: a test bind lies (it says "free" beside a bound socket that has SO_REUSEADDR,
"held" without it for what is only TIME_WAIT), and it makes a daemon that starts just then fail.

The rules are Linux's, held against the kernel by `tests/kernel/test_bind_rules.py`, and from its sources:
net/ipv4/af_inet.c (`__inet_bind`), net/ipv6/af_inet6.c (`__inet6_bind`), net/ipv4/inet_connection_sock.c
(`inet_csk_bind_conflict`, `inet_rcv_saddr_equal`, `ipv6_rcv_saddr_equal`), net/ipv4/udp.c
(`udp_lib_lport_inuse`, `compute_score`); in words: ip(7), ipv6(7), socket(7).

What is hidden is tried both ways. sock_diag never tells SO_REUSEADDR and SO_REUSEPORT, nor v6only of a
connection: where the answer depends on one of these it is `unknown`, and the obstacle says which.

Limits:
    * With three and more SO_REUSEPORT sockets the kernel's shortcuts admit some binds which the rule for
      two sockets forbids, never the reverse (TCP asks the user id of the latest one only, UDP stops at
      the first that matches). Where the sockets show that this may happen, nothing is certain.
    * TCP remembers the SO_REUSEPORT socket that was bound last (uid, address), and lets another in by it
      even when that one was closed, cleared the option or changed its uid. This mark can't be seen: it is
      the one way in which a `no` may be wrong, and only for a newcomer with SO_REUSEPORT.
    * Addresses that only a route of type `local` makes the host's, VRFs, security modules, BPF and
      TCP_REPAIR aren't seen.
    * A device is known or null, and null means "not bound to one".

They are one piece: every rule needs the same view of a socket, and apart they could drift.
"""

from __future__ import annotations

from itertools import product

from mailports.model.facts import Address, Endpoint, Setting, Socket
from mailports.model.verdicts import NO, UNKNOWN, YES, BindRequest, Obstacle, Verdict
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Optional

    _Places = tuple[Optional[int], Optional[int]]
    _Spot = tuple[str, _Places, Optional[str]]

_MAPPED = 0xFFFF  # the upper 96 bits of ::ffff:0.0.0.0/96
_GHOST = 0x7F000006  # LOOPBACK4_IPV6: as which address an IPv6 connection poses to AF_INET
_SHORTCUT = "which SO_REUSEPORT socket the kernel compares with, as there are several"
_NAMES = (
    "v6only of that socket",
    "v6only of the one that asks",
    "SO_REUSEADDR of that socket",
    "SO_REUSEADDR of the one that asks",
    "SO_REUSEPORT of that socket",
    "SO_REUSEPORT of the one that asks",
    "whether both have one uid",
)
"""The hidden facts in the order of `_Facts`, as an obstacle names them."""


def would_bind(
    want: BindRequest,
    sockets: Iterable[Socket],
    settings: Iterable[Setting] = (),
    addresses: Iterable[Address] | None = None,
) -> Verdict:
    """Say whether bind(2) and then listen(2) would succeed now, and what is in the way.

    Only sockets of the wanted network namespace, protocol and port count; others may be among them.
    Every check is made, though the kernel stops at the first that fails. `errno` is null where a check
    that only may fail, with another errno, comes before the first certain one. `listen` is never
    surer than `bind`: at one moment it meets the same sockets under the same rule. For a socket that
    is bound already, ask `would_listen`.

    Args:
        want: the endpoint, and how it would be bound.
        sockets: the sockets that exist.
        settings: kernel settings. A missing `bindv6only` or `ip_nonlocal_bind` counts as 0; without
            `ip_unprivileged_port_start` nobody knows whether a port below 1024 is privileged.
        addresses: the host's addresses; null where unknown: then the address isn't judged.
    """
    values = _settings(settings, want.endpoint.netns)
    wanted = _wanted(want, values)
    obstacles = [*_arguments(want, wanted, values, addresses), *_held("bind", wanted, sockets)]
    bind = _answer(obstacles)
    listens = want.listens and want.endpoint.protocol == "tcp" and bind != NO
    return Verdict(bind, bind if listens else None, _errno(obstacles), tuple(obstacles))


def would_listen(bound: Socket, sockets: Iterable[Socket]) -> Verdict:
    """Say whether listen(2) would succeed now on a TCP socket that is bound already.

    Two sockets that both have SO_REUSEADDR may be bound to one endpoint; the first listen() wins, the
    other fails, and succeeds when the winner is gone.

    Args:
        bound: the socket; its hidden options are tried both ways.
        sockets: the sockets that exist. `bound` itself may be among them.
    """
    others = [socket for socket in sockets if not _is_same(socket, bound)]
    obstacles = list(_held("listen", _side(bound), others))
    return Verdict(YES, _answer(obstacles), _errno(obstacles), tuple(obstacles))


def overlaps(a: Endpoint, a_family: int, b: Endpoint, b_family: int) -> bool | None:
    """Say whether two endpoints have an address in common, so that one program at most may listen on both.

    Null where it depends on whether a `[::]` is v6only. Endpoints in different namespaces, of different
    protocol or port, or bound to different devices don't meet. It is about what is configured: that a
    connection may also be in the way where it has no address in common, `would_bind` knows.
    """
    if _group(a) != _group(b) or not _devices_meet(_device(a), _device(b)):
        return False
    found = {
        _places_meet(_narrowed(_places(a.address), v6only=a_only), _narrowed(_places(b.address), v6only=b_only))
        for a_only, b_only in _ways((a.v6only if a_family == 6 else False, b.v6only if b_family == 6 else False))
    }
    return found.pop() if len(found) == 1 else None


def covers(listener: Socket, address: str) -> bool:
    """Say whether this listener's own address takes in `address` (IPv4 or IPv6 text).

    A wildcard takes in its family, `[::]` without v6only IPv4 too (null counts as not v6only, the
    kernel's default), and `::ffff:192.0.2.1` is `192.0.2.1`. Another listener may be nearer, see `receiver`.
    """
    own4, own6 = _narrowed(_places(listener.endpoint.address), v6only=listener.endpoint.v6only)
    v4, v6 = _narrowed(_places(address), v6only=True)
    return own4 in (0, v4) if v4 is not None else own6 in (0, v6)


def receiver(
    sockets: Iterable[Socket],
    protocol: str,
    address: str,
    port: int,
    netns: str | None = None,
    device: str | None = None,
) -> tuple[Socket, ...]:
    """Return the listeners that get the traffic to an endpoint, as the kernel looks them up.

    The exact address beats the wildcard; then one that is bound to the device beats one that isn't, and
    an AF_INET socket beats an IPv6 one for IPv4 (`0.0.0.0` beats a dual `[::]`). Several are either a
    SO_REUSEPORT group, among which the kernel spreads connections, or UDP sockets with SO_REUSEADDR, of
    which the last one bound gets everything. None: nobody listens there.

    Args:
        sockets: the sockets that exist.
        protocol: `tcp` or `udp`.
        address: destination address, IPv4 or IPv6 text.
        port: destination port.
        netns: label of the network namespace.
        device: the device through which it comes in. Where it isn't known, listeners that are bound to a
            device are left out: what they get depends on it.
    """
    states = ("listen",) if protocol == "tcp" else ("listen", "unconnected")
    exact = _narrowed(_places(address), v6only=True)
    ranked: list[tuple[tuple[bool, int], Socket]] = []
    for socket in sockets:
        at = socket.endpoint
        if _group(at) != (port, protocol, netns) or socket.state not in states or not covers(socket, address):
            continue
        bound_to = _device(at)
        if bound_to in (None, device):
            score = (bound_to is not None) + (socket.family == 4)  # compute_score() weighs both alike
            ranked.append(((_narrowed(_places(at.address), v6only=True) == exact, score), socket))
    best = max((rank for rank, _ in ranked), default=None)
    return tuple(socket for rank, socket in ranked if rank == best)


# Arguments, privilege and address: what fails before any other socket matters.


class _Side(Record):
    """One of two sockets that may meet.

    Attributes:
        endpoint: where it is.
        places: its addresses, as if it weren't v6only.
        device: the device that it is bound to.
        family: 4 or 6.
        state: as the socket's; `new` for the one that would be bound.
        v6only: as the kernel has it; like the rest, null where hidden.
        reuseaddr: SO_REUSEADDR.
        reuseport: SO_REUSEPORT.
        uid: user id.
    """

    endpoint: Endpoint
    places: _Places
    device: str | None
    family: int
    state: str
    v6only: bool | None
    reuseaddr: bool | None
    reuseport: bool | None
    uid: int | None


class _Facts(Record):
    """What decides between an existing socket `a` and `b` that asks, besides addresses; all known."""

    a_v6only: bool
    b_v6only: bool
    a_reuseaddr: bool
    b_reuseaddr: bool
    a_reuseport: bool
    b_reuseport: bool
    same_uid: bool


def _wanted(want: BindRequest, settings: dict[str, str]) -> _Side:
    at, places = want.endpoint, _places(want.endpoint.address)
    v6only = want.family == 6 and at.v6only
    if want.family == 6 and v6only is None:
        v6only = settings.get("net.ipv6.bindv6only") == "1"  # a new socket takes it
    return _Side(at, places, _device(at), want.family, "new", v6only, want.reuseaddr, want.reuseport, want.uid)


def _arguments(
    want: BindRequest, wanted: _Side, settings: dict[str, str], addresses: Iterable[Address] | None
) -> list[Obstacle]:
    """Return what fails before the port is looked at, in the kernel's order, which differs by family."""
    privilege, absent = _privilege(want, settings), _absent(want, wanted, settings, addresses)
    v4, v6 = wanted.places
    shown = _shown(want.endpoint.address)
    if want.family == 4:
        return absent + privilege
    if v6 is None and v4 is not None and wanted.v6only:
        return [*privilege, _wrong(f"{shown} is an IPv4 address, which a v6only socket can't have"), *absent]
    if v6 and v6 >> 120 == 0xFF and want.endpoint.protocol == "tcp":
        return [_wrong(f"TCP can't bind the multicast address {shown}"), *privilege]
    if v6 and _needs_device(v6) and wanted.device is None:
        return [*privilege, _wrong(f"{shown} is link-local, and needs its network device named"), *absent]
    return privilege + absent


def _wrong(rule: str) -> Obstacle:
    return Obstacle("bind", "EINVAL", rule)


def _privilege(want: BindRequest, settings: dict[str, str]) -> list[Obstacle]:
    start = settings.get("net.ipv4.ip_unprivileged_port_start", "")
    first_free = int(start) if start.isdecimal() else 1024
    if not 0 < want.endpoint.port < first_free or want.may_bind_privileged:
        return []
    rule = f"a port below {first_free} needs CAP_NET_BIND_SERVICE"
    if want.may_bind_privileged is None:
        return [Obstacle("bind", "EACCES", rule, certain=False, unknown="whether the program has CAP_NET_BIND_SERVICE")]
    if not start.isdecimal():
        return [Obstacle("bind", "EACCES", rule, certain=False, unknown="net.ipv4.ip_unprivileged_port_start")]
    return [Obstacle("bind", "EACCES", rule)]


def _absent(
    want: BindRequest, wanted: _Side, settings: dict[str, str], addresses: Iterable[Address] | None
) -> list[Obstacle]:
    v4, v6 = wanted.places
    family = 4 if v6 is None else 6
    if addresses is None or want.nonlocal_ok or settings.get(f"net.ipv{family}.ip_nonlocal_bind") == "1":
        return []
    here = [address for address in addresses if address.netns == want.endpoint.netns]
    if v6 is not None:
        return _absent6(wanted, v6, here)
    return _absent4(wanted.endpoint, v4 or 0, here)


def _absent4(at: Endpoint, number: int, addresses: Sequence[Address]) -> list[Obstacle]:
    """Return the obstacle where the kernel's local table wouldn't have this IPv4 address."""
    if number in (0, 0xFFFFFFFF) or number >> 24 == 127 or number >> 28 == 0xE:
        return []
    for address in addresses:
        if ":" in address.address:
            continue
        has, rest = _number(address.address), (1 << (32 - address.prefix)) - 1
        broadcast = has | rest if address.prefix < 31 else has
        if number in (has, broadcast) or (address.device == "lo" and number | rest == has | rest):
            return []  # on loopback the whole network is the host's, as 127/8 is
    return [Obstacle("bind", "EADDRNOTAVAIL", f"{at.address} isn't an address of this host")]


def _absent6(wanted: _Side, number: int, addresses: Sequence[Address]) -> list[Obstacle]:
    """Return the obstacle where `ipv6_chk_addr` wouldn't find this address."""
    if number == 0 or number >> 120 == 0xFF:
        return []
    shown = _shown(wanted.endpoint.address)
    has = [address for address in addresses if ":" in address.address and _number(address.address) == number]
    ready = [address for address in has if not address.tentative]
    if not has:
        rule = f"{shown} isn't an address of this host"
    elif not ready:
        rule = f"{shown} is tentative: till the kernel has looked for a duplicate it isn't there"
    elif wanted.device and _has_scope(number) and all(address.device != wanted.device for address in ready):
        rule = f"{shown} isn't on the device {wanted.device}"
    else:
        return []
    return [Obstacle("bind", "EADDRNOTAVAIL", rule)]


def _needs_device(number: int) -> bool:
    is_near_multicast = number >> 120 == 0xFF and (number >> 112) & 0xF in (1, 2)
    return number >> 118 == 0xFE80 >> 6 or is_near_multicast


def _has_scope(number: int) -> bool:
    return number == 1 or number >> 118 == 0xFE80 >> 6  # others are the host's on every device


# Sockets: what the port check compares.


def _held(step: str, wanted: _Side, sockets: Iterable[Socket]) -> Iterator[Obstacle]:
    """Yield the sockets that are, or may be, in the way at this step."""
    if wanted.endpoint.port == 0:
        return  # the kernel chooses one that is free
    group = _group(wanted.endpoint)
    there = [socket for socket in sockets if _group(socket.endpoint) == group]
    sides = [_side(socket) for socket in there]
    sharing = _proven_sharing(there, sides)
    sides = [side._replace(reuseport=True) if _spot(side) in sharing else side for side in sides]
    shortcut = any(_may_cut_short(side, wanted) for side in sides)
    for socket, side in zip(there, sides):
        certain, unknown = _compare(side, wanted)
        if certain and shortcut:
            certain, unknown = False, _SHORTCUT
        if certain or unknown is not None:
            yield Obstacle(step, "EADDRINUSE", _rule(side, wanted), socket, certain, unknown)


def _compare(a: _Side, b: _Side) -> tuple[bool, str | None]:
    """Say whether `a` is surely in the way of `b`, and otherwise which hidden facts decide; null where none."""
    same_uid = None if a.uid is None or b.uid is None else a.uid == b.uid
    facts = (a.v6only, b.v6only, a.reuseaddr, b.reuseaddr, a.reuseport, b.reuseport, same_uid)
    answers = {bits: _fails(a, b, _Facts(*bits)) for bits in _ways(facts)}
    if len(set(answers.values())) == 1:
        return next(iter(answers.values())), None
    deciding = []
    for index, name in enumerate(_NAMES):
        flipped = ((*bits[:index], not bits[index], *bits[index + 1 :]) for bits in answers)
        if facts[index] is None and any(answers[bits] != answers[other] for bits, other in zip(answers, flipped)):
            deciding.append(name)
    return False, ", ".join(deciding)


def _fails(a: _Side, b: _Side, facts: _Facts) -> bool:
    """Say whether `b` can't have the port beside `a`: `inet_csk_bind_conflict`, `udp_lib_lport_inuse`."""
    if not _devices_meet(a.device, b.device) or not _meet(a, b, facts):
        return False
    if facts.a_reuseaddr and facts.b_reuseaddr and not _is_listening(a):
        return False
    return not (facts.a_reuseport and facts.b_reuseport and (facts.same_uid or a.state == "time-wait"))


def _meet(a: _Side, b: _Side, facts: _Facts) -> bool:
    """Say whether the addresses of an existing and a new socket meet: `inet_rcv_saddr_equal`.

    A connection of an IPv6 socket that isn't v6only is a ghost in IPv4: it has no IPv4 address, and the
    kernel lets it stand for 127.0.0.6 when an AF_INET socket comes.
    """
    places, others = _narrowed(a.places, v6only=facts.a_v6only), _narrowed(b.places, v6only=facts.b_v6only)
    if _places_meet(places, others):
        return True
    is_ghost = (a.family, b.family) == (6, 4) and places[0] is None and not facts.a_v6only
    return is_ghost and others[0] in ((0,) if a.endpoint.protocol == "tcp" else (0, _GHOST))


def _is_listening(side: _Side) -> bool:
    return side.state == "listen" and side.endpoint.protocol == "tcp"


def _may_cut_short(a: _Side, b: _Side) -> bool:
    """Say whether `a` may be the SO_REUSEPORT socket by which the kernel lets `b` in past all others.

    `sk_reuseport_match` asks neither device nor the others; a connection's address may have been wider
    when it was bound.
    """
    if a.reuseport is False or b.reuseport is False or (None not in (a.uid, b.uid) and a.uid != b.uid):
        return False
    if a.state not in ("listen", "bound", "unconnected"):
        return True
    return _places_meet(_narrowed(a.places, v6only=a.v6only), _narrowed(b.places, v6only=b.v6only))


def _proven_sharing(sockets: Sequence[Socket], sides: Sequence[_Side]) -> set[_Spot]:
    """Return the endpoints where two different TCP listeners are: only SO_REUSEPORT on both allows it.

    Inodes tell sockets apart before cookies do: an MPTCP listener that was dumped twice has one inode.
    """
    different: dict[_Spot, set[int]] = {}
    for socket, side in zip(sockets, sides):
        if _is_listening(side) and (socket.inode or socket.cookie):
            different.setdefault(_spot(side), set()).add(socket.inode or -socket.cookie)
    return {spot for spot, found in different.items() if len(found) > 1}


def _spot(side: _Side) -> _Spot:
    return side.state, _narrowed(side.places, v6only=True), side.device


def _group(at: Endpoint) -> tuple[int, str, str | None]:
    return at.port, at.protocol, at.netns


def _side(socket: Socket) -> _Side:
    at, places = socket.endpoint, _places(socket.endpoint.address)
    v6only = at.v6only
    if socket.family == 4 or places[1] is None:
        v6only = False  # means nothing
    elif v6only is None and places[1] and socket.state in ("listen", "unconnected"):
        v6only = True  # binding a specific IPv6 address sets it; a connection got its address otherwise
    options = socket.reuseaddr, socket.reuseport, socket.uid
    return _Side(at, places, _device(at), socket.family, socket.state, v6only, *options)


def _ways(facts: Iterable[bool | None]) -> Iterable[tuple[bool, ...]]:
    """Return every way in which the facts that are null may be."""
    return product(*((False, True) if fact is None else (fact,) for fact in facts))


def _is_same(a: Socket, b: Socket) -> bool:
    if a.cookie and b.cookie:
        return a.cookie == b.cookie
    return a.inode == b.inode if a.inode and b.inode else a == b


# Addresses as numbers: a pair of the IPv4 and the IPv6 address that a socket occupies, null for none.


def _places(address: str) -> _Places:
    """Return the addresses that a socket occupies there if it isn't v6only; 0 is the wildcard."""
    number = _number(address)
    if ":" not in address:
        return number, None
    if number >> 32 == _MAPPED:
        return number & 0xFFFFFFFF, None
    return (None, number) if number else (0, 0)


def _narrowed(places: _Places, *, v6only: bool | None) -> _Places:
    return (None, 0) if v6only and places == (0, 0) else places


def _places_meet(a: _Places, b: _Places) -> bool:
    return any(x is not None and y is not None and (x == y or 0 in (x, y)) for x, y in zip(a, b))


def _devices_meet(a: str | None, b: str | None) -> bool:
    return a is None or b is None or a == b


def _device(at: Endpoint) -> str | None:
    """Return the device; the one in a link-local address's zone overrides."""
    _, _, zone = at.address.partition("%")
    return zone or at.device


def _number(address: str) -> int:
    """Return an address as a number. `ipaddress` would cost more to import than the rest of this."""
    text = address.partition("%")[0]
    if ":" not in text:
        return _joined(text.split("."), 10, 8)
    if "." in text:
        head, _, tail = text.rpartition(":")
        low = _joined(tail.split("."), 10, 8)
        text = f"{head}:{low >> 16:x}:{low & 0xFFFF:x}"
    left, gap, right = text.partition("::")
    high, rest = left.split(":") if left else [], right.split(":") if right else []
    zeros = ["0"] * (8 - len(high) - len(rest)) if gap else []
    return _joined([*high, *zeros, *rest], 16, 16)


def _joined(groups: Sequence[str], base: int, bits: int) -> int:
    value = 0
    for group in groups:
        value = value << bits | int(group, base)
    return value


# Words.


def _answer(obstacles: Sequence[Obstacle]) -> str:
    if not obstacles:
        return YES
    return NO if any(obstacle.certain for obstacle in obstacles) else UNKNOWN


def _errno(obstacles: Sequence[Obstacle]) -> str | None:
    """Return the errno that comes for sure: no uncertain check with another one stands before it."""
    seen: set[str] = set()
    for obstacle in obstacles:
        seen.add(obstacle.errno)
        if obstacle.certain:
            return obstacle.errno if len(seen) == 1 else None
    return None


def _rule(a: _Side, b: _Side) -> str:
    """Say in one sentence why `a` is in the way of `b`."""
    who, here, wanted = _kind(a), _shown(a.endpoint.address), _shown(b.endpoint.address)
    (a4, a6), (b4, b6) = _narrowed(a.places, v6only=a.v6only), _narrowed(b.places, v6only=b.v6only)
    if not _places_meet((a4, a6), (b4, b6)):
        return f"{who} on {here} keeps IPv4 off {wanted}, as its socket isn't v6only"
    is_dual = None not in (a4, b4) and (a4, a6) != (b4, b6) and 0 in (a6, b6)  # one meets IPv4 as a [::]
    if (a4, a6) == (b4, b6):
        return f"{who} has {here} already"
    if (a4 == 0 and b4 is not None) or (a6 == 0 and b6 is not None):
        if here == wanted or (a4 == 0 and b4 == 0) or (a6 == 0 and b6 == 0):
            dual = here if b4 is None or a4 is None or a6 is not None else wanted
            return f"{who} has {here} already" + (
                f", and {dual} without v6only is IPv4's wildcard too" if is_dual else ""
            )
        too = ", as [::] without v6only takes IPv4's too" if is_dual else ""
        return f"{who} on the wildcard {here} also occupies {wanted}{too}"
    too = ", IPv4's too without v6only" if is_dual else ""
    return f"the wildcard {wanted} needs every address free{too}, and {who} has {here}"


def _kind(side: _Side) -> str:
    if side.state in ("listen", "unconnected"):
        return "a listener"
    if side.state == "bound":
        return "a bound socket that doesn't listen"
    return "a connection in TIME_WAIT" if side.state == "time-wait" else "a connection"


def _shown(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _settings(settings: Iterable[Setting], netns: str | None) -> dict[str, str]:
    """Return the settings of a namespace by name; those of the whole host where it has none of its own."""
    chosen = [setting for setting in settings if setting.netns in (None, netns)]
    chosen.sort(key=lambda setting: setting.netns is not None)
    return {setting.name: setting.value for setting in chosen}
