r"""The same text with addresses, names and ids replaced, so that it can be shared and is still judged alike. Pure.

One name is always replaced by one other: addresses by RFC 5737's and RFC 3849's (public ones by 192.0.2.x and
203.0.113.x, private ones by 198.51.100.x; by 198.18.0.0/15 when those are used up), host names by
``hostN.example``, users by ``userN``, message ids by ``idN@…``, queue ids by zeros and a number of their width.
Wildcards, loopback, netmasks, multicast, ports, pids, errno's words, programs, units and files stay; in a table,
the blanks after a replaced word take up the difference, so that columns stand where they stood.

Source: RFC 5737, RFC 3849, RFC 2606, RFC 7042 (addresses for documentation); IANA's list of top level domains (the
two-letter ones, and those of the others that mail hosts have).

Limits: linear, no line is cut. A short host name or user is known by the places that give it away (prompts, log
formats, ``user=``, ``/home/``, `ssh`'s ``user@host``); passwords, machine ids, session ids, addresses in hexadecimal,
subjects and names in prose aren't looked for: read what you share. Subnets aren't kept together. What looks
like a replacement already stays, which is what makes a second pass change nothing.
"""

from __future__ import annotations

import re

from mailports.catalogue.programs import PROGRAMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def redact(text: str) -> str:
    """Return the text with what tells of people and machines replaced."""
    for _ in range(_PASSES):
        before, text = text, _once(text)
        if text == before:
            break
    return text


def _once(text: str) -> str:
    lines = text.split("\n")
    names = _Names(lines)
    return "\n".join([_redact_line(line, names) for line in lines])


_PASSES = 4
"""A replacement can bring two words together that tell more; usually the second pass finds nothing."""
_NUMBERS = 65_000
"""After so many names of a kind, replacements may be ones that the text had; addresses repeat."""

# --- what stays ---

_PLAIN_USERS = frozenset(
    "root admin administrator postfix dovecot dovenull vmail nobody www-data mail daemon bin debian ubuntu"  # noqa: SIM905
    " ec2-user"
    " centos fedora opc pi vagrant docker postmaster abuse mailer-daemon hostmaster webmaster noreply no-reply exim"
    " debian-exim git anonymous none null unknown system localsystem public default"
    " double-bounce systemd-network".split()
)
_PLAIN_HOSTS = frozenset(
    "localhost localhost4 localhost6 localdomain ip6-localhost kernel systemd unknown none last the from"  # noqa: SIM905
    " for"
    " fatal error warning warn info notice debug emerg alert crit panic could cannot socket bind listen failed".split()
)
_KEPT_DOMAINS = frozenset(
    "docker.io docker.com ghcr.io quay.io gcr.io k8s.io github.com gitlab.com githubusercontent.com"  # noqa: SIM905
    " debian.org"
    " ubuntu.com launchpad.net fedoraproject.org redhat.com postfix.org dovecot.org exim.org sendmail.org nginx.org"
    " nginx.com haproxy.org apache.org rspamd.com mailcow.email letsencrypt.org kernel.org freedesktop.org python.org"
    " nodejs.org php.net perl.org die.net man7.org stackoverflow.com serverfault.com stackexchange.com microsoft.com"
    " example.com example.net example.org socket.io cr.yp.to porcupine.org opensmtpd.org clamav.net gnu.org ietf.org"
    " iana.org podman.io kubernetes.io golang.org microsoft.net".split()
)
_KEPT_ENDS = frozenset(("example", "invalid", "localhost", "test"))
_LOCAL_NAMES = frozenset(("localhost.localdomain", "localhost4.localdomain4", "localhost6.localdomain6"))
_GENERIC = re.compile(r"(?:host|user|id)\d+")

