"""One way to write placeholders, whatever the driver wants: `?`, or `?1`, `?2` where one value stands in several places.

Strings, quoted names and comments are left alone. `??` stands for PostgreSQL's own operator `?`, as in JDBC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal

Style = Literal["qmark", "numeric", "format"]
"""`?` as SQLite takes it (its own `?1` wants names from Python 3.12 on), `$1` as asyncpg, `%s` as psycopg and Django do."""

_TOKEN: Final = re.compile(
    r"""(?P<kept>'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$(?P<tag>[A-Za-z_0-9]*)\$.*?\$(?P=tag)\$)"""
    r"""|(?P<operator>\?\?)|\?(?P<number>[0-9]*)|(?P<percent>%)""",
    re.DOTALL,
)


def translate(sql: str, parameters: Sequence[Any], style: Style) -> tuple[str, Sequence[Any]]:
    """`sql` and its parameters as a driver of that style takes them.

    >>> translate("UPDATE stock SET free = free - ?1, held = held + ?1 WHERE sku = ?2", (3, "LAMP-1"), "format")
    ('UPDATE stock SET free = free - %s, held = held + %s WHERE sku = %s', (3, 3, 'LAMP-1'))
    """
    text, order = _translated(sql, style)
    return (text, parameters) if order is None else (text, tuple(parameters[index] for index in order))


def translate_many(sql: str, rows: Iterable[Sequence[Any]], style: Style) -> tuple[str, list[Sequence[Any]]]:
    """`translate` for one statement and many rows of parameters."""
    text, order = _translated(sql, style)
    return (text, list(rows)) if order is None else (text, [tuple(row[index] for index in order) for row in rows])


def inline(sql: str, parameters: Sequence[str | float | None]) -> str:
    """`sql` with its parameters written into it, as PostgreSQL reads them whatever its settings are.

    For skerry's own statements that travel with others. Raises `TypeError` for anything but text, numbers and None,
    `ValueError` for a text with a NUL.

    >>> inline("UPDATE stock SET note = ? WHERE sku = ?", ("it's", None))
    "UPDATE stock SET note = E'it''s' WHERE sku = NULL"
    """
    written = [_literal(value) for value in parameters]
    return replaced(sql, written.__getitem__)


def replaced(sql: str, place: Callable[[int], str]) -> str:
    """`sql` with each placeholder replaced by what `place` gives for the number of its parameter, from 0."""
    pieces, order = _pieces(sql)
    found = [pieces[0]]
    for index, piece in zip(order, pieces[1:], strict=True):
        found += (place(index), piece)
    return "".join(found)


def _literal(value: str | float | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"a {type(value).__name__} is not written into a statement")
    text = value if isinstance(value, str) else repr(value)
    if "\x00" in text:
        raise ValueError("PostgreSQL takes no NUL in a text")
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


@lru_cache(1024)
def _pieces(sql: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The text around the placeholders, and which parameter goes between."""
    order: list[int] = []
    pieces = [""]
    at = 0
    for match in _TOKEN.finditer(sql):
        pieces[-1] += sql[at : match.start()]
        at = match.end()
        if match["operator"] is not None:
            pieces[-1] += "?"
        elif match["kept"] is not None or match["percent"] is not None:
            pieces[-1] += match[0]
        else:
            order.append(int(match["number"]) - 1 if match["number"] else len(order))
            pieces.append("")
    pieces[-1] += sql[at:]
    return tuple(pieces), tuple(order)


@lru_cache(1024)
def _translated(sql: str, style: Style) -> tuple[str, tuple[int, ...] | None]:
    """The text, and which parameter goes where; None when they go as they come."""
    order: list[int] = []

    def put(match: re.Match[str]) -> str:
        if match["kept"] is not None:
            return match["kept"].replace("%", "%%") if style == "format" else match["kept"]
        if match["operator"] is not None:
            return "?"
        if match["percent"] is not None:
            return "%%" if style == "format" else "%"
        order.append(int(match["number"]) - 1 if match["number"] else len(order))
        return f"${order[-1] + 1}" if style == "numeric" else "%s" if style == "format" else "?"

    text = _TOKEN.sub(put, sql)
    as_they_come = style == "numeric" or order == list(range(len(order)))
    return text, None if as_they_come else tuple(order)
