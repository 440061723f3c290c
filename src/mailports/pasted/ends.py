"""What the tables of sockets share: ends (`ADDRESS:PORT` in every spelling), states, commands, and how far they show.

An end is taken as the tool spelled it; the row's family then says which wildcard a `*` is and which loopback a
`localhost`. Any other host name isn't looked up: its row is a problem, and the look is `some`.

Source: ss(8) and misc/ss.c of iproute2, inet_addr_print (`*` is dual-stack since 4.15, before it IPv4's wildcard);
netstat(8) and netstat.c of net-tools (an end is cut to 22 characters and a colon without -W); lsof(8);
usr.bin/netstat and usr.bin/sockstat of FreeBSD; Microsoft's reference of `netstat`.

Limits: service names beyond the catalogue's and the few below are unknown (`-n` prints numbers).
"""

from __future__ import annotations

import re

from mailports.catalogue.ports import ports_named
from mailports.model.facts import ALL, ANY4, ANY6, NONE, SOME, Endpoint, Look, Socket, natural
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailports.model.facts import Holder
    from mailports.pasted.found import Found, Line

STAR = "*"
"""An end's address where the tool prints a star: a wildcard whose family the row says."""

LOCALHOST = "localhost"
"""An end's address where the tool prints that name: the loopback of the row's family."""

LISTEN, UNCONNECTED, BOUND, ESTABLISHED, OPEN = "listen", "unconnected", "bound", "established", "open"

PROBLEMS = 20
"""How many problems of one table are spelled out."""

_CACHED = 20_000
_LOCAL_NAMES = frozenset(("localhost", "localhost.localdomain", "ip6-localhost", "localhost6", "localhost4"))
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})\Z")
_SERVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+/-]{0,63}\Z")

_SERVICES = {
    "ftp": 21, "ssh": 22, "telnet": 23, "time": 37, "tacacs": 49, "domain": 53, "bootps": 67, "bootpc": 68,
    "tftp": 69, "finger": 79, "http": 80, "www": 80, "kerberos": 88, "nntp": 119, "ntp": 123, "epmap": 135,
    "loc-srv": 135, "netbios-ns": 137, "netbios-dgm": 138, "netbios-ssn": 139, "snmp": 161, "snmptrap": 162,
    "https": 443, "microsoft-ds": 445, "kpasswd": 464, "isakmp": 500, "printer": 515, "syslog": 514, "shell": 514,
    "dhcpv6-client": 546, "dhcpv6-server": 547, "ipp": 631, "rsync": 873, "rndc": 953, "ftps": 990, "socks": 1080,
    "openvpn": 1194, "ms-sql-s": 1433, "radius": 1812, "mqtt": 1883, "nfs": 2049, "squid": 3128, "mysql": 3306,
    "ms-wbt-server": 3389, "svn": 3690, "ipsec-nat-t": 4500, "munin": 4949, "sip": 5060, "sip-tls": 5061,
    "xmpp-client": 5222, "xmpp-server": 5269, "mdns": 5353, "zeroconf": 5353, "hostmon": 5355, "postgresql": 5432,
    "postgres": 5432, "nrpe": 5666, "amqp": 5672, "x11": 6000, "redis": 6379, "http-alt": 8080, "webcache": 8080,
    "sunwebadmin": 8800, "jetdirect": 9100, "webmin": 10000, "ndmp": 10000, "zabbix-agent": 10050,
    "zabbix-trapper": 10051, "memcache": 11211, "ssl-mail": 465,
}  # fmt: skip
"""Names of /etc/services that the catalogue of mail ports doesn't have, as Debian and IANA spell them."""

