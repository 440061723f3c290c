"""JSON in and out: one description of each noun gives its encoder, its decoder and its schema."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mailports.diagnose.overview import survey
from mailports.diagnose.rules import diagnose
from mailports.diagnose.story import tell
from mailports.formats.documents import (
    KINDS,
    FormatError,
    explain_document,
    findings_document,
    json_schema,
    snapshot_from_json,
    snapshot_to_json,
    status_document,
    to_json,
    why_document,
)
from mailports.formats.shape import encode
from mailports.model import facts
from mailports.model.facts import Endpoint, Holder, Look, Namespace, Setting, Snapshot, Socket
from mailports.model.readings import Recognised
from mailports.model.stories import Question

bounded = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Every noun from its own annotations, so that a new field is covered on the day it is added.

TEXT = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=("C", "Z")), max_size=6)
SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXT,
    "int": st.integers(0, 65535),
    "bool": st.booleans(),
}


ADDRESSES = st.sampled_from(("0.0.0.0", "::", "127.0.0.1", "::1", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"))
OF_FIELDS = {"Endpoint.address": ADDRESSES, "Endpoint.protocol": st.sampled_from(("tcp", "udp"))}
OF_FIELDS |= {"Address.address": ADDRESSES, "Socket.family": st.sampled_from((4, 6))}


def some(annotation: str, module: Any) -> st.SearchStrategy[Any]:
    """A strategy for an annotation's values."""
    if annotation.endswith(" | None"):
        return st.none() | some(annotation[: -len(" | None")], module)
    if annotation.startswith("tuple[") and annotation.endswith(", ...]"):
        return st.lists(some(annotation[6:-6], module), max_size=2).map(tuple)
    if annotation == "tuple[int, int]":
        return st.tuples(SIMPLE["int"], SIMPLE["int"])
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    noun = getattr(module, annotation)
    here = sys.modules[noun.__module__]
    fields = noun.__annotations__.items()
    return st.builds(noun, **{n: OF_FIELDS.get(f"{annotation}.{n}", some(text, here)) for n, text in fields})


snapshots = some("Snapshot", facts)


def a_snapshot(**more: Any) -> Snapshot:
    """A small one: Postfix, and HAProxy beside it."""
    sockets = tuple(
        Socket(
            Endpoint("tcp", "0.0.0.0", 25, netns="here"), 4, "listen", inode=pid,
            holders=(Holder(pid, name, unit=f"{name}.service"),), holders_extent="all",
        )
        for pid, name in ((812, "postfix"), (900, "haproxy"))
    )  # fmt: skip
    looks = (Look("listeners", "here", "all", "sock_diag"), Look("netfilter", "here", "none", "nft", "no nft"))
    parts = {"looks": looks, "namespaces": (Namespace("here", 1),), "sockets": sockets, **more}
    return Snapshot("mx", "2026-01-01T12:00:00Z", "Linux", "6.12", **parts)


def documents(snapshot: Snapshot) -> dict[str, str]:
    """Each kind of document, as text."""
    diagnosis = diagnose(snapshot)
    overview = survey(snapshot, diagnosis, everything=True)
    return {
        "status": to_json(status_document(snapshot, overview, diagnosis)),
        "findings": to_json(findings_document(snapshot, diagnosis)),
        "explain": to_json(
            explain_document(snapshot, diagnosis, (Recognised("ss -tlnp", 1, 4),), ("docker ps",), ("a problem",))
        ),
        "why": to_json(why_document(snapshot, (tell(snapshot, Question("25", "tcp", 25)),))),
        "snapshot": snapshot_to_json(snapshot),
    }


# Snapshots, there and back.


@given(snapshots)
@bounded
def test_a_snapshot_comes_back_as_it_was(snapshot: Snapshot) -> None:
    """Written and read it is the same."""
    assert snapshot_from_json(snapshot_to_json(snapshot)) == snapshot


@given(snapshots)
@bounded
def test_a_snapshot_is_valid_by_its_own_schema(snapshot: Snapshot) -> None:
    """Whatever its values."""
    Draft202012Validator(json_schema("snapshot")).validate(json.loads(snapshot_to_json(snapshot)))


def test_unknown_keys_are_ignored() -> None:
    """A later version may add some, at any depth."""
    value = json.loads(snapshot_to_json(a_snapshot()))
    value["later"] = {"x": [1]}
    value["sockets"][0]["later"] = None
    value["sockets"][0]["endpoint"]["later"] = 5
    assert snapshot_from_json(json.dumps(value)) == a_snapshot()


def test_missing_keys_take_their_defaults() -> None:
    """What has a default may be left out."""
    value = json.loads(snapshot_to_json(a_snapshot()))
    del value["units"], value["sockets"][0]["uid"], value["sockets"][0]["endpoint"]["device"]
    assert snapshot_from_json(json.dumps(value)) == a_snapshot()


