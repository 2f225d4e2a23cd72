"""What differs between two schemas of the same version, field by field, for a person to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from skerry.events.schemas.compatibility import Mismatch
from skerry.events.schemas.model import EventSchema, shape
from skerry.events.schemas.values import resolve, shown

MAX_REPORTED: Final = 20

_INNER: Final = {"items": "[]", "additionalProperties": "{}"}
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_APART: Final = {"properties", "required", "$defs", *_INNER}


def differences(old: EventSchema, new: EventSchema) -> list[Mismatch]:
    """Where `new` is another schema than `old`, at most 20 places; empty only when both are the same."""
    if old.is_same(new):
        return []
    found: dict[Mismatch, None] = {}
    if old.key != new.key:
        found[Mismatch(new.key, f"became the key, which was {old.key}")] = None
    for one, other in ((old.writes, new.writes), (old.reads, new.reads)):
        walk = _Walk(shape(one), shape(other))
        found.update(dict.fromkeys(walk.between(walk.old, walk.new, "")))
    return list(found)[:MAX_REPORTED] or [Mismatch("", "changed")]


class _Walk:
    """Goes down two schemas side by side; what is referred to again is looked at once."""

    def __init__(self, old: Any, new: Any) -> None:
        self.old = old
        self.new = new
        self._seen: set[tuple[str, str]] = set()

    def between(self, one: Any, other: Any, path: str) -> Iterator[Mismatch]:
        if isinstance(one, dict) and isinstance(other, dict) and ("$ref" in one or "$ref" in other):
            names = (str(one.get("$ref")), str(other.get("$ref")))
            if names in self._seen:
                return
            self._seen.add(names)
        one, other = _target(one, self.old), _target(other, self.new)
        if not isinstance(one, dict) or not isinstance(other, dict):
            if one != other:
                yield Mismatch(path, f"changed from {shown(one)} to {shown(other)}")
            return
        for word in sorted((one.keys() | other.keys()) - _APART):
            if one.get(word) != other.get(word):
                yield Mismatch(path, f"has {word} {shown(other.get(word))} instead of {shown(one.get(word))}")
            elif word in _LISTS:  # the same words, which may refer to what changed
                for before, after in zip(one[word], other[word], strict=True):
                    yield from self.between(before, after, path)
        yield from self._fields(one, other, path)
        for word in [word for word in _INNER if word in one or word in other]:
            yield from self.between(one.get(word), other.get(word), path + _INNER[word])

    def _fields(self, one: dict[str, Any], other: dict[str, Any], path: str) -> Iterator[Mismatch]:
        before, after = one.get("properties", {}), other.get("properties", {})
        for name in before:
            where = f"{path}.{name}" if path else name
            if name not in after:
                yield Mismatch(where, "was removed")
                continue
            yield from self.between(before[name], after[name], where)
            required = [name in each.get("required", ()) for each in (one, other)]
            if required == [False, True]:
                yield Mismatch(where, "became required")
            elif required == [True, False]:
                yield Mismatch(where, "is not required any more")
        for name in [name for name in after if name not in before]:
            yield Mismatch(f"{path}.{name}" if path else name, "was added")


def _target(node: Any, document: Any) -> Any:
    if isinstance(node, dict) and "$ref" in node:
        found = resolve(node["$ref"], document)
        return {**found, **{k: v for k, v in node.items() if k != "$ref"}} if isinstance(found, dict) else node
    return node
