"""SQLAlchemy 2: a `Session` or `Connection`, an `AsyncSession` or `AsyncConnection`, a scoped session of either kind.

Statements go through the session's own connection, without a flush: in which order the rows of one transaction are
written does not matter. The session's commit is heard of; that of a bare connection is not, for its event comes too early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from skerry.errors import ConfigurationError, NoTransaction
from skerry.store.drivers.adapter import LOCK, call, rows, supported
from skerry.store.placeholders import Style, translate
from skerry.store.queries import Dialect, words
from skerry.store.tx import Parameters

_STYLES: Final[dict[str, Style]] = {
    "qmark": "qmark",
    "numeric_dollar": "numeric",
    "format": "format",
    "pyformat": "format",
}
_WAITING: Final = "skerry.store"


def find(tx: object) -> SQLAlchemy | AsyncSQLAlchemy:
    """The adapter. Raises `TypeError` for anything else of this library, `ConfigurationError` for another database."""
    if isinstance(tx, scoped_session):
        tx = tx()
    if isinstance(tx, Session | Connection):
        return SQLAlchemy(tx)
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

    if isinstance(tx, async_scoped_session):
        tx = tx()
    if isinstance(tx, AsyncSession):
        return AsyncSQLAlchemy(tx.run_sync, tx.sync_session)
    if isinstance(tx, AsyncConnection):
        if tx.sync_connection is None:
            raise NoTransaction("the connection is not open; record inside `async with engine.begin() as connection:`")
        return AsyncSQLAlchemy(tx.run_sync, tx.sync_connection)
    what = f"{type(tx).__module__}.{type(tx).__name__}"
    raise TypeError(f"a {what} is no transaction; give a Session, an AsyncSession or a connection with one open")


class SQLAlchemy:
    """A `SyncTx` over a session or connection of the user's."""

    def __init__(self, holder: Any) -> None:  # a Session or a Connection
        self._holder: Session | Connection = holder
        self._transaction = holder.get_transaction()
        self._connection: Connection | None = None
        dialect = (holder.get_bind() if isinstance(holder, Session) else holder).dialect
        self.dialect: Dialect = supported(dialect.name, f"the SQLAlchemy {type(holder).__name__}")
        style = _STYLES.get(dialect.paramstyle)
        if style is None:
            raise ConfigurationError(f"SQLAlchemy's driver {dialect.driver!r} is not supported: {dialect.paramstyle}")
        self._style: Style = style

    @property
    def is_open(self) -> bool:
        """Whether there is a transaction to take part in, still the one there was at first."""
        holder = self._holder
        usable = holder.is_active if isinstance(holder, Session) else holder.in_transaction()
        return usable and self._transaction is not None and holder.get_transaction() is self._transaction

    def demand_open(self) -> None:
        """See `Adapter.demand_open`."""
        if self.is_open:
            return
        if isinstance(self._holder, Session) and not self._holder.is_active:
            raise NoTransaction("the session's transaction has failed: nothing can be written in it; roll it back")
        if self._transaction is not None:
            raise NoTransaction("the transaction has ended; record before it is committed or rolled back")
        kind = "session" if isinstance(self._holder, Session) else "connection"
        raise NoTransaction(
            f"the {kind} has no open transaction, and nobody would commit one begun here; record inside "
            f"`with {kind}.begin():` (`async with` when it is asynchronous)"
        )

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """See `SyncTx.execute`."""
        with self._run(sql, parameters) as result:
            return result.rowcount

    def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """See `SyncTx.fetch_all`."""
        with self._run(sql, parameters) as result:
            return rows(result.keys(), result)

    def lock(self, name: str) -> None:
        """See `SyncTx.lock`."""
        self.execute(LOCK, (name,))

    def on_commit(self, callback: Callable[[], None]) -> None:
        """See `SyncTx.on_commit`: in the thread that commits. Of a bare connection nobody hears: it is never called then."""
        self.demand_open()
        if isinstance(self._holder, Session):
            waiting = self._holder.info.get(_WAITING)
            if waiting is None:
                waiting = self._holder.info[_WAITING] = _Waiting(self._holder)
            waiting.add(self._holder, self._connection, callback)

    def _run(self, sql: str, parameters: Parameters) -> CursorResult[Any]:
        self.demand_open()
        if self._connection is None:
            connection = self._holder.connection() if isinstance(self._holder, Session) else self._holder
            _demand_transactional(connection)
            self._connection = connection
        text, values = translate(words(sql, self.dialect), parameters, self._style)
        return self._connection.exec_driver_sql(text, tuple(values))


