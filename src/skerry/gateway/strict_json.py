"""JSON from strangers: within a depth, without numbers that are none, and where it matters without a name twice."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NoReturn

DEPTH = 64
"""Levels of objects and arrays in each other."""


def loads(text: bytes, *, depth: int = DEPTH, unique: bool = False, exact: bool = False) -> Any:
    """What the UTF-8 `text` says. Raises `ValueError` for what is no JSON (RFC 8259), deeper than `depth`, or not UTF-8.

    With `unique` an object that has a name twice is an error: of two readers each could believe another one. `exact` is that,
    too, and its numbers are `int` or `Decimal`, as they are written.
    """
    try:
        found = (_EXACT if exact else _UNIQUE if unique else _PLAIN).decode(text.decode("utf-8"))
    except ArithmeticError:
        raise ValueError("a number without bounds") from None
    except RecursionError:
        raise ValueError(f"more than {depth} levels") from None
    if not _within(found, depth):
        raise ValueError(f"more than {depth} levels")
    return found


def _within(value: Any, depth: int) -> bool:
    level = [value] if type(value) in {dict, list} else []
    for _ in range(depth):
        if not level:
            return True
        inner = (each.values() if type(each) is dict else each for each in level)
        level = [each for values in inner for each in values if type(each) is dict or type(each) is list]
    return not level


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _whole(text: str) -> int | Decimal:
    # Python turns long digits into an int in quadratic time, and refuses some thousand of them
    return int(text) if len(text) < _SHORT else Decimal(text)


_SHORT = 40
# made once: `json.loads` with options makes a decoder for each text, which costs as much as reading a short one
_PLAIN = json.JSONDecoder(parse_constant=_no_number)
_UNIQUE = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_once)
_EXACT = json.JSONDecoder(parse_constant=_no_number, parse_float=Decimal, parse_int=_whole, object_pairs_hook=_once)
