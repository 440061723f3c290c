"""What a terminal shows: the answer first, one line a thing, at any width, without colour as well."""

from __future__ import annotations

import pytest

from machine_tree import SEEN, at, held, listens, snapshot
from mailports.diagnose.overview import survey
from mailports.diagnose.rules import diagnose
from mailports.diagnose.story import tell
from mailports.model.facts import Container, Holder, Look, Namespace, Publish, Redirect, Setting, Snapshot, Socket
from mailports.model.findings import Diagnosis, Evidence, Finding
from mailports.model.stories import Question
from mailports.report.diagnostic import render_diagnosis, render_fault, render_finding
from mailports.report.style import Style, wrapped
from mailports.report.terminal import holders_text, render_status, render_story

POSTFIX, EXIM, DOVECOT = held("master", 812), held("exim4", 900), held("dovecot", 700)
PROXY = held("docker-proxy", 5, container="mailcow-postfix-1")
BOTH = ("0.0.0.0", "[::]")
NARROW, WIDE = Style(width=80), Style(width=140)


def status(seen: Snapshot, style: Style = NARROW, *, everything: bool = False) -> list[str]:
    """The lines of `status`, each as one terminal line."""
    diagnosis = diagnose(seen)
    return "\n".join(render_status(survey(seen, diagnosis, everything=everything), diagnosis, style)).split("\n")


def why(seen: Snapshot, style: Style = NARROW, **more: object) -> list[str]:
    question = Question("25", "tcp", 25, **more)  # type: ignore[arg-type]
    return "\n".join(render_story(tell(seen, question), style)).split("\n")


def audit(seen: Snapshot, style: Style = NARROW) -> list[str]:
    return "\n".join(render_diagnosis(diagnose(seen), style)).split("\n")


def busy() -> Snapshot:
    """A mail server with a bit of everything."""
    sockets = [listens(f"{wild}:{port}", POSTFIX) for port in (25, 587) for wild in BOTH]
    sockets += [listens(f"{wild}:{port}", DOVECOT) for port in (143, 993) for wild in BOTH]
    sockets += [listens("0.0.0.0:25", EXIM), listens("127.0.0.1:10025", POSTFIX), listens("0.0.0.0:465", PROXY)]
    sockets += [listens("0.0.0.0:11334", held("rspamd", 60)), listens("0.0.0.0:110", holders_extent="none")]
    sockets += [listens("0.0.0.0:25", held("master", 50, container="mx"), netns="container:mailcow-postfix-1")]
    looks = (*SEEN, Look("holders", None, "some", "/proc/*/fd", "no permission to read 31 processes", "run as root"))
    setting = Setting("net.ipv4.ip_local_port_range", "10000 60999", "here")
    publish = Publish(at("0.0.0.0:465"), "172.22.1.253", 465, "docker-proxy arguments", 5)
    box = Container("docker", "4f2a" * 16, "mailcow-postfix-1", state="running", publishes=(publish,))
    return snapshot(*sockets, looks=looks, settings=(setting,), containers=(box,))


# Status.


def test_a_healthy_host() -> None:
    """The answer stands above; versions 4 and 6 of one port share a line; what is absent is named."""
    sockets = [listens(f"{wild}:25", POSTFIX) for wild in BOTH] + [listens("127.0.0.1:143", DOVECOT)]
    assert status(snapshot(*sockets)) == [
        "mail ports: 2 listening, none in conflict",
        "",
        "  PORT  SERVICE  ADDRESS       HELD BY",
        "    25  smtp     0.0.0.0 [::]  postfix/master 812  postfix@-.service",
        "   143  imap     127.0.0.1     dovecot 700  dovecot.service",
        "",
        "not listening: 465 submissions, 587 submission, 993 imaps, 110 pop3, 995 pop3s,",
        "    4190 sieve",
    ]


def test_an_empty_host() -> None:
    """There is no table without rows."""
    assert status(snapshot())[0] == "mail ports: 0 listening, none in conflict"
    assert not any("PORT" in line for line in status(snapshot()))