_COUNTRIES = frozenset(
    "ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca cc"  # noqa: SIM905
    " cd"
    " cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gd"
    " ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg"
    " kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv"
    " mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa"
    " sb sc sd se sg sh si sj sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua"
    " ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw".split()
)
_ENDS = _COUNTRIES | frozenset(
    "com net org info biz edu gov mil int dev app cloud online site xyz tech shop store email solutions systems"  # noqa: SIM905
    " network"
    " agency berlin hamburg koeln cologne wien tirol bayern saarland ruhr swiss paris london nyc tokyo blog club life"
    " world space website digital studio design media news icu pro mobi travel jobs museum aero coop xxx zone"
    " team works company group ltd gmbh inc llc ventures consulting academy school university health care hosting"
    " software"
    " technology support center services top one arpa local lan internal intern home localdomain corp private intranet"
    " domain page link wiki social chat family fun eus cat gal bzh brussels vlaanderen amsterdam frl moscow".split()
)
_FILE_ENDS = frozenset(
    "cf py sh so rs pl md ps cc in am po mo la ml do pm st sc info mc domain services link local page group top".split()  # noqa: SIM905
)
"""Domains that are file extensions or words as well: a name of two labels isn't a host's."""
_EXTENSIONS = frozenset(
    "conf log pem key crt cer csr yml yaml json cf zone db cfg txt service socket sock pid timer path slice scope"  # noqa: SIM905
    " mount"
    " target gz old bak err ini smtp smtps imap imaps pop3 pop3s"
    " submission submissions sieve http https ssh domain lmtp html php cgi".split()
)
_PROGRAM_NAMES = frozenset(name for program in PROGRAMS for name in (*program.names, program.product))


# --- where names stand ---

_WORD = r"[A-Za-z0-9_](?:[\w-]{0,62}[A-Za-z0-9_])?"
_USER = r"[A-Za-z_][\w.+-]{0,63}"
_MONTH_TIME = r"[^\W\d_]{3,5}\.? {1,2}\d{1,2} (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d{1,9})?"
_ISO_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[+-]\d\d:?\d\d)?"
_TAG = r"[^\s:\[\]]{1,80}(?:\[\d{1,10}\])?:(?:\s|$)"
_TAG_WITH_PID = r"[^\s:\[\]]{1,80}\[\d{1,10}\]:(?:\s|$)"
_IN_DRESS = re.compile(
    rf"(?:{_MONTH_TIME}|{_ISO_TIME}) {{1,2}}(?P<h1>{_WORD})(?= {{1,2}}(?:(?P=h1)[\w.-]{{0,253}} )?{_TAG})"
    rf"|(?:{_ISO_TIME}Z|\b\d{{10}}\.\d{{6}}|\[ {{0,8}}\d{{1,9}}\.\d{{6}}\]) (?P<h2>{_WORD})(?= {_TAG_WITH_PID})"
    rf"|<\d{{1,3}}>1 \S{{1,40}} (?P<h3>{_WORD})(?= \S)"
    rf'|"_HOSTNAME" ?: ?"(?P<h4>{_WORD})(?=")'
)
_IN_PROMPT = re.compile(
    rf"(?<![\w.+@-])({_USER})@({_WORD})(?=[^\S\n]?[:~\]/$#%]|[ ]+[~/\w.-]{{0,80}}\]?[ ]?[$#%>](?:\s|$)|>(?!\w))"
)
_SSH = re.compile(rf"\b(?:ssh|scp|sftp|rsync)\b[^|;&@]{{0,80}} ({_USER})@({_WORD})(?![\w.])")
_AT_HOME = re.compile(r"(?:/home/|/Users/|[A-Za-z]:\\{1,2}Users\\{1,2})([A-Za-z_][\w.+-]{0,63}\b)")
_USER_IS = re.compile(
    r"""(?:\b(?:user|username|sasl_username|ruser|login|logname|USER|LOGNAME)=["'<]{0,2}|\bfor (?:invalid )?user """
    r"""|\bsudo: {1,8}|\bsu - |\bsu: \(to )([A-Za-z_][\w.+-]{0,63})(?![\w@+-])"""
)
_OWNER_COLUMN = re.compile(rf"^(?:[\w.+/()-]{{1,64}} {{1,40}}\d{{1,10}} {{1,40}})?({_USER})(?= )")

