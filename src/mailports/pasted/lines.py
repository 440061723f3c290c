r"""Undress pasted text: quoting, colours, prompts and log formats are taken off, a Line is what is left. Pure.

One job: from text or a stream of bytes to `Line`s. What a line means is for the readers; lines that a terminal
or a mailer wrapped are theirs to join (only a command's trailing backslash is followed here).

Source: rsyslog's templates, RFC 5424, journalctl(1) ``--output``, Docker's json-file and logfmt, Compose's prefixes
as captured from the real programs (Debian 12 and 13); CommonMark for quotes, fences and indented blocks.

Limits: a Line has at most `TEXT_LIMIT` characters, made of the first `RAW_LIMIT` of the original; at most
`LAYERS` formats inside one another; a command goes on for at most `COMMAND_LINES` lines. `read_stream` keeps
a text below `SMALL_BYTES` whole; of a larger one `limit_lines` lines or `KEPT_CHARS` characters, of which what only
looks like a table or stands beside a match gets three quarters; it stops after `limit_bytes`. Not known: the
journal's verbose, export and json-pretty forms, JSON over several lines, wrapped prefixes, prompts of one's own make.

It is one piece: what a line came wrapped in is taken off in one order, outermost first.
"""

from __future__ import annotations

import re

from mailports.model.facts import printable
from mailports.pasted.found import Dress, Line
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Numbered = tuple[int, str]
    Peeled = tuple[Dress, str]

TEXT_LIMIT = 4_000
RAW_LIMIT = 16_384
LAYERS = 5
COMMAND_LINES = 20
SMALL_BYTES = 2_000_000
KEPT_CHARS = 32_000_000
LIMIT_LINES, LIMIT_BYTES = 200_000, 1 << 30
FOLLOW_LINES = 200
"""So many lines after a table's heading are taken for its rows, up to a blank line."""
_PIECE = 32_768
_HEAD = 4_096
_SHORT = 600
"""Backticks are looked for in prose, and prose is short."""


# --- what people and programs put around lines ---

_ESCAPE = re.compile(
    r"(?:\x1b|\^\[|#033|\\x1b|\\u001b|\\033|\\e)(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]"
    r"|\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\|$)|[PX^_][^\x1b]{0,2000}(?:\x1b\\|$))"
    r"|\x1b[ -/]{0,8}[0-Z\\`-~]|\x9b[0-?]{0,64}[ -/]{0,8}[@-~]"
)
_LOST_ESCAPE = re.compile(r"\[(?:\d{1,3}(?:;\d{1,3}){0,8}m)(?![\w\]])|\[[02]K|\[(?:0|1|[34]\d)(?:;\d{1,3}){0,8}m")
_ESCAPE_SIGNS = ("\x1b", "\x9b", "^[", "#033", "\\x1b", "\\u001b", "\\033", "\\e[")
_ENTITY = re.compile(r"&(gt|lt|amp|nbsp|quot|apos|#0*39|#[xX]27|#0*34|#0*160|#[xX][aA]0);")
_ENTITIES = {"gt": ">", "lt": "<", "amp": "&", "nbsp": " ", "quot": '"', "apos": "'"}
_TAG = re.compile(
    r"</?(?:pre|code|blockquote|tt|br|p|kbd|samp)(?: [^<>]{0,200})?/?>|\[/?(?:code|quote|pre)(?:=[^\]]{0,80})?\]", re.I
)
_NOTHING = (0xAD, 0xFEFF, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070))
_BLANKS = (0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)
_SPACES: dict[int, str | None] = {**dict.fromkeys(_NOTHING), **dict.fromkeys(_BLANKS, " ")}
_QUOTE = re.compile(r" {0,3}(?:(?:(?!PS>)[A-Z]{1,3})?>(?: |(?=>)|$)|>(?=[^\s>=&]))")
_BAR_QUOTE = re.compile(r" {0,3}\| (?=.*[^|\s])(?!.*\|\s*$)")
_FENCE = re.compile(r"(\s*)(?:`{3,}|~{3,})[\w+.#{} -]*$")
_INLINE = re.compile(r"(`{1,3})([^`]{1,400})\1(?!`)")
_BLOCK_INDENT = re.compile(r" {4}|\t")


