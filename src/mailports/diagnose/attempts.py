"""Rules about what was tried and failed: an error line, joined to whoever is in the way. Pure.

The errno decides, then the facts, and never the words around them: of the stories that say "in use" only one in
three is two programs that want one port. Each attempt is judged once (`failures`); the rule of each name then
yields those that it is the name of.
"""

from __future__ import annotations

from mailports.bind import overlaps
from mailports.diagnose.seen import is_loopback, program_of_holder
from mailports.model.facts import shown
from mailports.model.findings import Unknown
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailports.diagnose.seen import Seen
    from mailports.model.facts import Attempt, Container, Endpoint, Socket
    from mailports.model.findings import Finding


class Failure(Record):
    """An attempt and what is the matter: a finding's name, and the sockets that are in the way.

    Attributes:
        attempt: what was tried.
        name: the finding's name; null where more must be known.
        sockets: who is in the way.
        unknown: what must be known.
        container: the container whose published port is in the way, where only its engine says so.
    """

    attempt: Attempt
    name: str | None
    sockets: tuple[Socket, ...] = ()
    unknown: Unknown | None = None
    container: Container | None = None


IN_USE = ("EADDRINUSE",)
_BY_ERRNO = {
    "EADDRNOTAVAIL": "address-missing",
    "EAFNOSUPPORT": "address-missing",
    "EACCES": "bind-not-permitted",
    "EPERM": "bind-not-permitted",
}


def port_held(seen: Seen) -> Iterator[Finding | Unknown]:
    """A program can't bind its endpoint, because a listener of another program is in the way.

    Why it matters:
        The program that was to serve the port doesn't, and mostly doesn't run at all: an MTA that can't bind 587
        loses 25 too. Remote servers retry for days; mail that applications submit is lost.

    How it was seen:
        A bind failed with EADDRINUSE, and a listener of another program is on that port, at an address that takes
        in the wanted one: a wildcard and a specific address meet, `[::]` without v6only meets `0.0.0.0`.

    Ways out:
        By the rules for who moves: the public MX keeps 25, a distribution's default MTA yields by address, as a
        queue runner, or stops; a program with no business on a mail port leaves it.

    Source:
        bind(2), listen(2); RFC 5321 5.1.
    """
    yield from attempted(seen, "port-held")
    for one in failures(seen):
        if one.unknown is not None:
            yield one.unknown


def container_publishes_port(seen: Seen) -> Iterator[Finding | Unknown]:
    """A container's published port is in the way of a program on the host.

    Why it matters:
        The listener belongs to the engine (docker-proxy, conmon, rootlessport, pasta), so its process says nothing of
        who wants the port: killing it helps until the container starts again.

    How it was seen:
        A bind failed with EADDRINUSE, and the listener in the way is an engine's helper.

    Ways out:
        The container publishes on another address or port, or the host's program gives way, by the rules for who
        moves.

    Source:
        docker-run(1) --publish; podman-run(1) --publish.
    """
    yield from attempted(seen, "container-publishes-port")


def lingering_sockets(seen: Seen) -> Iterator[Finding | Unknown]:
    """Connections that are closing, or have been, keep the port from a program without SO_REUSEADDR.

    Why it matters:
        The restart fails, and a minute later it wouldn't.

    How it was seen:
        A bind failed with EADDRINUSE, nobody listens on the port, and sockets in TIME_WAIT or closing states are
        on it.

    Ways out:
        Wait 60 seconds and start it; better, have the program set SO_REUSEADDR.

    Source:
        tcp(7); TIME_WAIT lasts 60 seconds on Linux.
    """
    yield from attempted(seen, "lingering-sockets")