class AsyncSQLAlchemy:
    """A `Tx`: the same, run where SQLAlchemy may wait."""

    def __init__(self, run_sync: Callable[..., Any], holder: Any) -> None:
        self._run_sync = run_sync
        self._inner = SQLAlchemy(holder)
        self.dialect: Dialect = self._inner.dialect

    @property
    def is_open(self) -> bool:
        """Whether there is a transaction to take part in, still the one there was at first."""
        return self._inner.is_open

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """See `Tx.execute`."""
        return int(await self._run_sync(lambda _: self._inner.execute(sql, parameters)))

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """See `Tx.fetch_all`."""
        found: list[Any] = await self._run_sync(lambda _: self._inner.fetch_all(sql, parameters))
        return found

    async def lock(self, name: str) -> None:
        """See `Tx.lock`."""
        await self.execute(LOCK, (name,))

    def demand_open(self) -> None:
        """See `Adapter.demand_open`."""
        self._inner.demand_open()

    def on_commit(self, callback: Callable[[], None]) -> None:
        """See `Tx.on_commit`: in the event loop. Of a bare connection nobody hears: it is never called then."""
        self._inner.on_commit(callback)


class _Waiting:
    """What waits for the commits of one session.

    Each callback stands under the savepoint or transaction it was given in. When that is committed it moves to the one
    around it, at the outermost it is called; when that ends in any other way, it is dropped. A savepoint made below the
    session, on its connection, is not seen. The listeners stay as long as the session lives: none may remove itself.
    """

    def __init__(self, session: Session) -> None:
        self._callbacks: list[tuple[SessionTransaction, Callable[[], None]]] = []
        self._connection: Connection | None = None
        self._committed: SessionTransaction | None = None
        event.listen(session, "after_commit", self._after_commit)
        event.listen(session, "after_transaction_end", self._after_end)

    def add(self, session: Session, connection: Connection | None, callback: Callable[[], None]) -> None:
        inner = session.get_nested_transaction() or session.get_transaction()
        assert inner is not None
        self._connection = connection or self._connection
        self._callbacks.append((inner, callback))

    def _after_commit(self, session: Session) -> None:
        """At this moment the session still stands in what was committed."""
        self._committed = session.get_nested_transaction() or session.get_transaction()
        outermost = self._committed is not None and self._committed.parent is None
        if outermost and self._connection is not None and self._connection.in_transaction():
            self._callbacks.clear()  # there is a transaction around the session's: not durable yet, and nobody will say

    def _after_end(self, session: Session, ended: SessionTransaction) -> None:  # noqa: ARG002 - SQLAlchemy's
        committed, around = self._committed is ended, ended.parent
        if committed:
            self._committed = None
        while around is not None and around.parent is not None and not around.nested:
            around = around.parent
        waiting, self._callbacks = self._callbacks, []
        for inner, callback in waiting:
            if inner is not ended:
                self._callbacks.append((inner, callback))
            elif committed and around is not None:
                self._callbacks.append((around, callback))
            elif committed:
                call(callback)
        if ended.parent is None:
            self._callbacks.clear()
            self._connection = None


def _demand_transactional(connection: Connection) -> None:
    """Refuse a connection that commits each statement, whatever SQLAlchemy calls it.

    SQLite's is one by its isolation level also where the user begins transactions by events; then one is open.
    """
    pooled = connection.connection
    raw = pooled.dbapi_connection
    if raw is None or getattr(pooled.driver_connection, "in_transaction", False):
        return
    if connection.dialect.detect_autocommit_setting(raw):
        raise NoTransaction("the connection is in AUTOCOMMIT mode: each statement would be committed on its own")
