"""Django's `transaction.atomic`, from synchronous code.

Whoever is inside holds nothing, so this takes a connection (`django.db.connection`, `connections["orders"]`), the block
itself (`block = transaction.atomic(using="orders")`), or `django.db.transaction` for the default database.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from django.db import connections, transaction  # type: ignore[import-untyped]
from django.db.backends.base.base import BaseDatabaseWrapper  # type: ignore[import-untyped]
from django.db.transaction import Atomic  # type: ignore[import-untyped]
from django.db.utils import DEFAULT_DB_ALIAS  # type: ignore[import-untyped]
from django.utils.connection import ConnectionProxy  # type: ignore[import-untyped]

from skerry.errors import NoTransaction
from skerry.store.drivers.adapter import LOCK, call, rows, supported
from skerry.store.placeholders import translate
from skerry.store.queries import Dialect, words
from skerry.store.tx import Parameters


def find(tx: object) -> Django:
    """The adapter. Raises `TypeError` for anything else of this library, `ConfigurationError` for another database."""
    if tx is transaction or tx is transaction.atomic:
        return Django(connections[DEFAULT_DB_ALIAS])
    if isinstance(tx, Atomic):
        return Django(connections[tx.using or DEFAULT_DB_ALIAS])
    if isinstance(tx, BaseDatabaseWrapper | ConnectionProxy):
        return Django(tx)
    what = tx.__name__ if isinstance(tx, ModuleType | FunctionType) else f"{type(tx).__module__}.{type(tx).__name__}"
    raise TypeError(f"{what} is no transaction; give django.db.connection or connections[ALIAS], inside atomic()")


class Django:
    """A `SyncTx` over the connection of a database that Django manages."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.dialect: Dialect = supported(connection.vendor, f"Django's database {connection.alias!r}")

    @property
    def is_open(self) -> bool:
        """Whether there is a transaction to take part in."""
        return bool(self._connection.in_atomic_block and not self._connection.needs_rollback)

    def demand_open(self) -> None:
        """See `Adapter.demand_open`."""
        if not self._connection.in_atomic_block:
            raise NoTransaction(
                f"the database {self._connection.alias!r} has no open transaction; "
                "record inside `with transaction.atomic():`"
            )
        if self._connection.needs_rollback:
            raise NoTransaction("the atomic block has failed: nothing more can be written in it; leave it")

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """See `SyncTx.execute`."""
        self.demand_open()
        with self._connection.cursor() as cursor:
            cursor.execute(*self._spoken(sql, parameters))
            return int(cursor.rowcount)

    def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """See `SyncTx.fetch_all`."""
        self.demand_open()
        with self._connection.cursor() as cursor:
            cursor.execute(*self._spoken(sql, parameters))
            return rows((column[0] for column in cursor.description), cursor.fetchall())

    def lock(self, name: str) -> None:
        """See `SyncTx.lock`."""
        self.execute(LOCK, (name,))

    def on_commit(self, callback: Callable[[], None]) -> None:
        """See `SyncTx.on_commit`: by Django's own hook, in the thread that commits."""
        self._connection.on_commit(lambda: call(callback))

    def _spoken(self, sql: str, parameters: Parameters) -> tuple[str, Parameters]:
        """Django takes `%s` on every engine."""
        text, values = translate(words(sql, self.dialect), parameters, "format")
        return text, tuple(values)
