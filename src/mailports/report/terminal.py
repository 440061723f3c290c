"""`status` and `why` for a terminal: the answer first, then one line a thing. Pure."""

from __future__ import annotations

from mailports.catalogue.ports import service_of
from mailports.diagnose.seen import HERE, spelled
from mailports.model.facts import shown
from mailports.report.diagnostic import render_finding, render_unknown
from mailports.report.style import Style, wrapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.model.facts import Holder, Socket
    from mailports.model.findings import Diagnosis, Finding
    from mailports.model.overview import Listener, Overview
    from mailports.model.stories import Judged, Receiver, Story

_RANK = {"error": 3, "warning": 2, "note": 1}


def render_status(overview: Overview, diagnosis: Diagnosis, style: Style) -> list[str]:
    """Return the table of listeners with the answer above it."""
    worst = max((f.severity for f in diagnosis.findings), key=_RANK.__getitem__, default=None)
    lines = [style.paint(overview.summary, worst or "bold")]
    if overview.listeners:
        lines += ["", *_table(overview.listeners, diagnosis, style)]
    if overview.absent:
        # No line break between a number and its name.
        names = ", ".join(f"{number}\xa0{service_of('tcp', number) or ''}".strip() for number in overview.absent)
        text = wrapped(f"not listening: {names}", style.width, "    ").replace("\xa0", " ")
        lines += ["", style.paint(text, "dim")]
    if diagnosis.findings:
        lines.append("")
        lines += [_one_line(found, style) for found in diagnosis.findings]
    if diagnosis.unknown:
        lines += ["", *render_unknown(diagnosis.unknown, style)]
    hints = _hints(diagnosis)
    if hints:
        lines += ["", *(f"{style.paint('hint', 'hint')}: {hint}" for hint in hints)]
    return lines


