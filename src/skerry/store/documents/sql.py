"""Documents in a table: JSONB on PostgreSQL, JSON text on SQLite. How a field becomes SQL is in `columns`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from skerry.errors import DuplicateValue, VersionConflict
from skerry.signals import MigrationApplied, emit
from skerry.store.documents.columns import COLUMNS
from skerry.store.documents.port import Change, Row
from skerry.store.documents.query import Index, Query, Where
from skerry.store.port import Database
from skerry.store.queries import Dialect, Queries
from skerry.store.tx import Parameters, Tx, adapt

SQL = Queries("skerry.store", "sql/documents.sql")

PREFIX: Final = "documents_"
_LOCK: Final = "skerry_documents"


class SQLCollection:
    """See `Collection`. Takes part in any transaction that `adapt` knows."""

    def __init__(self, database: Database, name: str, *, key: str, indexes: Sequence[Index]) -> None:
        self.name = name
        self._database = database
        self._key = key
        self._table = PREFIX + name
        self._indexes = {self._index_name(index): index for index in indexes}
        self._columns = COLUMNS[database.dialect]

    async def prepare(self) -> None:
        """See `Collection.prepare`. Where everything is there already, nothing is locked."""
        wanted = [self._table, *self._indexes]
        if all([await self._has(self._database, name) for name in wanted]):
            return
        made: list[str] = []
        async with self._database.transaction() as tx:
            await tx.lock(_LOCK)  # several processes of a service start at the same time
            for name in wanted:
                if not await self._has(tx, name):
                    await self._write(tx, self._creation(name), ())
                    made.append(self._indexes[name].field if name in self._indexes else "table")
        for what in made:
            emit(MigrationApplied(component=self._table, version=what))

    async def get(self, identifier: str, tx: object | None) -> Row | None:
        """See `Collection.get`."""
        source = self._database if tx is None else adapt(tx)
        rows = await source.fetch_all(self._statement("get"), (identifier,))
        return Row(*rows[0]) if rows else None

    async def change(self, tx: object, change: Change) -> bool:
        """See `Collection.change`. After a `DuplicateValue` PostgreSQL's transaction can only be rolled back."""
        adapted = adapt(tx)
        if change.kind == "delete":
            parameters: Parameters = (change.id,) if change.version is None else (change.id, change.version)
            name = "delete" if change.version is None else "delete_version"
        else:
            parameters = (
                (change.text, change.id) if change.version is None else (change.text, change.id, change.version)
            )
            name = change.kind
        done = await self._write(adapted, self._statement(name, adapted.dialect), parameters)
        if not done and (change.kind in {"insert", "replace"} or change.version is not None):
            row = await self.get(change.id, adapted)
            raise conflict(self.name, change, None if row is None else row.version)
        return bool(done)

    async def find(self, query: Query) -> list[Row]:
        """See `Collection.find`."""
        field, after = query.sort.field, query.after
        columns = self._columns.of(field, self._key) if field else []
        texts, parameters = self._conditions(query.where)
        texts += [f"{column} IS NOT NULL" for column in columns[:1]]
        if after is not None:
            compared = ", ".join([*columns, "id"])
            values = [*(self._columns.values(after.value) if after.value is not None else ()), after.id]
            texts.append(f"({compared}) {'<' if query.sort.descending else '>'} ({', '.join('?' for _ in values)})")
            parameters += values
        direction = " DESC" if query.sort.descending else ""
        order = ", ".join(f"{column}{direction}" for column in [*columns, "id"])
        sql = self._statement("find", conditions=" AND ".join(texts) or "true", order=order)
        return [Row(*row) for row in await self._database.fetch_all(sql, [*parameters, query.limit])]

    async def count(self, where: tuple[Where, ...]) -> int:
        """See `Collection.count`."""
        texts, parameters = self._conditions(where)
        sql = self._statement("count", conditions=" AND ".join(texts) or "true")
        return int((await self._database.fetch_one(sql, parameters))[0])

    def _conditions(self, where: tuple[Where, ...]) -> tuple[list[str], list[Any]]:
        texts: list[str] = []
        parameters: list[Any] = []
        for each in where:
            if each.field == self._key and not isinstance(each.value, str):
                texts.append("false")  # SQLite would make a text of a number to compare it with that column
            elif isinstance(each.value, bool):
                texts.append(self._columns.truth(each.field, value=each.value))
            else:
                text, values = self._columns.compare(self._columns.of(each.field, self._key), each)
                texts.append(text)
                parameters += values
        return texts, parameters

    def _statement(self, name: str, dialect: Dialect | None = None, **parts: str) -> str:
        return SQL[name].on(dialect or self._database.dialect).format(table=self._table, **parts)

    def _creation(self, name: str) -> str:
        if name == self._table:
            return self._statement("create_table")
        index = self._indexes[name]
        columns = ", ".join(f"({column})" for column in self._columns.of(index.field, self._key))
        return self._statement("create_unique" if index.unique else "create_index", index=name, columns=columns)

    def _index_name(self, index: Index) -> str:
        """A name that another declaration does not have; a field's own can be too long, or no name for an index."""
        told = hashlib.sha256(f"{index.field} {index.unique}".encode()).hexdigest()[:10]
        return f"{self._table}_{told}"

    async def _has(self, source: Database | Tx, name: str) -> bool:
        return bool(await source.fetch_all(SQL["has"].on(self._database.dialect), (name,)))

    async def _write(self, tx: Tx, sql: str, parameters: Parameters) -> int:
        try:
            return await tx.execute(sql, parameters)
        except Exception as error:
            for name, index in self._indexes.items():
                if index.unique and name in str(error):  # all drivers say it, each in a class of its own
                    raise duplicate(self.name, [index.field]) from None
            raise


def conflict(name: str, change: Change, version: int | None) -> VersionConflict:
    """The error for a document that is in `version` by now, or not there at all."""
    if change.kind == "insert":
        return VersionConflict(
            f"{name}: there is a document {change.id!r} already, in version {version}; nothing was written"
        )
    now = "is not there any more" if version is None else f"is in version {version} by now, not in {change.version}"
    return VersionConflict(f"{name}: the document {change.id!r} {now}; nothing was written, so read it again")


def duplicate(name: str, fields: Sequence[str]) -> DuplicateValue:
    """The error for a value that another document has."""
    what = repr(fields[0]) if len(fields) == 1 else f"one of {', '.join(map(repr, fields))}"
    return DuplicateValue(f"{name}: another document has the same value in {what}; nothing was written")
