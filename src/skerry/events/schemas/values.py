"""JSON values and schemas in their plain form: what the comparison of schemas stands on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Node: TypeAlias = dict[str, Any] | bool

MAX_REFERENCES: Final = 32

_CLASSES: Final[Mapping[Any, Any]] = {
    "null": type(None),
    "string": str,
    "number": (int, float),
    "integer": int,
    "array": list,
    "object": dict,
}
_SCHEMAS: Final = {"items", "additionalProperties", "propertyNames"}
_KINDS: Final = {
    "table of schemas": {"properties", "patternProperties", "$defs"},
    "list of schemas": {"anyOf", "oneOf", "allOf", "prefixItems"},
    "list of names": {"required"},
    "list": {"enum"},
    "table": {"discriminator"},
    "text": {"$ref", "format", "pattern"},
    "type": {"type"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "size": {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"},
}
_FITS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "table of schemas": lambda value: isinstance(value, dict),
    "list of schemas": lambda value: isinstance(value, list),
    "list of names": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "list": lambda value: isinstance(value, list),
    "table": lambda value: isinstance(value, dict),
    "text": lambda value: isinstance(value, str),
    "type": lambda value: all(isinstance(each, str) for each in (value if isinstance(value, list) else [value])),
    "number": lambda value: is_of(value, "number") and math.isfinite(value),
    "size": lambda value: is_of(value, "integer"),
}
_ANNOTATIONS: Final = frozenset(
    {
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$comment",
        "$schema",
        "$id",
        "$defs",
    }
)


def plain(node: Any, document: Mapping[str, Any]) -> Node | None:
    """A schema with its references followed and without what does not bear on values; None when it cannot be resolved.

    `$ref` beside other keywords becomes `allOf`, a list of types becomes `anyOf`.
    """
    for _ in range(MAX_REFERENCES):
        if not isinstance(node, dict):
            break
        kept = {k: v for k, v in node.items() if k not in _ANNOTATIONS and not k.startswith("x-")}
        types, parts = kept.get("type"), kept.get("allOf")
        if "$ref" in kept:
            node = resolve(kept.pop("$ref"), document)
            if kept and node is not None:
                return {"allOf": [node, kept]}
        elif len(kept) == 1 and isinstance(parts, list) and len(parts) == 1:
            node = parts[0]
        elif isinstance(types, list):
            return {"anyOf": [{**kept, "type": each} for each in types]}
        else:
            return kept
    return node if isinstance(node, bool) else None


def malformed(node: Any, path: str = "#") -> str:
    """Where a schema is none, as a reason; empty when every keyword that is compared has a value of its kind.

    Raises `RecursionError` when it is nested too deep.
    """
    if isinstance(node, bool):
        return ""
    if not isinstance(node, dict):
        return f"{path} is no schema"
    for word, value in node.items():
        kind = next((kind for kind, words in _KINDS.items() if word in words), "")
        if kind and not _FITS[kind](value):
            return f"{path}/{word} is no {kind}"
        inner: list[Any] = []
        if word in _KINDS["table of schemas"]:
            inner = list(value.values())
        elif word in _KINDS["list of schemas"]:
            inner = value
        elif word in _SCHEMAS:
            inner = [value]
        if reason := next(filter(None, (malformed(each, f"{path}/{word}") for each in inner)), ""):
            return reason
    return ""


def resolve(reference: Any, document: Mapping[str, Any]) -> Any:
    """What a reference inside the document stands for; None when it leads elsewhere."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: Any = document
    for part in reference[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def finite(node: Mapping[str, Any]) -> list[Any] | None:
    """All values a schema allows, or more, when they are listed; None when they are not."""
    if "const" in node:
        return [node["const"]]
    if isinstance(node.get("enum"), list):
        return list(node["enum"])
    listed: Mapping[Any, list[Any]] = {"null": [None], "boolean": [False, True]}
    return listed.get(node.get("type"))


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, but not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def is_of(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a type of JSON Schema."""
    if isinstance(value, bool):
        return bool(kind == "boolean")
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _CLASSES.get(kind, ()))


def has_reference(node: Any) -> bool:
    """Whether a reference stands anywhere inside."""
    if isinstance(node, dict):
        return "$ref" in node or any(map(has_reference, node.values()))
    return isinstance(node, list) and any(map(has_reference, node))


def shown(value: Any) -> str:
    """A value of a schema as a message shows it: short, on one line, printable."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else "?" for c in text[:80])
    return f'"{text}"' if isinstance(value, str) else text