def _plain(raw: str) -> str:
    """Return it without colours, entities and blanks that only look like some."""
    text = raw[:RAW_LIMIT].rstrip("\r\n")
    if not text.isascii():
        text = text.translate(_SPACES)
    if any(sign in text for sign in _ESCAPE_SIGNS):
        for _ in range(4):  # an escape may be hidden in an escape
            text, count = _ESCAPE.subn("", text)
            if not count:
                break
    if "[" in text:
        text = _LOST_ESCAPE.sub("", text)
        text = _TAG.sub("", text)
    elif "<" in text:
        text = _TAG.sub("", text)
    if "&" in text:
        text = _ENTITY.sub(lambda found: _ENTITIES.get(found[1]) or _numeric(found[1]), text)
    return text.replace("\r", " ")


def _numeric(name: str) -> str:
    digits = name[1:].lower()
    return chr(int(digits[1:], 16) if digits.startswith("x") else int(digits))


def _unquoted(text: str) -> str:
    """Return it without the marks by which mailers and forums quote."""
    if ">" in text[:8] or "| " in text[:8]:
        for _ in range(20):
            mark = _QUOTE.match(text) or _BAR_QUOTE.match(text)
            if mark is None:
                break
            text = text[mark.end() :]
    return text


def _without_backticks(text: str) -> str:
    return _INLINE.sub(r"\2", text) if "`" in text and len(text) <= _SHORT else text


# --- blocks that Markdown indents ---

_KEY = re.compile(r"\s*(?:[\w.-]{1,60}:(?:\s|$)|- )")


def _dedented(lines: Iterable[Numbered]) -> Iterator[Numbered]:
    """Take off what a Markdown code block or a fence within a list is indented by; nothing else.

    A block begins after a blank line and below prose, not below YAML's keys or other indented lines.
    """
    fence: str | None = None
    before, before_is_blank, cut = "", True, 0
    for number, text in lines:
        opening = _FENCE.match(text) if "```" in text or "~~~" in text else None
        if opening is not None:
            fence, cut, before_is_blank = (opening[1] if fence is None else None), 0, True
            yield number, ""
            continue
        if fence is not None:
            yield number, text[len(fence) :] if fence and text.startswith(fence) else text
            continue
        indent = _BLOCK_INDENT.match(text)
        if text.strip():
            if indent is None:
                cut = 0
            elif not cut and before_is_blank and _opens_block(before, text):
                cut = indent.end()
            before, before_is_blank = text, False
        else:
            before_is_blank = True
        yield number, text[cut:] if cut and indent is not None else text


def _opens_block(before: str, text: str) -> bool:
    if before[:1] in {" ", "\t"}:
        return False
    return not (_KEY.match(text) and re.match(r"[\w.-]{1,60}:\s*$", before))


# --- prompts ---

_NAME = r"[A-Za-z0-9_][\w.+-]{0,63}"
_PROMPT = re.compile(
    rf"""\s*(?:\([\w.-]{{1,40}}\)\s?)?(?:
        \[(?P<u1>{_NAME})@(?P<h1>{_NAME})[^\]\[]{{0,120}}\][ ]?[$\#%>](?:[ ]|$)
      | (?P<u2>{_NAME})@(?P<h2>{_NAME})(?:[ ]?:[ ]?(?:[~/][^\s$\#%>]{{0,120}})?|[ ]+[~/][^\s$\#%>]{{0,120}})?[ ]?[$\#%>](?:[ ]|$)
      | PS(?:[ ](?:[A-Za-z]:|[\\/~])[^>]{{0,200}})?>(?:[ ]|$)
      | [A-Za-z]:\\[^<>|"]{{0,200}}>[ ]?
      | [\u276fλ»][ ]+
      | ➜[ ]+\S{{1,80}}[ ]+(?:git:\(\S{{1,80}}\)[ ]+)?(?:✗[ ]+)?
      | (?P<h3>{_NAME})[ ]?:[ ]?[~/][^\s$\#%>]{{0,120}}
        (?:[ ](?P<u3>{_NAME}))?[ ]?[$\#%][ ]
      | (?:ba|z|da|)sh-[\d.]{{1,6}}[$\#][ ]
      | \$[ ]+(?=[A-Za-z_./~(!"'\[])
      | (?P<sharp>[\#%])[ ]*(?=[a-z/.])
    )""",
    re.VERBOSE,
)
_PROMPT_SIGNS = re.compile(r"[$#%>\u276fλ»➜]")
_TOOLS = frozenset(
    "ss netstat lsof fuser sockstat docker docker-compose podman nerdctl systemctl service journalctl iptables"  # noqa: SIM905 -- words
    " iptables-save ip6tables ip6tables-save nft ip ifconfig sysctl ps pgrep pstree kill cat grep egrep tail head less"
    " postfix postconf postmulti doveconf dovecot exim exim4 exim-bV sendmail nginx haproxy apachectl apache2ctl"
    " telnet nc ncat nmap openssl swaks curl dig host kubectl ls find apt apt-get dnf yum dpkg rpm zypper pacman apk"
    " firewall-cmd ufw dmesg getenforce semanage ausearch setcap getcap sudo doas su rc-service rcctl launchctl netsh"
    " tasklist sc sed awk nsenter lsns uname hostnamectl rpcinfo nano vi vim supervisorctl mailq".split()
)
_VERBS = frozenset(
    "start stop restart reload status enable disable show list a addr address link route r logs ps up down run exec"  # noqa: SIM905 -- words
    " compose install remove purge check config inspect images network ruleset update daemon-reload list-sockets"
    " list-units cat is-active get pods build pull rule".split()
)


