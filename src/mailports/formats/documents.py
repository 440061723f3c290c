"""Every kind of JSON that leaves or enters the program, and its version. The only place that knows them.

A document is a noun as well, so that its JSON, its decoder and its schema come from one description.
"""

from __future__ import annotations

from mailports.formats.shape import ShapeError, decode, encode, schema
from mailports.model.facts import Look, Namespace, Snapshot, printable
from mailports.model.findings import Diagnosis, Finding, Unknown
from mailports.model.overview import Listener, Overview
from mailports.model.readings import Recognised
from mailports.model.stories import Story
from mailports.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Status(Record):
    """What `mailports status --json` prints.

    Attributes:
        schema: `mailports.status/1`.
        host: the host's name.
        taken_at: when, RFC 3339.
        looks: what was looked at, and how far.
        namespaces: the network namespaces that labels stand for.
        summary: the first line.
        listeners: one entry a listening socket.
        absent: standard mail ports that nothing listens on.
        findings: the findings behind the names.
        unknown: what couldn't be seen and could matter.
    """

    schema: str
    host: str
    taken_at: str
    looks: tuple[Look, ...]
    namespaces: tuple[Namespace, ...]
    summary: str
    listeners: tuple[Listener, ...]
    absent: tuple[int, ...]
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]


class Findings(Record):
    """What `mailports audit --json` prints.

    Attributes:
        schema: `mailports.findings/1`.
        host: the host's name.
        taken_at: when, RFC 3339.
        looks: what was looked at, and how far.
        namespaces: the network namespaces that labels stand for.
        findings: most severe first.
        unknown: what couldn't be seen and could hide a finding.
    """

    schema: str
    host: str
    taken_at: str
    looks: tuple[Look, ...]
    namespaces: tuple[Namespace, ...]
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]


class Explained(Record):
    """What `mailports explain --json` prints: a findings document, with how the text was read.

    Attributes:
        schema: `mailports.findings/1`.
        host: the first machine that the text names.
        taken_at: empty: a text says when, or doesn't, line by line.
        looks: what the text's tables show, and how far.
        namespaces: the machines, namespaces and containers in the text.
        findings: most severe first.
        unknown: what the text leaves open.
        recognised: which lines were taken for what.
        next: the commands whose output would settle the rest.
        problems: what couldn't be read.
    """

    schema: str
    host: str
    taken_at: str
    looks: tuple[Look, ...]
    namespaces: tuple[Namespace, ...]
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]
    recognised: tuple[Recognised, ...]
    next: tuple[str, ...]
    problems: tuple[str, ...]


class Why(Record):
    """What `mailports why --json` prints.

    Attributes:
        schema: `mailports.why/1`.
        host: the host's name.
        taken_at: when, RFC 3339.
        looks: what was looked at, and how far.
        namespaces: the network namespaces that labels stand for.
        stories: one for each port that was asked about.
    """

    schema: str
    host: str
    taken_at: str
    looks: tuple[Look, ...]
    namespaces: tuple[Namespace, ...]
    stories: tuple[Story, ...]


KINDS: dict[str, tuple[str, Any]] = {
    "status": ("mailports.status/1", Status),
    "findings": ("mailports.findings/1", Findings),
    "explain": ("mailports.findings/1", Explained),
    "why": ("mailports.why/1", Why),
    "snapshot": ("mailports.snapshot/1", Snapshot),
}
"""By kind: the schema's name with its version, and the noun."""


