"""An `aiosqlite.Connection`. The driver tells nobody of its commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiosqlite

from skerry.errors import NoTransaction
from skerry.store.drivers.adapter import LOCK, rows
from skerry.store.placeholders import translate
from skerry.store.queries import Dialect
from skerry.store.tx import Parameters


def find(tx: object) -> AioSQLite:
    """The adapter. Raises `TypeError` for anything else of this library."""
    if isinstance(tx, aiosqlite.Connection):
        return AioSQLite(tx)
    raise TypeError(f"a {type(tx).__module__}.{type(tx).__name__} is no transaction; give the aiosqlite.Connection")


class AioSQLite:
    """A `Tx` over a connection of the user's."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    @property
    def is_open(self) -> bool:
        """Whether there is a transaction to take part in."""
        return self._connection.in_transaction

    def demand_open(self) -> None:
        """See `Adapter.demand_open`."""
        if not self.is_open:
            raise NoTransaction(
                'the connection has no open transaction; await connection.execute("BEGIN IMMEDIATE") before, '
                "so that both writes commit together"
            )

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """See `Tx.execute`."""
        self.demand_open()
        async with self._connection.execute(*translate(sql, parameters, "qmark")) as cursor:
            return cursor.rowcount

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """See `Tx.fetch_all`."""
        self.demand_open()
        async with self._connection.execute(*translate(sql, parameters, "qmark")) as cursor:
            cursor.row_factory = None
            return rows((column[0] for column in cursor.description), await cursor.fetchall())

    async def lock(self, name: str) -> None:
        """See `Tx.lock`: becomes the one writer."""
        await self.execute(LOCK, (name,))

    def on_commit(self, callback: Callable[[], None]) -> None:
        """The driver has no such hook: `callback` is never called."""
