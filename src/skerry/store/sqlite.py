"""The embedded engine: one SQLite file that one service owns.

WAL with `synchronous=FULL`: when a commit returns, the data is on disk. SQLite has one writer, so transactions queue for
one connection, first come first served, in a bounded line; reads go beside it on a connection of their own. Each has a thread,
on which commits run and whatever else takes time; what was always quick runs in the event loop (see `lane`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

from skerry.clock import SYSTEM, Clock
from skerry.errors import NestedTransaction, NoTransaction, StoreBusy, StoreCorrupt, StoreError, WrongOwner
from skerry.store.filelocks import LockedRoles, lock, lock_file, opened
from skerry.store.integrity import demand_whole
from skerry.store.lane import Lane
from skerry.store.patience import finished
from skerry.store.placeholders import translate, translate_many
from skerry.store.queries import Dialect
from skerry.store.shares import DealtShare, shared
from skerry.store.tx import Parameters, Tx

T = TypeVar("T")
_log = logging.getLogger("skerry.store")

BUSY_MS = 5000
"""How long SQLite itself waits for another process's lock, such as an operator's shell."""

FEW = 16
"""Statements left for later that may still run in the event loop with the one that brings them along."""
LONG = 10_000
"""Steps of SQLite's machine after which a query in the event loop is cut short, and asked again on the thread."""

_TROUBLE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}


class FileLease:
    """A role held by a file lock: it is never lost while the process lives, so there is nothing to check."""

    epoch = 1

    def __init__(self, database: SQLiteDatabase) -> None:
        self._database = database

    def check(self) -> None:
        """The lock is ours."""

    async def fence(self, tx: Tx) -> None:
        """The lock is ours."""

    def transaction(self, ask: str = "", parameters: Parameters = ()) -> AbstractAsyncContextManager[SQLiteTransaction]:
        """See `Lease.transaction`."""
        return self._database.unit_of_work(ask, parameters)


class SQLiteTransaction:
    """See `Transaction`. SQLite has one writer, so whoever is in here is alone."""

    dialect: Dialect = "sqlite"

    def __init__(self, database: SQLiteDatabase, lane: Lane, connection: sqlite3.Connection) -> None:
        self._database = database
        self._lane = lane
        self._connection = connection
        self._callbacks: list[Callable[[], None]] = []
        self._queued: list[tuple[str, Parameters]] = []
        self._begun = False
        self._depth = 0
        self.is_open = True
        self.found = 0

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement; the number of rows it changed."""
        text, values = translate(sql, parameters, "qmark")
        return int(await self._do(text, lambda: self._connection.execute(text, values).rowcount))

    async def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run one statement for each row of parameters."""
        text, values = translate_many(sql, rows, "qmark")
        await self._do(f"many {text}", lambda: self._connection.executemany(text, values))

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Run one query; all its rows, each readable by position and by name."""
        text, values = translate(sql, parameters, "qmark")
        rows: list[Any] = await self._do(text, lambda: self._connection.execute(text, values).fetchall())
        return rows

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """Run one query; its first row, or None."""
        text, values = translate(sql, parameters, "qmark")
        return await self._do(text, lambda: self._connection.execute(text, values).fetchone())

    async def lock(self, name: str) -> None:
        """Nothing to do: the one writer is this transaction."""

    def later(self, sql: str, parameters: Parameters = ()) -> None:
        """See `Transaction.later`."""
        self._demand_open()
        self._queued.append(translate(sql, parameters, "qmark"))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """See `Transaction.savepoint`. It goes to the engine with the first statement of the block."""
        callbacks = len(self._callbacks)
        name = f"skerry_{self._depth}"  # by its depth: none is released, so that one of an inner block still stands
        self.later(f"SAVEPOINT {name}")
        mark = self._queued[-1]
        self._depth += 1
        try:
            yield
        except BaseException:
            places = [place for place, queued in enumerate(self._queued) if queued is mark]
            if places:  # nothing of the block has reached the engine
                del self._queued[places[0] :]
            else:
                self._queued.clear()
                with suppress(NoTransaction):  # SQLite has rolled back all of it already
                    await asyncio.shield(self.execute(f"ROLLBACK TO {name}"))
            del self._callbacks[callbacks:]
            raise
        finally:
            self._depth -= 1

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the event loop once the commit is durable; never after a roll-back."""
        self._callbacks.append(callback)

    def flush(self) -> None:
        """Run what `later` has queued. What fails outside a savepoint takes all of the transaction, whoever catches the error:
        the work that it belongs to may be over, and nothing can undo that alone.
        """
        if not self._queued:
            return
        queued, self._queued = self._queued, []
        innermost = f"SAVEPOINT skerry_{self._depth - 1}"
        inside = self._depth > 0 and all(text != innermost for text, _ in queued)
        try:
            for text, group in groupby(queued, key=itemgetter(0)):
                rows = [values for _, values in group]
                if len(rows) == 1:
                    self._connection.execute(text, rows[0])
                else:
                    self._connection.executemany(text, rows)
                inside = inside or text == innermost
        except BaseException:
            if not inside:
                self._connection.rollback()
            raise

    def _demand_open(self) -> None:
        if not self.is_open:
            raise NoTransaction("the transaction has ended; use it only inside the block that opened it")

    async def _do(self, call: str, function: Callable[[], Any]) -> Any:
        self._demand_open()
        try:
            with self._database.translated:
                if len(self._queued) <= FEW and self._lane.is_quick(call) and self._begins_at_once():
                    return self._lane.here(call, lambda: self._inside(function))
                return await self._lane.there(lambda: self._inside(function), call=call)
        except asyncio.CancelledError:
            self._connection.interrupt()  # a long statement must not hold up the roll-back
            raise

    def _begins_at_once(self) -> bool:
        """Whether the transaction is begun, or could be without waiting for another process."""
        if not self._begun:
            self._begun = _begin(self._connection, wait=False)
        return self._begun

    def _inside(self, function: Callable[[], Any]) -> Any:
        if not self._begun:  # with the first statement, which spares a way to the thread and back
            self._begun = _begin(self._connection, wait=True)
        # After a full disk SQLite rolls back by itself: what follows would commit on its own, one statement at a time.
        if not self._connection.in_transaction:
            raise NoTransaction("the transaction was ended inside its block, by an error or by a COMMIT of your own")
        self.flush()
        return function()

    def commit(self) -> None:
        """Run what is queued, and commit; called on the writing thread."""
        if self._begun or self._queued:
            self._inside(lambda: self._connection.execute("COMMIT"))

    def committed(self) -> None:
        """Run what waits for the commit; called once by the database."""
        for callback in self._callbacks:
            try:
                callback()
            except Exception:  # the commit stands: its caller must not take it for a failure
                _log.exception("a callback after a commit failed")


