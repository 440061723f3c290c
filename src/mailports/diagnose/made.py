"""How a finding is put together, so that all have the same form. Pure."""

from __future__ import annotations

from mailports.diagnose.seen import spelled
from mailports.model.facts import ALL, NONE, shown
from mailports.model.findings import Evidence, Finding, Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailports.diagnose.seen import Seen
    from mailports.model.facts import Endpoint, Holder, Socket
    from mailports.model.findings import Break, Party, Remedy

CONFLICTS = frozenset(
    (
        "port-held",
        "stale-instance",
        "socket-unit-holds-port",
        "container-publishes-port",
        "latent-conflict",
        "self-conflict",
        "shared-port",
        "shadowed-listener",
        "redirected-port",
        "ephemeral-collision",
        "rpc-squatter",
        "lingering-sockets",
        "wrong-service",
    )
)
"""Findings in which something else holds the endpoint or takes its traffic."""

FINGERPRINT = "1"
"""Version of the fingerprint's recipe."""


def finding(  # noqa: PLR0913 -- the parts of a finding, all but three by name
    name: str,
    severity: str,
    summary: str,
    endpoints: Iterable[Endpoint],
    *,
    parties: Iterable[Party],
    evidence: Iterable[Evidence],
    remedies: Iterable[Remedy] = (),
    breaks: Iterable[Break] = (),
    unknown: Iterable[Unknown] = (),
    cause: str | None = None,
) -> Finding:
    """Return a finding; the first endpoint is the one that the summary names."""
    places = tuple(dict.fromkeys(endpoints))
    involved = tuple(parties)
    fingerprint = _fingerprint(name, places, involved)
    return Finding(
        name,
        severity,
        name in CONFLICTS,
        summary,
        places[0] if places else None,
        places,
        involved,
        tuple(dict.fromkeys(evidence)),
        cause or fingerprint,
        tuple(breaks),
        tuple(remedies),
        tuple(unknown),
        fingerprint,
    )


def _fingerprint(name: str, endpoints: tuple[Endpoint, ...], parties: tuple[Party, ...]) -> str:
    """Name, endpoints and who the parties are; no pid, line or inode, so it is the same from run to run."""
    lines = [name]
    for e in sorted(endpoints, key=str):
        netns = "inode" if e.netns and e.netns.startswith("inode:") else e.netns
        lines.append(f"{e.protocol} {e.address} {e.port} {e.device} {netns}")
    lines += sorted(
        f"{p.role} {_lasting(p.name)} {p.product} {p.instance} {p.unit} {p.container} {_lasting(p.entry)} {p.path}"
        for p in parties
    )
    return f"{FINGERPRINT}:{_fnv(chr(10).join(lines).encode()):016x}"


def _lasting(text: str | None) -> str | None:
    """A rule's place without the number that a reload gives it anew: `ip nat PREROUTING handle 12`."""
    words = (text or "").split(" ")
    if len(words) > 2 and words[-2] in ("handle", "rule") and words[-1].isdecimal():
        return " ".join(words[:-2])
    return text


def _fnv(data: bytes) -> int:
    """FNV-1a, 64 bits: enough to tell findings apart. hashlib would cost `status` 7 ms of start-up."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def listens(seen: Seen, socket: Socket) -> list[Evidence]:
    """Return the evidence for a listener: the socket, and each holder that was seen."""
    e = socket.endpoint
    source = _source(seen, "udp" if e.protocol == "udp" else "listeners", e.netns)
    where = "" if e.netns in ("here", None) else f" in namespace {e.netns}"
    numbers = f" (inode {socket.inode}, uid {socket.uid})" if socket.inode else ""
    said = f"{e.protocol} port {e.port} is in use" if socket.state == "open" else f"{shown(e)} is listened on"
    evidence = [Evidence(f"{said}{where}{numbers}", source)]
    evidence += [_held(socket, holder, source) for holder in socket.holders]
    if not socket.holders and socket.holders_extent == ALL:
        evidence.append(Evidence(f"no process holds the socket of {shown(e)}", "/proc/*/fd"))
    return evidence


def _held(socket: Socket, holder: Holder, table: str) -> Evidence:
    if holder.pid is None:
        return Evidence(f"inode {socket.inode} was made in {holder.unit or holder.container}", "sock_diag, cgroup")
    unit = f" of {holder.unit}" if holder.unit else ""
    if not socket.inode:  # from a table that shows no inodes
        return Evidence(f"{spelled(holder)} (pid {holder.pid}{unit}) holds {shown(socket.endpoint)}", table)
    source = {"fd": "/proc/PID/fd", "io_uring": "/proc/PID/fdinfo"}.get(holder.seen_by, holder.seen_by)
    return Evidence(f"{spelled(holder)} (pid {holder.pid}{unit}) holds inode {socket.inode}", source)


def connection(socket: Socket) -> Evidence:
    """Return the evidence for a connection."""
    peer = shown(socket.peer) if socket.peer else "?"
    held = ", ".join(f"{spelled(h)} (pid {h.pid})" for h in socket.holders) or "no process"
    return Evidence(f"{shown(socket.endpoint)} is connected to {peer} ({socket.state}), held by {held}", "sock_diag")


def unknown_owner(seen: Seen, socket: Socket, hides: str) -> Unknown:
    """Return that a rule would need to know who holds a socket."""
    what = f"who holds {shown(socket.endpoint)}"
    table = _source(seen, "udp" if socket.endpoint.protocol == "udp" else "listeners", socket.endpoint.netns)
    pid = next((h.pid for h in socket.holders if h.pid and not (h.name or h.exe)), None)
    if pid is not None:
        how = f'tasklist /FI "PID eq {pid}"' if table.endswith("(Windows)") else f"ps -p {pid}"
        return Unknown(what, f"the table shows its pid alone, {pid}", how, (hides,), socket.endpoint)
    if socket.holders_extent != NONE:
        return Unknown(what, "the search stopped early", "mailports audit", (hides,), socket.endpoint)
    why, how = "its process couldn't be seen", "run as root"
    for look in seen.snapshot.looks:
        if look.fact == "holders" and look.why:
            why, how = look.why, look.how_to_see or how
    return Unknown(what, why, how, (hides,), socket.endpoint)


def _source(seen: Seen, fact: str, netns: str | None) -> str:
    for look in seen.snapshot.looks:
        if look.fact == fact and look.netns == netns:
            return look.source
    return "sock_diag"