class FormatError(Exception):
    """A text isn't a document that this program reads: what was wrong, where, and what was expected.

    Attributes:
        line: line of a syntax error, from 1; null where the text is JSON.
        column: column of it, from 1.
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def status_document(snapshot: Snapshot, overview: Overview, diagnosis: Diagnosis) -> Status:
    """Return the document of `status`."""
    return Status(
        KINDS["status"][0],
        snapshot.host,
        snapshot.taken_at,
        snapshot.looks,
        snapshot.namespaces,
        overview.summary,
        overview.listeners,
        overview.absent,
        diagnosis.findings,
        diagnosis.unknown,
    )


def findings_document(snapshot: Snapshot, diagnosis: Diagnosis) -> Findings:
    """Return the document of `audit`."""
    return Findings(
        KINDS["findings"][0],
        snapshot.host,
        snapshot.taken_at,
        snapshot.looks,
        snapshot.namespaces,
        diagnosis.findings,
        diagnosis.unknown,
    )


def explain_document(
    snapshot: Snapshot,
    diagnosis: Diagnosis,
    recognised: tuple[Recognised, ...],
    commands: tuple[str, ...],
    problems: tuple[str, ...],
) -> dict[str, Any]:
    """Return the document of `explain`, as JSON values: `as` is no name that a noun's field could have."""
    value: dict[str, Any] = encode(Explained(*findings_document(snapshot, diagnosis), recognised, commands, problems))
    for one in value["recognised"]:
        one["as"] = one.pop("kind")
    return value


def why_document(snapshot: Snapshot, stories: tuple[Story, ...]) -> Why:
    """Return the document of `why`."""
    return Why(KINDS["why"][0], snapshot.host, snapshot.taken_at, snapshot.looks, snapshot.namespaces, stories)


def to_json(document: Any, *, indent: int | None = 2) -> str:
    """Return a document as JSON text that ends with a newline."""
    import json

    return json.dumps(encode(document), indent=indent, ensure_ascii=False) + "\n"


def snapshot_to_json(snapshot: Snapshot) -> str:
    """Return a Snapshot as the text of a file."""
    import json

    return json.dumps({"schema": KINDS["snapshot"][0], **encode(snapshot)}, indent=2, ensure_ascii=False) + "\n"


def snapshot_from_json(text: str) -> Snapshot:
    """Return the Snapshot of a file's text.

    Raises:
        FormatError: where the text isn't JSON, or isn't a Snapshot of a version that is read here.
    """
    import json

    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"expected a Snapshot as JSON: {error.msg}", error.lineno, error.colno) from error
    except (RecursionError, ValueError) as error:
        raise FormatError(f"expected a Snapshot as JSON: {error}") from error
    name = value.get("schema") if isinstance(value, dict) else None
    expected = KINDS["snapshot"][0]
    if name != expected:
        shown = f"schema `{printable(name[:80])}`" if isinstance(name, str) else "no key `schema`"
        raise FormatError(f"expected a Snapshot ({expected}), got {shown}; `mailports snapshot` writes one")
    try:
        snapshot: Snapshot = decode(Snapshot, value)
    except (ShapeError, RecursionError) as error:
        raise FormatError(str(error)) from error
    _check_endpoints(snapshot)
    return snapshot


def _check_endpoints(snapshot: Snapshot) -> None:
    """Raise FormatError for an address or a port that can't be: what judges relies on them."""
    from ipaddress import ip_address

    checked: set[str] = set()
    for number, socket in enumerate(snapshot.sockets):
        for key, endpoint in (("endpoint", socket.endpoint), ("peer", socket.peer)):
            if endpoint is None:
                continue
            at = f"$.sockets[{number}].{key}"
            if not 0 <= endpoint.port <= 65535:
                raise FormatError(f"expected a port (0 to 65535) at `{at}.port`, got {endpoint.port}")
            if endpoint.address not in checked:
                try:
                    ip_address(endpoint.address)
                except ValueError as error:
                    got = endpoint.address[:80]
                    raise FormatError(f"expected an IP address at `{at}.address`, got `{got}`") from error
                checked.add(endpoint.address)


def json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind. Raises KeyError for one that isn't in KINDS."""
    name, noun = KINDS[kind]
    definitions: dict[str, Any] = {}
    body = schema(noun, definitions)
    if "Recognised" in definitions:
        renamed = definitions["Recognised"]
        renamed["properties"]["as"] = renamed["properties"].pop("kind")
        renamed["required"][renamed["required"].index("kind")] = "as"
    body["properties"] = {**body["properties"], "schema": {"const": name}}
    body["required"] = list(dict.fromkeys(["schema", *body["required"]]))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        **body,
        "$defs": definitions,
    }
