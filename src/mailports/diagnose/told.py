"""How a failed attempt is told: the summary, the parties, and who moves. Pure."""

from __future__ import annotations

from mailports import remedies as ways
from mailports.catalogue.programs import MAIL_KINDS, program_named
from mailports.diagnose.made import connection, finding, listens
from mailports.diagnose.seen import catalogue_port, is_loopback
from mailports.flows import ABSENT, OUTBOUND, breaks_of
from mailports.model.facts import Attempt, Container, Socket, shown
from mailports.model.findings import ERROR, WARNING, Evidence, Party, Remedy, Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.diagnose.attempts import Failure
    from mailports.diagnose.seen import Owner, Seen
    from mailports.model.facts import Endpoint
    from mailports.model.findings import Break, Finding


def _claimant(attempt: Attempt) -> Party:
    name = attempt.product or attempt.program or "the program"
    if attempt.container:
        name = f"container {attempt.container}"
    return Party(
        "claimant",
        name,
        attempt.product,
        endpoint=attempt.endpoint,
        unit=attempt.unit,
        container=attempt.container,
        entry=attempt.entry,
        path=attempt.path,
        line=attempt.line if attempt.path else None,
    )


def _where(attempt: Attempt) -> str:
    """Which line of the text it is; where the line is a file's, the finding's party says so."""
    return f"line {attempt.line}" if attempt.line and not attempt.path else "the text"


def _said(group: list[Failure]) -> list[Evidence]:
    return [Evidence(one.attempt.text, _where(one.attempt)) for one in group[:4]]


def _published(group: list[Failure], container: Container) -> Finding:
    """A published port is in the way, and nothing but the engine's table says so."""
    attempt = group[0].attempt
    wanted = [one.attempt.endpoint for one in group if one.attempt.endpoint is not None]
    claimant, name = _claimant(attempt), f"container {container.name or container.id[:12]}"
    who = claimant.name or "the program"
    number = wanted[0].port
    verb = "publish" if attempt.call == "publish" else "listen on"
    text = f"Publish {number} of one of them elsewhere, or end the one that isn't needed"
    if attempt.call != "publish":
        text = f"Publish {number} of {name} on another address or port, or end whichever isn't needed"
    ways_out = [Remedy(f"change-publish:{number}", "change-publish", text, ways.RULE_EQUALS, who)]
    publishes = [p for p in container.publishes if p.endpoint.port == number]
    return finding(
        "container-publishes-port",
        ERROR,
        f"{who} can't {verb} {shown(wanted[0])}: {name} has it",
        wanted,
        parties=[Party("publish", name, endpoint=publishes[0].endpoint, container=container.name), claimant],
        evidence=[*_said(group), *(Evidence(f"{name} publishes {shown(p.endpoint)}", p.source) for p in publishes)],
        remedies=ways_out,
        breaks=breaks_of(catalogue_port(wanted[0]), ABSENT),
    )


def _held(seen: Seen, name: str, group: list[Failure]) -> Finding:
    """For every name in which a listener of somebody is in the way."""
    attempt, sockets = group[0].attempt, [s for one in group for s in one.sockets]
    wanted = [one.attempt.endpoint for one in group if one.attempt.endpoint is not None]
    claimant = _claimant(attempt)
    owner = seen.owner(sockets[0]) if sockets else None
    holder_name = owner.name if owner else "a process that the text doesn't name"
    port = catalogue_port(wanted[0])
    remedies, unknown = _who_moves(name, attempt, owner, sockets, wanted[0])
    summary = f"{claimant.name} can't listen on {shown(wanted[0])}: {holder_name} holds it"
    if name == "stale-instance":
        summary = f"{claimant.name} can't listen on {shown(wanted[0])}: another run of it holds it"
    return finding(
        name,
        ERROR,
        summary,
        wanted,
        parties=[*([owner.party(sockets[0].endpoint)] if owner else []), claimant],
        evidence=[*_said(group), *(e for s in dict.fromkeys(sockets) for e in listens(seen, s))],
        remedies=remedies,
        breaks=breaks_of(port, ABSENT),
        unknown=unknown,
        cause=f"{holder_name} on {wanted[0].port}",
    )