def _command(text: str) -> tuple[str, str | None, str | None] | None:
    """Return the command, user and host, where a prompt stands before it."""
    if not _PROMPT_SIGNS.search(text, 0, 260):
        return None
    prompt = _PROMPT.match(text)
    if prompt is None:
        return None
    rest = text[prompt.end() :].strip()
    if prompt["sharp"] and not _is_typed(rest):
        return None
    return rest, prompt["u1"] or prompt["u2"] or prompt["u3"], prompt["h1"] or prompt["h2"] or prompt["h3"]


def _is_typed(text: str) -> bool:
    """Whether what stands after a sharp is a command rather than a comment or a heading."""
    words = text[:TEXT_LIMIT].split()
    while words and words[0] in {"sudo", "doas"} and len(words) > 1:
        del words[0]
    if not words or words[0].rpartition("/")[2] not in _TOOLS:
        return False
    if len(words) == 1:
        return True
    return any(word[0] in "-/|>" or word in _VERBS for word in words[1:])


# --- log formats ---

_MONTH = r"[^\W\d_]{3,5}\.?"
_CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_DAY = r"(?:[^\W\d_]{2,4}\.?,?[ ])?"
_TIME = re.compile(
    rf"""\s{{0,40}}(?:<\d{{1,3}}>)?(?:
        (?P<iso>{_DAY}\d{{4}}-\d\d-\d\d[T_]{_CLOCK}(?:Z|[+-]\d\d:?\d\d)?)
      | (?P<sys>{_DAY}{_MONTH}[ ]{{1,2}}\d{{1,2}}[ ](?:\d{{4}}[ ])?{_CLOCK}
            (?:[ ][A-Z]{{3,4}}(?=[ ]\d{{4}}\b))?(?:[ ]\d{{4}}\b)?)
      | (?P<own>{_DAY}\d{{4}}([-/.])\d\d\4\d\d[ ]{_CLOCK}(?:[ ]?(?:Z|UTC|GMT|CES?T|[+-]\d\d:?\d\d))?)
      | (?P<unix>\d{{10}}\.\d{{6}})
      | (?P<mono>\[[ ]{{0,8}}\d{{1,9}}\.\d{{6}}\])
      | \[(?P<boxed>{_DAY}(?:\d{{4}}[-/]\d\d[-/]\d\d[T\ ]|{_MONTH}[ ]{{1,2}}\d{{1,2}}[ ]){_CLOCK}[^\]\[]{{0,12}})\]
    )(?=[ ]|:[ ]|$):?""",
    re.VERBOSE,
)
_HOST = r"[A-Za-z0-9_][\w.:%-]{0,253}"
_TAGGED = re.compile(
    rf"""[ ]+(?:(?P<host>{_HOST}(?<!:))[ ]+(?:(?P<again>[\w.-]{{1,253}})[ ]+)?)?
    (?:(?P<program>[^\s:\[\]]{{1,80}})\[(?P<pid>\d{{1,10}})\]|(?P<bare>[\w./@+-]{{1,80}})):(?:[ ]+|$)""",
    re.VERBOSE,
)
_SEVERITIES = frozenset(
    "fatal error warning warn info notice debug emerg emergency alert crit critical panic err log note hint detail"  # noqa: SIM905 -- words
    " statement failed exception traceback bind listen socket failure oserror runtimeerror".split()
)
_OWN = re.compile(r"[ ]+(?:\[(?P<box>\d{1,10})(?:\.\d+)?\][ ]+|\#(?P<sharp>\d{1,10})\([^)\s]{1,40}\)[ ]+)")
_NGINX = re.compile(r"[ ]+(?P<level>\[[a-z]{3,8}\] )(?P<pid>\d{1,10})#\d{1,10}: (?:\*\d{1,20} )?")
_STUNNEL = re.compile(r"[ ]+LOG\d\[[^\]]{1,40}\]: ?")
_REDIS = re.compile(rf"(?P<pid>\d{{1,10}}):[MSCX] (?P<when>\d{{1,2}} {_MONTH} \d{{4}} {_CLOCK}) [#*.-] ")
_RFC5424 = re.compile(
    rf"""\s{{0,40}}(?:<\d{{1,3}}>)?1[ ](?P<when>\d{{4}}-\d\d-\d\dT{_CLOCK}(?:Z|[+-]\d\d:\d\d)?|-)
    [ ](?P<host>\S{{1,255}})[ ](?P<program>\S{{1,80}})[ ](?P<pid>\S{{1,128}})[ ]\S{{1,32}}
    [ ](?:-|(?:\[(?:[^\]\\]|\\.){{0,2000}}\]){{1,20}})(?:[ ]+|$)""",
    re.VERBOSE,
)
_COMPOSE = re.compile(r"[ ]{0,3}(?P<name>[A-Za-z0-9][\w.-]{0,127})(?:@(?P<node>[\w.-]{1,128}))?[ ]*(?:\|(?:[ ]|$))")
_POD = re.compile(r"\[pod/[\w.-]{1,253}/(?P<name>[\w.-]{1,128})\] ")
_GREPPED = re.compile(
    r"\s{0,12}(?:[\w./+-]{1,200}:(?:\d{1,9}:)?|\d{1,9}[:\t ] {0,8})"
    r"(?=[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)"
)
_LOGFMT = re.compile(r'([A-Za-z_][\w.-]{0,40})=("(?:[^"\\]|\\.){0,16000}(?:"|$)|[^\s"]{0,4000})(?:\s+|$)')
_LOGFMT_START = re.compile(r"\s{0,40}(?:time|level|ts|t|lvl|msg)=")
_ESCAPED = re.compile(r"\\(.)")
_UNESCAPED = {"n": " ", "t": " ", "r": " "}
_BARE = Dress()


