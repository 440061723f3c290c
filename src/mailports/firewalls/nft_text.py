"""An expression of nftables' JSON as text, near to how `nft list` prints it.

For people and for `when`; nothing reads it back. Any value gives some text: what isn't known is shown as
its name and what is in it.

Source: libnftables-json(5).

Limits: text is cut after `_LIMIT` characters and `_DEPTH` levels, since a hostile dump may nest as it likes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_DEPTH = 12
_ITEMS = 64
_LIMIT = 1000

_UNQUALIFIED = ("iif", "iifname", "oif", "oifname", "skuid", "skgid", "iifgroup", "oifgroup")
_QUOTED = ("iif", "iifname", "oif", "oifname")
_OPERATORS = ("&", "|", "^", "<<", ">>")


def rule_text(expressions: Any) -> str:
    """Return a rule's expressions as one line."""
    if not isinstance(expressions, list):
        return text_of(expressions)
    return " ".join(filter(None, (_statement(e) for e in expressions[:_ITEMS])))[:_LIMIT]


def match_text(left: Any, op: Any, right: Any) -> str:
    """Return a comparison: `iifname != "docker0"`, `ct state established,related`."""
    quote = _quote_of(left)
    sign = "" if op in ("==", "in") and not _is_operation(left) else f"{op if isinstance(op, str) else '?'} "
    between = "," if op == "in" or isinstance(right, list) else " "
    return f"{text_of(left)} {sign}{text_of(right, 0, quote, between)}"[:_LIMIT]


def text_of(value: Any, depth: int = 0, quote: str = "", between: str = " ") -> str:
    """Return a value as text; `quote` stands around strings, `between` in a list."""
    if depth > _DEPTH:
        return "…"
    if isinstance(value, dict) and value:
        return _expression(value, depth + 1, quote)[:_LIMIT]
    if isinstance(value, list):
        return between.join(text_of(v, depth + 1, quote) for v in value[:_ITEMS])[:_LIMIT]
    if isinstance(value, str):
        return value[:_LIMIT] if value.startswith("@") else f"{quote}{value[:_LIMIT]}{quote}"
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value) if isinstance(value, (int, float)) else ""


def _expression(value: dict[str, Any], depth: int, quote: str) -> str:
    name, body = next(iter(value.items()))
    known = _KNOWN.get(name)
    if known is not None:
        return known(body, depth, quote)
    if name in _OPERATORS and isinstance(body, list):
        return f" {name} ".join(text_of(v, depth) for v in body[:_ITEMS])
    return f"{name} {text_of(list(body.values()) if isinstance(body, dict) else body, depth)}".strip()


def _statement(expression: Any) -> str:
    if not isinstance(expression, dict) or not expression:
        return ""
    name, body = next(iter(expression.items()))
    known = _STATEMENTS.get(name)
    if known is None:
        return text_of(expression)
    return known(body if isinstance(body, dict) else {})


def _limit(body: dict[str, Any]) -> str:
    over = "over " if body.get("inv") else ""
    return f"limit rate {over}{text_of(body.get('rate'))}/{text_of(body.get('per'))}"


