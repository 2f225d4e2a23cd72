"""How a field of a document is compared in SQL: by columns that are computed from it.

They are the same in statements and in indexes, so that an index is used, and one index serves equality, ranges, order and
paging. On SQLite it is the value itself if it is a number or a text: its own order puts numbers first. On PostgreSQL a number
and a text stand beside each other, and a text is behind all numbers: JSONB's own order would be that of the database's
collation. Only a path that `query.is_field` has let through gets here.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Protocol

from skerry.store.documents.query import Scalar, Where
from skerry.store.queries import Dialect

_BEYOND: Final = Decimal("Infinity")


class Columns(Protocol):
    """One engine's way. `key` is the field that holds the id, which is a column of its own."""

    def of(self, field: str, key: str) -> list[str]:
        """The columns of a field; NULL for what is neither a number nor a text."""
        ...

    def values(self, value: Scalar) -> list[Any]:
        """What they hold for `value`."""
        ...

    def compare(self, columns: list[str], where: Where) -> tuple[str, list[Any]]:
        """The condition and its parameters: only numbers compare with a number, only texts with a text."""
        ...

    def truth(self, field: str, *, value: bool) -> str:
        """The condition for a truth value."""
        ...


class _SQLite:
    def of(self, field: str, key: str) -> list[str]:
        if field == key:
            return ["id"]
        path = self._path(field)
        kinds = "('integer', 'real', 'text')"
        return [f"CASE WHEN json_type(document, {path}) IN {kinds} THEN json_extract(document, {path}) END"]

    def values(self, value: Scalar) -> list[Any]:
        return [value]

    def compare(self, columns: list[str], where: Where) -> tuple[str, list[Any]]:
        column, is_text = columns[0], isinstance(where.value, str)
        text = f"{column} {where.operator} ?"
        if where.operator in {">", ">="} and not is_text:
            text += f" AND {column} < ''"  # all numbers are, and no text is
        elif where.operator in {"<", "<="} and is_text:
            text += f" AND {column} >= ''"
        return text, [where.value]

    def truth(self, field: str, *, value: bool) -> str:
        return f"json_type(document, {self._path(field)}) = '{str(value).lower()}'"

    @staticmethod
    def _path(field: str) -> str:
        return "'$" + "".join(f'."{name}"' for name in field.split(".")) + "'"


class _PostgreSQL:
    """5 is (5, ''), the text "a" is (Infinity, 'a'), anything else (NULL, NULL). There is no infinity in JSON."""

    def of(self, field: str, key: str) -> list[str]:
        if field == key:
            return ["'Infinity'::numeric", "id"]
        path = self._path(field)
        kind = f"CASE jsonb_typeof(document #> {path})"
        return [
            f"{kind} WHEN 'number' THEN (document #> {path})::numeric WHEN 'string' THEN 'Infinity'::numeric END",
            f"{kind} WHEN 'number' THEN '' WHEN 'string' THEN document #>> {path} END COLLATE \"C\"",
        ]

    def values(self, value: Scalar) -> list[Any]:
        return [_BEYOND, value] if isinstance(value, str) else [Decimal(repr(value)), ""]

    def compare(self, columns: list[str], where: Where) -> tuple[str, list[Any]]:
        number, text = columns
        if isinstance(where.value, str):
            return f"{number} = 'Infinity'::numeric AND {text} {where.operator} ?", [where.value]
        condition = f"{number} {where.operator} ?"
        if where.operator in {">", ">="}:
            condition += f" AND {number} < 'Infinity'::numeric"
        elif where.operator == "=":
            condition += f" AND {text} = ''"  # says nothing new, but what follows in the index is then ordered by id
        return condition, self.values(where.value)[:1]

    def truth(self, field: str, *, value: bool) -> str:
        return f"document #> {self._path(field)} = '{str(value).lower()}'::jsonb"

    @staticmethod
    def _path(field: str) -> str:
        return "'{" + ",".join(f'"{name}"' for name in field.split(".")) + "}'"


COLUMNS: Final[Mapping[Dialect, Columns]] = {"sqlite": _SQLite(), "postgresql": _PostgreSQL()}
