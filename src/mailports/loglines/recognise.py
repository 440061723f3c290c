"""One message of a log to the attempt that it tells of, or to nothing.

The rows of the tables come first (a product's own form); then the generic forms, for the families that no table
has: an errno, a word that makes it a bind or a connect, and the endpoint that is written nearest.

`call` is `start` where no socket is in it: a pid or lock file (errno empty), a second run's control socket, and an
engine's own address (`entry` is `address`) or pool (`pool`). A port of a container is `publish`. The errno stays
empty where none was said: a duplicate listener in a configuration, another service that answers.

Source: the lines captured from the daemons named in each table; the errno words of `errnos`.

Limits: at most 4,000 characters are read. A Unix socket has no endpoint; its path is the attempt's path. One line is
read alone: what a daemon says in another line (the port in PostgreSQL's HINT) isn't joined here.
"""

from __future__ import annotations

import re

from mailports.catalogue.programs import program_of
from mailports.loglines.endpoints import canonical, endpoint_in, endpoint_of
from mailports.loglines.engines import ENGINES
from mailports.loglines.errnos import BIND, errno_in
from mailports.loglines.filters import FILTERS
from mailports.loglines.mailboxes import MAILBOXES
from mailports.loglines.mtas import MTAS
from mailports.loglines.proxies import PROXIES
from mailports.loglines.rows import NONE, Row
from mailports.loglines.runtimes import RUNTIMES
from mailports.loglines.systems import SYSTEMS
from mailports.model.facts import Attempt, natural, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mailports.model.facts import Endpoint

LONGEST = 4000
"""Characters of a line that are read."""

ROWS: tuple[Row, ...] = (*ENGINES, *MTAS, *MAILBOXES, *FILTERS, *PROXIES, *RUNTIMES, *SYSTEMS)
"""In the order in which they are tried: engines quote what others say."""

_TAGS = {
    "smtpd": "opensmtpd",
    "imapd": "courier",
    "pop3d": "courier",
    "courieresmtpd": "courier",
    "amavis": "amavis",
    "cyrus": "cyrus",
    "exim": "exim",
    "redis": "redis",
    "mariadbd": "mysql",
    "sm-mta": "sendmail",
}
_TAG = re.compile(r"(?:^|[\s|])([A-Za-z][\w./@+-]{0,60})(\[\d{1,10}\])?: (?=\S)")
_RFC5424 = re.compile(r"^<\d{1,3}>\d \S{1,40} \S{1,80} (\S{1,60}) ")
_ESCAPE = re.compile(r"\x1b\[[0-9;]{0,12}[A-Za-z]")
_BINDS = re.compile(
    r"bind(?!\s?mount)|listen|\beaddr|\bexpose|server socket|socketserver|\baccept socket|\bport \d{1,5}\b|wsaeaddr"
    r"|\[winerror 10048|address family",
    re.IGNORECASE,
)
_CONNECTS = re.compile(r"connect|dial|upstream|backend", re.IGNORECASE)
_NOT_A_PORT = re.compile(
    r"\bldap|\bmount\b|--bind|bind-mount|bind9?_dn|\bbinddn|container name|\bhost_?name\b", re.IGNORECASE
)

_NEEDLES = (
    "in use", "eaddr", "bind", "assign req", "address not ava", "family", "eafno", "eacces", "eperm", "forbidden by",
    "refused", "timed out", "already", "only one usage", "one usage", "1004", "10013", "wsae", "errno", "os error",
    "unreachable", "econn", "etimed", "failed: no such", ": no such", "listening socket", "duplicate", "overlaps",
    "ipv6 with ipv4", "no local int", "exclusive lock", "protocols are d", "active network", "host not found",
    "f_getfl", "socket wedged", "to create socket", "verwendet", "utilis", "ya se est", "could not bind", "being used",
    "can't read smfic", "unexpected reply", "lost connection with", "initial server gree", "refused to talk",
    "route to host", "exists", "listen on", "failed to listen", "privileged port", "listens on port", "permission denied",
)  # fmt: skip


