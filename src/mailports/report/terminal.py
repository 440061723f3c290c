"""`status` and `why` for a terminal: the answer first, then one line a thing. Pure."""

from __future__ import annotations

from mailports.catalogue.ports import service_of
from mailports.diagnose.seen import HERE, called
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
        names = ", ".join(f"{number} {service_of('tcp', number) or ''}".strip() for number in overview.absent)
        lines += ["", style.paint(wrapped(f"not listening: {names}", style.width, "    "), "dim")]
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
    first = diagnosis.findings[0]
    if first.endpoint is None or first.endpoint.port == 0:
        return ["the whole of it: mailports audit"]
    return [f"the whole story: mailports why {first.endpoint.port}; everything: mailports audit"]


def _one_line(found: Finding, style: Style) -> str:
    head = f"{found.severity}[{found.name}]"
    text = wrapped(f"{head}: {found.summary}", style.width, "    ")
    return text.replace(head, style.paint(head, found.severity), 1)


class _Row:
    """Listeners of one port and one holder, so that `0.0.0.0` and `[::]` share a line."""

    def __init__(self, listener: Listener) -> None:
        self.first = listener
        self.addresses = [_address(listener)]
        self.holders = listener.holders
        self._kind = _kind(listener)

    def takes(self, other: Listener) -> bool:
        """Take another listener into this row, if all but its address is the same."""
        if _kind(other) != self._kind or _address(other) in self.addresses:
            return False
        self.addresses.append(_address(other))
        self.holders = tuple(dict.fromkeys(self.holders + other.holders))
        return True


def _kind(listener: Listener) -> tuple[object, ...]:
    e = listener.endpoint
    who = [(h.name, h.unit, h.container, h.pid is None) for h in listener.holders]
    return e.netns, e.protocol, e.port, who, listener.findings, listener.redirects, _publish_text(listener)


