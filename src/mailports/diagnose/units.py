"""Rules about listeners that systemd holds, or doesn't know. Pure."""

from __future__ import annotations

from mailports import remedies as ways
from mailports.catalogue.programs import MAIL_KINDS, program_named, program_of_unit
from mailports.diagnose.attempts import attempted
from mailports.diagnose.made import finding, listens, unknown_owner
from mailports.diagnose.seen import (
    catalogue_port,
    program_of_holder,
)
from mailports.flows import ABSENT, WRONG, breaks_of
from mailports.model.facts import ALL, NONE, shown
from mailports.model.findings import ERROR, WARNING, Evidence, Party, Remedy, Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailports.diagnose.seen import Seen
    from mailports.model.facts import Socket, Unit
    from mailports.model.findings import Finding


def socket_unit_holds_port(seen: Seen) -> Iterator[Finding | Unknown]:
    """A systemd socket unit holds the port of a service that binds by itself.

    Why it matters:
        Pid 1 has the listener, so the service's own bind fails, or it serves other ports only. Connections to
        the socket wait for a service that never accepts them.

    How it was seen:
        Pid 1 holds the listener through a socket unit; the service that the unit triggers is running without
        a descriptor of it, or has failed, or is of a product that never takes over descriptors. A service
        that adopted the socket is healthy; so is one that waits for its first connection, and `Accept=yes`.

    Ways out:
        The socket unit is stopped and disabled, and the service binds by itself; or the service is configured
        to adopt. One source of truth.

    Source:
        systemd.socket(5), sd_listen_fds(3). Stopping the service frees nothing: pid 1 still has the socket.
    """
    yield from attempted(seen, "socket-unit-holds-port")
    causes: dict[tuple[str, int], list[Socket]] = {}
    for socket in seen.listeners:
        if not seen.is_of_interest(socket):
            continue
        if not any(h.pid == 1 for h in socket.holders):
            if socket.unit == "init.scope" and socket.holders_extent != ALL and not _is_seen(socket):
                yield unknown_owner(seen, socket, "socket-unit-holds-port")
            continue
        unit = seen.socket_unit(socket.endpoint)
        if unit is not None:
            causes.setdefault((unit.name, socket.endpoint.port), []).append(socket)
        elif seen.was_looked_at("units"):
            yield Unknown(
                f"which socket unit made {shown(socket.endpoint)}",
                "systemd names none that listens there",
                "systemctl list-sockets --all",
                ("socket-unit-holds-port",),
            )
    for (name, _), sockets in causes.items():
        yield from _judge_socket_unit(seen, sockets, seen.units[name])


def _is_seen(socket: Socket) -> bool:
    """Whether a process was seen to have it, rather than only its control group."""
    return any(h.pid is not None for h in socket.holders)


def _judge_socket_unit(seen: Seen, sockets: list[Socket], unit: Unit) -> Iterator[Finding | Unknown]:
    socket = sockets[0]
    service = seen.units.get(unit.triggers[0]) if unit.triggers else None
    if unit.accept or service is None or any(h.unit in unit.triggers for s in sockets for h in s.holders):
        return
    program = program_of_unit(service.name)
    adopts = program.adopts if program is not None else None
    port = catalogue_port(socket.endpoint)
    if service.active == "active":
        if any(s.holders_extent != ALL for s in sockets):
            yield unknown_owner(seen, socket, "socket-unit-holds-port")
            return
        severity, state = ERROR, "is active without it"
    elif service.active in ("failed", "activating") and adopts is not True:
        severity, state = ERROR, f"is {service.active} ({service.result or service.sub})"
    elif service.active == "inactive" and adopts is False and program is not None:
        severity, state = WARNING, "binds by itself, and can't once it starts"
    else:
        return
    name = service.name
    yield finding(
        "socket-unit-holds-port",
        severity,
        f"{unit.name} holds {shown(socket.endpoint)}; {name} {state}",
        [s.endpoint for s in sockets],
        parties=[
            Party("holder", unit.name, endpoint=socket.endpoint, pid=1, unit=unit.name),
            Party("claimant", name, endpoint=socket.endpoint, pid=service.main_pid or None, unit=name),
        ],
        evidence=[
            *(e for s in sockets for e in listens(seen, s)),
            Evidence(f"{unit.name} listens on it and triggers {name}", "systemctl"),
            Evidence(f"{name} is {service.active} ({service.sub}), result {service.result}", "systemctl"),
        ],
        remedies=[
            Remedy(
                f"stop:{unit.name}",
                "stop",
                f"Stop and disable {unit.name}, then start {name}, which binds by itself",
                ways.RULE_UNCONFIGURED,
                unit.name,
            ),
            Remedy(
                f"align-socket-unit:{unit.name}",
                "align-socket-unit",
                f"Or let {name} adopt the socket, if it can, and keep {unit.name} as the one source of truth",
                ways.RULE_EQUALS,
                name,
            ),
        ],
        breaks=breaks_of(port, WRONG),
        cause=f"{unit.name}",
    )


