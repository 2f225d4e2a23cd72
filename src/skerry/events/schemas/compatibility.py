"""Whether a reader understands everything a writer may write, told from their schemas alone.

The rules cover the part of JSON Schema that pydantic produces. A writer writes what it declares and nothing else; a reader
ignores fields it does not know, unless its schema forbids them. What cannot be decided counts as not understood.

Source: JSON Schema, draft 2020-12, core and validation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from skerry.events.schemas.values import Node, finite, has_reference, is_of, plain, same, shown

MAX_STEPS: Final = 20_000
"""Comparisons of one pair of schemas; a pair that needs more cannot be decided."""
MAX_DEPTH: Final = 60
MAX_REPORTED: Final = 50

_APPLICATORS: Final = {"allOf", "anyOf", "oneOf", "const", "enum", "type", "discriminator"}
_OF_TYPE: Final = {
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "string": {"minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"},
    "object": {"properties", "required", "additionalProperties", "patternProperties", "propertyNames"}
    | {"minProperties", "maxProperties"},
}
_OF_ANY_TYPE: Final = frozenset().union(*_OF_TYPE.values())
_INHERITED: Final = {"pattern", "format", "contentEncoding", "contentMediaType", "propertyNames"}
"""Constraints that hold for a reader when the writer has the very same one."""
_LIMITS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "minimum": lambda value, limit: value >= limit,
    "maximum": lambda value, limit: value <= limit,
    "exclusiveMinimum": lambda value, limit: value > limit,
    "exclusiveMaximum": lambda value, limit: value < limit,
    "minLength": lambda value, limit: len(value) >= limit,
    "maxLength": lambda value, limit: len(value) <= limit,
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a reader may not understand: the field's path (`lines[].amount`, `prices{}`, empty for the whole) and what."""

    path: str
    what: str


class _Endless(Exception):
    """The schemas are too large or too deep to be compared."""


def mismatches(reader: Mapping[str, Any], writer: Mapping[str, Any]) -> list[Mismatch]:
    """Every reason why `reader` may refuse what `writer` writes; empty when it accepts all of it. At most 50."""
    if same(dict(reader), dict(writer)):
        return []
    comparison = _Comparison(reader, writer)
    try:
        found = comparison.compare(dict(reader), dict(writer), "", ())
    except (_Endless, RecursionError):
        return [Mismatch("", "cannot be decided: the schemas are too large or too deep")]
    unique = dict.fromkeys(found)
    return list(unique)[:MAX_REPORTED]