_ID = re.compile(
    r"((?:message-id|msgid|Message-ID)[=:] ?<?)([^\s<>,;\"]{1,998})|(\bid=)([^\s<>,;\"@]{1,200}@[\w.-]{1,253})"
)
_QUEUE = re.compile(
    r"\b(?P<exim>[012][0-9A-Za-z]{5}-[0-9A-Za-z]{6}(?:[0-9A-Za-z]{5})?-[0-9A-Za-z]{2}(?:[0-9A-Za-z]{2})?)\b(?!-)"
    r"|(?<=: )(?P<tagged>[0-9A-F]{6,15}|[0-9A-Za-z]{12,20})(?=: (?:from|to|client|message-id|removed|uid|reject|warning"
    r"|milter|sender|host|lost|filter|replace|skipped|conversation|enabling|header|ruleset|discard|NOQUEUE|DSN|timeout)\b)"
    r"|(?<=queued as )(?P<queued>[0-9A-Za-z]{6,20})\b"
)
_MAC = re.compile(
    r"(?<![\w:-])[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}(?:(?::[0-9A-Fa-f]{2}){6})?"
    r"(?:(?=:[0-9a-f]{2}:[0-9a-f]{2}\b)|(?![\w:]))"
)
_ADDRESSED = re.compile(
    r"(?P<mail>(?<![\w.%+=~-])(?P<local>[\w.%+=~-]{1,128})@(?P<domain>[\w-]+(?:\.[\w-]+)+|(?<=@)[A-Za-z][\w-]{0,62}(?=>)))"
    r"|(?P<mapped>(?<![\w:.]):(?::0)*:[fF]{4}:(?=\d{1,3}\.))"
    r"|(?P<six>(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,9}(?![\w:]))"
    r"|(?P<dotted>(?<![\w.-])[\w-]+(?:\.[\w-]+)+)"
)
_FOUR = re.compile(r"(?<![\w.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?!\w)")
_VERSION = re.compile(r"(?:version|Version|release|\bv|\bV|[a-z]/)[ =]?$")
_KEY_BEFORE = frozenset(
    "user from to orig_to sasl_username ruser rcpt by for login account auth authid mail email sender".split()  # noqa: SIM905
)
_PREFIX6 = re.compile(r"[23][0-9a-fA-F]{3}:|[fF][cdeCDE][0-9a-fA-F]{2}:")
_REPLACED = re.compile(
    r"\b(?:host|user|id)\d{1,9}\b|\b(?:192\.0\.2|203\.0\.113|198\.51\.100|198\.1[89]\.\d{1,3})\.\d{1,3}\b"
    r"|2001:db8:[0-9a-f:]{1,30}|\b0{6}-\d{6,11}-0{2,4}\b|\b0{3,}[0-9]{1,17}\b|\b00:00:5e:00:[0-9a-f]{2}:[0-9a-f]{2}\b"
)
_REPLACED_SIGNS = ("host", "user", "id", "192.0.2.", "203.0.113.", "198.", "2001:db8:", "000", "5e:00")
_CONTAINER = re.compile(r"[0-9a-f]{12}|[0-9a-f]{64}")
_SHORT = re.compile(r"(?<![\w./@-])[A-Za-z0-9][\w-]{2,63}(?![\w/@-]|\.\w)")
_USER_WORDS = ("user", "login", "logname", "LOGNAME", "USER", "sudo", "su: ", "su - ")
_RUN = re.compile(r" {2,}")


