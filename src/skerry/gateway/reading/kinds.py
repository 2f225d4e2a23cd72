"""Kinds of values that a document may hold. Each reads a node and says the same in JSON Schema, so that the two cannot differ.

Reading gives plain values: texts, numbers, tuples, and a dictionary for a `Record`. A mistake is noted in the document and
reading goes on; what was read is only to be used after `Document.stop`.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import yaml

from skerry.gateway.reading.document import STR, Document, Steps

LINE: Final = "@line"
"""The key under which a record that was told to keeps its line."""
_TAG: Final = "tag:yaml.org,2002:"
_SIZE: Final = re.compile(r"([0-9]{1,12}) ?(KiB|MiB|GiB)?")
_UNITS: Final = {None: 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_DEEPEST: Final = 20
_MOST: Final = 10_000
_SCALARS: Final[Mapping[str, Callable[[str], Any]]] = {
    STR: str,
    _TAG + "null": lambda text: None,  # noqa: ARG005 - it is null however it is written
    _TAG + "bool": lambda text: text.lower() in {"true", "yes", "on"},
    _TAG + "int": int,
    _TAG + "float": float,
}

Definitions = dict[str, dict[str, Any]]


class Kind(ABC):
    """A kind of value; `what` names it in errors."""

    what: ClassVar[str] = "a value"

    @abstractmethod
    def read(self, node: yaml.Node, at: Steps, document: Document) -> Any:
        """The value, or a mistake in the document."""

    @abstractmethod
    def schema(self, defs: Definitions) -> dict[str, Any]:
        """The same as JSON Schema; shared parts go into `defs`."""


@dataclass(frozen=True)
class Text(Kind):
    """Text that matches `pattern` as a whole; `hint` says in words what that is."""

    pattern: str = r"[^\x00-\x1f\x7f]+"
    hint: str = "text in one line"
    most: int = 1000

    def read(self, node: yaml.Node, at: Steps, document: Document) -> str | None:
        if node.tag != STR or not isinstance(node, yaml.ScalarNode):
            quoted = isinstance(node, yaml.ScalarNode)
            document.refuse("must be text" + (": put it in quotes" if quoted else ""), at, node)
            return None
        value = str(node.value)
        if len(value) > self.most or not self._compiled.fullmatch(value):
            document.refuse(f"{value[:80]!r} is not valid here: it must be {self.hint}", at, node)
            return None
        return value

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    def schema(self, defs: Definitions) -> dict[str, Any]:  # noqa: ARG002 - it has no parts
        return {"type": "string", "pattern": f"^(?:{self.pattern})$", "maxLength": self.most}


@dataclass(frozen=True)
class Word(Kind):
    """One of some words or numbers."""

    words: tuple[str | int, ...]

    def read(self, node: yaml.Node, at: Steps, document: Document) -> str | int | None:
        if isinstance(node, yaml.ScalarNode):
            for word in self.words:
                if node.value == str(word):
                    return word
        document.refuse(f"must be one of {', '.join(map(str, self.words))}", at, node)
        return None

    def schema(self, defs: Definitions) -> dict[str, Any]:  # noqa: ARG002
        return {"enum": list(self.words)}


@dataclass(frozen=True)
class Number(Kind):
    """A number from `low` to `high`; null when it `may_be_null`."""

    low: float
    high: float
    may_be_null: bool = False
    whole: bool = False

    @property
    def range(self) -> str:
        """What it must be, in words."""
        noun = "a whole number" if self.whole else "a number"
        return f"{noun} from {self.low:g} to {self.high:.15g}" + (" or null" if self.may_be_null else "")

    def holds(self, value: float | None) -> bool:
        """Whether a value that was put together in Python is one of these."""
        if value is None:
            return self.may_be_null
        return self.low <= value <= self.high and not (self.whole and value != int(value))

    def read(self, node: yaml.Node, at: Steps, document: Document) -> Any:
        if self.may_be_null and node.tag == _TAG + "null":
            return None
        value = math.nan
        if isinstance(node, yaml.ScalarNode) and node.tag in {_TAG + "int", _TAG + "float"}:
            try:
                value = float(node.value)
            except ValueError:  # YAML has numbers by the base and with underscores; nobody needs them here
                value = math.nan
        if not self.low <= value <= self.high or (self.whole and value != int(value)):
            document.refuse(f"must be {self.range}", at, node)
            return None
        return int(value) if self.whole else value

    def schema(self, defs: Definitions) -> dict[str, Any]:  # noqa: ARG002
        kind = "integer" if self.whole else "number"
        return {"type": [kind, "null"] if self.may_be_null else kind, "minimum": self.low, "maximum": self.high}


def whole(low: int, high: int, *, may_be_null: bool = False) -> Number:
    """A whole number from `low` to `high`."""
    return Number(low, high, may_be_null, whole=True)


@dataclass(frozen=True)
class Size(Kind):
    """Bytes: a whole number, or one with KiB, MiB or GiB."""

    low: int
    high: int

    def read(self, node: yaml.Node, at: Steps, document: Document) -> int | None:
        match = _SIZE.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
        value = int(match[1]) * _UNITS[match[2]] if match else -1
        if not self.low <= value <= self.high:
            example = "for example 64 KiB or 1 MiB"
            document.refuse(f"must be a size from {self.low} to {self.high} bytes, {example}", at, node)
            return None
        return value

    def schema(self, defs: Definitions) -> dict[str, Any]:  # noqa: ARG002
        number = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return {"anyOf": [number, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}]}


@dataclass(frozen=True)
class Flag(Kind):
    """True or false."""

    def read(self, node: yaml.Node, at: Steps, document: Document) -> bool | None:
        if node.tag != _TAG + "bool":
            document.refuse("must be true or false", at, node)
            return None
        return str(node.value).lower() in {"true", "yes", "on"}

    def schema(self, defs: Definitions) -> dict[str, Any]:  # noqa: ARG002
        return {"type": "boolean"}


@dataclass(frozen=True)
class Off(Kind):
    """`false`, which takes away what the defaults say, and reads as None. With `on` also `true`, an empty record."""

    kind: Kind
    on: bool = False

    def read(self, node: yaml.Node, at: Steps, document: Document) -> Any:
        if node.tag == _TAG + "bool":
            if str(node.value).lower() in {"false", "no", "off"}:
                return None
            if self.on:
                return {}
            document.refuse("may be false, or say what is wanted", at, node)
            return None
        return self.kind.read(node, at, document)

    def schema(self, defs: Definitions) -> dict[str, Any]:
        off: dict[str, Any] = {"type": "boolean"} if self.on else {"const": False}
        return {"anyOf": [off, self.kind.schema(defs)]}


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of `least` to `most` values of one kind. With `alone`, one value may stand without the list."""

    kind: Kind
    most: int
    least: int = 1
    alone: bool = False

    def read(self, node: yaml.Node, at: Steps, document: Document) -> tuple[Any, ...]:
        if self.alone and not isinstance(node, yaml.SequenceNode):
            return (self.kind.read(node, at, document),)
        if not isinstance(node, yaml.SequenceNode) or not self.least <= len(node.value) <= self.most:
            document.refuse(f"must be a list of {self.least} to {self.most} entries", at, node)
            return ()
        return tuple(self.kind.read(item, (*at, number), document) for number, item in enumerate(node.value))

    def schema(self, defs: Definitions) -> dict[str, Any]:
        one = self.kind.schema(defs)
        several = {"type": "array", "items": one, "minItems": self.least, "maxItems": self.most}
        return {"anyOf": [one, several]} if self.alone else several