class SQLiteDatabase:
    """The SQLite file of the service `owner`.

    `max_waiting` bounds the line for the writer and `wait` (seconds) the time in it; beyond either `StoreBusy` is raised and
    nothing was written.

        async with database.transaction() as tx:
            await tx.execute("UPDATE stock SET available = available - ? WHERE sku = ?", (2, sku))
    """

    dialect: Dialect = "sqlite"

    def __init__(
        self, path: Path, *, owner: str, max_waiting: int = 1000, wait: float = 10.0, clock: Clock = SYSTEM
    ) -> None:
        self.path = path
        self.owner = owner
        self.clock = clock
        self._max_waiting = max_waiting
        self._wait = wait
        self._waiting = 0
        self._bells: dict[str, Callable[[], None]] = {}
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._writing = Lane(f"{owner}-write", clock=clock)
        self._reading = Lane(f"{owner}-read", clock=clock)
        self.translated: Translated = Translated(self)

    async def open(self) -> None:
        """Open or create the file and check it.

        Raises `StoreCorrupt` when the file is damaged, `WrongOwner` when another service's name is on it. Whatever it
        raises, nothing stays open.
        """
        try:
            await self._finish(self._connect)
        except BaseException:
            await self._disconnect()
            raise

    async def close(self) -> None:
        """Wait for what runs, then close. Safe to call twice."""
        async with self._lock:
            await self._disconnect()
        self._reading.close()
        self._writing.close()

    async def _disconnect(self) -> None:
        """The reader first: the last connection to close moves the WAL into the file."""
        reader, self._reader, writer, self._writer = self._reader, None, self._writer, None
        for lane, connection in ((self._reading, reader), (self._writing, writer)):
            if connection is not None:
                await self._finish(connection.close, lane)

    def transaction(self) -> AbstractAsyncContextManager[SQLiteTransaction]:
        """See `Database.transaction`."""
        return self.unit_of_work()

    @asynccontextmanager
    async def unit_of_work(self, ask: str = "", parameters: Parameters = ()) -> AsyncIterator[SQLiteTransaction]:
        """A transaction that starts with the query `ask`, of which the number of rows is kept."""
        self.demand_outside()
        await self._enter()
        self._holder = asyncio.current_task()
        try:
            connection = self._connection()
            tx = SQLiteTransaction(self, self._writing, connection)
            try:
                if ask:
                    tx.found = len(await tx.fetch_all(ask, parameters))
                yield tx
                tx.is_open = False
                await self._finish(tx.commit, then=tx.committed)
            except BaseException:
                tx.is_open = False
                await self._finish(lambda: _roll_back(connection))
                raise
        finally:
            self._holder = None
            self._lock.release()

    def demand_outside(self) -> None:
        """See `Database.demand_outside`."""
        if self._lock.locked() and self._holder is asyncio.current_task():
            raise NestedTransaction(
                "this task is in a transaction already: use that one, for a second would wait for it"
            )

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Query outside any transaction: sees what is committed, never waits for the writer."""
        reader, (text, values) = self._connection(reading=True), translate(sql, parameters, "qmark")
        return await self._read(text, lambda: reader.execute(text, values).fetchall())

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """Like `fetch_all`; the first row, or None."""
        reader, (text, values) = self._connection(reading=True), translate(sql, parameters, "qmark")
        return await self._read(text, lambda: reader.execute(text, values).fetchone())

    def _connection(self, *, reading: bool = False) -> sqlite3.Connection:
        connection = self._reader if reading else self._writer
        if connection is None:
            raise StoreError(f"the database of {self.owner} is not open")
        return connection

    @asynccontextmanager
    async def lead(self, role: str, *, poll: float = 0.25) -> AsyncIterator[FileLease]:
        """Hold `role` exclusively among all processes on this database; wait for it, trying every `poll` seconds.

        A file lock carries it, see `filelocks`.
        """
        descriptor = opened(lock_file(self.path, role))
        try:
            while not lock(descriptor):
                await self.clock.sleep(poll)
            yield FileLease(self)
        finally:
            os.close(descriptor)

    def share(self, role: str, count: int, *, changed: Callable[[], None]) -> AbstractAsyncContextManager[DealtShare]:
        """See `Database.share`; other processes find out at their next look."""
        return shared(self, LockedRoles(self), role, count, changed=changed)

    def ring(self, name: str) -> None:
        """See `Database.ring`; other processes find out at their next look."""
        if (callback := self._bells.get(name)) is not None:
            callback()

    def on_ring(self, name: str, callback: Callable[[], None]) -> None:
        """See `Database.on_ring`."""
        self._bells[name] = callback

    async def _enter(self) -> None:
        if self._lock.locked() and self._waiting >= self._max_waiting:
            raise StoreBusy(f"{self._waiting} transactions already wait for the database of {self.owner}")
        if not self._waiting and not self._lock.locked():
            await self._lock.acquire()  # at once
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait):
                await self._lock.acquire()
        except TimeoutError:
            raise StoreBusy(f"waited {self._wait:g} s for the writer of the database of {self.owner}") from None
        finally:
            self._waiting -= 1

    async def _read(self, text: str, function: Callable[[], T]) -> T:
        with self.translated:
            if self._reading.is_quick(text):
                try:
                    return self._reading.here(text, function)
                except sqlite3.OperationalError:  # it was cut short, or the thread tells what it is
                    self._reading.was_slow(text)
            return await self._reading.there(function, call=text)

    async def _finish(
        self,
        function: Callable[[], Any],
        lane: Lane | None = None,
        *,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Run to the end even when cancelled meanwhile, and `then` if it went well; the cancellation goes on afterwards."""
        job = (lane or self._writing).there(function)
        cancelled = await finished(job)
        failure = job.exception()
        if failure is None and then is not None:
            then()
        if cancelled is not None:
            raise cancelled
        if isinstance(failure, sqlite3.DatabaseError):
            raise self.translate(failure) from failure
        if failure is not None:
            raise failure

    def _connect(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path.parent}: {error.strerror}") from error
        demand_whole(self.path)
        self._writer = writer = self._connection_to_file()
        mode = writer.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(f"{self.path}: this file system has no write-ahead log (the journal mode is {mode})")
        writer.execute("PRAGMA synchronous=FULL")
        writer.execute("PRAGMA foreign_keys=ON")
        self._claim(writer)
        writer.execute("PRAGMA busy_timeout=0")  # `_begin` waits
        self._reader = reader = self._connection_to_file()
        reader.execute("PRAGMA query_only=ON")
        reader.create_function("skerry_hash", 1, crc32, deterministic=True)  # SQLite has none
        reader.set_progress_handler(lambda: self._reading.in_loop, LONG)

    def _connection_to_file(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        return connection

    def _claim(self, connection: sqlite3.Connection) -> None:
        """Put the owner's name on the file, so that a second service cannot share it by mistake."""
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE IF NOT EXISTS skerry_owner (name TEXT NOT NULL) STRICT")
        row = connection.execute("SELECT name FROM skerry_owner").fetchone()
        if row is None:
            connection.execute("INSERT INTO skerry_owner VALUES (?)", (self.owner,))
        connection.execute("COMMIT")
        if row is not None and row[0] != self.owner:
            raise WrongOwner(
                f"{self.path} belongs to the service {row[0]!r}; give {self.owner!r} a database of its own"
            )

    def translate(self, error: sqlite3.DatabaseError) -> Exception:
        """What the engine raises as an error of ours; the caller's own mistakes stay as they are."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return StoreCorrupt(f"{self.path}: {error}. Restore it from a backup")
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}:
            return StoreBusy(f"{self.path} is locked by another process: {error}")
        if code in _TROUBLE:
            return StoreError(f"{self.path}: {error}")
        return error  # the caller's own SQL: constraint, syntax, type


class Translated:
    """Blocks whose errors of the engine leave them as errors of ours; see `SQLiteDatabase.translate`."""

    __slots__ = ("_database",)

    def __init__(self, database: SQLiteDatabase) -> None:
        self._database = database

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.DatabaseError) and (ours := self._database.translate(error)) is not error:
            raise ours from error


def _begin(connection: sqlite3.Connection, *, wait: bool) -> bool:
    """Take the file's one writer; with `wait`, which blocks, also when another process has it just now."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        if not wait:
            return False
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        try:
            connection.execute("BEGIN IMMEDIATE")
        finally:
            connection.execute("PRAGMA busy_timeout=0")
    return True


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # a failed COMMIT may have rolled back by itself
        connection.execute("ROLLBACK")
