"""The caller's transaction, one adapter per driver.

Whatever takes part in a user's transaction (outbox, inbox, receipts, sagas) is written against `Tx`; `adapt` turns what the
user holds into one. An adapter never begins, commits or rolls back: the transaction stays the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from inspect import iscoroutinefunction
from typing import Any, Literal, Protocol, cast, runtime_checkable

from skerry.errors import NoTransaction
from skerry.store import drivers
from skerry.store.queries import Dialect

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
        """Run one query; all its rows, each readable by position and by name."""
        ...

    async def lock(self, name: str) -> None:
        """Wait until no other transaction holds the lock `name`, then hold it until this one ends."""
        ...

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the commit is durable; never after a roll-back. Where a driver cannot tell, never."""
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
        """Run one query; all its rows, each readable by position and by name."""
        ...

    def lock(self, name: str) -> None:
        """Wait until no other transaction holds the lock `name`, then hold it until this one ends."""
        ...

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the commit is durable, in the thread that commits. Where a driver cannot tell, never."""
        ...


def adapt(tx: object) -> Tx:
    """The `Tx` for what an asynchronous caller holds.

    That is skerry's own `Transaction`, SQLAlchemy's `AsyncSession` or `AsyncConnection`, a connection of asyncpg (also from
    its pool), psycopg or aiosqlite. Errors of the driver pass through as they are.

    Raises `NoTransaction` when none is open, `ConfigurationError` when its database is neither SQLite nor PostgreSQL,
    `TypeError` when the driver is unknown or synchronous.
    """
    found = drivers.find(tx) or tx
    form = _form(found)
    if form is None:
        raise TypeError(_unknown(tx))
    if form == "sync":
        raise TypeError(f"a {_name(tx)} is synchronous: use the *_sync form, such as record_sync")
    _demand_open(found)
    return cast("Tx", found)


def adapt_sync(tx: object) -> SyncTx:
    """The `SyncTx` for what a synchronous caller holds.

    That is SQLAlchemy's `Session` or `Connection`, a connection of psycopg or sqlite3, or Django's: `django.db.connection`,
    `connections["orders"]`, an `atomic` block, or `django.db.transaction` for the default database.

    Raises `NoTransaction` when none is open, `ConfigurationError` when its database is neither SQLite nor PostgreSQL,
    `TypeError` when the driver is unknown or asynchronous.
    """
    found = drivers.find(tx) or tx
    form = _form(found)
    if form is None:
        raise TypeError(_unknown(tx))
    if form == "async":
        raise TypeError(f"a {_name(tx)} is asynchronous: use the form without _sync, such as record")
    _demand_open(found)
    return cast("SyncTx", found)


def _demand_open(found: object) -> None:
    demand: Callable[[], None] | None = getattr(found, "demand_open", None)
    if demand is not None:
        demand()
    elif not getattr(found, "is_open", True):
        raise NoTransaction("the transaction has ended; record before the block that opened it is left")


def _form(found: object) -> Literal["async", "sync"] | None:
    """Whether it is a `Tx`, a `SyncTx` or neither."""
    kind: Any = type(found)
    return _form_of(kind)


@lru_cache(128)
def _form_of(kind: type[Any]) -> Literal["async", "sync"] | None:
    """By its class and once for each: to ask a protocol costs as much as a statement."""
    if not all(callable(getattr(kind, name, None)) for name in ("execute", "fetch_all", "lock")):
        return None
    return "async" if iscoroutinefunction(kind.execute) else "sync"


def _unknown(tx: object) -> str:
    return f"no transaction adapter for {_name(tx)}; known are skerry's own transactions and {', '.join(drivers.LIBRARIES)}"


def _name(tx: object) -> str:
    return f"{type(tx).__module__}.{type(tx).__name__}"