def test_a_conflict() -> None:
    """Each row of it is marked and says its name; the finding's own line and what to type next follow."""
    lines = status(snapshot(listens("0.0.0.0:25", POSTFIX), listens("0.0.0.0:25", EXIM)))
    assert lines[:7] == [
        "mail ports: 1 listening, 1 in conflict",
        "",
        "  PORT  SERVICE  ADDRESS  HELD BY",
        "✗   25  smtp     0.0.0.0  postfix/master 812  postfix@-.service",
        "                          └ shared-port",
        "✗   25  smtp     0.0.0.0  exim4 900  exim4.service",
        "                          └ shared-port",
    ]
    assert lines[-6:] == [
        "",
        "error[shared-port]: postfix and exim4 share 0.0.0.0:25: each gets some of the",
        "    connections",
        "",
        "hint: the whole story: mailports why 25",
        "hint: everything, with ways out: mailports audit",
    ]


def test_two_holders_of_two_addresses_each_have_one_row() -> None:
    """Listeners of one port and holder merge, whatever lies between them."""
    sockets = (listens(f"{wild}:25", holder) for wild in BOTH for holder in (POSTFIX, EXIM))
    rows = [line for line in status(snapshot(*sockets)) if line.startswith("✗")]
    assert len(rows) == 2
    assert all("0.0.0.0 [::]" in row for row in rows)


def test_a_dual_stack_wildcard_is_a_star() -> None:
    """As ss writes it."""
    assert any(
        line.split()[:3] == ["25", "smtp", "*"] for line in status(snapshot(listens("[::]:25", POSTFIX, v6only=False)))
    )


def test_a_published_port() -> None:
    """The container, and its port."""
    (row,) = (line for line in status(busy(), Style(width=160)) if line.split()[:2] == ["465", "submissions"])
    assert row.endswith("docker-proxy 5  container mailcow-postfix-1 port 465")


def test_a_redirected_port() -> None:
    """Where its traffic goes is on its row."""
    rule = Redirect(
        "dnat", "prerouting", "here", 4, "tcp", ((25, 25),), (), False, "192.0.2.9", (2525, 2525), None, "nft", "p", "t"
    )
    text = " ".join(status(snapshot(listens("0.0.0.0:25", POSTFIX), redirects=(rule,)), WIDE))
    assert "redirected to 192.0.2.9:2525" in text


def test_every_listener_is_not_a_mail_port() -> None:
    """--all shows SSH as well, and doesn't count it."""
    seen = snapshot(listens("0.0.0.0:22", held("sshd", 5)), listens("0.0.0.0:25", POSTFIX))
    assert status(seen, everything=True)[0] == "mail ports: 1 listening, none in conflict"


def test_a_mark_is_its_own_findings() -> None:
    """A warning isn't marked as an error because another port has an error of that name."""
    seen = snapshot(
        *(listens("192.0.2.1:25", EXIM), listens("0.0.0.0:25", POSTFIX)),
        *(listens("127.0.0.1:587", EXIM), listens("0.0.0.0:587", POSTFIX)),
    )
    marks = {line.split()[1]: line[0] for line in status(seen) if line[:1] in ("✗", "!")}
    assert marks == {"25": "✗", "587": "!"}


def test_another_namespace_has_a_column() -> None:
    """Only where there is one."""
    assert not any("NAMESPACE" in line for line in status(snapshot(listens("0.0.0.0:25", POSTFIX))))
    assert any("container:mailcow-postfix-1" in line for line in status(busy()))


def test_what_to_type_next_leads_there() -> None:
    """A finding in a namespace is looked at with --netns, one on UDP with its protocol."""
    places = [listens("0.0.0.0:25", holder, netns="name:mail") for holder in (POSTFIX, EXIM)]
    seen = snapshot(*places, namespaces=(Namespace("here", 1), Namespace("name:mail", 2)))
    assert "mailports why 25 --netns mail" in status(seen)[-2]


@pytest.mark.parametrize("style", [NARROW, WIDE, Style(width=100)], ids=lambda style: str(style.width))
def test_no_line_is_wider_than_the_terminal(style: Style) -> None:
    """For ordinary names, in every view."""
    lines = [*status(busy(), style), *audit(busy(), style), *why(busy(), style)]
    assert [line for line in lines if len(line) > style.width] == []


@pytest.mark.parametrize("address", ["2001:db8:1234:5678:9abc:def0:1234:5678", "fe80::1234:5678:9abc:def0"])
def test_long_addresses_fit(address: str) -> None:
    """A host with addresses of version 6 has a table too."""
    lines = status(snapshot(listens(f"[{address}]:25", POSTFIX), listens("192.0.2.1:25", POSTFIX)))
    assert [line for line in lines if len(line) > 80] == []


