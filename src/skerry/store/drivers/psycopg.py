"""A `psycopg.AsyncConnection`, or a `psycopg.Connection` from synchronous code. Neither tells anybody of its commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

from skerry.errors import NoTransaction
from skerry.store.drivers.adapter import LOCK, rows
from skerry.store.placeholders import translate
from skerry.store.queries import Dialect, words
from skerry.store.tx import Parameters


def find(tx: object) -> Psycopg | AsyncPsycopg:
    """The adapter. Raises `TypeError` for anything else of this library."""
    if isinstance(tx, AsyncConnection):
        return AsyncPsycopg(tx)
    if isinstance(tx, Connection):
        return Psycopg(tx)
    what = f"{type(tx).__module__}.{type(tx).__name__}"
    if isinstance(tx, Cursor | AsyncCursor):
        raise TypeError(f"a {what} is no transaction; give its connection: cursor.connection")
    raise TypeError(f"a {what} is no transaction; give a psycopg.Connection or psycopg.AsyncConnection")


class Psycopg:
    """A `SyncTx` over a connection of the user's. Its cursors are our own: the user's factories stay out of it."""

    dialect: Dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def is_open(self) -> bool:
        """Whether there is a transaction to take part in."""
        return _is_open(self._connection)

    def demand_open(self) -> None:
        """See `Adapter.demand_open`."""
        _demand_open(self._connection, "with connection.transaction():")

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """See `SyncTx.execute`."""
        self.demand_open()
        with Cursor(self._connection) as cursor:
            return cursor.execute(*_spoken(sql, parameters)).rowcount

    def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """See `SyncTx.fetch_all`."""
        self.demand_open()
        with Cursor(self._connection, row_factory=tuple_row) as cursor:
            cursor.execute(*_spoken(sql, parameters))
            return rows((column.name for column in cursor.description or ()), cursor.fetchall())

    def lock(self, name: str) -> None:
        """See `SyncTx.lock`."""
        self.execute(LOCK, (name,))

    def on_commit(self, callback: Callable[[], None]) -> None:
        """The driver has no such hook: `callback` is never called."""


class AsyncPsycopg:
    """A `Tx` over a connection of the user's. Its cursors are our own: the user's factories stay out of it."""

    dialect: Dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def is_open(self) -> bool:
        """Whether there is a transaction to take part in."""
        return _is_open(self._connection)

    def demand_open(self) -> None:
        """See `Adapter.demand_open`."""
        _demand_open(self._connection, "async with connection.transaction():")

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """See `Tx.execute`."""
        self.demand_open()
        async with AsyncCursor(self._connection) as cursor:
            return (await cursor.execute(*_spoken(sql, parameters))).rowcount

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """See `Tx.fetch_all`."""
        self.demand_open()
        async with AsyncCursor(self._connection, row_factory=tuple_row) as cursor:
            await cursor.execute(*_spoken(sql, parameters))
            return rows((column.name for column in cursor.description or ()), await cursor.fetchall())

    async def lock(self, name: str) -> None:
        """See `Tx.lock`."""
        await self.execute(LOCK, (name,))

    def on_commit(self, callback: Callable[[], None]) -> None:
        """The driver has no such hook: `callback` is never called."""


def _spoken(sql: str, parameters: Parameters) -> tuple[bytes, Parameters]:
    text, values = translate(words(sql, "postgresql"), parameters, "format")
    return text.encode(), tuple(values)


def _is_open(connection: Any) -> bool:
    status = connection.info.transaction_status
    pipelining = connection.pgconn.pipeline_status != PipelineStatus.OFF
    return not pipelining and status in {TransactionStatus.INTRANS, TransactionStatus.ACTIVE}


def _demand_open(connection: Any, block: str) -> None:
    if _is_open(connection):
        return
    if connection.info.transaction_status == TransactionStatus.INERROR:
        raise NoTransaction("the transaction has failed: nothing more can be written in it; roll it back")
    if connection.pgconn.pipeline_status != PipelineStatus.OFF:
        raise NoTransaction("in pipeline mode nobody knows whether a transaction is open; record outside of it")
    raise NoTransaction(f"the connection has no open transaction; record inside `{block}`")
