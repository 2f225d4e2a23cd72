"""PostgreSQL: a service's own database on a server, shared by all processes of that service.

Exclusive roles are leases with an epoch, on the
server's clock: `lead` takes over at once when the holder's session has ended, and after `LEASE` seconds when the holder is
stopped or cut off. A holder that lost its lease finds out at the next `check` or `fence`.

Source of leases with fencing: "How to do distributed locking", 2016, and Chubby's sequencers, OSDI 2006.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from skerry.errors import MissingExtra

try:
    import asyncpg
except ImportError as _error:
    raise MissingExtra("PostgreSQL", "postgres") from _error

from skerry.clock import SYSTEM, Clock
from skerry.errors import (
    ConfigurationError,
    LeaseLost,
    NestedTransaction,
    NoTransaction,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from skerry.store.leases import LEASE, SQL, Bells, LeasedRoles, PostgreSQLLease, Session, held
from skerry.store.ownership import claim
from skerry.store.patience import LONGEST, finished, patience
from skerry.store.placeholders import inline, translate, translate_many
from skerry.store.pool import Pool
from skerry.store.queries import Dialect, Statement, words
from skerry.store.shares import DealtShare, shared
from skerry.store.tx import Parameters, Tx

T = TypeVar("T")
_log = logging.getLogger("skerry.store")

POOL: Final = 10
TIMEOUT: Final = 30.0
"""Seconds that a statement may take."""
ANSWER: Final = 5.0
"""The same for what is answered at once by a server that answers at all: a connection, BEGIN, ROLLBACK."""
IDLE_IN_TRANSACTION: Final = 60.0
"""Seconds after which the server ends a transaction in which nothing happens, such as that of a stopped process."""
_TRANSIENT: Final = ("08", "53", "57P", "58", "40", "55P03", "25006", "XX")
_BUSY: Final = ("40", "53300", "55P03")
_DRIVER: Final = (
    asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError,
)  # fmt: skip
_GIVEN_UP: Final = (TimeoutError, asyncpg.ReadOnlySQLTransactionError)
"""How a session stands is not known; or it is one that only reads, which may be over: it was told so when it began."""
_Connection = Any
WITH_COMMIT: Final = 8
"""So many statements that wait for the commit travel with it."""


class PostgreSQLTransaction:
    """See `Transaction`."""

    dialect: Dialect = "postgresql"

    def __init__(
        self, database: PostgreSQLDatabase, connection: _Connection, *, begin: str = "", found: int = 0, end: str = ""
    ) -> None:
        self.found = found
        self.connection: _Connection = connection
        self.begin: str = begin
        """What begins it; empty once it has begun."""
        self._end = end
        self._database = database
        self._callbacks: list[Callable[[], None]] = []
        self._queued: list[tuple[str, Parameters]] = []
        self._depth = 0
        self.is_open = True

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement; the number of rows it changed. Without parameters it may be several."""
        return _count(await self._do(self.connection.execute, sql, parameters))

    async def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run one statement for each row of parameters."""
        self._demand_open()
        text, values = translate_many(words(sql, "postgresql"), rows, "numeric")
        with self._database.translated(self.connection):
            if self.begin:
                await self._begin()
            await self._flush()
            await self.connection.executemany(text, values, timeout=patience.get())

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Run one query; all its rows, each readable by position and by name."""
        rows: list[Any] = await self._do(self.connection.fetch, sql, parameters)
        return rows

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """Run one query; its first row, or None."""
        return await self._do(self.connection.fetchrow, sql, parameters)

    def later(self, sql: str, parameters: Parameters = ()) -> None:
        """See `Transaction.later`."""
        self._demand_open()
        self._queued.append((sql, parameters))

    async def commit(self) -> str:
        """Run what `later` has queued, and commit, if possible in one message; the server's word for what it did."""
        queued, last = self._queued, []
        if len(queued) <= WITH_COMMIT and all(isinstance(sql, Statement) for sql, _ in queued):
            self._queued = []
            last = [inline(words(sql, "postgresql"), parameters) for sql, parameters in queued]
        await self._flush()
        message = ";\n".join(filter(None, [self.begin, *last, self._end, "COMMIT"]))
        try:
            return str(await self.connection.execute(message, timeout=patience.get()))
        except asyncpg.DivisionByZeroError:
            if not self._end:
                raise
            raise LeaseLost("another process has taken the role over meanwhile; nothing was committed") from None

    async def _flush(self) -> None:
        """Run what `later` has queued: statements of one text that follow each other go in one round trip."""
        queued, self._queued = self._queued, []
        if queued and self.begin:
            await self._begin()
        for sql, group in groupby(queued, key=itemgetter(0)):
            text, rows = translate_many(words(sql, "postgresql"), (values for _, values in group), "numeric")
            if len(rows) == 1:
                await self.connection.execute(text, *rows[0])
            else:
                await self.connection.executemany(text, rows)

    async def _begin(self) -> None:
        begin, self.begin = self.begin, ""
        await self.connection.execute(begin, timeout=ANSWER)

    async def lock(self, name: str) -> None:
        """Wait until no other transaction holds the lock `name`, then hold it until this one ends."""
        await self.execute(SQL["lock"], (name,))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """See `Transaction.savepoint`."""
        name = f"skerry_{self._depth}"  # by its depth: none is released, so that one of an inner block still stands
        await self.execute(f"SAVEPOINT {name}")  # and what is queued before it
        callbacks = len(self._callbacks)
        self._depth += 1
        try:
            yield
        except BaseException:
            self._queued.clear()
            with contextlib.suppress(NoTransaction):
                await asyncio.shield(self.execute(f"ROLLBACK TO SAVEPOINT {name}"))
            del self._callbacks[callbacks:]
            raise
        finally:
            self._depth -= 1

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the event loop once the commit is durable; never after a roll-back."""
        self._callbacks.append(callback)

    def committed(self) -> None:
        """Run what waits for the commit; called once by the database."""
        for callback in self._callbacks:
            try:
                callback()
            except Exception:  # the commit stands: its caller must not take it for a failure
                _log.exception("a callback after a commit failed")

    def _demand_open(self) -> None:
        if not self.is_open:
            raise NoTransaction("the transaction has ended; use it only inside the block that opened it")
        if not self.begin and _state(self.connection) == "idle":
            raise NoTransaction("the transaction was ended inside its block, by a COMMIT of your own")

    async def _do(self, method: Callable[..., Awaitable[Any]], sql: str, parameters: Parameters) -> Any:
        self._demand_open()
        with self._database.translated(self.connection):
            if self.begin:
                await self._begin()
            if self._queued:
                await self._flush()
            return await _run(method, sql, parameters)


class PostgreSQLDatabase:
    """The PostgreSQL database of the service `owner`.

    `url` is a `postgresql://` address; `pool` bounds its connections, `max_waiting` the line for them and `wait` (seconds)
    the time in it: beyond either `StoreBusy` is raised and nothing was written. With `?timeout=30` in the address a statement
    may take so many seconds; then `StoreError` is raised, and what it did is not known until the database answers again.
    """

    dialect: Dialect = "postgresql"

    def __init__(
        self,
        url: str,
        *,
        owner: str,
        pool: int = POOL,
        max_waiting: int = 1000,
        wait: float = 10.0,
        clock: Clock = SYSTEM,
    ) -> None:
        url, self._timeout = _without_timeout(url)
        parts = urlsplit(url)
        self.owner = owner
        self.clock = clock
        self.where: str = f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
        self._url = url
        self._size = pool
        self._max_waiting = max_waiting
        self._wait = wait
        self._pool: Pool | None = None
        self._holders: set[asyncio.Task[Any] | None] = set()
        self._session = Session(self._connect, clock)
        self._bells = Bells(self._session, clock)

    async def open(self) -> None:
        """See `Database.open`. Raises `WrongOwner` also when these credentials open the database of another service."""
        if self._pool is not None:
            return
        self._pool = Pool(
            self._connect, of=self.owner, size=self._size, max_waiting=self._max_waiting, wait=self._wait,
            clock=self.clock,
        )  # fmt: skip
        try:
            await claim(self, self._url)
            async with self.transaction() as tx:
                await tx.lock("skerry_leases")
                has_leases = await tx.fetch_all(SQL["has_leases"])
                await tx.execute(SQL["may_write" if has_leases else "create_leases"])
        except BaseException:
            self._pool.terminate()
            self._pool = None
            raise

    async def close(self) -> None:
        """Wait for what runs, then close. Safe to call twice."""
        await self._bells.close()
        await self._session.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    def transaction(self) -> AbstractAsyncContextManager[PostgreSQLTransaction]:
        """See `Database.transaction`."""
        return self.unit_of_work("BEGIN")

    @asynccontextmanager
    async def unit_of_work(
        self, begin: str, *, at_once: bool = True, end: str = ""
    ) -> AsyncIterator[PostgreSQLTransaction]:
        """A transaction that starts with the statements `begin`; of the last one the number of rows is kept.

        Unless `at_once`, it starts with its first statement, or goes to the server whole when all were left for `later`. The
        query `end` goes to the server together with COMMIT, and fails by a division by zero when the role is lost.
        """
        self.demand_outside()
        task = asyncio.current_task()
        pool = self._opened()
        connection, status = await self._begin(pool, begin) if at_once else (await pool.acquire(), "")
        self._holders.add(task)
        tx = PostgreSQLTransaction(self, connection, begin="" if at_once else begin, found=_count(status), end=end)
        try:
            yield tx
            tx.is_open = False
            await self._commit(tx, connection)
        except BaseException:
            tx.is_open = False
            await self._roll_back(connection)
            raise
        finally:
            self._holders.discard(task)
            pool.release(connection)

    def demand_outside(self) -> None:
        """See `Database.demand_outside`."""
        if asyncio.current_task() in self._holders:
            raise NestedTransaction(
                "this task is in a transaction already: use that one, for a second would wait for its locks"
            )

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """See `Database.fetch_all`."""
        rows: list[Any] = await self._query("fetch", sql, parameters)
        return rows

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """See `Database.fetch_one`."""
        return await self._query("fetchrow", sql, parameters)

    @asynccontextmanager
    async def lead(self, role: str, *, poll: float = 0.25) -> AsyncIterator[PostgreSQLLease]:
        """See `Database.lead`: a lease on the server's clock, see the module."""
        lease = PostgreSQLLease(role, self, self._session, self.clock)
        async with held(lease, self.translated, poll=poll, clock=self.clock):
            yield lease

    def share(self, role: str, count: int, *, changed: Callable[[], None]) -> AbstractAsyncContextManager[DealtShare]:
        """See `Database.share`: leases as for `lead`."""
        return shared(self, LeasedRoles(self, self._session, self.clock), role, count, changed=changed)

    def ring(self, name: str) -> None:
        """See `Database.ring`; other processes are told with NOTIFY, on a connection of its own, once in a while."""
        self._bells.ring(name)

    def on_ring(self, name: str, callback: Callable[[], None]) -> None:
        """See `Database.on_ring`."""
        self._bells.listen(name, callback)

    def translated(self, connection: _Connection = None, *, connecting: bool = False) -> Translated:
        """Turn the driver's trouble into ours; the caller's own SQL errors stay as they are.

        A connection that does not answer, or only reads, is given up at once: the next one may be told otherwise.
        """
        return Translated(self, connection, connecting)

    def translate(self, error: Exception, *, connecting: bool) -> Exception:
        code = getattr(error, "sqlstate", None) or ""
        what = type(error).__name__
        if isinstance(error, asyncpg.PostgresError) and code and not code.startswith(_TRANSIENT):
            if connecting:
                return StoreError(f"{self.where}: the server refuses {self.owner!r} ({what}); check name and password")
            return error
        if code.startswith(_BUSY):
            return StoreBusy(f"{self.where}: {what}; try again")
        if connecting:
            return StoreUnavailable(f"{self.where}: no connection could be made ({what})")
        if isinstance(error, TimeoutError):
            return StoreError(f"{self.where}: no answer in time; what was asked for may have been done all the same")
        return StoreError(f"{self.where}: {what}")

    def _settings(self) -> dict[str, str]:
        return {
            "application_name": f"skerry:{self.owner}"[:60],
            "idle_in_transaction_session_timeout": f"{int(IDLE_IN_TRANSACTION * 1000)}",
        }

    async def _connect(self) -> _Connection:
        """A connection beside the pool."""
        with self.translated(connecting=True):
            return await asyncpg.connect(
                self._url, timeout=ANSWER, command_timeout=self._timeout, server_settings=self._settings()
            )

    def _opened(self) -> Pool:
        if self._pool is None:
            raise StoreError(f"the database of {self.owner} is not open")
        return self._pool

    async def _query(self, method: str, sql: str, parameters: Parameters) -> Any:
        pool = self._opened()
        connection: _Connection = await pool.acquire()
        try:
            with self.translated(connection):
                return await _run(getattr(connection, method), sql, parameters)
        finally:
            pool.release(connection)

    async def _begin(self, pool: Pool, begin: str) -> tuple[_Connection, str]:
        """A connection with a transaction open on it, and what the server said.

        One that turns out to be lost, as after the server's restart, is no matter.
        """
        for left in range(self._size, -1, -1):
            connection: _Connection = await pool.acquire()
            try:
                with self.translated(connection):
                    return connection, await _run(connection.execute, begin, (), within=ANSWER)
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError):
                    connection.terminate()  # whether it has begun is not known
                await self._roll_back(connection)  # when it is the question behind BEGIN that failed
                lost = connection.is_closed()
                pool.release(connection)
                silent = isinstance(error.__cause__, TimeoutError)  # as the others would be
                if not (lost and left and isinstance(error, StoreError)) or silent:
                    raise
        raise AssertionError

    async def _commit(self, tx: PostgreSQLTransaction, connection: _Connection) -> None:
        if not tx.begin and _state(connection) == "idle":
            raise NoTransaction("the transaction was ended inside its block, by a COMMIT of your own")
        await self._finish(connection, tx.commit(), then=tx.committed)

    async def _roll_back(self, connection: _Connection) -> None:
        if _state(connection) != "open":
            return
        try:
            await self._finish(connection, _run(connection.execute, "ROLLBACK", (), within=ANSWER))
        except Exception:  # whatever it is: without its connection the server rolls back by itself
            connection.terminate()

    async def _finish(
        self, connection: _Connection, work: Awaitable[Any], *, then: Callable[[], None] | None = None
    ) -> None:
        """Run to the end even when cancelled meanwhile, and `then` if it went well; the cancellation goes on afterwards."""
        job = asyncio.ensure_future(work)
        cancelled = await finished(job)
        try:
            with self.translated(connection):
                status = job.result() if cancelled is None or job.exception() is None else "failed"
        except asyncpg.InFailedSQLTransactionError:
            status = "ROLLBACK"
        if status == "ROLLBACK" and then is not None:
            # a caught SQL error had aborted it: the server says ROLLBACK to a COMMIT
            raise NoTransaction(
                "nothing was committed: a statement had failed inside the block; use a savepoint for that"
            )
        if then is not None and status != "failed":
            then()
        if cancelled is not None:
            raise cancelled