def bind_not_permitted(seen: Seen) -> Iterator[Finding | Unknown]:
    """A program may not bind its port.

    Why it matters:
        It doesn't serve. Many programs print "in use?" for it, so that one hunts a conflict that isn't there.

    How it was seen:
        A bind failed with EACCES or EPERM: a port below ip_unprivileged_port_start without CAP_NET_BIND_SERVICE, or
        a security module's refusal.

    Ways out:
        Grant the capability in the unit (AmbientCapabilities=CAP_NET_BIND_SERVICE); where SELinux refuses, label the
        port.

    Source:
        capabilities(7), ip-sysctl.rst, systemd.exec(5), semanage-port(8).
    """
    yield from attempted(seen, "bind-not-permitted")


def address_missing(seen: Seen) -> Iterator[Finding | Unknown]:
    """The address to bind isn't on this host, isn't there yet, or its family is off.

    Why it matters:
        The program doesn't serve. It is no conflict, though it is often taken for one: moving to another port
        changes nothing.

    How it was seen:
        A bind failed with EADDRNOTAVAIL or EAFNOSUPPORT.

    Ways out:
        Bind an address that the host has (a cloud machine's public address is mostly not on it), or the wildcard; at
        boot, wait for the address (network-online.target, or IP_FREEBIND); for `::1` and `[::]`, IPv6 or IPv4 only.

    Source:
        bind(2), ip(7), ipv6(7); a tentative IPv6 address counts as absent.
    """
    yield from attempted(seen, "address-missing")


def dangling_reference(seen: Seen) -> Iterator[Finding | Unknown]:
    """Something connects to an endpoint where nothing listens.

    Why it matters:
        A milter, policy server or LMTP that can't be reached defers the mail, or lets it pass unchecked, by the
        referrer's default action.

    How it was seen:
        A connect failed with ECONNREFUSED, and no listener is at that endpoint.

    Ways out:
        Start what should listen there, or correct the reference where it listens elsewhere (another port, address or
        family).

    Source:
        connect(2); postconf(5) milter_default_action.
    """
    yield from attempted(seen, "dangling-reference")


def stale_pid_file(seen: Seen) -> Iterator[Finding | Unknown]:
    """A pid or lock file makes a program believe that it runs already; no port is involved.

    Why it matters:
        It doesn't start, and its message sounds like a conflict.

    How it was seen:
        The program says that it runs already, by a pid or lock file, and no listener of it is seen.

    Ways out:
        See whether that pid is this program (its executable). If it isn't, remove the file and start it.

    Source:
        the products' own messages; in containers a pid is reused at every start.
    """
    yield from attempted(seen, "stale-pid-file")


def address_pool_clash(seen: Seen) -> Iterator[Finding | Unknown]:
    """A container network's address or subnet is taken, and the engine says "address already in use".

    Why it matters:
        The container doesn't start. No port is involved, so no listener will be found.

    How it was seen:
        The engine's message names no port: an address of its own network, or a pool that overlaps.

    Ways out:
        Another fixed address for the container, or another subnet for its network.

    Source:
        the Docker engine's messages: `Address already in use`, `Pool overlaps with other one`.
    """
    yield from attempted(seen, "address-pool-clash")


def misread_port(seen: Seen) -> Iterator[Finding | Unknown]:
    """The port that was read is not the one that was written.

    Why it matters:
        The container publishes a port that nobody dials, and the one that was meant isn't there. Nothing complains.

    How it was seen:
        A Compose file has an unquoted `A:B` with B below 60: YAML 1.1 reads it as a number in base 60, so that
        `25:25` is 1525.

    Ways out:
        Quote it: `"25:25"`.

    Source:
        YAML 1.1, 10.2.1.2 (integers); the Compose specification, which asks for quotes.
    """
    yield from attempted(seen, "misread-port")


def blocked_upstream(seen: Seen) -> Iterator[Finding | Unknown]:
    """Nothing here is wrong: the way out to port 25 is blocked, mostly by the provider.

    Why it matters:
        Mail stays in the queue, and no change on this host helps.

    How it was seen:
        Connections to port 25 of hosts elsewhere time out.

    Ways out:
        Ask the provider to unblock port 25, or send through a relay on 587 or 465.

    Source:
        connect(2), ETIMEDOUT; many providers block 25 for new machines.
    """
    yield from attempted(seen, "blocked-upstream")