def may_matter(text: str) -> bool:
    """Whether a line, or a chunk of many, may have something for `read_line`: cheap, and true for all that has.

    Plain substring tests on the lower-cased text: on chunks they run at memory speed.
    """
    low = text.lower()
    for needle in _NEEDLES:  # noqa: SIM110 -- a generator doubles the time
        if needle in low:
            return True
    return False


def read_line(text: str, program: str | None, netns: str) -> Attempt | None:
    """Return what a message says was tried and failed, or None.

    Args:
        text: one message; a log's dress may still be before it.
        program: the tag that the log gave it, where known.
        netns: label of the namespace that its endpoint is in.
    """
    text = text[:LONGEST]
    if not may_matter(text):
        return None
    text = _ESCAPE.sub("", text)
    program = program or _tag(text)
    low = text.lower()
    said = errno_in(text)
    for row in ROWS:
        if row.hint in low:
            found = row.pattern.search(text)
            if found is not None and (row.errno or said or row.silent):
                return None if row.silent else _by_row(row, found, said, text, program, netns)
    return _generic(text, said, program, netns)


def _tag(text: str) -> str | None:
    formal = _RFC5424.match(text)
    if formal is not None:
        return formal[1]
    for found in _TAG.finditer(text[:160]):
        if found[2] or _product(found[1]) is not None:  # without a pid any word may stand before a colon
            return found[1]
    return None


def _product(program: str | None) -> str | None:
    if not program:
        return None
    head, _, rest = program.partition("/")
    name = head if rest and head in ("postfix", "cyrus") else program
    if name in _TAGS:
        return _TAGS[name]
    if head.startswith("postfix"):
        return "postfix"
    known = program_of(name)
    return known.product if known else None


def _by_row(
    row: Row, found: re.Match[str], said: tuple[str, int, int] | None, text: str, program: str | None, netns: str
) -> Attempt:
    groups = {name: value for name, value in found.groupdict().items() if value is not None}
    address = None
    if row.finds:
        endpoint = endpoint_in(text, said[1] if said else found.end(), netns)
    else:
        endpoint = _of_groups(groups, netns)
        if endpoint is None and "address" in groups and not groups.get("port"):
            address = canonical(groups["address"], groups.get("family", ""))
    return Attempt(
        program,
        row.product or _product(program),
        endpoint,
        _errno(row, said),
        row.call,
        container=groups.get("container"),
        entry=groups.get("entry", row.entry),
        path=groups.get("path"),
        line=natural(groups.get("line", "")),
        text=printable(text.strip())[:300],
        address=address,
    )


def _errno(row: Row, said: tuple[str, int, int] | None) -> str:
    if row.errno == NONE:
        return said[0] if said and said[0] == "ETIMEDOUT" and row.call == "connect" else ""
    return said[0] if said else row.errno.rstrip("?")


def _of_groups(groups: dict[str, str], netns: str) -> Endpoint | None:
    protocol = groups.get("protocol", "tcp").lower()
    if groups.get("option") == "u":
        protocol = "udp"
    family = groups.get("family", "")
    if "address" not in groups and "port" not in groups and "service" not in groups:
        return None
    return endpoint_of(groups.get("address"), groups.get("port"), groups.get("service"), family, protocol, netns)


def _generic(text: str, said: tuple[str, int, int] | None, program: str | None, netns: str) -> Attempt | None:
    if said is None or _NOT_A_PORT.search(text):
        return None
    errno, start, _ = said
    binds = _BINDS.search(text)
    connects = _CONNECTS.search(text)
    if errno in BIND and (binds is not None or (connects is None and errno in ("EADDRINUSE", "EADDRNOTAVAIL"))):
        call = "bind"
    elif connects is not None and errno not in ("EADDRINUSE", "EACCES", "EPERM", "EAFNOSUPPORT"):
        call = "connect"
    else:
        return None
    endpoint = endpoint_in(text, start, netns)
    if call == "connect" and (endpoint is None or errno == "ENOENT"):
        return None
    return Attempt(program, _product(program), endpoint, errno, call, text=printable(text.strip())[:300])
