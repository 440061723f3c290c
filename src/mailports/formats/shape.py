"""From a noun's annotations: encode it, decode it with errors that name the place, describe it as JSON Schema.

The annotations of a `Record` are the only description of its JSON form, so that code, files and schema
can't differ. They use a small language: `str`, `int`, `float`, `bool`, another noun, `X | None`,
`tuple[X, ...]` and `tuple[X, Y]`.

Source: JSON Schema 2020-12; the form of the error messages is msgspec's.
"""

from __future__ import annotations

import sys

from mailports.model.facts import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIMPLE: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_GOT = {"str": "string", "dict": "object", "list": "array", "bool": "boolean", "int": "integer", "float": "number"}
_JSON_NAMES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


class ShapeError(Exception):
    """JSON doesn't have the shape of the noun: says which value, what was expected, and what it got."""


def encode(value: Any) -> Any:
    """Return a noun as plain JSON values: objects for nouns, lists for tuples."""
    if isinstance(value, tuple):
        if hasattr(value, "_fields"):
            return {field: encode(item) for field, item in zip(value._fields, value)}
        return [encode(item) for item in value]
    return value


def decode(noun: type, value: Any, at: str = "$") -> Any:
    """Return the noun that `value` describes.

    Keys that the noun doesn't have are ignored: a later version may add some. Missing ones take the
    noun's default, or are an error where it has none.

    Raises:
        ShapeError: with the path of the first value that doesn't fit.
    """
    return _decode(noun.__name__, sys.modules[noun.__module__], value, at)


def _decode(annotation: str, module: Any, value: Any, at: str) -> Any:
    if annotation.endswith(" | None"):
        return None if value is None else _decode(annotation[: -len(" | None")], module, value, at)
    if annotation.startswith("tuple["):
        return _decode_tuple(annotation[len("tuple[") : -1], module, value, at)
    simple = _SIMPLE.get(annotation)
    if simple is not None:
        if isinstance(value, simple) and (simple is bool or not isinstance(value, bool)):
            return printable(value) if isinstance(value, str) else value
        if simple is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        raise _wrong(at, _JSON_NAMES[annotation], value)
    return _decode_noun(getattr(module, annotation), value, at)


def _decode_tuple(inner: str, module: Any, value: Any, at: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _wrong(at, "array", value)
    if inner.endswith(", ..."):
        return tuple(_decode(inner[: -len(", ...")], module, item, f"{at}[{n}]") for n, item in enumerate(value))
    parts = _split(inner)
    if len(parts) != len(value):
        raise _wrong(at, f"array of {len(parts)}", value)
    return tuple(_decode(part, module, item, f"{at}[{n}]") for n, (part, item) in enumerate(zip(parts, value)))


def _decode_noun(noun: Any, value: Any, at: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(at, f"object ({noun.__name__})", value)
    module = sys.modules[noun.__module__]
    values = {}
    for field, annotation in noun.__annotations__.items():
        if field in value:
            values[field] = _decode(annotation, module, value[field], f"{at}.{field}")
        elif field not in noun._field_defaults:
            raise ShapeError(f"missing key `{field}` at `{at}`")
    return noun(**values)


def _wrong(at: str, expected: str, value: Any) -> ShapeError:
    got = "null" if value is None else _GOT.get(type(value).__name__, type(value).__name__)
    return ShapeError(f"expected {expected} at `{at}`, got {got}")


def schema(noun: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a noun; nouns within it are put into `definitions`."""
    module = sys.modules[noun.__module__]
    described = _descriptions(noun.__doc__ or "")
    properties = {}
    for field, annotation in noun.__annotations__.items():
        entry = _schema(annotation, module, definitions)
        if field in described:
            entry = {"description": described[field], **entry}
        properties[field] = entry
    summary = (noun.__doc__ or "").strip().split("\n\n", 1)[0].replace("\n", " ")
    return {
        "type": "object",
        "description": " ".join(summary.split()),
        "properties": properties,
        "required": list(noun._fields),
    }


def _schema(annotation: str, module: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if annotation.endswith(" | None"):
        inner = _schema(annotation[: -len(" | None")], module, definitions)
        return {"anyOf": [inner, {"type": "null"}]}
    if annotation.startswith("tuple["):
        inside = annotation[len("tuple[") : -1]
        if inside.endswith(", ..."):
            return {"type": "array", "items": _schema(inside[: -len(", ...")], module, definitions)}
        parts = [_schema(part, module, definitions) for part in _split(inside)]
        return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    if annotation in _JSON_NAMES:
        return {"type": _JSON_NAMES[annotation]}
    noun = getattr(module, annotation)
    if noun.__name__ not in definitions:
        definitions[noun.__name__] = {}  # a noun may hold itself
        definitions[noun.__name__] = schema(noun, definitions)
    return {"$ref": f"#/$defs/{noun.__name__}"}


def _split(text: str) -> list[str]:
    """Split at the commas that aren't inside brackets."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        if character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    parts.append(text[start:].strip())
    return parts


def _descriptions(docstring: str) -> dict[str, str]:
    """The field descriptions of a docstring's `Attributes:` section."""
    _, _, section = docstring.partition("Attributes:\n")
    found: dict[str, str] = {}
    field = None
    for line in section.split("\n"):
        indent = len(line) - len(line.lstrip())
        if not line.strip():
            if field is not None:
                break
        elif indent <= 8 and ": " in line:
            field, _, text = line.strip().partition(": ")
            found[field] = text
        elif field is not None:
            found[field] += " " + line.strip()
    return found