def _undressed(text: str) -> tuple[str, Dress | None]:
    """Take the log formats off, the outermost first; what an outer one said stands."""
    dress = _BARE
    for _ in range(LAYERS):
        peeled = _peel(text)
        if peeled is None:
            break
        inner, text = peeled
        dress = Dress._make(inner[i] if said is None else said for i, said in enumerate(dress))
    return text, (None if dress == _BARE else dress)


def _peel(text: str) -> Peeled | None:
    """Take one log format off."""
    start = text.lstrip(" \t")
    if not start:
        return None
    if start[0] == "{":
        return _peel_json(start)
    if "=" in start[:8]:
        return _peel_logfmt(start)
    if "|" in text[:260] or start.startswith("[pod/"):
        peeled = _peel_container(text)
        if peeled is not None:
            return peeled
    if ":" not in text[:400] and "[" not in start[:1] and "." not in start[:12]:
        return None
    grepped = _GREPPED.match(text)
    if grepped is not None:
        text = text[grepped.end() :]
    return _peel_rfc5424(text) or _peel_time(text) or _peel_redis(text) or ((_BARE, text) if grepped else None)


def _peel_container(text: str) -> Peeled | None:
    pod = _POD.match(text)
    if pod is not None:
        return Dress(container=pod["name"]), text[pod.end() :]
    found = _COMPOSE.match(text)
    if found is None or found["name"] in _TOOLS:
        return None
    return Dress(container=found["name"], host=found["node"]), text[found.end() :]


def _peel_rfc5424(text: str) -> Peeled | None:
    found = _RFC5424.match(text)
    if found is None:
        return None
    when, host, program = (None if found[key] == "-" else found[key] for key in ("when", "host", "program"))
    return Dress(when=when, host=host, program=program, pid=_pid(found["pid"])), text[found.end() :].lstrip("\ufeff")


