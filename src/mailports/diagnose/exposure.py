"""Rules about who has no business on a mail port, and who may reach it. Pure."""

from __future__ import annotations

from mailports import remedies as ways
from mailports.catalogue.programs import MAIL_KINDS, is_mail_product, program_of_unit
from mailports.diagnose.made import finding, listens, unknown_owner
from mailports.diagnose.seen import (
    HERE,
    catalogue_port,
    is_loopback,
    is_wildcard,
)
from mailports.flows import EXPOSED, WRONG, breaks_of
from mailports.model.facts import ALL, shown
from mailports.model.findings import NOTE, WARNING, Remedy, Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailports.diagnose.seen import Owner, Seen
    from mailports.model.facts import Socket
    from mailports.model.findings import Finding


def unclaimed_listener(seen: Seen) -> Iterator[Finding | Unknown]:
    """A mail port's holder is no known mail product.

    Why it matters:
        What answers there isn't a mail server that an administrator would expect: a forgotten test, a
        program that binds a port which it should only dial, or something worse.

    How it was seen:
        The process name, executable and unit of the holder are of no mail product, proxy or container engine.

    Ways out:
        Find out who started it. If it belongs there, say so: the assignment silences this. If not, stop it.

    Source:
        the catalogue of ports and process names.
    """
    causes: dict[tuple[object, ...], list[Socket]] = {}
    for socket in seen.listeners:
        e = socket.endpoint
        port = catalogue_port(e)
        if port is None or not port.is_mail or port.is_common or seen.is_containers(e.netns):
            continue
        owner = seen.owner(socket)
        if owner is None:
            if socket.holders_extent == ALL:
                causes.setdefault((e.netns, e.port, "nobody"), []).append(socket)
            elif socket.unit is None or not is_mail_product(program_of_unit(socket.unit)):
                yield unknown_owner(seen, socket, "unclaimed-listener")
        elif not _is_accounted_for(seen, owner, socket):
            is_activation = owner.key[0] == "init" and seen.socket_unit(e) is None and not seen.is_all("units", None)
            is_nameless = owner.kind is None and (owner.pid is None or not any(h.name or h.exe for h in socket.holders))
            if is_activation or is_nameless:  # its unit, only its group, or only its pid is known
                yield unknown_owner(seen, socket, "unclaimed-listener")
            else:
                causes.setdefault((e.netns, e.port, owner.key), []).append(socket)
    for sockets in causes.values():
        yield _unclaimed(seen, sockets)


def _is_accounted_for(seen: Seen, owner: Owner, socket: Socket) -> bool:
    if owner.container or owner.kind in MAIL_KINDS or owner.kind in ("proxy", "engine", "rpc", "developer"):
        return True
    if owner.key[0] == "init":
        unit = seen.socket_unit(socket.endpoint)
        for name in unit.triggers if unit else ():
            program = program_of_unit(name)
            if is_mail_product(program) or (program is not None and program.kind == "proxy"):
                return True
        return unit is not None and unit.name in seen.units and is_mail_product(program_of_unit(_service(unit.name)))
    return False


def _service(socket_unit: str) -> str:
    return socket_unit[: -len(".socket")] + ".service"


def _unclaimed(seen: Seen, sockets: list[Socket]) -> Finding:
    socket = sockets[0]
    owner = seen.owner(socket)
    port = catalogue_port(socket.endpoint)
    assert port is not None
    if owner is None:
        summary = f"no process holds {shown(socket.endpoint)}, the port of {port.service}"
        parties, remedies = [], [
            Remedy(
                f"find-holder:{socket.endpoint.port}",
                "find-holder",
                "Find who passed the descriptor on: a message in flight, io_uring, the kernel, or a process in "
                "another pid namespace",
                ways.RULE_NO_CONFLICT,
                None,
            )
        ]  # fmt: skip
    else:
        pid = f", pid {owner.pid}," if owner.pid and owner.key[0] != "init" else ""
        summary = f"{owner.name}{pid} listens on {shown(socket.endpoint)} and is no known mail product"
        parties = [owner.party(socket.endpoint)]
        remedies = [
            Remedy(
                f"stop:{owner.unit or owner.name}",
                "stop",
                f"Find out who started {owner.name}; stop it if mail is to be served there",
                ways.RULE_UNCONFIGURED,
                owner.name,
            ),
        ]
    return finding(
        "unclaimed-listener",
        WARNING if port.is_standard else NOTE,
        summary,
        [s.endpoint for s in sockets],
        parties=parties,
        evidence=[e for s in sockets for e in listens(seen, s)],
        remedies=remedies,
        breaks=breaks_of(port, WRONG, "if mail is to be served there"),
    )