class Translated:
    """A block whose errors of the driver leave it as errors of ours; see `PostgreSQLDatabase.translate`."""

    __slots__ = ("_connecting", "_connection", "_database")

    def __init__(self, database: PostgreSQLDatabase, connection: _Connection, connecting: bool) -> None:
        self._database = database
        self._connection = connection
        self._connecting = connecting

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _DRIVER):
            if self._connection is not None and isinstance(error, _GIVEN_UP):
                self._connection.terminate()
            ours = self._database.translate(error, connecting=self._connecting)
            if ours is not error:
                raise ours from error


def _count(status: str) -> int:
    """The number of rows in the server's word for what it did."""
    count = status.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0


def _state(connection: _Connection) -> Literal["open", "idle", "gone"]:
    """Whether a transaction is open on it; the pool takes back at once what was lost."""
    try:
        if connection.is_closed():
            return "gone"
        return "open" if connection.is_in_transaction() else "idle"
    except asyncpg.InterfaceError:
        return "gone"


async def _run(
    method: Callable[..., Awaitable[Any]], sql: str, parameters: Parameters, *, within: float | None = None
) -> Any:
    """Call the driver; inside a coroutine, for it raises at once when the connection is gone."""
    text, within = words(sql, "postgresql"), within or patience.get()
    if not parameters:
        return await method(text, timeout=within)
    text, values = translate(text, parameters, "numeric")
    return await method(text, *values, timeout=within)


def _without_timeout(url: str) -> tuple[str, float]:
    """The address as the driver takes it, and the seconds that a statement may take."""
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    given = [value for name, value in options if name == "timeout"]
    try:
        timeout = float(given[-1]) if given else TIMEOUT
    except ValueError:
        timeout = 0.0
    if not 0.0 < timeout <= LONGEST:
        raise ConfigurationError(f"the address of a PostgreSQL database has a timeout that cannot be: {given[-1]!r}")
    rest = [(name, value) for name, value in options if name != "timeout"]
    return urlunsplit(parts._replace(query=urlencode(rest))) if given else url, timeout


__all__ = ["LEASE", "PostgreSQLDatabase", "PostgreSQLTransaction", "Tx"]