def _who_moves(  # noqa: PLR0911 -- a rule a return, in the order in which they decide
    name: str, attempt: Attempt, owner: Owner | None, sockets: list[Socket], wanted: Endpoint
) -> tuple[list[Remedy], tuple[Unknown, ...]]:
    claimant = _claimant(attempt).name or "the program"
    number = wanted.port
    port = catalogue_port(wanted)
    if owner is None:
        unknown = Unknown(f"who holds {shown(wanted)}", "the text names no process", "ss -tlnp", (), wanted)
        return [ways.separate(claimant, number, ways.RULE_EQUALS, moves=None)], (unknown,)
    if name == "stale-instance":
        command = ways.STOP_COMMANDS.get(owner.product or "")
        how = f"with `{command}`" if command else "by SIGTERM, once its executable and pid file prove which it is,"
        summary = f"Stop the instance of pid {owner.pid} {how}, then start it by its unit"
        return [Remedy(f"stop-stale:{owner.product}", "stop-stale", summary, ways.RULE_STALE, owner.name)], ()
    if name == "socket-unit-holds-port":
        unit = owner.unit or owner.name
        summary = f"Stop and disable {unit}, then start {claimant}, which binds by itself"
        return [Remedy(f"stop:{unit}", "stop", summary, ways.RULE_UNCONFIGURED, unit)], ()
    claims = program_named(attempt.product or "")
    is_mail_claim = bool(attempt.container) or (claims is not None and claims.kind in (*MAIL_KINDS, "proxy", "engine"))
    if port is not None and not port.is_mail:
        rule = ways.RULE_COMPANION
        return [
            ways.separate(claimant, number, rule, moves=claimant),
            ways.move(claimant, number, rule, moves=claimant),
        ], ()
    if owner.kind not in (*MAIL_KINDS, "proxy", "engine") and is_mail_claim:
        rule = ways.RULE_MX if number == 25 else ways.RULE_STRANGER
        because = f"{number} is for {port.service if port else claimant}"
        return [
            ways.stop(owner.target, rule, because, has_queue=owner.has_queue, moves=owner.name),
            ways.move(owner.name, number, rule, moves=owner.name),
        ], ()
    is_default = owner.kind == "mta" and all(is_loopback(s.endpoint.address) for s in sockets)
    beside_stack = owner.kind == "mta" and (attempt.call == "publish" or bool(attempt.container))
    if is_default or beside_stack:
        return _second_mta(owner, claimant, number), ()
    what = "which of them is the public MX" if number == 25 else f"which of them is meant to serve port {number}"
    unknown = Unknown(what, "a listener and an error line don't show it", None, (), wanted)
    return [
        ways.separate(owner.name, number, ways.RULE_EQUALS, moves=None),
        ways.stop(owner.target, ways.RULE_EQUALS, f"{claimant} then has it", has_queue=owner.has_queue, moves=None),
        ways.move(claimant, number, ways.RULE_EQUALS, moves=None),
    ], (unknown,)


def _second_mta(owner: Owner, claimant: str, number: int) -> list[Remedy]:
    rule = ways.RULE_SECOND_MTA
    because = f"{claimant} then has port {number}; local programs that send through {owner.name} need another way"
    return [
        ways.separate(owner.name, number, rule, moves=owner.name),
        Remedy(
            f"queue-runner:{owner.target}",
            "queue-runner",
            f"Keep {owner.name} as a queue runner without a listener, so that `sendmail` goes on working",
            rule,
            owner.name,
        ),
        ways.stop(owner.target, rule, because, has_queue=owner.has_queue, moves=owner.name),
    ]


def _plain(name: str, group: list[Failure]) -> Finding:
    """For those in which nobody is in the way."""
    attempt = group[0].attempt
    wanted = [one.attempt.endpoint for one in group if one.attempt.endpoint is not None]
    claimant = _claimant(attempt)
    who = claimant.name or "the program"
    where = shown(wanted[0]) if wanted else attempt.address or "its address"
    summary, remedy = _TOLD[name](who, where, attempt)
    return finding(
        name,
        WARNING if name == "blocked-upstream" else ERROR,
        summary,
        wanted,
        parties=[claimant._replace(role="referrer") if attempt.call == "connect" else claimant],
        evidence=[*_said(group), *(connection(s) for one in group for s in one.sockets[:4] if s.state != "listen")],
        remedies=[remedy],
        breaks=_breaks(name, wanted),
        cause=f"{name} {who}",
    )


def _breaks(name: str, wanted: list[Endpoint]) -> tuple[Break, ...]:
    if name == "blocked-upstream":
        return (OUTBOUND,)
    return breaks_of(catalogue_port(wanted[0]), ABSENT) if wanted else ()