def test_text_from_a_file_is_made_printable() -> None:
    """A Snapshot may come from anyone: its text can't move the cursor any more than a process's name can."""
    value = json.loads(snapshot_to_json(a_snapshot()))
    value["host"] = "mx\x1b]0;pwned\x07"
    value["sockets"][0]["holders"][0]["name"] = "a\nb\ud800"
    read = snapshot_from_json(json.dumps(value))
    assert (read.host, read.sockets[0].holders[0].name) == ("mx\\x1b]0;pwned\\x07", "a\\x0ab\\xed\\xa0\\x80")


# What is said of a text that is no Snapshot.


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("sockets", 0, "endpoint", "port"), "25", "expected integer at `$.sockets[0].endpoint.port`, got string"),
        (("sockets", 0, "endpoint", "port"), None, "expected integer at `$.sockets[0].endpoint.port`, got null"),
        (("sockets", 0, "endpoint", "port"), True, "expected integer at `$.sockets[0].endpoint.port`, got boolean"),
        (("sockets", 0, "endpoint", "port"), 2.5, "expected integer at `$.sockets[0].endpoint.port`, got number"),
        (("sockets", 1, "endpoint"), [], "expected object (Endpoint) at `$.sockets[1].endpoint`, got array"),
        (("sockets", 1, "autobound"), 1, "expected boolean at `$.sockets[1].autobound`, got integer"),
        (("looks", 1, "why"), {}, "expected string at `$.looks[1].why`, got object"),
        (("sockets",), {}, "expected array at `$.sockets`, got object"),
        (("host",), None, "expected string at `$.host`, got null"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(path: tuple[Any, ...], value: Any, message: str) -> None:
    """The first value that doesn't fit: where, what was expected, what it got, both by JSON's own names."""
    document = json.loads(snapshot_to_json(a_snapshot()))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(FormatError) as caught:
        snapshot_from_json(json.dumps(document))
    assert str(caught.value) == message


def test_a_missing_key_is_named() -> None:
    """With the place of the object that lacks it."""
    document = json.loads(snapshot_to_json(a_snapshot()))
    del document["sockets"][1]["endpoint"]["port"]
    with pytest.raises(FormatError, match=r"^missing key `port` at `\$\.sockets\[1\]\.endpoint`$"):
        snapshot_from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("", 1, 1), ("{", 1, 2), ('{\n  "schema": x\n}', 2, 13), ("[1,\n\n 2", 3, 3), ("\ufeff{}", 1, 1)],
)
def test_a_syntax_error_has_its_place(text: str, line: int, column: int) -> None:
    """Line and column, from 1."""
    with pytest.raises(FormatError, match=r"^expected a Snapshot as JSON: ") as caught:
        snapshot_from_json(text)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ({}, "no key `schema`"),
        ([], "no key `schema`"),
        ({"schema": 1}, "no key `schema`"),
        ({"schema": "mailports.status/1"}, "schema `mailports.status/1`"),
        ({"schema": "mailports.snapshot/2"}, "schema `mailports.snapshot/2`"),
    ],
)
def test_another_document_is_refused_by_name(value: Any, got: str) -> None:
    """What was expected, what was found, and what writes the right one."""
    with pytest.raises(FormatError) as caught:
        snapshot_from_json(json.dumps(value))
    expected = f"expected a Snapshot (mailports.snapshot/1), got {got}; `mailports snapshot` writes one"
    assert str(caught.value) == expected


def test_a_long_name_is_cut() -> None:
    """Input that is quoted in a message is bounded."""
    with pytest.raises(FormatError) as caught:
        snapshot_from_json(json.dumps({"schema": "x" * 100_000}))
    assert len(str(caught.value)) < 300


HOSTILE = [
    "[" * 200_000,
    '{"a":' * 200_000,
    "1" * 10_000,
    "NaN",
    '{"schema": NaN}',
    "Infinity",
    '"\\ud800"',
    '{"schema": "\\ud800"}',
    "null",
    "\x00",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_json_is_a_format_error(text: str) -> None:
    """Depth, length, NaN and lone surrogates give no other exception, and a message that can be printed."""
    with pytest.raises(FormatError) as caught:
        snapshot_from_json(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", ["NaN", "1e999", "1" * 5000, "[" * 5000 + "]" * 5000, "-1e400", '"\\udfff"', "{}"])
def test_hostile_values_are_format_errors(value: str) -> None:
    """The same in the place of a number."""
    text = snapshot_to_json(a_snapshot()).replace('"port": 25', f'"port": {value}')
    with pytest.raises(FormatError):
        snapshot_from_json(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"port": 25', '"port": 70000'),
        ('"port": 25', '"port": -1'),
        ('"address": "0.0.0.0"', '"address": "localhost"'),
        ('"address": "0.0.0.0"', '"address": ""'),
        ('"address": "0.0.0.0"', '"address": "1:2"'),
    ],
)
def test_an_endpoint_that_cannot_be_is_a_format_error(old: str, new: str) -> None:
    """A port of more than 16 bits, or an address that is none, isn't handed on to the rules."""
    with pytest.raises(FormatError):
        snapshot_from_json(snapshot_to_json(a_snapshot()).replace(old, new))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(max_size=30) | JSON.map(json.dumps))