def test_the_table_is_straight() -> None:
    """The longest service of the catalogue doesn't push its row out of the column."""
    lines = status(snapshot(listens("127.0.0.1:588", POSTFIX), listens("127.0.0.1:25", POSTFIX)))
    starts = {line.index("127.0.0.1") for line in lines if "127.0.0.1" in line and "postfix" in line}
    assert len(starts) == 1


def test_without_colour_there_is_no_escape() -> None:
    """And with it, nothing but colours, and the same text."""
    for view in (status, audit, why):
        plain = view(busy(), NARROW)
        painted = "\n".join(view(busy(), Style(color=True, width=80)))
        assert "\x1b" not in "".join(plain)
        assert "\x1b[" in painted
        for code in ("1;31", "33", "36", "32", "2", "1", "34", "0"):
            painted = painted.replace(f"\x1b[{code}m", "")
        assert painted.split("\n") == plain


def test_without_unicode_all_is_ascii() -> None:
    """Marks and arrows have plain forms; meaning rests on neither."""
    style = Style(width=80, unicode=False)
    for view in (status, audit, why):
        assert "\n".join(view(busy(), style)).isascii()
    assert any(line.startswith("x ") for line in status(busy(), style))


# Holders.


@pytest.mark.parametrize(
    ("holders", "extent", "text"),
    [
        ((), "all", "no process holds it"),
        ((POSTFIX,), "all", "postfix/master 812  postfix@-.service"),
        (
            tuple(held("nginx", pid, unit="nginx.service", exe="/usr/sbin/nginx") for pid in (5, 6, 7, 8)),
            "all",
            "nginx 5,6,7,+1  nginx.service",
        ),
        ((held("systemd", 1), DOVECOT), "all", "systemd 1  init.scope + dovecot 700  dovecot.service"),
        ((PROXY,), "all", "docker-proxy 5  container mailcow-postfix-1"),
        ((held("master", 9, container="mx", unit="docker-4f2a.scope"),), "all", "postfix/master 9  container mx"),
        ((Holder(None, unit="exim4.service", seen_by="cgroup"),), "none", "exim4.service  (process not visible)"),
    ],
)
def test_who_holds_a_listener(holders: tuple[Holder, ...], extent: str, text: str) -> None:
    """Processes of one name together, with their unit; a container's own scope says nothing more."""
    assert holders_text(holders, extent) == text


def test_a_holder_that_could_not_be_seen() -> None:
    """Without permission it is root who would see it; `mailports why` wouldn't either."""
    text = holders_text((), "none")
    assert "root" in text
    assert "mailports why" not in text


def test_why_does_not_send_one_to_why() -> None:
    """One is there already."""
    assert not any("mailports why" in line for line in why(snapshot(listens("0.0.0.0:25", holders_extent="some"))))


# Why.


def test_the_story_of_a_held_port() -> None:
    """Who has it, that a bind fails and why, and who gets the traffic."""
    unprivileged = Setting("net.ipv4.ip_unprivileged_port_start", "1024", "here")
    seen = snapshot(listens("0.0.0.0:25", POSTFIX), settings=(unprivileged,))
    assert why(seen, address="0.0.0.0") == [
        "tcp port 25 smtp: SMTP between mail servers",
        "",
        "  held by     0.0.0.0:25: postfix/master 812  postfix@-.service",
        "  a bind      of 0.0.0.0:25 (by root, with SO_REUSEADDR) fails: EADDRINUSE",
        "              0.0.0.0:25 (postfix/master 812  postfix@-.service) is in the way:",
        "              a listener has 0.0.0.0 already",
    ]


def test_a_free_port() -> None:
    """Nobody listens, and both wildcards would bind."""
    assert why(snapshot()) == [
        "tcp port 25 smtp: SMTP between mail servers",
        "",
        "  held by     nobody listens",
        "  a bind      of 0.0.0.0:25 (by root, with SO_REUSEADDR) would succeed",
        "              of [::]:25 (by root, with SO_REUSEADDR) would succeed",
    ]


def test_a_bind_that_fails_one_way_or_the_other() -> None:
    """Where a check that may fail comes first no errno is certain, and none is made up."""
    lines = why(snapshot(listens("0.0.0.0:25", POSTFIX)), uid=1000, may_bind_privileged=False)
    assert any("fails" in line for line in lines)
    assert not any("None" in line for line in lines)