class _Comparison:
    def __init__(self, reader: Mapping[str, Any], writer: Mapping[str, Any]) -> None:
        self._reader = reader
        self._writer = writer
        self._steps = 0

    def compare(self, reader: Any, writer: Any, path: str, under: tuple[tuple[Any, Any], ...]) -> list[Mismatch]:
        """Why a value of `writer` may be refused by `reader`. A pair that is being compared further up is taken as fine:
        recursive schemas are understood unless a difference is found.
        """
        if any(one is reader and other is writer for one, other in under):
            return []
        self._steps += 1
        if self._steps > MAX_STEPS or len(under) > MAX_DEPTH:
            raise _Endless
        r, w = plain(reader, self._reader), plain(writer, self._writer)
        if r is None or w is None:
            return [Mismatch(path, "cannot be decided: a reference leads nowhere")]
        if isinstance(r, bool) or isinstance(w, bool) or not r or not w:
            return _anything(r, w, path)
        if same(r, w) and not has_reference(r):
            return []
        return self._take_apart(r, w, path, (*under, (reader, writer)))

    def _take_apart(self, r: dict[str, Any], w: dict[str, Any], path: str, under: Any) -> list[Mismatch]:
        if "allOf" in w or "anyOf" in w or "oneOf" in w:
            return self._each_of(r, w, path, under)
        if "allOf" in r:
            return self._all_of(r, w, path, under)
        values = finite(w)
        return self._single(r, w, path, under) if values is None else self._listed(r, values, path)

    def _each_of(self, r: dict[str, Any], w: dict[str, Any], path: str, under: Any) -> list[Mismatch]:
        """The writer's alternatives have to be read all; of what holds together one part is enough."""
        if "allOf" in w:
            rest = {k: v for k, v in w.items() if k != "allOf"}
            parts = [plain(part, self._writer) for part in (*w["allOf"], rest)]
            opened = [{"additionalProperties": True, **part} for part in parts if isinstance(part, dict) and part]
            if any(not self.compare(r, part, path, under) for part in opened):
                return []
            return [Mismatch(path, "cannot be decided: it is made of several schemas (allOf)")]
        word = "anyOf" if "anyOf" in w else "oneOf"
        rest = {k: v for k, v in w.items() if k not in {word, "discriminator"}}
        found: list[Mismatch] = []
        for branch in w[word]:
            found += self.compare(r, {"allOf": [branch, rest]} if rest else branch, path, under)
        return found

    def _all_of(self, r: dict[str, Any], w: dict[str, Any], path: str, under: Any) -> list[Mismatch]:
        found = self.compare({k: v for k, v in r.items() if k != "allOf"}, w, path, under)
        for part in r["allOf"]:
            found += self.compare(part, w, path, under)
        return found

    def _single(self, r: dict[str, Any], w: dict[str, Any], path: str, under: Any) -> list[Mismatch]:
        for word in ("anyOf", "oneOf"):
            if word in r:
                return self._one_of(r, w, word, path, under)
        if "const" in r or "enum" in r:
            return [Mismatch(path, f"may be any {_kind(w)}, where only {_kind(r)} is read")]
        return self._typed(r, w, path, under)

    def _listed(self, r: dict[str, Any], values: list[Any], path: str) -> list[Mismatch]:
        unknown = [value for value in values if self._accepts(r, value, 0) is False]
        unsure = [value for value in values if self._accepts(r, value, 0) is None]
        found = []
        if unknown:
            found.append(Mismatch(path, f"may be {_values(unknown)}, where {_kind(r)} is read"))
        if unsure:
            found.append(Mismatch(path, f"cannot be decided: whether {_values(unsure)} is read as {_kind(r)}"))
        return found

    def _one_of(self, r: dict[str, Any], w: dict[str, Any], word: str, path: str, under: Any) -> list[Mismatch]:
        rest = {k: v for k, v in r.items() if k not in {word, "discriminator"}}
        if found := self.compare(rest, w, path, under):
            return found
        tag = r.get("discriminator", {}).get("propertyName") if isinstance(r.get("discriminator"), dict) else None
        if tag is not None and tag not in w.get("required", ()):
            return [
                Mismatch(f"{path}.{tag}".lstrip("."), "may be absent, and tells the reader which alternative it is")
            ]
        branches = list(r[word])
        results = [self.compare(branch, w, path, under) for branch in branches]
        if all(results):
            return self._none_of(r, w, list(zip(branches, results, strict=True)), path)
        fitting = results.index([])
        others = branches[:fitting] + branches[fitting + 1 :]
        if word == "anyOf" or all(self._disjoint(w, other) for other in others):
            return []
        return [Mismatch(path, "cannot be decided: it may fit several of the alternatives that are read (oneOf)")]

    def _none_of(
        self, r: Any, w: dict[str, Any], results: list[tuple[Any, list[Mismatch]]], path: str
    ) -> list[Mismatch]:
        """Say it of the one alternative that is meant, or of the tag, rather than of all of them."""
        near = [result for branch, result in results if not self._disjoint(w, branch)]
        if len(near) == 1:
            return near[0]
        if "discriminator" in r and not near:
            tag = str(r["discriminator"].get("propertyName"))
            told = plain(w.get("properties", {}).get(tag, {}), self._writer)
            return [
                Mismatch(_join(path, tag), f"is {_kind(told or {})}, which is none of the alternatives that are read")
            ]
        return [Mismatch(path, f"is {_kind(w)}, where {_kind(r)} is read")]

    def _typed(self, r: dict[str, Any], w: dict[str, Any], path: str, under: Any) -> list[Mismatch]:
        wanted, given = r.get("type"), w.get("type")
        if given is None:
            return [Mismatch(path, f"cannot be decided: it has no single type, where {_kind(r)} is read")]
        if wanted not in {None, given} and not (wanted == "number" and given == "integer"):
            return [Mismatch(path, f"is {_kind(w)}, where {_kind(r)} is read")]
        group = "number" if given == "integer" else str(given)
        found = [
            Mismatch(path, f"cannot be decided: the reader has {keyword}")
            for keyword in r
            if keyword not in _APPLICATORS | _OF_ANY_TYPE
            and (not same(r[keyword], w.get(keyword)) or has_reference(r[keyword]))
        ]
        for keyword in sorted(_INHERITED & _OF_TYPE.get(group, set()) & r.keys()):
            if not same(r[keyword], w.get(keyword)) or has_reference(r[keyword]):
                has = f"it has {shown(w[keyword])}" if keyword in w else "it has none"
                found.append(Mismatch(path, f"{keyword}: {shown(r[keyword])} is read, {has}"))
        if group == "number":
            found += _numbers(r, w, path)
        elif group == "string":
            found += _within(r, w, path, "minLength", "maxLength")
        elif group == "array":
            found += self._arrays(r, w, path, under)
        elif group == "object":
            found += self._objects(r, w, path, under)
        return found

    def _arrays(self, r: dict[str, Any], w: dict[str, Any], path: str, under: Any) -> list[Mismatch]:
        first_r, first_w = r.get("prefixItems", []), w.get("prefixItems", [])
        rest_r, rest_w = r.get("items", True), w.get("items", True)
        longest = w.get("maxItems", math.inf)
        if rest_w is False:
            longest = min(longest, len(first_w))
        found = _within(r, {**w, "maxItems": longest} if longest < math.inf else w, path, "minItems", "maxItems")
        if r.get("uniqueItems") and not w.get("uniqueItems") and longest > 1:
            found.append(Mismatch(path, "may hold an item twice, where only different ones are read"))
        for index in range(int(min(longest, max(len(first_r), len(first_w))))):
            one = first_r[index] if index < len(first_r) else rest_r
            other = first_w[index] if index < len(first_w) else rest_w
            found += self.compare(one, other, f"{path}[{index}]", under)
        if longest > max(len(first_r), len(first_w)):
            found += self.compare(rest_r, rest_w, f"{path}[]", under)
        return found

    def _objects(self, r: dict[str, Any], w: dict[str, Any], path: str, under: Any) -> list[Mismatch]:
        if "patternProperties" in r or "patternProperties" in w:
            words = ("properties", "patternProperties", "additionalProperties", "required")
            if any(not same(r.get(word), w.get(word)) or has_reference(r.get(word)) for word in words):
                return [Mismatch(path, "cannot be decided: names of fields are given by patterns")]
            return _within(r, w, path, "minProperties", "maxProperties")
        fields, known = w.get("properties", {}), r.get("properties", {})
        extra = w.get("additionalProperties", "properties" not in w)
        certain = set(w.get("required", ()))
        found: list[Mismatch] = []
        for name in [name for name in r.get("required", ()) if name not in certain]:
            how = "may be absent" if name in fields or extra is not False else "is not written"
            found += [Mismatch(_join(path, name), f"{how}, but has to be there to be read")]
        for name, node in fields.items():
            reads = known.get(name, r.get("additionalProperties", True))
            if reads is False and node is not False:
                found.append(Mismatch(_join(path, name), "is written, where unknown fields are forbidden"))
            else:
                found += self.compare(reads, node, _join(path, name), under)
        if extra is not False:
            found += self.compare(r.get("additionalProperties", True), extra, path + "{}", under)
            for name in known.keys() - fields.keys():
                found += self.compare(known[name], extra, _join(path, name), under)
        sizes = {"minProperties": max(len(certain), w.get("minProperties", 0))}
        if extra is False:
            sizes["maxProperties"] = min(len(fields), w.get("maxProperties", len(fields)))
        return found + _within(r, {**w, **sizes}, path, "minProperties", "maxProperties")

    def _accepts(self, node: Any, value: Any, depth: int) -> bool | None:
        """Whether one value is read; None when that cannot be decided."""
        r = plain(node, self._reader)
        if depth > MAX_DEPTH or r is None:
            return None
        if isinstance(r, bool):
            return r
        checks: list[bool | None] = []
        if "type" in r:
            checks.append(is_of(value, r["type"]))
        if "const" in r:
            checks.append(same(value, r["const"]))
        if "enum" in r:
            checks.append(any(same(value, each) for each in r["enum"]))
        for word in [word for word in ("allOf", "anyOf", "oneOf") if word in r]:
            checks += [_combined(word, [self._accepts(each, value, depth + 1) for each in r[word]])]
        checks += _constraints(r, value)
        return _combined("allOf", checks)

    def _disjoint(self, writer: Any, reader: Any) -> bool:
        """Whether surely no value is both written by one and read by the other."""
        w, r = plain(writer, self._writer), plain(reader, self._reader)
        if not isinstance(w, dict) or not isinstance(r, dict):
            return w is False or r is False
        given, known = finite(w), finite(r)
        if given is not None and known is not None:
            return not any(same(one, other) for one in given for other in known)
        types = (w.get("type"), r.get("type"))
        if types != ("object", "object"):
            return None not in types and types[0] != types[1] and set(types) != {"integer", "number"}
        for name in w.get("required", ()):
            if name in w.get("properties", {}) and name in r.get("properties", {}):
                one = plain(w["properties"][name], self._writer)
                other = plain(r["properties"][name], self._reader)
                if isinstance(one, dict) and isinstance(other, dict) and self._values_differ(one, other):
                    return True
        return False

    @staticmethod
    def _values_differ(writer: dict[str, Any], reader: dict[str, Any]) -> bool:
        given, known = finite(writer), finite(reader)
        if given is None or known is None:
            return False
        return not any(same(one, other) for one in given for other in known)