@bounded
def test_any_text_is_a_snapshot_or_a_format_error(text: str) -> None:
    """No text raises anything else."""
    with pytest.raises(FormatError):
        snapshot_from_json(text)


@given(st.sampled_from([*facts.Snapshot._fields]), JSON)
@bounded
def test_any_value_of_a_key_is_read_or_a_format_error(key: str, value: Any) -> None:
    """Nor does any value in the place of another, and the message says in whose."""
    document = json.loads(snapshot_to_json(a_snapshot()))
    document[key] = value
    message = refusal(json.dumps(document))
    assert message is None or f"`$.{key}" in message


def refusal(text: str) -> str | None:
    """Why a text is no Snapshot, or None where it is one."""
    try:
        snapshot_from_json(text)
    except FormatError as error:
        return str(error)
    return None


# Documents and their schemas.


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_valid_by_its_own_schema(kind: str) -> None:
    """The schema itself is one, and what the program prints is what it says."""
    schema = json_schema(kind)
    Draft202012Validator.check_schema(schema)
    value = json.loads(documents(a_snapshot())[kind])
    Draft202012Validator(schema).validate(value)
    name = "findings" if kind == "explain" else kind
    assert value["schema"] == f"mailports.{name}/1" == schema["title"]


@given(snapshots)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_documents_of_any_snapshot_are_valid(snapshot: Snapshot) -> None:
    """Whatever was seen, audit's answer is what its schema says."""
    text = to_json(findings_document(snapshot, diagnose(snapshot)))
    Draft202012Validator(json_schema("findings")).validate(json.loads(text))


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_refuses_what_lacks_a_key(kind: str) -> None:
    """Every key is always there, null where it doesn't apply."""
    value = json.loads(documents(a_snapshot())[kind])
    del value["taken_at"]
    assert not Draft202012Validator(json_schema(kind)).is_valid(value)


EVERY = {"schema", "host", "taken_at", "looks"}
CONTRACT = {
    "status": {
        "$": EVERY | {"listeners", "unknown"},
        "Listener": {"endpoint", "service", "holders", "holders_extent", "findings"},
        "Holder": {"pid", "name", "exe", "unit", "container"},
    },
    "findings": {
        "$": EVERY | {"findings", "unknown"},
        "Finding": {
            "name", "severity", "is_conflict", "summary", "endpoint", "endpoints", "parties", "evidence", "cause",
            "breaks", "remedies", "unknown", "fingerprint",
        },
        "Evidence": {"fact", "source"},
        "Break": {"flow", "effect", "hop", "peer_sees", "source"},
        "Remedy": {"id", "kind", "summary", "rule", "moves"},
        "Unknown": {"what", "why", "how_to_see"},
        "Endpoint": {"protocol", "address", "port", "v6only", "device", "netns"},
        "Party": {
            "role", "name", "product", "instance", "endpoint", "pid", "unit", "container", "entry", "path", "line",
            "column",
        },
    },
    "why": {
        "$": EVERY | {"stories", "namespaces"},
        "Story": {"judged", "listeners", "receivers", "redirects", "gates"},
        "Judged": {"request", "verdict"},
        "Verdict": {"bind", "listen", "errno", "obstacles"},
        "Obstacle": {"step", "errno", "rule", "socket", "certain", "unknown"},
        "Receiver": {"endpoint", "endpoints", "holders", "source"},
    },
    "snapshot": {
        "$": EVERY
        | {"system", "release", "namespaces", "sockets", "units", "containers", "redirects", "gates", "settings"}
        | {"addresses", "lookups"},
        "Look": {"fact", "netns", "extent", "source", "why", "how_to_see"},
        "Namespace": {"label", "inode"},
    },
}  # fmt: skip
"""The keys that others rely on: DESIGN's output contract, word by word."""


@pytest.mark.parametrize("kind", CONTRACT)
def test_the_contracts_keys_are_there(kind: str) -> None:
    """Other programs are held against these keys: each is required, and described by the schema."""
    schema = json_schema(kind)
    for noun, keys in CONTRACT[kind].items():
        described = schema if noun == "$" else schema["$defs"][noun]
        assert keys <= set(described["properties"])
        assert keys <= set(described["required"])


def test_every_key_is_described() -> None:
    """Where a noun describes its fields the schema says it too."""
    endpoint = json_schema("findings")["$defs"]["Endpoint"]["properties"]
    assert endpoint["protocol"] == {"description": "`tcp` or `udp`.", "type": "string"}
    assert endpoint["port"]["description"].startswith("1 to 65535")
    redirect = json_schema("snapshot")["$defs"]["Redirect"]["properties"]
    assert redirect["to_ports"]["anyOf"][0]["prefixItems"] == [{"type": "integer"}, {"type": "integer"}]
    assert "(`iifname" in redirect["when"]["description"]


def test_a_document_ends_with_a_newline() -> None:
    """It is text that a shell can append to, and not escaped beyond need."""
    text = to_json(Setting("net.x", "é", None))
    assert text == '{\n  "name": "net.x",\n  "value": "é",\n  "netns": null\n}\n'
    assert encode((1, ("a", None))) == [1, ["a", None]]