def stale_instance(seen: Seen) -> Iterator[Finding | Unknown]:
    """A process outside its unit holds the port of a unit that has failed or is inactive.

    Why it matters:
        The daemon was started by hand, or is left from an earlier run: systemd doesn't know it, so the unit's
        start fails with "Address already in use", a restart doesn't reload it, and the next boot changes who
        serves.

    How it was seen:
        The holder is a known mail product's process in a session or no unit at all, while that product's own
        unit is failed, inactive or trying to start. A process in another service's unit runs by its own right.

    Ways out:
        The stale instance is stopped by its product's own command, then the unit is started. Nothing is killed
        because it holds a port.

    Source:
        systemctl(1); Debian's units of each product.
    """
    yield from attempted(seen, "stale-instance")
    causes: dict[tuple[str, int | None], list[Socket]] = {}
    for socket in seen.listeners:
        is_hidden = socket.holders_extent == NONE and not _is_seen(socket) and socket.unit is not None
        if is_hidden and _is_outside(socket.unit) and socket.unit != "init.scope" and seen.is_of_interest(socket):
            yield unknown_owner(seen, socket, "stale-instance")
        for holder in socket.holders:
            program = program_of_holder(holder)
            if holder.pid is None or program is None or program.kind not in MAIL_KINDS or holder.container:
                continue
            if holder.pid != 1 and _is_outside(holder.unit) and not seen.is_containers(socket.endpoint.netns):
                causes.setdefault((program.product, holder.pid), []).append(socket)
                break
    for (product, pid), sockets in causes.items():
        yield from _judge_stale(seen, product, pid, sockets)


def _judge_stale(seen: Seen, product: str, pid: int | None, sockets: list[Socket]) -> Iterator[Finding | Unknown]:
    program = program_named(product)
    assert program is not None
    units = [seen.units[name] for name in program.units if name in seen.units]
    units = [u for u in units if u.load == "loaded" and u.enabled != "masked"]
    if not units or any(u.active == "active" and u.sub != "exited" for u in units):
        return
    idle = [u for u in units if u.active in ("failed", "activating", "deactivating")] or [
        u for u in units if u.active == "inactive"
    ]
    if not idle:
        return
    unit = idle[0]
    endpoint = sockets[0].endpoint
    where = "its unit" if len(units) == 1 else "its units"
    command = ways.STOP_COMMANDS.get(product)
    how = f"with `{command}`" if command else "by SIGTERM, once its executable and pid file prove which it is,"
    yield finding(
        "stale-instance",
        ERROR if unit.active in ("failed", "activating") else WARNING,
        f"{product}, pid {pid}, runs outside {where} and holds {shown(endpoint)}; {unit.name} is {unit.active}",
        [s.endpoint for s in sockets],
        parties=[
            Party("holder", product, endpoint=endpoint, pid=pid, unit=None)._replace(product=product),
            Party("claimant", unit.name, endpoint=endpoint, pid=None, unit=unit.name)._replace(product=product),
        ],
        evidence=[
            *(e for s in sockets for e in listens(seen, s)),
            Evidence(f"{unit.name} is {unit.active} ({unit.sub}), result {unit.result}", "systemctl"),
        ],
        remedies=[
            Remedy(
                f"stop-stale:{product}",
                "stop-stale",
                f"Stop the instance of pid {pid} {how}, then start {unit.name}",
                ways.RULE_STALE,
                product,
            )
        ],
        breaks=breaks_of(catalogue_port(endpoint), ABSENT, "at the next reload, restart or boot"),
        cause=f"{product} outside {unit.name}",
    )


def _is_outside(unit: str | None) -> bool:
    """Whether a process runs by no service's right: in a login session, a user's manager, or nowhere."""
    return unit is None or not unit.endswith(".service") or unit.startswith("user@")