@dataclass(frozen=True)
class MapOf(Kind):
    """Up to `most` values of one kind by names that match `pattern`: a tuple of (name, value)."""

    kind: Kind
    most: int
    pattern: str
    hint: str
    least: int = 1

    def read(self, node: yaml.Node, at: Steps, document: Document) -> tuple[tuple[str, Any], ...]:
        if not isinstance(node, yaml.MappingNode) or not self.least <= len(node.value) <= self.most:
            document.refuse(f"must be a mapping of {self.least} to {self.most} entries", at, node)
            return ()
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = _name(key, found, at, document)
            if name is None:
                continue
            if not re.fullmatch(self.pattern, name):
                document.refuse(f"{name[:80]!r} is not a valid name: it must be {self.hint}", at, key)
            found[name] = self.kind.read(value, (*at, name), document)
        return tuple(found.items())

    def schema(self, defs: Definitions) -> dict[str, Any]:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{self.pattern})$"},
            "additionalProperties": self.kind.schema(defs),
            "minProperties": self.least,
            "maxProperties": self.most,
        }


@dataclass(frozen=True)
class Either(Kind):
    """One value in several forms, told apart by whether it is a scalar, a mapping or a list."""

    scalar: Kind
    mapping: Kind

    def read(self, node: yaml.Node, at: Steps, document: Document) -> Any:
        kind = self.mapping if isinstance(node, yaml.MappingNode) else self.scalar
        return kind.read(node, at, document)

    def schema(self, defs: Definitions) -> dict[str, Any]:
        return {"anyOf": [self.scalar.schema(defs), self.mapping.schema(defs)]}


