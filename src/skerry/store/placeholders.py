"""One way to write placeholders, whatever the driver wants: `?`, or `?1`, `?2` where one value stands in several places.

Strings, quoted names and comments are left alone. `??` stands for PostgreSQL's own operator `?`, as in JDBC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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
