"""Tables in SQL: those that a text makes, reads and writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from skerry.architecture.code.facts import ForeignKey, Table, TableUse
from skerry.architecture.source import Place

_NAME: Final = r'((?:["`\[]?[A-Za-z_]\w*["`\]]?\.){0,2}["`\[]?[A-Za-z_]\w*["`\]]?)'
STATEMENT: Final = re.compile(
    r"^\s*(?:--[^\n]*\n\s*)*(?:/\*.*?\*/\s*)?"
    r"(?:SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|MERGE|REPLACE|TRUNCATE|DROP|COPY)\b",
    re.IGNORECASE | re.DOTALL,
)
_WRITES: Final = re.compile(
    rf"\b(?:(?:INSERT(?:\s+OR\s+\w+|\s+IGNORE)?|REPLACE|MERGE)\s+INTO|DELETE\s+FROM(?:\s+ONLY)?|TRUNCATE(?:\s+TABLE)?)\s+{_NAME}"
    rf"|(?<!FOR\s)(?<!DO\s)(?<!KEY\s)(?<!ON\s)\bUPDATE\s+(?:ONLY\s+)?{_NAME}(?:\s+(?:AS\s+)?\w+)?\s+SET\b"
    rf"|^\s*COPY\s+{_NAME}\s*(?:\([^)]*\))?\s+FROM\b",
    re.IGNORECASE,
)
_READS: Final = re.compile(rf"\b(?:FROM|JOIN)\s+(?:ONLY\s+)?{_NAME}(?!\w|\s*\()", re.IGNORECASE)
_LISTED: Final = re.compile(rf"\s*(?:AS\s+)?\w*\s*,\s*{_NAME}", re.IGNORECASE)
_NAMED: Final = re.compile(
    r"(?:\bWITH(?:\s+RECURSIVE)?|,)\s*(\w+)\s*(?:\([^)]*\))?\s+AS\s*(?:NOT\s+)?(?:MATERIALIZED\s*)?\(", re.IGNORECASE
)
_CREATE: Final = re.compile(rf"\bCREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}", re.IGNORECASE)
_ALTER: Final = re.compile(rf"\bALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{_NAME}", re.IGNORECASE)
_REFERENCES: Final = re.compile(rf"\bREFERENCES\s+{_NAME}", re.IGNORECASE)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NO_TABLE: Final = frozenset(
    [
        "select",
        "where",
        "set",
        "values",
        "lateral",
        "unnest",
        "information_schema",
        "pg_catalog",
        "dual",
        "the",
        "an",
        "this",
        "that",
        "excluded",
        "sqlite_master",
    ]
)
_MAX_FOUND: Final = 2_000
"""Tables of one text."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One table that a text names. `line` counts from 0 within the text."""

    table: str
    writes: bool
    line: int


def statements(text: str) -> Iterator[Statement]:
    """Tables that the SQL in `text` reads and writes; nothing for a text that does not begin as SQL does."""
    if not STATEMENT.match(text):
        return
    text = _blank(text)
    named = {match[1].lower() for match in _NAMED.finditer(text)}
    taken: set[int] = set()
    for count, match in enumerate(_WRITES.finditer(text)):
        taken.update(range(match.start(), match.end()))
        name = _clean(match[1] or match[2] or match[3])
        if name and name not in named and count < _MAX_FOUND:
            yield Statement(name, True, text.count("\n", 0, match.start()))
    for count, match in enumerate(_READS.finditer(text)):
        name = _clean(match[1])
        if match.start() not in taken and name and name not in named and count < _MAX_FOUND:
            yield Statement(name, False, text.count("\n", 0, match.start()))


def tables(text: str, path: str, first: int = 1) -> Iterator[Table]:
    """Tables that the SQL in `text` makes, with what they refer to. `first` is the line at which `text` begins."""
    text = _blank(text)
    heads = sorted((m.start(), _clean(m[1]), m.re is _CREATE) for r in (_CREATE, _ALTER) for m in r.finditer(text))
    for index, (start, name, made) in enumerate(heads[:_MAX_FOUND]):
        end = heads[index + 1][0] if index + 1 < len(heads) else len(text)
        stop = text.find(";", start, end)
        body = text[start : stop if stop != -1 else end]
        keys = tuple(
            ForeignKey(_clean(match[1]), Place(path, first + text.count("\n", 0, start + match.start())))
            for match in _REFERENCES.finditer(body)
        )
        if name and (made or keys):
            yield Table(name=name, place=Place(path, first + text.count("\n", 0, start)), keys=keys)


def uses(text: str, path: str, function: str = "", first: int = 1) -> Iterator[TableUse]:
    """What `statements` finds, at its place."""
    for each in statements(text):
        yield TableUse(table=each.table, place=Place(path, first + each.line), function=function, writes=each.writes)


def _blank(text: str) -> str:
    return _COMMENT.sub(lambda match: "\n" * match[0].count("\n"), text)


def _clean(name: str) -> str:
    bare = re.sub(r'["`\[\]]', "", name).lower().removeprefix("public.").removeprefix("dbo.")
    return "" if bare.partition(".")[0] in _NO_TABLE or bare in _NO_TABLE else bare