@dataclass(frozen=True)
class Json(Kind):
    """Any value that JSON has: its text in JSON."""

    def read(self, node: yaml.Node, at: Steps, document: Document) -> str | None:
        try:
            return json.dumps(
                _json(node, _DEEPEST, [_MOST]), ensure_ascii=False, allow_nan=False, separators=(",", ":")
            )
        except ValueError:
            document.refuse("must be a value that JSON has, not deep", at, node)
            return None

    def schema(self, defs: Definitions) -> dict[str, Any]:  # noqa: ARG002
        return {}


@dataclass(frozen=True)
class Field:
    """A key of a record: its kind, a sentence about it, and what it is when it is not there (for the schema)."""

    kind: Kind
    about: str = ""
    default: Any = None
    required: bool = False


@dataclass(frozen=True)
class Record(Kind):
    """A mapping with known keys. `one_of` are sets of keys of which exactly one has to be there; `not_both` of which at most one
    may be. With `loose`, unknown keys are passed over.
    """

    name: str
    fields: Mapping[str, Field]
    one_of: tuple[tuple[str, ...], ...] = ()
    not_both: tuple[tuple[str, ...], ...] = ()
    keep_line: bool = False
    loose: bool = False

    def read(self, node: yaml.Node, at: Steps, document: Document) -> dict[str, Any]:
        memory = document.memory
        if memory is None or not self.keep_line or (place := memory.place(node)) is None:
            return self._read(node, at, document)
        if (known := memory.value(place)) is not None:
            return known
        before = len(document.mistakes)
        values = self._read(node, at, document)
        if len(document.mistakes) == before:
            memory.keep_value(place, values)
        return values

    def _read(self, node: yaml.Node, at: Steps, document: Document) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if not isinstance(node, yaml.MappingNode):
            document.refuse("must be a mapping", at, node)
            return values
        for key, value in node.value:
            name = _name(key, values, at, document)
            field = self.fields.get(name) if name is not None else None
            if field is not None and name is not None:
                values[name] = field.kind.read(value, (*at, name), document)
            elif name is not None and not self.loose:
                document.refuse(f"unknown key {name[:80]!r}", at, key)
        self._complete(values, node, at, document)
        if self.keep_line:
            values[LINE] = int(node.start_mark.line) + 1
        return values

    def _complete(self, values: Mapping[str, Any], node: yaml.Node, at: Steps, document: Document) -> None:
        for name in self._required:
            if name not in values:
                document.refuse(f"{name!r} is missing", at, node)
        for names in self.one_of:
            if not any(name in values for name in names):
                document.refuse(f"one of {', '.join(map(repr, names))} is missing", at, node)
        for names in self._exclusive:
            there = [name for name in names if name in values]
            if len(there) > 1:
                document.refuse(f"{' and '.join(map(repr, there))} contradict each other", at, node)

    @cached_property
    def _required(self) -> tuple[str, ...]:
        return tuple(name for name, field in self.fields.items() if field.required)

    @cached_property
    def _exclusive(self) -> tuple[tuple[str, ...], ...]:
        return (*self.one_of, *self.not_both)

    def schema(self, defs: Definitions) -> dict[str, Any]:
        if self.name not in defs:
            defs[self.name] = {}
            defs[self.name] = self._definition(defs)
        return {"$ref": f"#/$defs/{self.name}"}

    def _definition(self, defs: Definitions) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        for name, field in self.fields.items():
            properties[name] = {**field.kind.schema(defs)}
            if field.about:
                properties[name]["description"] = field.about
            if field.default is not None:
                properties[name]["default"] = field.default
        found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": self.loose}
        if self._required:
            found["required"] = list(self._required)
        rules: list[dict[str, Any]] = [{"oneOf": [{"required": [name]} for name in names]} for names in self.one_of]
        rules += [
            {"not": {"required": [first, second]}}
            for names in self.not_both
            for index, first in enumerate(names)
            for second in names[index + 1 :]
        ]
        if rules:
            found["allOf"] = rules
        return found


def _name(key: yaml.Node, found: Mapping[str, Any], at: Steps, document: Document) -> str | None:
    if key.tag != STR or not isinstance(key, yaml.ScalarNode):
        document.refuse("a key must be text", at, key)
        return None
    name = str(key.value)
    if name in found:
        document.refuse(f"{name[:80]!r} is there twice", at, key)
        return None
    return name


def _json(node: yaml.Node, deepest: int, left: list[int]) -> Any:
    left[0] -= 1  # aliases let a short document stand for an endless one
    if deepest == 0 or left[0] < 0:
        raise ValueError
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag != STR or key.value in found:
                raise ValueError
            found[key.value] = _json(value, deepest - 1, left)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_json(item, deepest - 1, left) for item in node.value]
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS:
        raise ValueError
    return _SCALARS[node.tag](node.value)