def attempted(seen: Seen, name: str) -> Iterator[Finding]:
    """Yield the findings of one name that attempts show; one for all attempts of one program at one port."""
    causes: dict[tuple[object, ...], list[Failure]] = {}
    for one in failures(seen):
        if one.name == name:
            e = one.attempt.endpoint
            who = one.attempt.product or one.attempt.program
            # One missing address fails every port of a program at once: that is one finding.
            where = (e.netns, e.port) if e and name != "address-missing" else None
            key = (who, where, one.attempt.errno, one.attempt.container)
            causes.setdefault(key, []).append(one)
    if causes:  # a live host has none: what words them needn't be loaded
        from mailports.diagnose.told import tell_attempts
    for group in causes.values():
        yield tell_attempts(seen, name, group)


def failures(seen: Seen) -> list[Failure]:
    """Return every attempt with what is the matter."""
    return seen.once(_judge_all)


def _judge_all(seen: Seen) -> list[Failure]:
    return [_judge(seen, attempt) for attempt in seen.snapshot.attempts]


def _judge(seen: Seen, attempt: Attempt) -> Failure:
    e = attempt.endpoint
    if attempt.call == "start":
        name = "address-pool-clash" if attempt.entry in ("pool", "address") else "stale-pid-file"
        return Failure(attempt, name)
    if attempt.call == "connect":
        return _judge_connect(seen, attempt)
    if attempt.call == "publish" and not attempt.errno:
        return Failure(attempt, "misread-port")
    return _judge_bind(seen, attempt, e)


def _judge_bind(seen: Seen, attempt: Attempt, e: Endpoint | None) -> Failure:
    if attempt.errno in _BY_ERRNO:
        return Failure(attempt, _BY_ERRNO[attempt.errno])
    if attempt.errno not in IN_USE:
        what = f"why {_who(attempt)} couldn't bind {shown(e) if e else 'its port'}"
        return _open(attempt, what, "the line names no errno of bind or listen", None, "port-held", e)
    if e is None:
        return _open(
            attempt, f"which port {_who(attempt)} couldn't bind", "the line doesn't say", "ss -tlnp", "port-held"
        )
    return _judge_in_use(seen, attempt, e)


def _who(attempt: Attempt) -> str:
    return attempt.product or attempt.program or "the program"


def _open(
    attempt: Attempt, what: str, why: str, how: str | None, hides: str, endpoint: Endpoint | None = None
) -> Failure:
    return Failure(attempt, None, (), Unknown(what, why, how, (hides,), endpoint))


def _judge_in_use(seen: Seen, attempt: Attempt, e: Endpoint) -> Failure:
    others = seen.all_at(e.netns, e.protocol, e.port)
    listeners = _listeners_that_meet(seen, e)
    in_the_way = listeners or [s for s in others if s.state == "open"]
    if in_the_way:
        return Failure(attempt, _name_of(seen, attempt, in_the_way), tuple(in_the_way))
    publisher = _publisher(seen, attempt, e)
    if publisher is not None:
        return Failure(attempt, "container-publishes-port", container=publisher)
    if not seen.is_all("listeners", e.netns):
        how = "ss -tlnp" if e.protocol == "tcp" else "ss -ulnp"
        return _open(attempt, f"who holds {shown(e)}", "the text doesn't show it", how, "port-held", e)
    if any(s.state in ("time-wait", "fin-wait-1", "fin-wait-2", "close-wait", "last-ack", "closing") for s in others):
        return Failure(attempt, "lingering-sockets", tuple(others))
    if others:
        return Failure(attempt, "ephemeral-collision", tuple(others))
    why = "nobody listens there: it holds it itself, or whoever did is gone, or is in another namespace"
    return _open(attempt, f"what kept {shown(e)}", why, f"mailports why {e.port}", "port-held", e)