_STATES = {
    "listen": LISTEN, "listening": LISTEN, "abhören": LISTEN, "abhoeren": LISTEN, "hört": LISTEN, "hören": LISTEN,
    "écoute": LISTEN, "ecoute": LISTEN, "escuchando": LISTEN, "escuchar": LISTEN, "ouça": LISTEN, "ouvindo": LISTEN,
    "escuta": LISTEN, "ascolto": LISTEN, "naslouchá": LISTEN,
    "estab": ESTABLISHED, "established": ESTABLISHED, "verbunden": ESTABLISHED, "hergestellt": ESTABLISHED,
    "établie": ESTABLISHED, "etablie": ESTABLISHED, "établi": ESTABLISHED, "establecido": ESTABLISHED,
    "estabelecida": ESTABLISHED, "spojeno": ESTABLISHED,
    "time-wait": "time-wait", "wartend": "time-wait", "timewait": "time-wait",
    "close-wait": "close-wait", "schliessen-warten": "close-wait", "schließen-warten": "close-wait",
    "esperando-fechar": "close-wait",
    "fin-wait-1": "fin-wait-1", "fin-wait1": "fin-wait-1", "fin-wait-2": "fin-wait-2", "fin-wait2": "fin-wait-2",
    "espera-fin1": "fin-wait-1", "espera-fin2": "fin-wait-2",
    "syn-sent": "syn-sent", "syn-gesendet": "syn-sent", "syn-enviado": "syn-sent",
    "syn-recv": "syn-recv", "syn-rcvd": "syn-recv", "syn-received": "syn-recv", "syn-recebido": "syn-recv",
    "new-syn-recv": "syn-recv", "last-ack": "last-ack", "closing": "closing",
    "unconn": UNCONNECTED, "close": UNCONNECTED, "closed": UNCONNECTED, "bound": UNCONNECTED, "gebunden": UNCONNECTED,
    "bound-inactive": UNCONNECTED,
}  # fmt: skip
"""States as the tools print them, in lower case with `-` for `_`; German, French, Spanish and others as seen."""


class End(Record):
    """One end of a socket, as a tool spelled it.

    Attributes:
        address: canonical IP address; `*`; `localhost`; empty where it is another host's name.
        port: 0 where it is `*` or 0.
        family: 4 or 6; 0 where the spelling doesn't say.
        device: the device or scope after `%`.
        is_bare: whether it is an IPv6 address without its brackets.
    """

    address: str
    port: int
    family: int = 0
    device: str | None = None
    is_bare: bool = False


_ends: dict[str, End | None] = {}
_addresses: dict[str, tuple[str, int] | None] = {}
_services: dict[str, int] = dict(_SERVICES)


def service_port(name: str) -> int | None:
    """Return the port that a service name means, or None where it isn't known."""
    wanted = name.lower()
    found = _services.get(wanted)
    if found is None and _SERVICE_NAME.match(name):
        ports = ports_named(wanted)
        found = ports[0].number if ports else 0
        if len(_services) < _CACHED:
            _services[wanted] = found
    return found or None


def _port(text: str) -> int | None:
    if text == STAR:
        return 0
    number = natural(text)
    if number is None:
        return service_port(text)
    return number if number < 65536 else None


def canonical(text: str) -> tuple[str, int] | None:
    """Return an IP address in canonical text and its family, or None."""
    if text in _addresses:
        return _addresses[text]
    found = _canonical(text) if len(text) < 46 else None
    if len(_addresses) < _CACHED:
        _addresses[text] = found
    return found


def _canonical(text: str) -> tuple[str, int] | None:
    import ipaddress

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return (f"::ffff:{mapped}" if mapped else str(address)), 6
    return str(address), 4


def read_end(text: str) -> End | None:
    """Return the end that `ADDRESS:PORT` spells, with or without brackets and `%device`, or None."""
    if text in _ends:
        return _ends[text]
    found = None
    if len(text) < 300:
        address, colon, port = text.rpartition(":")
        number = _port(port) if colon else None
        if number is not None:
            found = _end(address, number)
    return _kept(text, found)


def read_dotted_end(text: str) -> End | None:
    """Return the end that BSD's `ADDRESS.PORT` spells, or None."""
    key = f".{text}"
    if key in _ends:
        return _ends[key]
    found = None
    if len(text) < 300 and not text.endswith("]"):
        address, dot, port = text.rpartition(".")
        number = _port(port) if dot else None
        if number is not None and (address == STAR or not address.endswith(":") or canonical(address)):
            found = _end(address, number)
            if found and not found.address and canonical(text):
                found = None  # an address alone: 10.0.0.1
    return _kept(key, found)


def _kept(key: str, found: End | None) -> End | None:
    if len(_ends) > _CACHED:
        _ends.clear()
    _ends[key] = found
    return found