def _table(listeners: tuple[Listener, ...], diagnosis: Diagnosis, style: Style) -> list[str]:
    rows: list[_Row] = []
    for listener in listeners:
        if not (rows and rows[-1].takes(listener)):
            rows.append(_Row(listener))
    severity = {name: s for f in reversed(diagnosis.findings) for name, s in ((f.name, f.severity),)}
    with_netns = any(r.first.endpoint.netns != HERE for r in rows)
    cells = [_cells(row, with_netns=with_netns) for row in rows]
    head = ["PORT", "SERVICE", "ADDRESS", *(["NAMESPACE"] if with_netns else []), "HELD BY"]
    widths = [max(len(c[n]) for c in [head, *cells]) for n in range(len(head) - 1)]
    limits = {1: 20, 2: max(17, style.width // 3)}
    widths = [min(w, limits.get(n, w)) for n, w in enumerate(widths)]
    lines = [style.paint("  " + _line(head, widths), "dim")]
    indent = " " * (sum(widths) + 2 * len(widths) + 2)
    for row, cell in zip(rows, cells):
        names = row.first.findings
        worst = max((severity[name] for name in names), key=_RANK.__getitem__, default=None)
        mark = style.paint(style.mark(worst), worst) if worst else " "
        last = wrapped(cell[-1], style.width, indent, first=len(indent))
        lines.append(f"{mark} {_line([*cell[:-1], last], widths)}")
        if names:
            arrow = "└ " if style.unicode else "` "
            note = f"{indent}{arrow}{', '.join(names)}"
            lines.append(style.paint(note, worst or "note"))
    return lines


def _line(cells: list[str], widths: list[int]) -> str:
    parts = [cells[0].rjust(widths[0])]
    parts += [cell.ljust(width) for cell, width in zip(cells[1:-1], widths[1:])]
    return "  ".join([*parts, cells[-1]]).rstrip()


def _cells(row: _Row, *, with_netns: bool) -> list[str]:
    listener = row.first
    e = listener.endpoint
    port = f"{e.port}/udp" if e.protocol == "udp" else str(e.port)
    netns = [e.netns or "unknown"] if with_netns else []
    return [port, listener.service or "-", " ".join(row.addresses), *netns, _held_by(row)]


def _address(listener: Listener) -> str:
    e = listener.endpoint
    address = f"[{e.address}]" if ":" in e.address else e.address
    if e.address == "::" and e.v6only is False:
        address = "*"  # as ss writes a dual-stack wildcard
    return f"{address}%{e.device}" if e.device else address


def _held_by(row: _Row) -> str:
    listener = row.first
    text = holders_text(row.holders, listener.holders_extent)
    publish = _publish_text(listener)
    if publish:
        text += f" {publish}"
    if listener.redirects:
        text += f"; redirected to {', '.join(listener.redirects)}"
    return text


def _publish_text(listener: Listener) -> str:
    return f"port {listener.publish.to_port}" if listener.publish else ""


def holders_text(holders: tuple[Holder, ...], extent: str) -> str:
    """Return who holds a socket: processes of one name together, with their units."""
    if not holders:
        return "no process holds it" if extent == "all" else "holder not found (mailports why looks at every process)"
    groups: dict[tuple[str | None, str | None, str | None, bool], list[int]] = {}
    samples: dict[tuple[str | None, str | None, str | None, bool], Holder] = {}
    for h in holders:
        key = (h.name, h.unit, h.container, h.pid is None)
        groups.setdefault(key, []).append(h.pid or 0)
        samples.setdefault(key, h)
    parts = []
    for key, pids in groups.items():
        name, unit, container, is_hidden = key
        words = []
        if not is_hidden:
            listed = ",".join(str(pid) for pid in pids[:3]) + (f",+{len(pids) - 3}" if len(pids) > 3 else "")
            words.append(f"{_program_text(name, unit, samples[key])} {listed}")
        if container:
            words.append(f"container {container}")
        if unit and not (container and unit.startswith(("docker-", "libpod-", "docker.", "podman-"))):
            words.append(unit)
        if is_hidden:
            words.append("(process not visible)" if extent == "none" else "(process not found)")
        parts.append("  ".join(words))
    return " + ".join(parts)


def _program_text(name: str | None, unit: str | None, holder: Holder) -> str:
    """`postfix/master`, as Postfix's own log spells it, where the name alone means nothing."""
    del unit
    product = called(holder)
    shown_name = name or "unknown"
    return shown_name if product == shown_name else f"{product}/{shown_name}"


# why


def render_story(story: Story, style: Style) -> list[str]:
    """Return the whole story of one port."""
    q = story.question
    where = "" if q.netns == HERE else f" in {q.netns}"
    title = f" {story.service}: {story.title}" if story.service else ""
    lines = [style.paint(f"{q.protocol} port {q.port}{title}{where}", "bold"), ""]
    lines += _section("held by", [_socket_line(s) for s in story.listeners] or ["nobody listens"], style)
    for number, judged in enumerate(story.judged):
        lines += _section("a bind" if number == 0 else "", [_judged_line(judged, style)], style)
        lines += _section("", [f"- {text}" for text in _obstacles(judged)], style)
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


def _section(label: str, texts: list[str], style: Style) -> list[str]:
    lines = []
    for number, text in enumerate(texts):
        shown_label = label if number == 0 else ""
        lines.append(style.paint(f"  {shown_label:<11} ", "dim") + wrapped(text, style.width, " " * 14, first=14))
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
    queue = f", {socket.waiting} of {socket.backlog} waiting to be accepted" if socket.waiting else ""
    return f"{where}{only}{state}: {holders_text(socket.holders, socket.holders_extent)}{queue}"


def _judged_line(judged: Judged, style: Style) -> str:
    request, verdict = judged.request, judged.verdict
    options = [name for name, on in (("SO_REUSEADDR", request.reuseaddr), ("SO_REUSEPORT", request.reuseport)) if on]
    if request.endpoint.v6only is not None:
        options.append("v6only" if request.endpoint.v6only else "not v6only")
    who = f"by uid {request.uid}" if request.uid else "by root"
    how = f"{who}, with {' and '.join(options)}" if options else who
    answers = {"yes": "would succeed", "no": f"fails: {verdict.errno}", "unknown": "can't be told"}
    kind = {"yes": "good", "no": "error", "unknown": "warning"}[verdict.bind]
    text = f"of {shown(request.endpoint)} ({how}) {style.paint(answers[verdict.bind], kind)}"
    if verdict.bind == "yes" and verdict.listen == "no":
        text += f", and {style.paint('listen fails: EADDRINUSE', 'error')}"
    elif verdict.bind == "yes" and verdict.listen == "unknown":
        text += f", and {style.paint('listen', 'warning')} can't be told"
    return text


def _obstacles(judged: Judged) -> list[str]:
    texts = []
    for obstacle in judged.verdict.obstacles:
        what = f"{_in_the_way(obstacle.socket)}: " if obstacle.socket else ""
        unsure = "" if obstacle.certain else f"; that depends on {obstacle.unknown}"
        texts.append(f"{what}{obstacle.rule}{unsure}")
    return list(dict.fromkeys(texts))


def _in_the_way(socket: Socket) -> str:
    names = ", ".join(f"{h.name} {h.pid}" for h in socket.holders[:3] if h.pid is not None)
    state = "" if socket.state == "listen" else f", {socket.state}"
    return f"{shown(socket.endpoint)} ({names or 'holder not seen'}{state}) is in the way"


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