def _nat(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda body: _nat_text(name, body)


def _nat_text(name: str, body: dict[str, Any]) -> str:
    family = f" {text_of(body['family'])}" if body.get("family") else ""
    address, port = text_of(body.get("addr")), text_of(body.get("port"))
    if ":" in address and port and "map" not in address:
        address = f"[{address}]"
    to = address + (f":{port}" if port else "")
    return f"{name}{family}" + (f" to {to}" if to else "")


def _is_operation(value: Any) -> bool:
    return isinstance(value, dict) and next(iter(value), None) in (*_OPERATORS, "jhash", "numgen")


def _quote_of(key: Any) -> str:
    meta = key.get("meta") if isinstance(key, dict) else None
    return '"' if isinstance(meta, dict) and meta.get("key") in _QUOTED else ""


def _payload(body: Any, depth: int, _quote: str) -> str:
    if not isinstance(body, dict):
        return f"payload {text_of(body, depth)}"
    if "protocol" in body:
        return f"{text_of(body['protocol'], depth)} {text_of(body.get('field'), depth)}"
    return "@" + ",".join(text_of(body.get(k), depth) for k in ("base", "offset", "len"))


def _meta(body: Any, depth: int, _quote: str) -> str:
    key = text_of(body.get("key") if isinstance(body, dict) else body, depth)
    return key if key in _UNQUALIFIED else f"meta {key}"


def _ct(body: Any, depth: int, _quote: str) -> str:
    body = body if isinstance(body, dict) else {"key": body}
    parts = (text_of(body.get(k), depth) for k in ("dir", "family", "key"))
    return " ".join(("ct", *filter(None, parts)))


def _fib(body: Any, depth: int, _quote: str) -> str:
    body = body if isinstance(body, dict) else {}
    flags = body.get("flags")
    flags = flags if isinstance(flags, list) else [flags]
    return f"fib {' . '.join(text_of(f, depth) for f in flags[:8])} {text_of(body.get('result'), depth)}"


def _prefix(body: Any, depth: int, _quote: str) -> str:
    body = body if isinstance(body, dict) else {}
    return f"{text_of(body.get('addr'), depth)}/{text_of(body.get('len'), depth)}"


def _joined(sign: str) -> Callable[[Any, int, str], str]:
    def joined(body: Any, depth: int, quote: str) -> str:
        items = body if isinstance(body, list) else [body]
        return sign.join(text_of(v, depth, quote) for v in items[:_ITEMS])

    return joined


def _set(body: Any, depth: int, quote: str) -> str:
    items = body if isinstance(body, list) else [body]
    texts = []
    for item in items[:_ITEMS]:
        if isinstance(item, list) and len(item) == 2:
            texts.append(f"{text_of(item[0], depth, quote)} : {text_of(item[1], depth)}")
        else:
            texts.append(text_of(item, depth, quote))
    return "{ " + ", ".join(texts) + (", …" if len(items) > _ITEMS else "") + " }"


def _map(body: Any, depth: int, _quote: str) -> str:
    body = body if isinstance(body, dict) else {}
    return f"{text_of(body.get('key'), depth)} map {text_of(body.get('data'), depth)}"


def _element(body: Any, depth: int, quote: str) -> str:
    return text_of(body.get("val") if isinstance(body, dict) else body, depth, quote)


def _jhash(body: Any, depth: int, _quote: str) -> str:
    body = body if isinstance(body, dict) else {}
    return f"jhash {text_of(body.get('expr'), depth)} mod {text_of(body.get('mod'), depth)}"


def _numgen(body: Any, depth: int, _quote: str) -> str:
    body = body if isinstance(body, dict) else {}
    return f"numgen {text_of(body.get('mode'), depth)} mod {text_of(body.get('mod'), depth)}"


_KNOWN: dict[str, Callable[[Any, int, str], str]] = {
    "payload": _payload,
    "meta": _meta,
    "ct": _ct,
    "fib": _fib,
    "prefix": _prefix,
    "range": _joined("-"),
    "concat": _joined(" . "),
    "set": _set,
    "map": _map,
    "elem": _element,
    "jhash": _jhash,
    "numgen": _numgen,
}

_STATEMENTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "match": lambda body: match_text(body.get("left"), body.get("op"), body.get("right")),
    "counter": lambda _: "",
    "vmap": lambda body: f"{text_of(body.get('key'))} vmap {text_of(body.get('data'), 0, _quote_of(body.get('key')))}",
    "mangle": lambda body: f"{text_of(body.get('key'))} set {text_of(body.get('value'))}",
    "xt": lambda body: f"xt {text_of(body.get('type'))} {text_of(body.get('name'))}".strip(),
    "log": lambda body: f'log prefix "{text_of(body["prefix"])}"' if body.get("prefix") else "log",
    "limit": _limit,
    "quota": lambda b: f"quota {'over ' if b.get('inv') else ''}{text_of(b.get('val'))} {text_of(b.get('val_unit'))}",
    "ct count": lambda b: f"ct count {'over ' if b.get('inv') else ''}{text_of(b.get('val'))}",
    "set": lambda b: f"{text_of(b.get('op'))} {text_of(b.get('set'))} {{ {text_of(b.get('elem'))} }}",
    "reject": lambda b: (
        f"reject with {text_of(b['type'])} {text_of(b.get('expr'))}".rstrip() if b.get("type") else "reject"
    ),
}
_STATEMENTS.update((name, _nat(name)) for name in ("dnat", "snat", "redirect", "tproxy", "masquerade"))
