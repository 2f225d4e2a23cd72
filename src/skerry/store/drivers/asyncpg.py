"""An `asyncpg.Connection`, also as a pool hands it out. The driver tells nobody of its commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from skerry.errors import NoTransaction
from skerry.store.drivers.adapter import LOCK
from skerry.store.placeholders import translate
from skerry.store.queries import Dialect, words
from skerry.store.tx import Parameters


def find(tx: object) -> AsyncPG:
    """The adapter. Raises `TypeError` for anything else of this library, such as a pool."""
    if isinstance(tx, asyncpg.Connection | PoolConnectionProxy):
        return AsyncPG(tx)
    raise TypeError(f"a {type(tx).__module__}.{type(tx).__name__} is no transaction; give the asyncpg.Connection")


class AsyncPG:
    """A `Tx` over a connection of the user's."""

    dialect: Dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def is_open(self) -> bool:
        """Whether there is a transaction to take part in."""
        return bool(self._connection.is_in_transaction())

    def demand_open(self) -> None:
        """See `Adapter.demand_open`."""
        if not self.is_open:
            raise NoTransaction(
                "the connection has no open transaction; record inside `async with connection.transaction():`"
            )

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """See `Tx.execute`."""
        self.demand_open()
        text, values = translate(words(sql, "postgresql"), parameters, "numeric")
        status: str = await self._connection.execute(text, *values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """See `Tx.fetch_all`."""
        self.demand_open()
        text, values = translate(words(sql, "postgresql"), parameters, "numeric")
        found: list[Any] = await self._connection.fetch(text, *values, record_class=asyncpg.Record)
        return found

    async def lock(self, name: str) -> None:
        """See `Tx.lock`."""
        await self.execute(LOCK, (name,))

    def on_commit(self, callback: Callable[[], None]) -> None:
        """The driver has no such hook: `callback` is never called."""
