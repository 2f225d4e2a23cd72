"""Frozen dataclasses as JSON and back, by their types: what workers answer and what is kept.

A dataclass is a list of its fields in order, without those at its end that have their default. Only these types are known:
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

_Pack = Callable[[Any], Any]
_Unpack = Callable[[Any], Any]
_Set = Callable[[Any, Any], None]


def dumps(value: Any) -> bytes:
    """A frozen dataclass as JSON. Raises `TypeError` for a type that is not known."""
    return json.dumps(_codec(cast("Any", type(value)))[0](value), separators=(",", ":")).encode()


def loads(kind: type[T], content: bytes) -> T:
    """The `kind` that `dumps` wrote. Raises `ValueError` when it is anything else."""
    try:
        found: T = _codec(cast("Any", kind))[1](json.loads(content))
    except (TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a {kind.__name__}") from error
    return found


def _same(value: Any) -> Any:
    return value


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
        return str, {each.value: each for each in kind}.__getitem__
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        record = _Record(kind)
        return record.pack, record.unpack
    raise TypeError(f"{kind!r} cannot be kept")


def _plain(kind: type) -> _Unpack:
    def unpack(value: Any) -> Any:
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise TypeError
        return value

    return unpack


def _optional(kind: Any) -> tuple[_Pack, _Unpack]:
    inner = [each for each in typing.get_args(kind) if each is not type(None)]
    if len(inner) > 1 and all(each in _PLAIN for each in inner):

        def several(value: Any) -> Any:
            if value is not None and type(value) not in _PLAIN:
                raise TypeError
            return value

        return _same, several
    if len(inner) != 1:
        raise TypeError(f"{kind!r} cannot be kept")
    pack, unpack = _codec(inner[0])
    return (lambda value: None if value is None else pack(value)), (
        lambda value: None if value is None else unpack(value)
    )


def _sequence(origin: Any, inner: tuple[Any, ...]) -> tuple[_Pack, _Unpack]:
    if origin is frozenset:
        pack, unpack = _codec(inner[0])
        return (lambda values: [pack(each) for each in sorted(values)]), (lambda values: frozenset(map(unpack, values)))
    if len(inner) == 2 and inner[1] is ...:
        pack, unpack = _codec(inner[0])
        if pack is _same:
            return list, (lambda values: tuple(map(unpack, values)))
        return (lambda values: [pack(each) for each in values]), (lambda values: tuple(map(unpack, values)))
    codecs = [_codec(each) for each in inner]
    return (lambda values: [pack(each) for (pack, _), each in zip(codecs, values, strict=True)]), (
        lambda values: tuple(unpack(each) for (_, unpack), each in zip(codecs, values, strict=True))
    )


def _mapping(inner: tuple[Any, ...]) -> tuple[_Pack, _Unpack]:
    pack, unpack = _codec(inner[1])
    if inner[0] is not str:
        pack_key, unpack_key = _codec(inner[0])
        return (lambda values: [[pack_key(key), pack(each)] for key, each in values.items()]), (
            lambda pairs: {unpack_key(key): unpack(each) for key, each in pairs}
        )
    return (lambda values: {key: pack(each) for key, each in values.items()}), (
        lambda values: {key: unpack(each) for key, each in values.items()}
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

    def pack(self, value: Any) -> list[Any]:
        if not self._packs:
            self._prepare()
        found = self._get(value)
        end, defaults = len(found), self._defaults
        while end > self._needed and found[end - 1] == defaults[end - 1]:
            end -= 1
        return [each if pack is None else pack(each) for pack, each in zip(self._packs, found[:end], strict=False)]

    def unpack(self, values: Any) -> Any:
        if not self._unpacks:
            self._prepare()
        if type(values) is not list or not self._needed <= len(values) <= len(self._unpacks):
            raise TypeError
        made: Any = object.__new__(self._kind)
        for (put, inner), value in zip(self._unpacks, values, strict=False):
            put(made, inner(value))
        for i in range(len(values), len(self._unpacks)):
            self._unpacks[i][0](made, self._defaults[i])
        return made


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