class _Names:
    """What each name is replaced by; numbers go by first appearance."""

    def __init__(self, lines: list[str]) -> None:
        self.used: set[str] = set()
        self.given: dict[tuple[str, str], str] = {}
        self.counts: dict[str, int] = {}
        self.fulls: dict[str, str] = {}  # the first full name that begins with a short one
        self.hosts: set[str] = set()
        self.users: set[str] = set()
        for line in lines:
            self._learn(line)

    def _learn(self, line: str) -> None:
        if any(sign in line for sign in _REPLACED_SIGNS):
            self.used.update(found.lower() for found in _REPLACED.findall(line))
        if _may_be_dressed(line):
            for found in _IN_DRESS.finditer(line):
                self._learn_host(found[found.lastindex or 0])
        if "@" in line:
            for pattern in (_IN_PROMPT, _SSH):
                for found in pattern.finditer(line):
                    self.users.add(found[1].lower())
                    self._learn_host(found[2])
        if "ome/" in line or "sers" in line:
            self.users.update(found[1].lower() for found in _AT_HOME.finditer(line))

    def _learn_host(self, name: str) -> None:
        if _is_distinct(name.lower()):
            self.hosts.add(name.lower())

    def give(self, kind: str, name: str, form: Callable[[int], str]) -> str:
        """Return what stands for a name: the form of the first number that the text doesn't have yet."""
        key = (kind, name)
        known = self.given.get(key)
        while known is None:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            candidate = form(self.counts[kind])
            if candidate not in self.used or self.counts[kind] > _NUMBERS:
                known = self.given[key] = candidate
        return known

    def host(self, name: str) -> str:
        """Return what stands for a host's name; short and full have one number where they're one host's."""
        low = name.lower()
        first, _, more = low.partition(".")
        is_ours = _GENERIC.fullmatch(first) is not None and more in {"", "example"}
        if is_ours or low in _PLAIN_HOSTS or _CONTAINER.fullmatch(low):
            return name
        if not more:
            return self.give("host", low, "host{}".format)
        key = first if self.fulls.setdefault(first, low) == low and not _GENERIC.fullmatch(first) else low
        return self.give("host", key, "host{}".format) + ".example"

    def user(self, name: str) -> str:
        """Return what stands for a user's name."""
        low = name.lower()
        if _GENERIC.fullmatch(low) or low in _PLAIN_USERS or low in _PROGRAM_NAMES or name.isdigit():
            return name
        return self.give("user", low, "user{}".format)

    def message(self, name: str) -> str:
        """Return what stands for a message id."""
        local, _, domain = name.rpartition("@")
        if _GENERIC.fullmatch(local or domain):
            return name
        number = self.give("id", name, "id{}".format)
        found = _host_in(domain)
        if not local:
            return number
        return f"{number}@{self.host(found[0]) if found else 'invalid'}"

    def queue(self, name: str) -> str:
        """Return what stands for a queue id: as wide as that."""
        if name.startswith("000") or not any(c.isdigit() for c in name):
            return name
        if "-" not in name:
            return self.give("queue", name, lambda number: str(number).zfill(len(name)))
        first, middle, last = (len(part) for part in name.split("-"))
        return self.give("queue", name, lambda number: f"{'0' * first}-{str(number).zfill(middle)}-{'0' * last}")

    def four(self, text: str) -> str:
        """Return what stands for an IPv4 address."""
        octets = [int(part) for part in text.split(".")]
        if max(octets) > 255 or octets[0] in {0, 127} or octets[0] >= 224 or _is_for_documents(octets):
            return text
        if _is_private(octets):
            return self.give("private 4", text, _private_four)
        return self.give("public 4", text, _public_four)

    def six(self, text: str) -> str:
        """Return what stands for an IPv6 address, or what begins like one; anything else as it is."""
        if "::" not in text and text.count(":") < 7:
            is_cut = _PREFIX6.match(text) and not text.lower().startswith("2001:db8")
            return self.give("cut 6", text.lower(), "2001:db8:c::{:x}".format) if is_cut else text
        import ipaddress

        try:
            address = ipaddress.IPv6Address(text)
        except ValueError:
            return text
        packed = address.packed
        if not any(packed[:15]) or packed[0] == 0xFF or packed[:4] == b"\x20\x01\x0d\xb8":
            return text
        kind = "a" if packed[0] in {0xFC, 0xFD} else "fe80" if packed[0] == 0xFE else ""
        form = f"2001:db8:{kind}::{{:x}}" if kind else "2001:db8::{:x}"
        return self.give(f"6 {kind}", address.compressed, form.format)

    def mac(self, text: str) -> str:
        """Return what stands for a hardware address, or for two that follow each other."""
        parts = [text[at : at + 17] for at in range(0, len(text), 18)]
        return ":".join(part if _is_plain_mac(part) else self.give("mac", part.lower(), _mac) for part in parts)


