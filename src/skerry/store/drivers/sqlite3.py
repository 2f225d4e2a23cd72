"""A `sqlite3.Connection`, from synchronous code. The driver tells nobody of its commits."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from skerry.errors import NoTransaction
from skerry.store.drivers.adapter import LOCK, rows
from skerry.store.placeholders import translate
from skerry.store.queries import Dialect
from skerry.store.tx import Parameters


def find(tx: object) -> SQLite3:
    """The adapter. Raises `TypeError` for anything else of this library."""
    if isinstance(tx, sqlite3.Connection):
        return SQLite3(tx)
    raise TypeError(f"a {type(tx).__module__}.{type(tx).__name__} is no transaction; give the sqlite3.Connection")


class SQLite3:
    """A `SyncTx` over a connection of the user's."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def is_open(self) -> bool:
        """Whether there is a transaction to take part in."""
        return self._connection.in_transaction

    def demand_open(self) -> None:
        """See `Adapter.demand_open`."""
        if not self.is_open:
            raise NoTransaction(
                'the connection has no open transaction; connection.execute("BEGIN IMMEDIATE") before, '
                "so that both writes commit together"
            )

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """See `SyncTx.execute`."""
        self.demand_open()
        return self._connection.execute(*translate(sql, parameters, "qmark")).rowcount

    def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """See `SyncTx.fetch_all`."""
        self.demand_open()
        cursor = sqlite3.Cursor(self._connection)
        cursor.row_factory = None
        cursor.execute(*translate(sql, parameters, "qmark"))
        return rows((column[0] for column in cursor.description), cursor)

    def lock(self, name: str) -> None:
        """See `SyncTx.lock`: becomes the one writer."""
        self.execute(LOCK, (name,))

    def on_commit(self, callback: Callable[[], None]) -> None:
        """The driver has no such hook: `callback` is never called."""
