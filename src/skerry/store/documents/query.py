"""What may be asked of a collection: conditions, an order, a limit, and where the last page ended.

The same on every engine, so the rules are the narrowest: a condition compares one field with one number, text or truth value,
and never matches a field of another type, an array or an object. Numbers are equal by value, texts are ordered by code
point. A field is a path of names, such as `price.amount`, and never leads through an array.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

from skerry.errors import ConfigurationError, InvalidQuery
from skerry.store.documents.body import MAX_ID, MAX_INTEGER, is_text

Operator = Literal["=", "<", "<=", ">", ">="]
OPERATORS: Final = get_args(Operator)
Scalar = str | int | float | bool

MAX_LIMIT: Final = 1000
MAX_CONDITIONS: Final = 20
MAX_STEPS: Final = 16
"""Names in one path."""
MAX_VALUE: Final = 1024
"""Bytes of a text that is compared or stands in a field with an index."""
MAX_CURSOR: Final = 8192
_FIELD: Final = re.compile(r"[^\W\d][\w-]{0,63}(?:\.[^\W\d][\w-]{0,63})*")


@dataclass(frozen=True, slots=True)
class Where:
    """A condition: `Where("price.amount", "<=", 5000)`. Raises `InvalidQuery` for anything that cannot be asked."""

    field: str
    operator: Operator
    value: Scalar

    def __post_init__(self) -> None:
        if not is_field(self.field):
            raise InvalidQuery(_no_field(self.field))
        if self.operator not in OPERATORS:
            raise InvalidQuery(
                f"{self.field}: there is no operator {self.operator!r}: use one of {' '.join(OPERATORS)}"
            )
        problem = _problem(self.value)
        if problem:
            raise InvalidQuery(f"{self.field}: {problem}")
        if isinstance(self.value, bool) and self.operator != "=":
            raise InvalidQuery(f"{self.field}: a truth value can only be compared with =")


@dataclass(frozen=True, slots=True)
class Index:
    """An index on one field, for conditions on it and for sorting by it.

    A field that has one holds at most 1,024 bytes of text. A `unique` one holds a text or nothing, and no two documents the
    same one. Raises `ConfigurationError` for a field that cannot be asked for.
    """

    field: str
    unique: bool = False

    def __post_init__(self) -> None:
        if not is_field(self.field):
            raise ConfigurationError(f"an index: {_no_field(self.field)}")


@dataclass(frozen=True, slots=True)
class Sort:
    """The order of a query. An empty `field` stands for the ids; they also decide between equal values."""

    field: str = ""
    descending: bool = False

    @classmethod
    def parse(cls, text: str, *, key: str) -> Sort:
        """Read `price.amount`, or `-price.amount` for the other way round; empty is by id."""
        field = text.removeprefix("-")
        if text and not is_field(field):
            raise InvalidQuery(f"sort: {_no_field(field)}")
        return cls("" if field == key else field, text.startswith("-"))


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last document of a page: its id, and its value in the field that the page is sorted by."""

    id: str
    value: str | int | float | None = None

    def encode(self, sort: Sort) -> str:
        """As a caller carries it to the next page: letters, digits, `-` and `_`."""
        text = json.dumps([sort.field, sort.descending, self.value, self.id], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str, sort: Sort) -> Cursor:
        """Read what `encode` wrote. Raises `InvalidQuery` for anything else, and for the cursor of another order."""
        wrong = InvalidQuery("after: this is no cursor of a page in this order; use the `next` of the page before")
        if not isinstance(text, str) or len(text) > MAX_CURSOR or not text.isascii():
            raise wrong
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            field, descending, value, identifier = json.loads(raw)
        except (binascii.Error, ValueError, TypeError, RecursionError):
            raise wrong from None
        fits = value is None if not sort.field else not isinstance(value, bool) and not _problem(value)
        if [field, descending] != [sort.field, sort.descending] or not fits:
            raise wrong
        if not is_text(identifier) or not 0 < len(identifier) <= MAX_ID:
            raise wrong
        return cls(identifier, value)


@dataclass(frozen=True, slots=True)
class Query:
    """What a collection is asked for, checked. The answer has at most `limit` rows."""

    where: tuple[Where, ...]
    sort: Sort
    limit: int
    after: Cursor | None


def conditions(where: tuple[Where, ...]) -> tuple[Where, ...]:
    """Check that these are conditions, and not too many."""
    if len(where) > MAX_CONDITIONS:
        raise InvalidQuery(f"{len(where)} conditions are more than a query may have ({MAX_CONDITIONS})")
    for each in where:
        if not isinstance(each, Where):
            raise InvalidQuery(f"a condition is a Where, not a {type(each).__name__}")
    return where


def is_field(field: str) -> bool:
    """Whether it is a path that can be asked for. Nothing else ever gets into a statement."""
    return isinstance(field, str) and bool(_FIELD.fullmatch(field)) and field.count(".") < MAX_STEPS


def _no_field(field: object) -> str:
    shown = repr(field)[:80]
    return f"{shown} is no field: use names of letters, digits, _ and -, not beginning with a digit, joined by dots"


def _problem(value: object) -> str:
    """Why a value cannot be compared with, or nothing."""
    if isinstance(value, str):
        if not is_text(value):
            return "the text holds a NUL or a lone surrogate"
        return f"the text is longer than {MAX_VALUE} bytes" if len(value.encode()) > MAX_VALUE else ""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return "" if -MAX_INTEGER - 1 <= value <= MAX_INTEGER else "the number has more than 64 bits"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "NaN and infinity cannot be compared with"
    return f"compare with a str, an int, a float or a bool, not with a {type(value).__name__}"
