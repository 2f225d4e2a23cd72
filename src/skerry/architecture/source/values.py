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
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")
_PLAIN: Final = (str, int, float, bool)
_set: Final = object.__setattr__

_Pack = Callable[[Any], Any]
_Unpack = Callable[[Any], Any]


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
        return _record(kind)
    raise TypeError(f"{kind!r} cannot be kept")


def _plain(kind: type) -> _Unpack:
    allowed = (float, int) if kind is float else (kind,)

    def unpack(value: Any) -> Any:
        if type(value) not in allowed:
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


def _record(kind: type) -> tuple[_Pack, _Unpack]:
    """Fields are looked up when the first value comes: a type may hold values of its own type."""
    hints: dict[str, Any] = {}
    fields = dataclasses.fields(kind)
    defaults = [_default(each) for each in fields]
    codecs: list[tuple[str, _Pack, _Unpack]] = []

    def known() -> list[tuple[str, _Pack, _Unpack]]:
        if not codecs:
            hints.update(typing.get_type_hints(kind))
            codecs.extend((each.name, *_codec(hints[each.name])) for each in fields)
        return codecs

    def pack(value: Any) -> list[Any]:
        found = [getattr(value, each.name) for each in fields]
        end = len(found)
        while end and defaults[end - 1] is not dataclasses.MISSING and found[end - 1] == defaults[end - 1]:
            end -= 1
        return [pack(each) for (_, pack, _), each in zip(known(), found[:end], strict=False)]

    def unpack(values: Any) -> Any:
        if type(values) is not list or len(values) > len(fields):
            raise TypeError
        made: Any = object.__new__(kind)
        i = -1
        for i, value in enumerate(values):
            name, _, inner = known()[i]
            _set(made, name, inner(value))
        for j in range(i + 1, len(fields)):
            if defaults[j] is dataclasses.MISSING:
                raise TypeError
            _set(made, fields[j].name, defaults[j])
        return made

    return pack, unpack


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else dataclasses.MISSING
