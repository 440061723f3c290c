"""`mailports why PORT…`, or just `mailports PORT…`: the whole story of a port."""

from __future__ import annotations

import sys

from mailports.cli.arguments import add_fail_on, add_source, parser_of
from mailports.cli.output import exit_status, show, snapshot_of, style_of
from mailports.diagnose.story import tell
from mailports.faults import InputError
from mailports.model.facts import natural, port_number, printable
from mailports.model.findings import Diagnosis
from mailports.model.stories import Question
from mailports.observe.look import Scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from mailports.model.stories import Story


def run(argv: list[str]) -> int:
    """Run the verb."""
    parser = parser_of("why", "The whole story of a port: who holds it, would a bind succeed, who gets its traffic.")
    parser.add_argument("ports", nargs="+", metavar="PORT", help="25, imaps, 127.0.0.1:25, [::]:587, udp/53")
    parser.add_argument("--address", help="judge a bind of this address (default: both wildcards)")
    parser.add_argument("--v6only", action="store_true", default=None, help="with IPV6_V6ONLY set")
    parser.add_argument("--no-v6only", action="store_false", dest="v6only", help="with IPV6_V6ONLY off")
    parser.add_argument("--reuseaddr", action="store_true", default=True, help="with SO_REUSEADDR (the default)")
    parser.add_argument("--no-reuseaddr", action="store_false", dest="reuseaddr", help="without SO_REUSEADDR")
    parser.add_argument("--reuseport", action="store_true", help="with SO_REUSEPORT")
    parser.add_argument("--device", help="bound to this device")
    parser.add_argument("--as-user", metavar="USER", help="bound by this user (default: root)")
    parser.add_argument("--json", action="store_true", help="print JSON (mailports schema why)")
    add_source(parser)
    add_fail_on(parser)
    options = parser.parse_args(argv)
    questions = [q for word in options.ports for q in questions_of(word, options)]
    netns = options.netns or "here"
    # The containers behind a published port are in namespaces of their own, so all are looked into.
    looked = options.netns or "all"
    numbers = tuple(dict.fromkeys(q.port for q in questions))
    scope = Scope(everything=True, netns=looked, udp=True, ports=numbers)
    snapshot = snapshot_of(options.source, scope)
    label = netns
    if netns not in ("here", "all"):
        labels = {s.endpoint.netns for s in snapshot.sockets} | {n.label for n in snapshot.namespaces}
        label = next((x for x in sorted(filter(None, labels)) if netns in (x, x.partition(":")[2])), netns)
        label = next((n.label for n in snapshot.namespaces if natural(netns) in n.pids), label)
    places = [n.label for n in snapshot.namespaces] if netns == "all" else [label]
    stories = tuple(
        story
        for q in questions
        for place in places
        for story in [tell(snapshot, q._replace(netns=place))]
        if netns != "all" or story.listeners or place == "here"
    )
    if options.json:
        from mailports.formats.documents import to_json, why_document

        show([to_json(why_document(snapshot, stories)).rstrip("\n")])
    else:
        _show(stories, options.color)
    findings = tuple(dict.fromkeys(f for story in stories for f in story.findings))
    unknown = tuple(dict.fromkeys(u for story in stories for u in story.unknown))
    return exit_status(Diagnosis(findings, unknown), options.fail_on)


def _show(stories: tuple[Story, ...], color: str) -> None:
    from mailports.report.terminal import render_story

    style = style_of(sys.stdout, color)
    lines: list[str] = []
    for story in stories:
        lines += [*([""] if lines else []), *render_story(story, style)]
    show(lines)


def questions_of(word: str, options: argparse.Namespace) -> list[Question]:
    """Return what a word of the command line asks: a port, a service, or an endpoint. Raises InputError."""
    protocol, address, name = _parts(word)
    address = options.address or address
    if address is not None:
        address = _canonical(address)
    uid, privileged = _user(options.as_user)
    return [
        Question(
            printable(word),
            proto,
            number,
            address,
            "here",
            options.v6only,
            options.reuseaddr,
            options.reuseport,
            options.device,
            uid,
            privileged,
        )
        for proto, number in _numbers(name, protocol, word)
    ]


def _parts(word: str) -> tuple[str | None, str | None, str]:
    """Protocol, address and port of `25`, `25/tcp`, `udp/53`, `udp:53`, `*:25`, `127.0.0.1:25`, `[::]:25`."""
    protocol: str | None = None
    rest = word
    for known in ("tcp", "udp"):
        for prefix in (f"{known}/", f"{known}:", f"{known}://"):
            if rest.lower().startswith(prefix):
                protocol, rest = known, rest[len(prefix) :].lstrip("/")
        if rest.lower().endswith(f"/{known}"):
            protocol, rest = known, rest[: -len(known) - 1]
    address, colon, name = rest.rpartition(":")
    if not colon:
        return protocol, None, rest
    if address in ("", "*"):
        return protocol, None, name
    return protocol, address, name


def _numbers(name: str, protocol: str | None, word: str) -> list[tuple[str, int]]:
    from mailports.catalogue.ports import ports_named

    number = port_number(name)
    if number is not None:
        return [(protocol or "tcp", number)]
    if name.lstrip("-").isdigit():
        raise InputError(f"`{printable(word[:80])}` is no port; expected 1 to 65535")
    found = [(p.protocol, p.number) for p in ports_named(name) if protocol in (None, p.protocol)]
    if found:
        return found
    import socket

    try:
        return [(protocol or "tcp", socket.getservbyname(name, protocol or "tcp"))]
    except (OSError, ValueError):
        pass
    from mailports.cli.main import VERBS

    raise InputError(
        f"`{printable(word[:80])}` is no verb, port or service",
        hint=f"verbs: {', '.join(VERBS)}; ports: 25, imaps, 127.0.0.1:25, [::]:587",
    )


def _canonical(address: str) -> str:
    from ipaddress import ip_address
    from socket import AF_INET6, inet_ntop

    bare = address.strip("[]").partition("%")[0]
    try:
        parsed = ip_address(bare)
    except ValueError as error:
        raise InputError(f"`{printable(address[:80])}` is no IP address") from error
    # As the kernel's own tables spell it: `::ffff:127.0.0.1`, not `::ffff:7f00:1`.
    return str(parsed) if parsed.version == 4 else inet_ntop(AF_INET6, parsed.packed)


def _user(name: str | None) -> tuple[int, bool | None]:
    """The uid of --as-user, and whether it may bind below 1024: only root is known to."""
    if name is None:
        return 0, True
    number = natural(name)
    if number is not None:
        return number, number == 0
    try:
        from pwd import getpwnam

        uid = getpwnam(name).pw_uid
    except (ImportError, KeyError) as error:
        raise InputError(f"no user {printable(name)} here", path="--as-user") from error
    return uid, uid == 0
