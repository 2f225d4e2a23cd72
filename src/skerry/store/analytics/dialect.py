"""ClickHouse's words: tables that converge, rows and parameters as text, answers as values, refusals as errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from skerry.errors import ConfigurationError, QueryRejected, StoreBusy, StoreError
from skerry.store.analytics.facts import TYPES, FactTable, problem_of
from skerry.store.placeholders import replaced
from skerry.store.queries import Queries

SQL = Queries("skerry.store", "sql/analytics.sql")

MAX_ROWS: Final = 100_000
KINDS: Final[Mapping[type, str]] = {
    str: "String",
    int: "Int64",
    float: "Float64",
    bool: "Bool",
    date: "Date32",
    datetime: "DateTime64(6, 'UTC')",
}
SETTINGS: Final[Mapping[str, int | str]] = {
    "final": 1,  # whatever is read: each fact counts once
    "async_insert": 0,  # an insert that has returned is on disk
    "max_result_rows": MAX_ROWS,
    "result_overflow_mode": "throw",
    "session_timezone": "UTC",
    "date_time_output_format": "iso",
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_decimals": 1,
    "output_format_json_quote_denormals": 1,
}
"""What every connection asks for."""
BUSY: Final = frozenset(
    {
        "CANNOT_SCHEDULE_TASK",
        "MEMORY_LIMIT_EXCEEDED",
        "NOT_ENOUGH_SPACE",
        "TIMEOUT_EXCEEDED",
        "TOO_MANY_PARTS",
        "TOO_MANY_SIMULTANEOUS_QUERIES",
        "TOO_SLOW",
    }
)
_LOGIN: Final = frozenset({"AUTHENTICATION_FAILED", "REQUIRED_PASSWORD", "UNKNOWN_USER", "WRONG_PASSWORD"})
_NAME: Final = re.compile(r"\(([A-Z][A-Z0-9_]{2,60})\)")
_TABLE: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_WRAPPED: Final = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})


def create(table: FactTable) -> str:
    """The statement that makes a table. It flushes what it is given, and what it merges, before the old files go."""
    columns = ", ".join(f"{name} {KINDS[kind]}" for name, kind in table.columns.items())
    return SQL["create"].format(name=table.name, columns=columns, sorting=", ".join(table.sorting))


def claim(owner: str) -> str:
    """The statement that puts the owner's name into the database, unless one is in it: the engine makes it once."""
    quoted = owner.replace("\\", "\\\\").replace("'", "\\'")
    return SQL["claim"].format(owner=f"'{quoted}'")


def difference(table: FactTable, columns: Sequence[Mapping[str, Any]], engine: str, sorting: str) -> str:
    """What of a table that is there differs from what was declared; empty when nothing does."""
    if not engine.endswith("ReplacingMergeTree"):
        return f"it is a {engine}, not a ReplacingMergeTree"
    there = {column["name"]: _bare(column["type"]) for column in columns}
    wanted = {name: KINDS[kind] for name, kind in table.columns.items()}
    for name in {**wanted, **there}:
        if there.get(name) != wanted.get(name):
            return f"the column {name} is {there.get(name, 'missing')}, not {wanted.get(name, 'there')}"
    if (there_by := sorting.strip("()")) != (own := ", ".join(table.sorting)):
        return f"it is sorted by {there_by}, not by {own}"
    return ""


def insert(table: FactTable) -> str:
    """The statement that precedes rows; see `encode`."""
    return SQL["insert"].format(name=table.name, columns=", ".join(table.columns))


def encode(table: FactTable, rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as lines of tab-separated text, in which nothing ends a value but what is meant to. Raises `InvalidFact`."""
    return "".join("\t".join(escaped(text(value)) for value in table.row(row)) + "\n" for row in rows)


def text(value: Any) -> str:
    """A value as ClickHouse reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return value.isoformat() if isinstance(value, date) else repr(value) if isinstance(value, float) else str(value)


def escaped(value: str) -> str:
    """A text within tab-separated ones, or as the value of a parameter."""
    return value.translate(_ESCAPES)


def bind(sql: str, parameters: Sequence[Any], tables: Mapping[str, FactTable]) -> tuple[str, dict[str, str]]:
    """`sql` with tables and typed parameters in their places, and the parameters' values. Raises `QueryRejected`."""

    def named(match: re.Match[str]) -> str:
        if match[1] not in tables:
            raise ConfigurationError(f"there is no fact table {match[1]!r}; declared are {', '.join(tables) or 'none'}")
        return match[1]

    def placed(number: int) -> str:
        if not 0 <= number < len(parameters):
            raise QueryRejected(f"the query names {number + 1} parameters and is given {len(parameters)}")
        return f"{{p{number + 1}:{_kind_of(parameters[number])}}}"

    return replaced(_TABLE.sub(named, sql), placed), {f"p{n}": text(value) for n, value in enumerate(parameters, 1)}


def decode(answer: bytes) -> list[dict[str, Any]]:
    """The rows of an answer in JSONCompact; none for a statement that answers nothing."""
    if not answer.strip():
        return []
    try:
        document = json.loads(answer, parse_int=_whole)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise QueryRejected("the answer is no table: leave FORMAT away")
    columns = [(column["name"], _reader(column["type"])) for column in document["meta"]]
    return [{name: read(value) for (name, read), value in zip(columns, row, strict=True)} for row in document["data"]]


def refusal(where: str, words: str, *, writing: bool = False) -> Exception:
    """The error for what the engine said. Its own words may repeat values, so only the name in them is told."""
    name = (_NAME.findall(words) or ["refused"])[-1]
    if name in BUSY:
        return StoreBusy(f"{where}: {name}; try again later")
    if name in _LOGIN:
        return StoreError(f"{where} refuses the user or the password of the address")
    return StoreError(f"{where}: {name}") if writing else QueryRejected(f"{where}: {name}", detail=words)


def _kind_of(value: Any) -> str:
    if type(value) not in TYPES:
        known = ", ".join(kind.__name__ for kind in TYPES)
        raise QueryRejected(f"a {type(value).__name__} cannot be a parameter: use one of {known}")
    if problem := problem_of(value):
        raise QueryRejected(f"a parameter is {problem}")
    return KINDS[type(value)]


def _bare(kind: str) -> str:
    """A type without what does not change its values."""
    match = _WRAPPED.fullmatch(kind)
    return kind if match is None else _bare(match[1])


def _whole(digits: str) -> float:
    """A number without a point: the engine writes a float's minus zero like that."""
    return -0.0 if digits == "-0" else int(digits)


def _reader(kind: str) -> Callable[[Any], Any]:
    """What turns a column's JSON into values. Arrays and the like stay as they are."""
    bare = _bare(kind)
    readers: dict[str, Callable[[Any], Any]] = {
        "Float": float,
        "Decimal": Decimal,
        "DateTime": datetime.fromisoformat,
        "Date": date.fromisoformat,
    }
    read = next((reader for start, reader in readers.items() if bare.startswith(start)), None)
    return (lambda value: value) if read is None else (lambda value: None if value is None else read(value))
