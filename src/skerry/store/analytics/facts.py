"""`FactTable`: the shape of facts, and whether a row has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from skerry.errors import ConfigurationError, InvalidFact

_NAME: Final = re.compile(r"(?!skerry_)[a-z][a-z0-9_]{0,62}")
MAX_COLUMNS: Final = 200
SMALLEST_INT, LARGEST_INT = -(2**63), 2**63 - 1
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2299, 12, 31)
TYPES: Final[tuple[type, ...]] = (str, int, float, bool, date, datetime)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactTable:
    """Facts of one shape.

        sales = FactTable(
            name="sales",
            columns={"order_id": str, "sku": str, "day": date, "amount": int},
            key=("order_id", "sku"),
            order_by=("day",),
        )

    A column is a `str`, `int` (64 bits), `float`, `bool`, `date` or `datetime` (with a time zone, kept as UTC in microseconds;
    1900 to 2299 like dates). None is no value. `key` names what makes two rows the same fact, such as the event's id: of those
    the last one appended counts. `order_by` are the columns that queries narrow down by, the coarsest first. They must follow
    from the key: a fact that is appended again with other values there would count twice.

    Its shape is for ever: give another one another name. Raises `ConfigurationError` when it makes no sense.
    """

    name: str
    columns: Mapping[str, type]
    key: tuple[str, ...]
    order_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        what = f"the fact table {self.name!r}"
        if not _NAME.fullmatch(self.name) or not all(map(_NAME.fullmatch, self.columns)):
            raise ConfigurationError(f"{what}: names are lower case letters, digits and _, at most 63, not skerry_...")
        if not 0 < len(self.columns) <= MAX_COLUMNS:
            raise ConfigurationError(f"{what} has {len(self.columns)} columns: give it 1 to {MAX_COLUMNS}")
        if wrong := [name for name, kind in self.columns.items() if kind not in TYPES]:
            known = ", ".join(kind.__name__ for kind in TYPES)
            raise ConfigurationError(f"{what}: the column {wrong[0]!r} is none of {known}")
        if not self.key:
            raise ConfigurationError(f"{what} needs a key: without one a fact that comes again would count twice")
        for name in self.key + self.order_by:
            if name not in self.columns:
                raise ConfigurationError(f"{what} has no column {name!r}")

    @property
    def sorting(self) -> tuple[str, ...]:
        """How the rows lie on disk; of those that are equal in all of these, one counts."""
        return tuple(dict.fromkeys(self.order_by + self.key))

    def row(self, values: Mapping[str, Any]) -> list[Any]:
        """The values of a fact in the order of the columns. Raises `InvalidFact`, which repeats none of them."""
        if values.keys() != self.columns.keys():
            odd = sorted(map(str, values.keys() ^ self.columns.keys()))
            raise InvalidFact(f"{self.name}: a row must have each column and no other; see {odd[0][:60]!r}")
        return [self._checked(name, kind, values[name]) for name, kind in self.columns.items()]

    def _checked(self, column: str, kind: type, value: Any) -> Any:
        if kind is float and type(value) is int:
            value = _as_float(value)
        if type(value) is not kind:
            raise InvalidFact(f"{self.name}.{column}: a {type(value).__name__} is no {kind.__name__}")
        if problem := problem_of(value):
            raise InvalidFact(f"{self.name}.{column}: {problem}")
        return value


def problem_of(value: Any) -> str:
    """Why a value of one of `TYPES` cannot be kept as it is; empty when it can."""
    if isinstance(value, str):
        return "" if _is_text(value) else "a text with half a character"
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            return "a datetime without a time zone"
        return "" if _is_dated(value) else "a datetime outside 1900 to 2299"
    if isinstance(value, date):
        return "" if FIRST_DAY <= value <= LAST_DAY else "a date outside 1900 to 2299"
    if isinstance(value, int) and not SMALLEST_INT <= value <= LARGEST_INT:
        return "an int of more than 64 bits"
    return ""


def _as_float(value: int) -> float | int:
    try:
        return float(value)
    except OverflowError:
        return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_dated(value: datetime) -> bool:
    try:
        return FIRST_DAY <= value.astimezone(UTC).date() <= LAST_DAY
    except OverflowError:
        return False