def _peel_redis(text: str) -> Peeled | None:
    found = _REDIS.match(text)
    if found is None:
        return None
    return Dress(when=found["when"], program="redis", pid=_pid(found["pid"])), text[found.end() :]


def _peel_time(text: str) -> Peeled | None:
    """Take a time off, and what its format says after it."""
    found = _TIME.match(text)
    if found is None:
        return None
    when = found["iso"] or found["sys"] or found["own"] or found["unix"] or found["mono"] or found["boxed"]
    dress, rest = Dress(when=when.strip("[] ")), text[found.end() :]
    tagged = _TAGGED.match(rest)
    if tagged is not None and _is_tag(tagged, found):
        program = tagged["program"] or tagged["bare"]
        return Dress(dress.when, tagged["host"], program, _pid(tagged["pid"])), rest[tagged.end() :]
    return _after_own_time(dress, rest)


def _is_tag(tagged: re.Match[str], time: re.Match[str]) -> bool:
    """Whether what stands after a time is host and tag, not a message with a colon in it."""
    host, again = tagged["host"], tagged["again"]
    if again and again.partition(".")[0] != (host or "").partition(".")[0]:
        return False
    if time["own"] or time["boxed"]:  # only journalctl's short-full has a weekday, a host and a tag there
        return bool(host and tagged["pid"] and (time["own"] or "")[:1].isalpha())
    if tagged["pid"]:
        return True
    if tagged["bare"].lower() in _SEVERITIES or tagged["bare"][0].isdigit():
        return False
    if time["iso"]:  # `docker logs -t` has a bare message after such a time
        return host is not None and not time["iso"].endswith("Z")
    return not time["mono"]  # so has dmesg


def _after_own_time(dress: Dress, rest: str) -> Peeled:
    """Take off what daemons write after the time in files of their own."""
    nginx = _NGINX.match(rest)
    if nginx is not None:
        return dress._replace(program="nginx", pid=_pid(nginx["pid"])), nginx["level"] + rest[nginx.end() :]
    stunnel = _STUNNEL.match(rest)
    if stunnel is not None:
        return dress._replace(program="stunnel"), rest[stunnel.end() :]
    own = _OWN.match(rest)
    if own is not None:
        return dress._replace(pid=_pid(own["box"] or own["sharp"])), rest[own.end() :]
    rest = rest.lstrip(" ")
    return dress, rest[3:] if rest.startswith("-> ") else rest


def _pid(text: Any) -> int | None:
    text = str(text)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) else None


def _peel_logfmt(text: str) -> Peeled | None:
    if not _LOGFMT_START.match(text):
        return None
    said: dict[str, str] = {}
    at = 0
    while len(said) < 40:
        pair = _LOGFMT.match(text, at)
        if pair is None:
            break
        at = pair.end()
        said.setdefault(pair[1], _unquote(pair[2]))
    message = said.get("msg") or said.get("message")
    if not message:
        return None
    error = said.get("error") or said.get("err")
    if error and error not in message:
        message = f"{message}: {error}"
    return Dress(when=said.get("time") or said.get("ts") or said.get("t")), message


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    value = value[1:-1] if value.endswith('"') and len(value) > 1 else value[1:]
    return _ESCAPED.sub(lambda found: _UNESCAPED.get(found[1], found[1]), value)


