"""Frozen dataclasses as JSON and back, by their types: what workers answer and what is kept.

A dataclass is a list of its fields in order, without those at its end that have their default. Values of a type that holds its
own kind, such as expressions, stand in a table, each once, and are its numbers where they are used. Only these types are known:
str, int, float, bool, None, tuples of one type or of several, dicts, frozensets, enums of text, dataclasses, and unions of
a type with None. Nothing else is made from what was kept, so a file that somebody else wrote can at most be wrong.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")
_PLAIN: Final = (str, int, float, bool)
_set: Final = object.__setattr__


@dataclasses.dataclass(slots=True)
class _Written:
    """The tables of what is being written, by the name of the type."""

    rows: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    numbers: dict[int, int] = dataclasses.field(default_factory=dict)
    """Of values, by their identity: they live as long as what is written."""


@dataclasses.dataclass(slots=True)
class _Read:
    """The tables of what is being read, and the values that were made of their rows."""

    rows: dict[str, list[Any]]
    made: dict[str, list[Any]]


_Pack = Callable[[Any, _Written], Any]
_Unpack = Callable[[Any, _Read], Any]
_Set = Callable[[Any, Any], None]


def dumps(value: Any) -> bytes:
    """A frozen dataclass as JSON. Raises `TypeError` for a type that is not known."""
    written = _Written()
    root = _codec(cast("Any", type(value)))[0](value, written)
    return json.dumps([root, written.rows], separators=(",", ":")).encode()


def loads(kind: type[T], content: bytes) -> T:
    """The `kind` that `dumps` wrote. Raises `ValueError` when it is anything else."""
    try:
        root, rows = json.loads(content)
        read = _Read(rows, {name: [None] * len(some) for name, some in rows.items()})
        found: T = _codec(cast("Any", kind))[1](root, read)
    except (TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a {kind.__name__}") from error
    return found


def _same(value: Any, _: _Written) -> Any:
    return value


def _as_list(values: Any, _: _Written) -> Any:
    return list(values)


@cache
def _codec(kind: Any) -> tuple[_Pack, _Unpack]:
    origin = typing.get_origin(kind)
    if kind in _PLAIN:
        return _same, _plain(kind)
    if origin in {typing.Union, types.UnionType}:
        return _optional(kind)
    if origin in {tuple, frozenset}:
        return _sequence(origin, typing.get_args(kind))
    if origin in {dict, Mapping}:
        return _mapping(typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        known = {each.value: each for each in kind}
        return (lambda value, _: value.value), (lambda value, _: known[value])
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        record = _Record(kind)
        return record.pack, record.unpack
    raise TypeError(f"{kind!r} cannot be kept")


def _plain(kind: type) -> _Unpack:
    def unpack(value: Any, _: _Read) -> Any:
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise TypeError
        return value

    return unpack


def _optional(kind: Any) -> tuple[_Pack, _Unpack]:
    inner = [each for each in typing.get_args(kind) if each is not type(None)]
    if len(inner) > 1 and all(each in _PLAIN for each in inner):

        def several(value: Any, _: _Read) -> Any:
            if value is not None and type(value) not in _PLAIN:
                raise TypeError
            return value

        return _same, several
    if len(inner) != 1:
        raise TypeError(f"{kind!r} cannot be kept")
    pack, unpack = _codec(inner[0])
    return (lambda value, to: None if value is None else pack(value, to)), (
        lambda value, of: None if value is None else unpack(value, of)
    )


def _sequence(origin: Any, inner: tuple[Any, ...]) -> tuple[_Pack, _Unpack]:
    if origin is frozenset:
        pack, unpack = _codec(inner[0])
        return (lambda values, to: [pack(each, to) for each in sorted(values)]), (
            lambda values, of: frozenset([unpack(each, of) for each in values])
        )
    if len(inner) == 2 and inner[1] is ...:
        pack, unpack = _codec(inner[0])
        written = _as_list if pack is _same else lambda values, to: [pack(each, to) for each in values]
        return written, (lambda values, of: tuple([unpack(each, of) for each in values]))
    codecs = [_codec(each) for each in inner]
    return (lambda values, to: [pack(each, to) for (pack, _), each in zip(codecs, values, strict=True)]), (
        lambda values, of: tuple([unpack(each, of) for (_, unpack), each in zip(codecs, values, strict=True)])
    )


def _mapping(inner: tuple[Any, ...]) -> tuple[_Pack, _Unpack]:
    pack, unpack = _codec(inner[1])
    if inner[0] is not str:
        pack_key, unpack_key = _codec(inner[0])
        return (lambda values, to: [[pack_key(key, to), pack(each, to)] for key, each in values.items()]), (
            lambda pairs, of: {unpack_key(key, of): unpack(each, of) for key, each in pairs}
        )
    return (lambda values, to: {key: pack(each, to) for key, each in values.items()}), (
        lambda values, of: {key: unpack(each, of) for key, each in values.items()}
    )


class _Record:
    """How a dataclass is written and read. Fields are looked up when the first value comes: a type may hold its own kind."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._fields = dataclasses.fields(kind)
        self._defaults = [_default(each) for each in self._fields]
        self._needed = max((i for i, each in enumerate(self._defaults, 1) if each is dataclasses.MISSING), default=0)
        self._packs: list[_Pack | None] = []
        self._unpacks: list[tuple[_Set, _Unpack]] = []
        self._get: Callable[[Any], Sequence[Any]] = _nothing
        self._prepared = self._shared = False

    def _prepare(self) -> None:
        hints = typing.get_type_hints(self._kind)
        names = [each.name for each in self._fields]
        codecs = [_codec(hints[name]) for name in names]
        self._packs = [None if pack is _same else pack for pack, _ in codecs]
        self._unpacks = [(_setter(self._kind, name), unpack) for name, (_, unpack) in zip(names, codecs, strict=True)]
        if len(names) == 1:
            only = attrgetter(names[0])
            self._get = lambda value: (only(value),)
        elif names:
            self._get = attrgetter(*names)
        self._shared = any(_mentions(hints[name], self._kind) for name in names)
        self._prepared = True

    def pack(self, value: Any, to: _Written) -> Any:
        if not self._prepared:
            self._prepare()
        if self._shared:
            number = to.numbers.get(id(value))
            return self._numbered(value, to) if number is None else number
        return self._listed(value, to)

    def _listed(self, value: Any, to: _Written) -> list[Any]:
        found = self._get(value)
        end, defaults = len(found), self._defaults
        while end > self._needed and found[end - 1] == defaults[end - 1]:
            end -= 1
        return [each if pack is None else pack(each, to) for pack, each in zip(self._packs, found[:end], strict=False)]

    def _numbered(self, value: Any, to: _Written) -> int:
        """Its row in the table. What it holds comes before it, so it costs its own fields only."""
        row = self._listed(value, to)
        rows = to.rows.setdefault(self._kind.__name__, [])
        rows.append(row)
        number = to.numbers[id(value)] = len(rows) - 1
        return number

    def unpack(self, values: Any, of: _Read) -> Any:
        if not self._prepared:
            self._prepare()
        if not self._shared:
            return self._made(values, of)
        name = self._kind.__name__
        if type(values) is not int or values < 0:
            raise TypeError
        made = of.made[name]
        if made[values] is None:
            made[values] = self._made(of.rows[name][values], of)
        return made[values]

    def _made(self, values: Any, of: _Read) -> Any:
        if type(values) is not list or not self._needed <= len(values) <= len(self._unpacks):
            raise TypeError
        made: Any = object.__new__(self._kind)
        for (put, inner), value in zip(self._unpacks, values, strict=False):
            put(made, inner(value, of))
        for i in range(len(values), len(self._unpacks)):
            self._unpacks[i][0](made, self._defaults[i])
        return made


def _mentions(hint: Any, kind: type) -> bool:
    """Whether a type is `kind`, or holds it in a tuple or beside None."""
    return hint is kind or any(_mentions(each, kind) for each in typing.get_args(hint))


def _nothing(_: Any) -> Sequence[Any]:
    return ()


def _setter(kind: type, name: str) -> _Set:
    """Gives a frozen value its field, by the slot itself where there is one."""
    slot = getattr(kind, name, None)
    if isinstance(slot, types.MemberDescriptorType):
        return slot.__set__
    return lambda made, value: _set(made, name, value)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else dataclasses.MISSING