def _publisher(seen: Seen, attempt: Attempt, e: Endpoint) -> Container | None:
    """The running container that an engine's own table says has the port, for a text without a table of listeners."""
    for container in seen.snapshot.containers:
        if container.state != "running" or attempt.container in (container.name, container.id):
            continue
        if any((p.endpoint.protocol, p.endpoint.port) == (e.protocol, e.port) for p in container.publishes):
            return container
    return None


def _judge_connect(seen: Seen, attempt: Attempt) -> Failure:
    e = attempt.endpoint
    if attempt.errno == "ETIMEDOUT" and e is not None and e.port == 25 and not _is_here(seen, e):
        return Failure(attempt, "blocked-upstream")
    hides = "dangling-reference"
    if e is None:
        where = attempt.path or attempt.address
        what = f"what listens on {where}" if attempt.path else f"which port {_who(attempt)} couldn't reach"
        how = "ss -xlnp" if attempt.path else "ss -tlnp"
        return _open(attempt, what, "the line doesn't say", how, hides)
    if attempt.errno != "ECONNREFUSED":
        return _open(attempt, f"what answers on {shown(e)}", "the line shows one end of it", "ss -tlnp", hides, e)
    return _judge_refused(seen, attempt, e, hides)


def _judge_refused(seen: Seen, attempt: Attempt, e: Endpoint, hides: str) -> Failure:
    if not _is_here(seen, e):
        why = "that address isn't known to be this host's"
        return _open(attempt, f"whether anybody listens on {shown(e)}", why, "ip addr", hides, e)
    if _listeners_that_meet(seen, e):
        return Failure(attempt, None)  # it was started since
    if seen.is_all("listeners", e.netns):
        return Failure(attempt, hides, tuple(seen.at(e.netns, e.protocol, e.port)))
    what = f"whether anybody listens on {shown(e)}"
    return _open(attempt, what, "the text doesn't show it", "ss -tlnp", hides, e)


def _is_here(seen: Seen, e: Endpoint) -> bool:
    return is_loopback(e.address) or any(a.address == e.address for a in seen.snapshot.addresses)


def _listeners_that_meet(seen: Seen, e: Endpoint) -> list[Socket]:
    """A service that is restarted for hours says the same thousands of times: each endpoint is looked up once."""
    known = seen.once(_none_met)
    if e not in known:
        known[e] = [s for s in seen.at(e.netns, e.protocol, e.port) if _meets(s, e)]
    return known[e]


def _none_met(seen: Seen) -> dict[Endpoint, list[Socket]]:
    del seen
    return {}


def _meets(socket: Socket, wanted: Endpoint) -> bool:
    family = 6 if ":" in wanted.address else 4
    # Daemons that bind `0.0.0.0` and `[::]` set v6only on the second; a text that doesn't say leaves it open.
    return overlaps(socket.endpoint._replace(device=None), socket.family, wanted, family) is not False


def _name_of(seen: Seen, attempt: Attempt, listeners: list[Socket]) -> str:
    socket = listeners[0]
    if any(h.pid == 1 for h in socket.holders) and seen.socket_unit(socket.endpoint) is not None:
        return "socket-unit-holds-port"
    programs = [program_of_holder(h) for h in socket.holders]
    kinds = {p.kind for p in programs if p is not None}
    if "engine" in kinds and attempt.call != "publish":
        return "container-publishes-port"
    if "rpc" in kinds:
        return "rpc-squatter"
    owner = seen.owner(socket)
    if owner is not None and owner.product is not None and owner.product == attempt.product and not owner.container:
        return "stale-instance"
    if socket.holders and any(h.pid == 1 for h in socket.holders):
        return "socket-unit-holds-port"
    return "port-held"
