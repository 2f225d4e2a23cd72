"""The caller's transaction, one adapter per driver.

Whatever takes part in a user's transaction (outbox, inbox, receipts, sagas) is written against `Tx`; `adapt` turns what the
user holds into one. An adapter never begins, commits or rolls back: the transaction stays the caller's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from skerry.errors import NoTransaction
from skerry.store.queries import Dialect

Row = Sequence[Any]
Parameters = Sequence[Any]


@runtime_checkable
class Tx(Protocol):
    """An open transaction, from asynchronous code. Placeholders are `?` on every engine; see `placeholders`."""

    @property
    def dialect(self) -> Dialect:
        """Whose SQL it takes."""
        ...

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement; the number of rows it changed."""
        ...

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Run one query; all its rows."""
        ...

    async def lock(self, name: str) -> None:
        """Wait until no other transaction holds the lock `name`, then hold it until this one ends."""
        ...

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the commit is durable; never after a roll-back."""
        ...


class SyncTx(Protocol):
    """An open transaction, from synchronous code."""

    @property
    def dialect(self) -> Dialect:
        """Whose SQL it takes."""
        ...

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement; the number of rows it changed."""
        ...

    def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Run one query; all its rows."""
        ...


def adapt(tx: object) -> Tx:
    """The `Tx` for what an asynchronous caller holds: today skerry's own `Transaction`.

    Raises `NoTransaction` when it is not open, `TypeError` when the driver is unknown.
    """
    if isinstance(tx, Tx):
        if not getattr(tx, "is_open", True):
            raise NoTransaction("the transaction has ended; record before the block that opened it is left")
        return tx
    if isinstance(tx, sqlite3.Connection):
        raise TypeError("a sqlite3.Connection is synchronous: use the *_sync form")
    raise TypeError(f"no transaction adapter for {type(tx).__module__}.{type(tx).__name__}")


def adapt_sync(tx: object) -> SyncTx:
    """The `SyncTx` for what a synchronous caller holds: a `sqlite3.Connection` with an open transaction.

    Raises `NoTransaction` when none is open, `TypeError` when the driver is unknown.
    """
    if not isinstance(tx, sqlite3.Connection):
        raise TypeError(f"no transaction adapter for {type(tx).__module__}.{type(tx).__name__}")
    if not tx.in_transaction:
        raise NoTransaction("the connection has no open transaction; BEGIN one, so that both writes commit together")
    return _SQLite3(tx)


class _SQLite3:
    dialect: Dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        return self._connection.execute(sql, parameters).rowcount

    def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        return self._connection.execute(sql, parameters).fetchall()