def _may_be_dressed(line: str) -> bool:
    """Whether a log's format with a host in it may begin somewhere in a line: cheap."""
    return "_HOSTNAME" in line or ">1 " in line or ": " in line or line.endswith(":")


def _is_distinct(host: str) -> bool:
    """Whether a short name means this host wherever it stands."""
    if len(host) < 3 or host in _PROGRAM_NAMES or host in _PLAIN_HOSTS or host in _PLAIN_USERS:
        return False
    return not _GENERIC.fullmatch(host) and any(c.isdigit() or c == "-" for c in host) and not host.isdigit()


def _is_for_documents(octets: list[int]) -> bool:
    return octets[:3] in ([192, 0, 2], [198, 51, 100], [203, 0, 113]) or (octets[0] == 198 and octets[1] in {18, 19})


def _is_private(octets: list[int]) -> bool:
    first, second = octets[:2]
    return (
        first == 10
        or (first == 172 and 16 <= second < 32)
        or (first, second) in {(192, 168), (169, 254)}
        or (first == 100 and 64 <= second < 128)
    )


def _public_four(number: int) -> str:
    if number <= 254:
        return f"192.0.2.{number}"
    return f"203.0.113.{number - 254}" if number <= 508 else f"198.19.{number // 256 % 256}.{number % 256}"


def _private_four(number: int) -> str:
    return f"198.51.100.{number}" if number <= 254 else f"198.18.{number // 256 % 256}.{number % 256}"


def _mac(number: int) -> str:
    return f"00:00:5e:00:{number // 256 % 256:02x}:{number % 256:02x}"


def _is_plain_mac(text: str) -> bool:
    return text.lower() in {"ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"} or text.lower().startswith("00:00:5e:00:")


def _host_in(token: str) -> tuple[str, str] | None:
    """Split a dotted word into a full host name and what stands after it (a port, a file's extension); or None."""
    labels = token.split(".")
    if len(labels) > 40:
        return None
    at = len(labels)
    while at > 2 and (labels[at - 1].isdigit() or labels[at - 1].lower() in _EXTENSIONS):
        at -= 1
    end = labels[at - 1]
    if end.lower() not in _ENDS and end.lower() not in _KEPT_ENDS:
        return None
    if at < 2 or not (end.islower() or token.isupper()) or not any(c.isalpha() for c in "".join(labels[: at - 1])):
        return (token, "") if end == "arpa" else None
    if at == 2 and end.lower() in _FILE_ENDS:
        return None
    return ".".join(labels[:at]), "".join("." + label for label in labels[at:])


def _is_kept(host: str) -> bool:
    low = host.lower()
    if low in _LOCAL_NAMES or low.rpartition(".")[2] in _KEPT_ENDS:
        return True
    labels = low.split(".")
    return any(".".join(labels[-count:]) in _KEPT_DOMAINS for count in (2, 3) if len(labels) >= count)


# --- a line ---


def _redact_line(line: str, names: _Names) -> str:
    """Replace what's in one line, kind by kind."""
    if len(line) < 3:
        return line
    if "=" in line or ":" in line:
        line = _replace(line, _ID, lambda m: (m[1] or m[3]) + names.message(m[2] or m[4]))
        line = _replace(line, _MAC, lambda m: names.mac(m[0]))
    line = _replace(line, _QUEUE, lambda m: names.queue(m[0]))
    line = _replace(line, _ADDRESSED, lambda m: _addressed(m, names))
    if _may_be_dressed(line):
        line = _replace(line, _IN_DRESS, lambda m: _inside(m, names.host))
    if "@" in line:
        for pattern in (_IN_PROMPT, _SSH):
            line = _replace(line, pattern, lambda m: _both(m, names))
    if "ome/" in line or "sers" in line:
        line = _replace(line, _AT_HOME, lambda m: _inside(m, names.user))
    if any(word in line for word in _USER_WORDS):
        line = _replace(line, _USER_IS, lambda m: _inside(m, names.user))
    if names.users:
        line = _replace(line, _OWNER_COLUMN, lambda m: _owner(m, names))
    if names.hosts:
        line = _replace(line, _SHORT, lambda m: names.host(m[0]) if m[0].lower() in names.hosts else m[0])
    return line