def _end(address: str, port: int) -> End | None:
    device = None
    if "%" in address:  # 0.0.0.0%eth0, [fe80::1]%eth0, [fe80::1%eth0], *%eth0
        address, _, device = address.partition("%")
        if device.endswith("]") and address.startswith("["):
            address, device = f"{address}]", device[:-1]
        if not device or not device.isprintable() or len(device) > 40:
            return None
    if address == STAR:
        return End(STAR, port, 0, device)
    is_bracketed = address.startswith("[") and address.endswith("]")
    known = canonical(address[1:-1] if is_bracketed else address)
    if known is not None:
        return End(known[0], port, known[1], device, known[1] == 6 and not is_bracketed)
    if address.lower() in _LOCAL_NAMES:
        return End(LOCALHOST, port, 0, device)
    if is_bracketed or not _HOST_NAME.match(address):
        return None
    return End("", port, 0, device)


def endpoint_of(end: End, protocol: str, family: int, netns: str, *, v6only: bool | None = None) -> Endpoint | None:
    """Return the endpoint of an end whose row is of that family; None where its host's name isn't an address."""
    address = end.address
    if address == STAR:
        address = ANY6 if family == 6 else ANY4
    elif address == LOCALHOST:
        address = "::1" if family == 6 else "127.0.0.1"
    elif not address:
        return None
    elif family == 6 and end.family == 4:
        address = f"::ffff:{address}"
    if family != 6 or address != ANY6:
        v6only = None
    return Endpoint(protocol, address, end.port, v6only, end.device, netns)


def state_named(word: str) -> str | None:
    """Return the state that a word means in any of the tools' languages, or None."""
    key = word.strip("()").lower().replace("_", "-")
    found = _STATES.get(key)
    if found is None and key[:3] == "abh" and key[-3:] == "ren" and len(key) < 12:
        return LISTEN  # ABHÖREN after a wrong code page
    return found


def state_of(word: str | None, protocol: str, peer: End | None) -> str:
    """Return a socket's state by its word, and by its other end where the word is missing or not understood."""
    known = state_named(word) if word else None
    is_alone = peer is None or peer.port == 0
    if protocol == "udp":
        return UNCONNECTED if is_alone else ESTABLISHED
    if known == UNCONNECTED:
        return BOUND
    if known is not None:
        return known
    return LISTEN if is_alone else ESTABLISHED


class Command(Record):
    """A command that made a table.

    Attributes:
        kind: the tool and its options as typed, cut to 80 characters.
        words: the tool's own arguments.
        is_filtered: whether its output was filtered or cut.
    """

    kind: str
    words: tuple[str, ...]
    is_filtered: bool


_HARMLESS = frozenset(("sort", "cat", "less", "more", "tee", "column", "nl", "expand", "most", "clip", "pbcopy"))
_NOTES = ("could be identified", "have to be root", "not be shown", "root sein", "angezeigt")


def command_before(lines: Sequence[Line], at: int, tool: str) -> Command | None:
    """Return the command of a tool that stands just before a table, over blank lines and the tool's own notes."""
    for back in range(at - 1, max(at - 6, -1), -1):
        line = lines[back]
        if line.is_command:
            return read_command(line.text, tool)
        if line.text.strip() and not any(note in line.text for note in _NOTES):
            return None
    return None


def read_command(text: str, tool: str) -> Command | None:
    """Return the command of that tool in a line that was typed, or None where it is another one's."""
    stages = text.replace("|&", "|").split("|")
    for index, stage in enumerate(stages):
        words = stage.replace(";", " ; ").replace("&&", " ; ").split()
        for start, word in enumerate(words):
            bare = word.rpartition("/")[2].rpartition("\\")[2].lower()
            if bare in (tool, f"{tool}.exe"):
                arguments = _arguments(words[start + 1 :])
                after = (rest.split() for rest in stages[index + 1 :])
                is_filtered = any(not rest or rest[0] not in _HARMLESS for rest in after)
                return Command(" ".join((tool, *arguments))[:80], arguments, is_filtered)
    return None


def _arguments(words: list[str]) -> tuple[str, ...]:
    taken = []
    for word in words:
        if word == ";":
            break
        if word[:1] in "<>" or word[:2] in ("2>", "1>", "&>"):
            continue
        taken.append(word.strip("'\"`"))
    return tuple(taken)


def letters(words: Sequence[str]) -> str:
    """Return the letters of all short options together."""
    return "".join(word[1:] for word in words if word[:1] == "-" and word[:2] != "--")