def _hints(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.findings:
        return []
    e = diagnosis.findings[0].endpoint
    if e is None:
        return ["the whole of it: mailports audit"]
    port = f"udp/{e.port}" if e.protocol == "udp" else str(e.port)
    netns = f" --netns {e.netns.partition(':')[2] or e.netns}" if e.netns not in (HERE, None) else ""
    return [f"the whole story: mailports why {port}{netns}", "everything, with ways out: mailports audit"]


def _one_line(found: Finding, style: Style) -> str:
    head = f"{found.severity}[{found.name}]"
    text = wrapped(f"{head}: {found.summary}", style.width, "    ")
    return text.replace(head, style.paint(head, found.severity), 1)


class _Row:
    """Listeners of one port and one holder, so that `0.0.0.0` and `[::]` share a line."""

    def __init__(self, listener: Listener) -> None:
        self.first = listener
        self.endpoints = [listener.endpoint]
        self.addresses = [_address(listener)]
        self.holders = listener.holders
        self._kind = _kind(listener)

    def takes(self, other: Listener) -> bool:
        """Take another listener into this row, if all but its address is the same."""
        if _kind(other) != self._kind or _address(other) in self.addresses:
            return False
        self.endpoints.append(other.endpoint)
        self.addresses.append(_address(other))
        self.holders = tuple(dict.fromkeys(self.holders + other.holders))
        return True

    @property
    def port(self) -> str:
        e = self.first.endpoint
        return f"{e.port}/udp" if e.protocol == "udp" else str(e.port)

    @property
    def held_by(self) -> str:
        listener = self.first
        text = holders_text(self.holders, listener.holders_extent)
        if listener.publish:
            text += f" port {listener.publish.to_port}"
        if listener.redirects:
            text += f"; redirected to {', '.join(listener.redirects)}"
        return text


def _kind(listener: Listener) -> tuple[object, ...]:
    e = listener.endpoint
    who = [(h.name, h.unit, h.container, h.pid is None) for h in listener.holders]
    to_port = listener.publish.to_port if listener.publish else None
    return e.netns, e.protocol, e.port, who, listener.findings, listener.redirects, to_port


def _merged(listeners: tuple[Listener, ...]) -> list[_Row]:
    rows: list[_Row] = []
    for listener in listeners:
        if not any(row.takes(listener) for row in rows[-_ROWS_OF_A_PORT:]):
            rows.append(_Row(listener))
    return rows


_ROWS_OF_A_PORT = 16
"""How far back a row is looked for that a listener belongs to: listeners come by port."""

_LEAST = 24
"""The narrowest last column; where less is left, it begins a line of its own."""


def _table(listeners: tuple[Listener, ...], diagnosis: Diagnosis, style: Style) -> list[str]:
    rows = _merged(listeners)
    ports = max(4, *(len(row.port) for row in rows))
    services = min(max(len("SERVICE"), *(len(row.first.service or "-") for row in rows)), style.width // 4)
    longest = max(len(address) for row in rows for address in row.addresses)
    addresses = max(len("ADDRESS"), longest, min(17, max(len(" ".join(row.addresses)) for row in rows)))
    if 2 + ports + 2 + services + 2 + addresses + 2 + _LEAST > style.width:
        services = min(services, 12)
    left = 2 + ports + 2 + services + 2
    column = left + addresses + 2
    stacked = column + _LEAST > style.width
    head = f"  {'PORT':>{ports}}  {'SERVICE':<{services}}  {'ADDRESS':<{addresses}}"
    lines = [style.paint(f"{head}  HELD BY" if not stacked else head.rstrip(), "dim")]
    netns: str | None = HERE
    for row in rows:
        if row.first.endpoint.netns != netns:
            netns = row.first.endpoint.netns
            lines.append(style.paint(f"in {netns}", "dim"))
        service = _cut(row.first.service or "-", services, style)
        packed = _packed(row.addresses, addresses)
        indent = left if stacked else column
        who = wrapped(row.held_by, style.width, first=indent, indent=" " * indent).split("\n" + " " * indent)
        worst = _worst(row, diagnosis)
        mark = style.paint(style.mark(worst), worst) if worst else " "
        lines.append(f"{mark} {row.port:>{ports}}  {service:<{services}}  " + _beside(packed, who, addresses, stacked))
        more = packed[1:] if stacked else packed[1:] + [""] * (len(who) - len(packed))
        for number, address in enumerate(more, start=1):
            beside = _beside([address], who[number:], addresses, stacked)
            lines.append((" " * left + beside).rstrip())
        if stacked:
            lines += [" " * left + text for text in who]
        if row.first.findings:
            note = ("└ " if style.unicode else "` ") + ", ".join(row.first.findings)
            text = " " * indent + wrapped(note, style.width, " " * (indent + 2), first=indent)
            lines += [style.paint(line, worst or "note") for line in text.split("\n")]
    return lines


def _beside(addresses: list[str], who: list[str], width: int, stacked: bool) -> str:  # noqa: FBT001
    if stacked or not who:
        return addresses[0]
    return f"{addresses[0]:<{width}}  {who[0]}"


def _packed(addresses: list[str], width: int) -> list[str]:
    """Addresses, as many to a line as the column takes."""
    lines = [addresses[0]]
    for address in addresses[1:]:
        if len(lines[-1]) + 1 + len(address) <= width:
            lines[-1] += f" {address}"
        else:
            lines.append(address)
    return lines


def _cut(text: str, width: int, style: Style) -> str:
    return text if len(text) <= width else text[: width - 1] + ("…" if style.unicode else "~")


def _worst(row: _Row, diagnosis: Diagnosis) -> str | None:
    severities = [f.severity for f in diagnosis.findings if any(f.concerns(e) for e in row.endpoints)]
    return max(severities, key=_RANK.__getitem__, default=None)


def _address(listener: Listener) -> str:
    e = listener.endpoint
    address = f"[{e.address}]" if ":" in e.address else e.address
    if e.address == "::" and e.v6only is False:
        address = "*"  # as ss writes a dual-stack wildcard
    return f"{address}%{e.device}" if e.device else address


def holders_text(holders: tuple[Holder, ...], extent: str) -> str:
    """Return who holds a socket: processes of one name together, with their units."""
    if not holders:
        texts = {"all": "no process holds it", "none": "a process that only root sees"}
        return texts.get(extent, "a process that wasn't found")
    groups: dict[tuple[str, str | None, str | None, bool], list[int]] = {}
    for h in holders:
        groups.setdefault((spelled(h), h.unit, h.container, h.pid is None), []).append(h.pid or 0)
    parts = []
    for (program, unit, container, is_hidden), pids in groups.items():
        words = []
        if not is_hidden:
            listed = ",".join(str(pid) for pid in pids[:3]) + (f",+{len(pids) - 3}" if len(pids) > 3 else "")
            words.append(f"{program} {listed}")
        if container:
            words.append(f"container {container}")
        if unit and not (container and unit.startswith(("docker-", "libpod-", "docker.", "podman-"))):
            words.append(unit)
        if is_hidden:
            words.append("(process not visible)" if extent == "none" else "(process not found)")
        parts.append("  ".join(words))
    return " + ".join(parts)


# why


def render_story(story: Story, style: Style) -> list[str]:
    """Return the whole story of one port."""
    q = story.question
    where = "" if q.netns == HERE else f" in {q.netns}"
    title = f" {story.service}: {story.title}" if story.service else ""
    lines = [style.paint(f"{q.protocol} port {q.port}{title}{where}", "bold"), ""]
    lines += _section("held by", [_socket_line(s) for s in story.listeners] or ["nobody listens"], style)
    for number, judged in enumerate(story.judged):
        lines += _section("a bind" if number == 0 else "", [_judged_line(judged)], style, _answers(judged))
        lines += _section("", _obstacles(judged), style)
    lines += _section("traffic to", _receivers(story.receivers), style)
    lines += _section("redirect", [f"{r.place}: {r.text}" for r in story.redirects], style)
    lines += _section("firewall", [f"{g.place}: {g.text}" for g in story.gates], style)
    publishes = [
        f"container {c.name or c.id[:12] or '?'}: {shown(p.endpoint)} to its port {p.to_port} ({p.source})"
        for c in story.publishes
        for p in c.publishes
        if p.endpoint.port == q.port
    ]
    lines += _section("published", publishes, style)
    lines += _section("also there", [_socket_line(s) for s in story.others], style)
    lines += _section("lingering", _lingering(story.lingering), style)
    candidates = [f"{u.name} ({u.active}) listens on {', '.join(u.listens)}" for u in story.candidates]
    if story.is_ephemeral:
        candidates.append("the kernel may give it to an outgoing connection (ephemeral, not reserved)")
    if story.is_rpc_range:
        candidates.append("an RPC program may be given it by bindresvport(3), and some run here")
    lines += _section("may take it", candidates, style)
    for found in story.findings:
        lines += ["", *render_finding(found, style)]
    if story.unknown:
        lines += ["", *render_unknown(story.unknown, style)]
    return lines


def _section(label: str, texts: list[str], style: Style, answers: tuple[tuple[str, str], ...] = ()) -> list[str]:
    """Return the lines of a section. `answers` are words to colour, which must not change where a line ends."""
    lines = []
    for number, text in enumerate(texts):
        label_text = f"  {label if number == 0 else '':<11} "
        body = wrapped(text, style.width, " " * 14, first=14)
        for words, kind in answers:
            body = body.replace(words, style.paint(words, kind), 1)
        lines.append(style.paint(label_text, "dim") + body)
    return lines


def _socket_line(socket: Socket) -> str:
    where = shown(socket.endpoint)
    peer = f" to {shown(socket.peer)}" if socket.peer else ""
    state = "" if socket.state in ("listen", "unconnected") else f" ({socket.state}{peer})"
    only = ""
    if socket.family == 6 and socket.endpoint.address == "::" and socket.endpoint.v6only is not None:
        only = " (IPv6 only)" if socket.endpoint.v6only else " (IPv4 too)"
    if socket.suspects:
        queue = ", ".join(f"{h.name} {h.pid}" for h in socket.suspects[:5])
        only += f" (descriptors are in flight to or from {queue})"
    limit = f" of {socket.backlog}" if socket.backlog else ""
    queue = f", {socket.waiting}{limit} waiting to be accepted" if socket.waiting else ""
    return f"{where}{only}{state}: {holders_text(socket.holders, socket.holders_extent)}{queue}"


def _judged_line(judged: Judged) -> str:
    request, verdict = judged.request, judged.verdict
    named = (("SO_REUSEADDR", request.reuseaddr), ("SO_REUSEPORT", request.reuseport))
    options = [name for name, is_set in named if is_set]
    if request.endpoint.v6only is not None:
        options.append("v6only" if request.endpoint.v6only else "not v6only")
    who = f"by uid {request.uid}" if request.uid else "by root"
    how = f"{who}, with {' and '.join(options)}" if options else who
    text = f"of {shown(request.endpoint)} ({how}) {_answers(judged)[0][0]}"
    if verdict.bind == "yes" and verdict.listen == "no":
        return f"{text}, and listen fails: EADDRINUSE"
    if verdict.bind == "yes" and verdict.listen == "unknown":
        return f"{text}, and listen can't be told"
    return text


def _answers(judged: Judged) -> tuple[tuple[str, str], ...]:
    verdict = judged.verdict
    fails = f"fails: {verdict.errno}" if verdict.errno else "fails"
    return {"yes": (("would succeed", "good"),), "no": ((fails, "error"),)}.get(
        verdict.bind, (("can't be told", "warning"),)
    )


def _obstacles(judged: Judged) -> list[str]:
    texts = []
    for obstacle in judged.verdict.obstacles:
        what = f"{_in_the_way(obstacle.socket)}: " if obstacle.socket else ""
        unsure = "" if obstacle.certain else f"; that depends on {obstacle.unknown}"
        texts.append(f"{what}{obstacle.rule}{unsure}")
    return list(dict.fromkeys(texts))


def _in_the_way(socket: Socket) -> str:
    who = holders_text(socket.holders, socket.holders_extent)
    state = "" if socket.state == "listen" else f"{socket.state}, "
    return f"{shown(socket.endpoint)} ({state}{who}) is in the way"


def _receivers(receivers: tuple[Receiver, ...]) -> list[str]:
    """One line for all addresses whose traffic goes to the same listeners."""
    groups: dict[tuple[object, ...], list[Receiver]] = {}
    for receiver in receivers:
        groups.setdefault((receiver.endpoints, receiver.holders, receiver.source), []).append(receiver)
    texts = []
    for group in groups.values():
        first = group[0]
        targets = ", ".join(r.endpoint.address for r in group[:6]) + (
            f" and {len(group) - 6} more" if group[6:] else ""
        )
        if not first.endpoints:
            texts.append(f"{targets}: refused, nobody listens ({first.source})")
            continue
        to = " or ".join(dict.fromkeys(shown(e) for e in first.endpoints))
        shared = ", shared by hash" if len(first.endpoints) > 1 else ""
        who = holders_text(first.holders, "none") if first.holders else "a holder that wasn't seen"
        texts.append(f"{targets}: to {to}{shared}, {who} ({first.source})")
    return texts


def _lingering(sockets: tuple[Socket, ...]) -> list[str]:
    counts: dict[tuple[str, str], int] = {}
    for socket in sockets:
        counts[(socket.state, socket.endpoint.address)] = counts.get((socket.state, socket.endpoint.address), 0) + 1
    return [f"{count} {state} on {address}" for (state, address), count in sorted(counts.items())]