def _replace(line: str, pattern: re.Pattern[str], new_for: Callable[[re.Match[str]], str]) -> str:
    """Replace each match; blanks of two and more after it take up the difference."""
    pieces: list[str] = []
    at = debt = 0
    for found in pattern.finditer(line):
        new = new_for(found)
        if new == found[0]:
            continue
        piece, debt = _settle(line[at : found.start()], debt)
        pieces += (piece, new)
        debt += len(new) - len(found[0])
        at = found.end()
    if not pieces:
        return line
    pieces.append(_settle(line[at:], debt)[0])
    return "".join(pieces)


def _settle(text: str, debt: int) -> tuple[str, int]:
    """Take from, or add to, the runs of blanks what words before them grew or shrank by."""
    if not debt or "  " not in text:
        return text, debt
    pieces: list[str] = []
    at = 0
    for run in _RUN.finditer(text):
        taken = min(debt, len(run[0]) - 1)
        pieces += (text[at : run.start()], " " * (len(run[0]) - taken))
        debt -= taken
        at = run.end()
        if not debt:
            break
    pieces.append(text[at:])
    return "".join(pieces), debt


def _inside(found: re.Match[str], new_for: Callable[[str], str]) -> str:
    """Replace the one group that took part."""
    group = found.lastindex or 0
    start, end = (at - found.start() for at in found.span(group))
    return found[0][:start] + new_for(found[group]) + found[0][end:]


def _both(found: re.Match[str], names: _Names) -> str:
    before = found[0][: found.start(1) - found.start()]
    return f"{before}{names.user(found[1])}@{names.host(found[2])}{found[0][found.end(2) - found.start() :]}"


def _owner(found: re.Match[str], names: _Names) -> str:
    return _inside(found, names.user) if found[1].lower() in names.users else found[0]


def _addressed(found: re.Match[str], names: _Names) -> str:
    if found["mapped"] is not None:
        return found[0]
    if found["six"] is not None:
        return _six(found, names)
    if found["dotted"] is not None:
        return _dotted(found[0], names, found.string[max(found.start() - 9, 0) : found.start()])
    return _mail(found["local"], found["domain"], names)


def _mail(local: str, domain: str, names: _Names) -> str:
    """Replace a mail address; `inet:8891@127.0.0.1` and `user@1000.service` aren't any."""
    key, sign, more = local.partition("=")
    before = ""
    if sign and key.lower() in _KEY_BEFORE:
        before, local = key + sign, more
    if "." not in domain:
        return f"{before}{names.user(local)}@{names.host(domain)}"
    found = _host_in(domain)
    if found is None:
        return f"{before}{local}@{_dotted(domain, names, '')}"
    return f"{before}{names.user(local)}@{found[0] if _is_kept(found[0]) else names.host(found[0])}{found[1]}"


def _dotted(token: str, names: _Names, before: str) -> str:
    """Replace a host name or IPv4 addresses in a word that has dots."""
    found = _host_in(token)
    if found is not None:
        return token if _is_kept(found[0]) else names.host(found[0]) + found[1]
    if _VERSION.search(before) or (token.count(".") > 4 and token.replace(".", "").isdigit()):
        return token
    return _FOUR.sub(lambda m: names.four(m[0]), token)


def _six(found: re.Match[str], names: _Names) -> str:
    """Replace an IPv6 address; old tools write a port after it without brackets."""
    text = found[0]
    if text.startswith(("::1:", ":::")):
        return text
    end = ""
    if text.endswith(":") and not text.endswith("::"):
        text, end = text[:-1], ":"
    head = found.string[max(found.start() - 400, 0) : found.start()]
    if not end and (text.count(":") == 8 or "tcp6" in head or "udp6" in head):
        address, _, port = text.rpartition(":")
        if port.isdigit() and (address.endswith("::") or not address.endswith(":")):
            text, end = address, ":" + port
    return names.six(text) + end
