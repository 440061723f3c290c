"""Which errno a text speaks of, by its words (glibc, musl, BSD, Windows, runtimes) or its number.

Source: strerror of glibc 2.36/2.41 and musl 1.2; macOS and FreeBSD errno.h (48, 49); WinSock error codes;
glibc's German, French and Spanish catalogues (only dnsmasq of all daemons tried prints them).

Limits: a bare number counts only beside a word or sign that makes it an errno.
"""

from __future__ import annotations

import re

_NUMBERED = r"(?:(?:errno|error|winerror|err)[\s:=\[(#]{{0,3}}(?:{0})\b|\((?:{0}): |\((?:{0})\)(?=[a-z]|\s*$)|\bfailed: (?:{0}),)"

_FORMS: tuple[tuple[str, str], ...] = (
    (
        "EADDRINUSE",
        r"eaddrinuse|address (?:is )?(?:already )?(?:in use|being used)|only one usage of each socket address"
        r"|port(?: \d+)? (?:is |was )?already (?:in use|allocated|being used|bound)|port(?: \d+)? (?:is |was )?in use"
        r"|another process is already listening"
        r"|adresse wird bereits verwendet|adresse d.{1,2}j.{1,2} utilis|direcci.{1,2}n ya se est"
        r"|" + _NUMBERED.format("98|48|10048"),
    ),
    (
        "EADDRNOTAVAIL",
        r"eaddrnotavail|can(?:not|'t) assign requested address|address not available"
        r"|requested address is not valid|angeforderte adresse kann nicht"
        r"|" + _NUMBERED.format("99|49|10049"),
    ),
    (
        "EAFNOSUPPORT",
        r"eafnosupport|address family (?:is )?not supported|address family not available"
        r"|" + _NUMBERED.format("97|47|10047"),
    ),
    (
        "EACCES",
        r"\beacces\b|permission denied|forbidden by its access permissions|keine berechtigung"
        r"|" + _NUMBERED.format("13|10013"),
    ),
    ("EPERM", r"\beperm\b|operation not permitted|" + _NUMBERED.format("1")),
    ("ECONNREFUSED", r"econnrefused|connection refused|actively refused|" + _NUMBERED.format("111|61|10061")),
    ("ETIMEDOUT", r"etimedout|(?:connection|operation) timed out|" + _NUMBERED.format("110|60|10060")),
    ("ENETUNREACH", r"enetunreach|network (?:is )?unreachable|" + _NUMBERED.format("101")),
    ("EHOSTUNREACH", r"ehostunreach|no route to host|host is unreachable|" + _NUMBERED.format("113")),
    ("ENOENT", r"\benoent\b|no such file or directory"),
    ("EAGAIN", r"resource temporarily unavailable"),
)

_ANY = re.compile("|".join(f"(?P<{name}>{words})" for name, words in _FORMS))
_MAIL_ADDRESS = re.compile(r"(?:mail|user|contact|billing)[ -]?$", re.IGNORECASE)

BIND = frozenset(("EADDRINUSE", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EACCES", "EPERM"))
"""What bind(2) and listen(2) say."""

CONNECT = frozenset(("ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "ENOENT"))
"""What connect(2) says, besides those."""


def errno_in(text: str) -> tuple[str, int, int] | None:
    """Return the first errno that a text speaks of and where, or None: "e-mail address already in use" is none."""
    for found in _ANY.finditer(text.lower()):
        start = found.start()
        if not _MAIL_ADDRESS.search(text[max(0, start - 10) : start]):
            return str(found.lastgroup), start, found.end()
    return None