class Cover(Record):
    """What a command asks for.

    Attributes:
        tcp: TCP sockets.
        udp: UDP sockets.
        listeners: those that wait, too.
        limit: what narrows it (one family, a filter); null where nothing does.
    """

    tcp: bool
    udp: bool
    listeners: bool
    limit: str | None


class Table:
    """Sockets as they are gathered from one table."""

    def __init__(self, netns: str) -> None:
        self.netns = netns
        self.sockets: list[Socket] = []
        self.problems: list[str] = []
        self.unread = 0
        self._unsaid = 0

    def miss(self, number: int, words: str) -> None:
        """Note a row that couldn't be read whole; the table is then no longer all there is."""
        self.unread += 1
        self.note(number, words)

    def note(self, number: int, words: str) -> None:
        """Note something that isn't known of a row that was read."""
        if len(self.problems) < PROBLEMS:
            self.problems.append(f"line {number}: {words}")
        else:
            self._unsaid += 1

    def said(self) -> tuple[str, ...]:
        """Return the problems, the first of them in full."""
        if self._unsaid:
            return (*self.problems, f"and {self._unsaid} more of this table")
        return tuple(self.problems)

    def looks(self, kind: str, cover: Cover | None, *, has_header: bool, how: str) -> tuple[Look, ...]:
        """Return how far the table shows listeners and UDP."""
        looks = []
        for fact, protocol in (("listeners", "tcp"), ("udp", "udp")):
            states = (LISTEN,) if protocol == "tcp" else (UNCONNECTED, ESTABLISHED)
            is_listed = any(s.endpoint.protocol == protocol and s.state in states for s in self.sockets)
            asked = cover is not None and (cover.tcp if protocol == "tcp" else cover.udp)
            if not is_listed and (cover is None or not asked) and protocol == "udp":
                continue
            why = self._why(cover, has_header=has_header, is_listed=is_listed, is_asked=asked)
            looks.append(Look(fact, self.netns, SOME if why else ALL, kind, why, how if why else None))
        return tuple(looks)

    def _why(self, cover: Cover | None, *, has_header: bool, is_listed: bool, is_asked: bool) -> str | None:
        if not has_header:
            return "rows without their heading: part of a table"
        if cover is None:
            if not is_listed:
                return "none is in the table, and the command that made it isn't in the text"
        elif cover.limit:
            return cover.limit
        elif not is_asked or not cover.listeners:
            return "the command doesn't ask for them"
        return f"{self.unread} rows couldn't be read" if self.unread else None


class Shared:
    """Sockets that several rows show, one for each process: joined by a key."""

    def __init__(self) -> None:
        self._places: dict[object, int] = {}
        self._seen: set[tuple[object, int | None, str | None]] = set()
        self._holders: list[list[Holder]] = []

    def add(self, table: Table, key: object, socket: Socket, holder: Holder | None) -> None:
        """Add a row: a new socket, or one more holder of one that is there."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(table.sockets)
            table.sockets.append(socket)
            while len(self._holders) <= place:
                self._holders.append([])
        if holder is not None and (key, holder.pid, holder.name) not in self._seen:
            self._seen.add((key, holder.pid, holder.name))
            self._holders[place].append(holder)

    def finish(self, table: Table, extent: str) -> None:
        """Give the sockets their holders."""
        for place, holders in enumerate(self._holders):
            table.sockets[place] = table.sockets[place]._replace(
                holders=tuple(holders), holders_extent=extent if holders else NONE
            )


def is_end(text: str) -> bool:
    """Whether a line ends a table: nothing on it."""
    return not text or text.isspace()


def found_table(kind: str, taken: int, table: Table, looks: tuple[Look, ...]) -> Found:
    """Return what a reader gives."""
    from mailports.pasted.found import Found

    return Found(kind, taken, sockets=tuple(table.sockets), looks=looks, problems=table.said())


__all__ = [
    "BOUND",
    "ESTABLISHED",
    "LISTEN",
    "LOCALHOST",
    "OPEN",
    "STAR",
    "UNCONNECTED",
    "Command",
    "Cover",
    "End",
    "Shared",
    "Table",
    "canonical",
    "command_before",
    "endpoint_of",
    "found_table",
    "is_end",
    "letters",
    "read_command",
    "read_dotted_end",
    "read_end",
    "service_port",
    "state_named",
    "state_of",
]