def _missing(who: str, where: str, attempt: Attempt) -> tuple[str, Remedy]:
    if attempt.errno == "EAFNOSUPPORT":
        summary = f"no port conflict: {who} can't bind {where}: that address family is off"
        text = f"Let {who} listen on IPv4 only, or turn IPv6 on"
    else:
        summary = f"no port conflict: {who} can't bind {where}: no such address here"
        text = f"Let {who} bind an address that the host has, or the wildcard; at boot, wait for the address"
    return summary, Remedy(f"separate-address:{who}", "separate-address", text, ways.RULE_NO_CONFLICT, who)


def _refused(who: str, where: str, attempt: Attempt) -> tuple[str, Remedy]:
    del attempt
    text = (
        f"Grant {who} CAP_NET_BIND_SERVICE in its unit (AmbientCapabilities=), or label the port where SELinux refuses"
    )
    remedy = Remedy(f"grant-capability:{who}", "grant-capability", text, ways.RULE_NO_CONFLICT, who)
    return f"no port conflict: {who} may not bind {where}", remedy


def _stale(who: str, where: str, attempt: Attempt) -> tuple[str, Remedy]:
    del where
    if (attempt.entry or "").endswith("socket"):
        path = attempt.path or f"its {attempt.entry}"
        text = f"See whether {who} runs already; only if it doesn't, remove {path} and start {who}"
        remedy = Remedy(f"remove-pid-file:{who}", "remove-pid-file", text, ways.RULE_STALE, who)
        return f"no port conflict: {who} runs already, or left {path} behind", remedy
    path = attempt.path or "the pid file"
    text = f"See whether the pid in {path} is {who}; if it isn't, remove the file and start {who}"
    remedy = Remedy(f"remove-pid-file:{who}", "remove-pid-file", text, ways.RULE_STALE, who)
    return f"no port conflict: {who} thinks that it runs, by {path}", remedy


def _pool(who: str, where: str, attempt: Attempt) -> tuple[str, Remedy]:
    del where
    text = "Give the container another fixed address, or its network another subnet"
    remedy = Remedy(f"change-publish:{who}", "change-publish", text, ways.RULE_NO_CONFLICT, attempt.container or None)
    return f"no port conflict: an address of a container network is taken ({who})", remedy


def _misread(who: str, where: str, attempt: Attempt) -> tuple[str, Remedy]:
    del where
    port = attempt.endpoint.port if attempt.endpoint else "the port"
    text = f"Quote the port of {who}, then recreate the container"
    remedy = Remedy(f"quote-port:{who}", "quote-port", text, ways.RULE_NO_CONFLICT, who)
    return f"no port conflict: {port} of {who} isn't quoted, and read as another", remedy


def _dangles(who: str, where: str, attempt: Attempt) -> tuple[str, Remedy]:
    text = f"Start what should listen on {where}, or correct the reference of {who}"
    remedy = Remedy(f"correct-reference:{who}:{where}", "correct-reference", text, ways.RULE_REFERRER, None)
    del attempt
    return f"{who} connects to {where}, where nobody listens", remedy


def _blocked(who: str, where: str, attempt: Attempt) -> tuple[str, Remedy]:
    del who, attempt
    text = "Ask the provider to unblock port 25 outwards, or send through a relay on 587 or 465"
    remedy = Remedy("correct-reference:relay", "correct-reference", text, ways.RULE_NO_CONFLICT, None)
    return f"no port conflict: no answer from {where}; nothing here is wrong", remedy


def _lingers(who: str, where: str, attempt: Attempt) -> tuple[str, Remedy]:
    del attempt
    text = f"Wait a minute, then start {who}; better, have it set SO_REUSEADDR"
    remedy = Remedy(f"start:{who}", "start", text, ways.RULE_NO_CONFLICT, None)
    return f"{who} can't listen on {where} yet: ended connections keep it", remedy


_TOLD = {
    "address-missing": _missing,
    "bind-not-permitted": _refused,
    "stale-pid-file": _stale,
    "address-pool-clash": _pool,
    "misread-port": _misread,
    "dangling-reference": _dangles,
    "blocked-upstream": _blocked,
    "lingering-sockets": _lingers,
}


def tell_attempts(seen: Seen, name: str, group: list[Failure]) -> Finding:
    """Return the finding for all attempts of one program at one port."""
    container = group[0].container
    if container is not None:
        return _published(group, container)
    return _plain(name, group) if name in _TOLD else _held(seen, name, group)