def test_waiting_connections() -> None:
    """A full queue is said; where the limit isn't known none is made up."""
    line = next(
        x for x in why(snapshot(listens("0.0.0.0:25", POSTFIX, waiting=3, backlog=100)), WIDE) if "waiting" in x
    )
    assert "3 of 100 waiting to be accepted" in line
    line = next(x for x in why(snapshot(listens("0.0.0.0:25", POSTFIX, waiting=3)), WIDE) if "waiting" in x)
    assert "of 0" not in line


def test_lingering_connections_are_counted() -> None:
    """A thousand in TIME_WAIT are one line."""
    ended = [
        Socket(at("192.0.2.2:25"), 4, "time-wait", at(f"192.0.2.9:{40000 + n}"), cookie=n + 1) for n in range(1000)
    ]
    assert "  lingering   1000 time-wait on 192.0.2.2" in why(snapshot(*ended))


# Findings and faults.


@pytest.mark.parametrize("width", [80, 100, 140, 160])
def test_a_source_never_touches_its_fact(width: int) -> None:
    """However wide the terminal is, there is a blank between them."""
    for length in range(40, 150):
        finding = Finding("x", "note", False, "s", None, evidence=(Evidence("f" * length, "sock_diag"),))
        (line,) = (x for x in "\n".join(render_finding(finding, Style(width=width))).split("\n") if "sock_diag" in x)
        assert "fsock_diag" not in line


def test_an_audit_ends_with_the_counts() -> None:
    """Errors, warnings, notes, and what couldn't be seen."""
    assert audit(snapshot())[-1] == "nothing found"
    assert audit(snapshot(listens("0.0.0.0:25", POSTFIX), listens("0.0.0.0:25", EXIM)))[-1] == "1 error"
    rest = (look for look in SEEN if look.fact != "netfilter")
    blind = snapshot(looks=(*rest, Look("netfilter", "here", "none", "nft", "no permission", "run as root")))
    assert audit(blind) == [
        "unknown: netfilter rules: no permission",
        "  may hide  redirected-port, unreachable-listener",
        "  to see it run as root",
        "",
        "nothing found, but 1 unknown",
    ]


def test_a_finding_in_full() -> None:
    """Parties, facts with their sources, what breaks, what is unknown, the ways out with their rule."""
    lines = audit(snapshot(listens("0.0.0.0:25", POSTFIX), listens("0.0.0.0:25", EXIM)), WIDE)
    assert lines[0] == "error[shared-port]: postfix and exim4 share 0.0.0.0:25: each gets some of the connections"
    assert lines[1] == "  holder    postfix, pid 812, postfix@-.service, on 0.0.0.0:25"
    labels = [line[2:12].strip() for line in lines[1:-2] if line[2:12].strip()]
    assert list(dict.fromkeys(labels)) == ["holder", "seen", "breaks", "unknown", "way 1", "way 2", "way 3", "way 4"]
    assert lines[-1] == "1 error"


def test_many_facts_are_cut() -> None:
    """Twelve are shown, and where the rest are."""
    facts = tuple(Evidence(f"fact {n}", "x") for n in range(20))
    lines = render_finding(Finding("x", "note", False, "s", None, evidence=facts), NARROW)
    assert sum("fact " in line for line in lines) == 12
    assert lines[-1].endswith("and 8 more facts (--json has them)")


def test_a_fault_is_an_error_and_a_hint() -> None:
    """Without a hint there is no empty one."""
    assert render_fault("can't read x", "run as root", NARROW) == ["error: can't read x", "hint: run as root"]
    assert render_fault("can't read x", None, NARROW) == ["error: can't read x"]


def test_wrapped_text_is_the_same_words() -> None:
    """Nothing is lost, and only a word that is wider than the line is."""
    text = " ".join(["word", "longer-word", "x" * 30] * 5)
    lines = wrapped(text, 40, "    ").split("\n")
    assert " ".join(" ".join(lines).split()) == text
    assert all(len(line) <= 40 for line in lines)


def test_an_empty_diagnosis_is_one_line() -> None:
    """Good news is short."""
    assert render_diagnosis(Diagnosis((), ()), NARROW) == ["nothing found"]