def overexposed_listener(seen: Seen) -> Iterator[Finding | Unknown]:
    """An internal port (a milter, a controller, LMTP) listens beyond loopback.

    Why it matters:
        These speak to whoever reaches them: a milter or LMTP port takes mail past every check, a controller
        guards itself with one password or none.

    How it was seen:
        The listener's address is a wildcard, or an address that other machines reach, and the port is one that
        the catalogue calls internal. An unpublished container's own bridge isn't beyond the host.

    Ways out:
        It binds to loopback, or to the one address that its clients use. A firewall in front isn't looked at
        here: it keeps others out for as long as its rules stay.

    Source:
        the catalogue's exposure of each port, with its own source.
    """
    causes: dict[tuple[object, ...], list[Socket]] = {}
    for socket in seen.listeners:
        e = socket.endpoint
        port = catalogue_port(e)
        if port is None or port.exposure == "public" or is_loopback(e.address) or e.netns is None:
            continue
        if not port.is_mail or port.is_common:
            owner = seen.owner(socket)
            if owner is None or owner.kind not in (*MAIL_KINDS, "support", "engine", "developer"):
                continue  # the number alone says too little
            if owner.kind == "support" and port.exposure != "loopback":
                continue
        reach = _reach(seen, socket)
        if reach is None:
            yield Unknown(
                f"whether {shown(e)} is reached from outside",
                "the addresses of this host weren't seen",
                "run mailports audit",
                ("overexposed-listener",),
            )
        elif reach:
            owner = seen.owner(socket)
            causes.setdefault((e.netns, owner.key if owner else socket.unit, e.port), []).append(socket)
    for sockets in causes.values():
        yield _overexposed(seen, sockets)


def _reach(seen: Seen, socket: Socket) -> bool | None:
    """Whether other machines reach a listener; None where that isn't known."""
    e = socket.endpoint
    if e.netns != HERE:
        if seen.is_containers(e.netns):
            return False  # its publishes are listeners of the host, and judged there
        public = [a for a in seen.snapshot.addresses if a.netns == e.netns and _is_public(a.address)]
        return bool(public)
    if is_wildcard(e.address):
        return True
    if not seen.was_looked_at("addresses", e.netns) or not seen.is_all("addresses", e.netns):
        return None
    own = [a for a in seen.snapshot.addresses if a.netns == e.netns and a.address == e.address]
    return not any(a.device_kind == "bridge" and not _is_public(a.address) for a in own)


def _overexposed(seen: Seen, sockets: list[Socket]) -> Finding:
    socket = sockets[0]
    owner = seen.owner(socket)
    port = catalogue_port(socket.endpoint)
    assert port is not None
    name = owner.name if owner else (socket.unit or "a listener")
    number = socket.endpoint.port
    if owner is not None and owner.kind == "engine":
        remedy = Remedy(
            f"change-publish:{number}",
            "change-publish",
            f"Publish {number} on 127.0.0.1 only, or not at all",
            ways.RULE_EXPOSED,
            name,
        )
    else:
        remedy = Remedy(
            f"bind-loopback:{name}:{number}",
            "bind-loopback",
            f"Bind {name} to 127.0.0.1 and [::1], or to the one address that its clients use",
            ways.RULE_EXPOSED,
            name,
        )
    return finding(
        "overexposed-listener",
        WARNING,
        f"{name} listens on {shown(socket.endpoint)} ({port.service}), a port for {port.exposure} use",
        [s.endpoint for s in sockets],
        parties=[owner.party(socket.endpoint)] if owner else [],
        evidence=[e for s in sockets for e in listens(seen, s)],
        remedies=[remedy],
        breaks=breaks_of(port, EXPOSED),
    )


def _is_public(address: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(address).is_global
    except ValueError:
        return False