def _peel_json(text: str) -> Peeled | None:
    """Take the journal's, Docker's or any logger's JSON off; its message is the text."""
    import json

    end = text.rfind("}")
    try:
        entry = json.loads(text[: end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    if "MESSAGE" in entry:
        return _journal_dress(entry), _message(entry["MESSAGE"])
    for key in ("log", "msg", "message"):
        if isinstance(entry.get(key), str):
            when = _word(entry, "time", "ts", "timestamp", "@timestamp")
            error = entry.get("error") or entry.get("err")
            more = f": {error}" if key != "log" and isinstance(error, str) and error not in entry[key] else ""
            return Dress(when=when), _message(entry[key]) + more
    return None


def _journal_dress(entry: dict[str, Any]) -> Dress:
    pid = _pid(entry.get("_PID")) or _pid(entry.get("SYSLOG_PID"))
    return Dress(
        when=_word(entry, "__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP", "SYSLOG_TIMESTAMP"),
        host=_word(entry, "_HOSTNAME"),
        program=_word(entry, "SYSLOG_IDENTIFIER", "_COMM"),
        pid=pid,
        unit=_word(entry, "UNIT", "_SYSTEMD_UNIT") if pid == 1 else _word(entry, "_SYSTEMD_UNIT", "UNIT"),
        container=_word(entry, "CONTAINER_NAME"),
    )


def _word(entry: dict[str, Any], *keys: str) -> str | None:
    for key in keys:
        value = entry.get(key)
        if isinstance(value, (str, float, int)) and not isinstance(value, bool) and value != "":
            return str(value)[:300].strip()
    return None


def _message(value: Any) -> str:
    """Return a message as one line; bytes that aren't UTF-8 come as an array of numbers."""
    if isinstance(value, list):
        numbers = [one for one in value[:RAW_LIMIT] if isinstance(one, int) and 0 <= one <= 255]
        value = bytes(numbers).decode("utf-8", "surrogateescape")
    elif not isinstance(value, str):
        return ""
    text = _plain(value.rstrip("\r\n"))
    return " ".join(text.split("\n"))


# --- lines ---


def undress(text: str) -> Iterator[Line]:
    """Yield each line of a text, undressed; what belongs to a command that goes on stands with its first line."""
    if "\n" not in text and "\r" in text:
        text = text.replace("\r", "\n")
    return _undress(_numbered(text))


def _numbered(text: str) -> Iterator[Numbered]:
    at, number = 0, 1
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield number, text[at : min(end, at + RAW_LIMIT)]
        at, number = end + 1, number + 1


def _undress(lines: Iterable[Numbered]) -> Iterator[Line]:
    waiting: Line | None = None
    joined = 0
    for number, text in _dedented((number, _unquoted(_plain(raw))) for number, raw in lines):
        if waiting is not None:
            more = text.strip()
            joined += 1
            together = _shown(f"{waiting.text[:-1].rstrip()} {more}")
            waiting = waiting._replace(text=together)
            if more.endswith("\\") and joined < COMMAND_LINES and len(together) < TEXT_LIMIT:
                continue
            yield waiting
            waiting = None
            continue
        line = _line(number, text)
        if line.is_command and line.text.endswith("\\"):
            waiting, joined = line, 0
        else:
            yield line
    if waiting is not None:
        yield waiting


def _line(number: int, text: str) -> Line:
    text = _without_backticks(text)
    command = _command(text)
    if command is not None:
        host = command[2]
        return Line(number, _shown(command[0]), Dress(host=host) if host else None, is_command=True)
    text, dress = _undressed(text)
    if dress is not None:
        dress = Dress._make(printable(said[:300]) if isinstance(said, str) else said for said in dress)
    return Line(number, _shown(text.rstrip()), dress)


def _shown(text: str) -> str:
    r"""Make it printable and short; tabs, which tables need, stay and aren't spelled ``\x09``."""
    text = text[:TEXT_LIMIT]
    if "\t" in text:
        return "\t".join(printable(part) for part in text.split("\t"))[:TEXT_LIMIT]
    return printable(text)[:TEXT_LIMIT]


# --- streams ---


class Bounds(Record):
    """How far a stream was read.

    Attributes:
        bytes_read: so many bytes were looked at.
        is_whole: whether the stream ended within the limit of bytes.
        lines_read: so many lines they had.
        lines_kept: so many of them were given to the readers.
        lines_passed: so many had nothing that matters.
        lines_dropped: so many might have mattered, but were over the limit.
        lines_cut: so many were longer than a line may be; their beginning counts.
        nul_bytes: so many NULs were among the bytes; text has none.
        encoding: `utf-8` or `utf-16`.
    """

    bytes_read: int = 0
    is_whole: bool = True
    lines_read: int = 0
    lines_kept: int = 0
    lines_passed: int = 0
    lines_dropped: int = 0
    lines_cut: int = 0
    nul_bytes: int = 0
    encoding: str = "utf-8"

    def said(self) -> tuple[str, ...]:
        """Say what wasn't read as it stands; nothing where all was."""
        return tuple(
            sentence
            for is_so, sentence in (
                (not self.is_whole, f"only the first {self.bytes_read:,} bytes were read"),
                (
                    self.lines_passed,
                    f"of {self.lines_read:,} lines the {self.lines_kept:,} that could matter were read",
                ),
                (self.lines_dropped, f"{self.lines_dropped:,} lines that may matter were left out: too many"),
                (self.lines_cut, f"{self.lines_cut:,} lines were cut at {TEXT_LIMIT:,} characters"),
                (self.nul_bytes, f"the input isn't plain text: it has {self.nul_bytes:,} NUL bytes"),
            )
            if is_so
        )


_TABLE_WORDS = (
    *("LISTEN", "UNCONN", "Local Address", "Local address", "Foreign Address", "local address", "Netid", "Proto "),
    *("COMMAND", "CONTAINER ID", "PORTS", "NodePort", "Lokale Adresse", "Adresse locale", "Dirección local"),
    *("ABHÖREN", "ABHÖREN", "ÉCOUTE", "Indirizzo locale", "Chain ", "-j DNAT", "-j REDIRECT", "dnat to", "redirect to"),
    *("hook prerouting", "hook input", "Loaded: ", "ListenStream", "ip_local_port_range", "inet6 ", "inet ", "USER "),
)


def _is_tabular(text: str) -> bool:
    for word in _TABLE_WORDS:  # noqa: SIM110 -- half the time of any() over a generator
        if word in text:
            return True
    return False


def read_stream(
    chunks: Iterable[bytes],
    may_matter: Callable[[str], bool],
    *,
    context: int = 2,
    limit_lines: int = LIMIT_LINES,
    limit_bytes: int = LIMIT_BYTES,
) -> tuple[list[Line], Bounds]:
    """Return the lines of a stream that could matter, and how far it was read; memory doesn't grow with it.

    `may_matter` is asked about blocks of many lines first: what is true of a line must be true of a text around it.
    A text below `SMALL_BYTES` is kept whole.
    """
    sieve = _Sieve(may_matter, context, limit_lines)
    source = _Source(chunks, limit_bytes)
    head: list[str] = []
    size = 0
    for text in source.texts():
        if size >= SMALL_BYTES:
            sieve.take(text)
            continue
        head.append(text)
        size += len(text)
        if size >= SMALL_BYTES:
            for earlier in head:
                sieve.take(earlier)
            head.clear()
    if size < SMALL_BYTES:
        sieve.keep_all("".join(head))
    else:
        sieve.end()
    lines = list(_undress(sieve.kept))
    cut = sieve.cut + sum(len(line.text) >= TEXT_LIMIT for line in lines)
    return lines, Bounds(
        bytes_read=source.size,
        is_whole=source.is_whole,
        lines_read=sieve.number,
        lines_kept=len(sieve.kept),
        lines_passed=sieve.number - len(sieve.kept) - sieve.dropped,
        lines_dropped=sieve.dropped,
        lines_cut=cut,
        nul_bytes=source.nuls,
        encoding=source.encoding,
    )


class _Source:
    """Bytes to text, in pieces of one size whatever the chunks are."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self.chunks, self.limit = chunks, limit
        self.size = self.nuls = 0
        self.is_whole = True
        self.encoding = ""

    def texts(self) -> Iterator[str]:
        """Yield the text; carriage returns are line ends where the beginning has no others."""
        import codecs

        decoder: codecs.IncrementalDecoder | None = None
        is_mac = False
        for piece in self._pieces():
            if decoder is None:
                name = _encoding(piece)
                self.encoding = name[:6].rstrip("-") if name.startswith("utf-16") else "utf-8"
                decoder = codecs.getincrementaldecoder(name)("replace")
            if self.encoding == "utf-8" and b"\0" in piece:
                self.nuls += piece.count(b"\0")
            text = decoder.decode(piece)
            if self.size == len(piece):  # the first
                is_mac = "\n" not in text and "\r" in text.rstrip("\r")
            yield text.replace("\r", "\n") if is_mac else text
        self.encoding = self.encoding or "utf-8"
        if decoder is not None:
            yield decoder.decode(b"", final=True)

    def _pieces(self) -> Iterator[bytes]:
        small: list[bytes] = []
        waiting = 0
        for chunk in self.chunks:
            for at in range(0, len(chunk), _PIECE):
                piece = chunk[at : at + _PIECE]
                if self.size + waiting + len(piece) > self.limit:
                    piece = piece[: self.limit - self.size - waiting]
                    self.is_whole = False
                small.append(piece)
                waiting += len(piece)
                if waiting >= _PIECE or not self.is_whole:
                    self.size += waiting
                    yield b"".join(small)
                    small, waiting = [], 0
                if not self.is_whole:
                    return
        if waiting:
            self.size += waiting
            yield b"".join(small)


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    start = head[:_HEAD]
    if len(start) >= 8 and start[1::2].count(0) > len(start) * 0.4 and start[::2].count(0) < len(start) * 0.05:
        return "utf-16-le"
    return "utf-8-sig"


class _Sieve:
    """Keeps the lines of a long text that could matter, with those around them."""

    def __init__(self, may_matter: Callable[[str], bool], context: int, limit: int) -> None:
        self.may_matter, self.context, self.limit = may_matter, max(context, 0), max(limit, 0)
        self.kept: list[Numbered] = []
        self.chars = self.number = self.dropped = self.cut = 0
        self.rest = ""  # the beginning of a line whose end wasn't seen
        self.is_overlong = False
        self.passed: list[str] = []  # blocks or lines just before, unread
        self.follow = self.rows = 0

    def take(self, text: str) -> None:
        """Take the next piece."""
        end = text.rfind("\n")
        if end < 0:
            self._prolong(text)
            return
        if self.is_overlong:  # the line's beginning is there; the rest of it isn't looked at
            first = text.index("\n")
            self._overlong()
            block = text[first + 1 : end + 1]
        else:
            block = self.rest + text[: end + 1]
        self.rest = ""
        if block:
            self._block(block)
        self._prolong(text[end + 1 :])

    def _prolong(self, text: str) -> None:
        if self.is_overlong:
            return
        self.rest += text
        if len(self.rest) > RAW_LIMIT:
            self.rest = self.rest[:RAW_LIMIT]
            self.is_overlong = True

    def _overlong(self) -> None:
        had = len(self.kept)
        self._block(self.rest + "\n")
        self.cut += len(self.kept) == had  # one that is kept is counted with the others
        self.rest, self.is_overlong = "", False

    def end(self) -> None:
        """Take the last line, which may have no end."""
        if self.is_overlong:
            self._overlong()
        elif self.rest:
            self._block(self.rest + "\n")
            self.rest = ""

    def keep_all(self, text: str) -> None:
        """Keep every line, up to the limits."""
        for _, raw in _numbered(text):
            self.number += 1
            self._keep(self.number, raw, self.limit)

    def _block(self, block: str) -> None:
        if not (self.follow or self.rows or self.may_matter(block) or _is_tabular(block)):
            self.number += block.count("\n")
            self.passed = [block]
            return
        lines = block.split("\n")
        del lines[-1]
        self._lines(lines)

    def _lines(self, lines: list[str]) -> None:
        """Read a block line by line."""
        before = self._before()
        for raw in lines:
            self.number += 1
            if self.may_matter(raw):
                self._keep_before(before)
                self._keep(self.number, raw, self.limit)
                self.follow = self.context
            elif self.rows and raw.strip():
                self._keep(self.number, raw, self.limit * 3 // 4)
                self.rows = FOLLOW_LINES if _is_tabular(raw) else self.rows - 1
            elif _is_tabular(raw):
                self._keep_before(before)
                self._keep(self.number, raw, self.limit * 3 // 4)
                self.rows = FOLLOW_LINES
            elif self.follow:
                self._keep(self.number, raw, self.limit * 3 // 4)
                self.follow -= 1
            else:
                self.rows = 0
                before.append(raw)
                if len(before) > 4 * self.context + 64:
                    del before[: len(before) - self.context]
                continue
            before.clear()
        self.passed = ["".join(raw + "\n" for raw in before[-self.context :])] if self.context and before else []

    def _before(self) -> list[str]:
        """Return the lines that stand just before, as far as context goes."""
        if not self.passed or not self.context:
            return []
        return self.passed[-1].rsplit("\n", self.context + 1)[1 if self._is_longer() else 0 : -1]

    def _is_longer(self) -> bool:
        return self.passed[-1].count("\n") > self.context

    def _keep_before(self, before: list[str]) -> None:
        some = before[-self.context :] if self.context else []
        for back, raw in enumerate(some):
            self._keep(self.number - len(some) + back, raw, self.limit * 3 // 4)

    def _keep(self, number: int, raw: str, limit: int) -> None:
        if len(self.kept) >= limit or self.chars >= KEPT_CHARS:
            self.dropped += 1
            return
        raw = raw[:RAW_LIMIT]
        self.chars += len(raw)
        self.kept.append((number, raw))