def _anything(r: Node, w: Node, path: str) -> list[Mismatch]:
    """Where at least one side is a schema that allows everything or nothing."""
    if w is False or r is True or r == {}:
        return []
    return [Mismatch(path, "is not accepted at all" if r is False else f"may be anything, where {_kind(r)} is read")]


def _combined(word: str, answers: list[bool | None]) -> bool | None:
    if word == "allOf":
        return False if False in answers else None if None in answers else True
    if word == "anyOf":
        return True if True in answers else None if None in answers else False
    return None if None in answers else answers.count(True) == 1


def _constraints(r: Mapping[str, Any], value: Any) -> Iterator[bool | None]:
    """What the other keywords say of one value; those of other types say nothing."""
    group = next((kind for kind in _OF_TYPE if is_of(value, kind)), "")
    for keyword, limit in r.items():
        if keyword in _APPLICATORS or (keyword in _OF_ANY_TYPE and keyword not in _OF_TYPE.get(group, set())):
            continue
        yield _LIMITS[keyword](value, limit) if keyword in _LIMITS else None


def _numbers(r: Mapping[str, Any], w: Mapping[str, Any], path: str) -> list[Mismatch]:
    found: list[Mismatch] = []
    whole = w.get("type") == "integer"
    for sign, inclusive, exclusive, beyond in (
        (1, "minimum", "exclusiveMinimum", "below"),
        (-1, "maximum", "exclusiveMaximum", "above"),
    ):
        least = _bound(w, sign, inclusive, exclusive, whole=whole)
        for keyword in (inclusive, exclusive):
            limit = _bound({word: r[word] for word in (keyword,) if word in r}, sign, inclusive, exclusive, whole=whole)
            short = limit is not None and (least is None or least < limit)
            found += [Mismatch(path, f"may be {beyond} what is read ({keyword} {shown(r.get(keyword))})")] * short
    if "multipleOf" in r:
        step, given = r["multipleOf"], w.get("multipleOf", 1 if whole else None)
        exact = isinstance(step, int) and isinstance(given, int) and step > 0 and given % step == 0
        if not exact and step != w.get("multipleOf"):
            found.append(Mismatch(path, f"may be no multiple of {shown(step)}, where only those are read"))
    return found


def _bound(
    w: Mapping[str, Any], sign: int, inclusive: str, exclusive: str, *, whole: bool
) -> tuple[float, bool] | None:
    """The tightest bound a writer keeps, towards `sign`; True in it: the bound itself is not reached."""
    bounds = [(sign * w[word], word == exclusive) for word in (inclusive, exclusive) if word in w]
    if not bounds:
        return None
    limit, open_ = max(bounds)
    if whole:
        return (math.floor(limit) + 1, False) if open_ else (math.ceil(limit), False)
    return limit, open_


def _within(r: Mapping[str, Any], w: Mapping[str, Any], path: str, low: str, high: str) -> list[Mismatch]:
    found = []
    if r.get(low, 0) > w.get(low, 0):
        found.append(Mismatch(path, f"may be smaller than what is read ({low} {r[low]})"))
    if high in r and (high not in w or w[high] > r[high]):
        found.append(Mismatch(path, f"may be larger than what is read ({high} {r[high]})"))
    return found


def _join(path: str, name: str) -> str:
    name = name if name.isidentifier() else shown(name)
    return f"{path}.{name}" if path else name


def _kind(node: Node) -> str:
    """A schema in a few words."""
    if not isinstance(node, dict):
        return "anything" if node else "nothing"
    if (values := finite(node)) is not None and node.get("type") != "boolean":
        return _values(values)
    for word in ("anyOf", "oneOf"):
        if word in node:
            return f"one of {len(node[word])} alternatives"
    kind = str(node.get("type", "something else"))
    return f"{kind} ({node['format']})" if "format" in node else kind


def _values(values: list[Any]) -> str:
    texts = ["null" if each is None else shown(each) for each in values[:8]]
    return " or ".join(texts) + (" or more" if len(values) > 8 else "")
