"""PostgreSQL: a service's own database on a server, shared by all processes of that service.

A bounded pool of connections; who finds it empty waits in a bounded line. Exclusive roles are leases with an epoch, on the
server's clock: `lead` takes over at once when the holder's session has ended, and after `LEASE` seconds when the holder is
stopped or cut off. A holder that lost its lease finds out at the next `check` or `fence`.

Source of leases with fencing: "How to do distributed locking", 2016, and Chubby's sequencers, OSDI 2006.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from skerry.errors import MissingExtra

try:
    import asyncpg
except ImportError as _error:
    raise MissingExtra("PostgreSQL", "postgres") from _error

from skerry.clock import SYSTEM, Clock
from skerry.errors import NestedTransaction, NoTransaction, StoreBusy, StoreError
from skerry.store.leases import LEASE, SQL, Bells, PostgreSQLLease, Session
from skerry.store.ownership import claim
from skerry.store.placeholders import translate, translate_many
from skerry.store.queries import Dialect, words
from skerry.store.tx import Parameters, Tx

T = TypeVar("T")
_log = logging.getLogger("skerry.store")

POOL: Final = 10
CONNECT_TIMEOUT: Final = 5.0
IDLE_IN_TRANSACTION: Final = 60.0
"""Seconds after which the server ends a transaction in which nothing happens, such as that of a stopped process."""
_TRANSIENT: Final = ("08", "53", "57P", "58", "40", "55P03", "25006", "XX")
_BUSY: Final = ("40", "53300", "55P03")
_Connection = Any  # asyncpg's pool hands out proxies, whose type it does not export


class PostgreSQLTransaction:
    """See `Transaction`."""

    dialect: Dialect = "postgresql"

    def __init__(self, database: PostgreSQLDatabase, connection: _Connection) -> None:
        self._database = database
        self._connection = connection
        self._callbacks: list[Callable[[], None]] = []
        self._queued: list[tuple[str, Parameters]] = []
        self.is_open = True

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement; the number of rows it changed. Without parameters it may be several."""
        status: str = await self._do(self._connection.execute, sql, parameters)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run one statement for each row of parameters."""
        self._demand_open()
        text, values = translate_many(words(sql, "postgresql"), rows, "numeric")
        with self._database.translated():
            await self.flush()
            await self._connection.executemany(text, values)

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Run one query; all its rows, each readable by position and by name."""
        rows: list[Any] = await self._do(self._connection.fetch, sql, parameters)
        return rows

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """Run one query; its first row, or None."""
        return await self._do(self._connection.fetchrow, sql, parameters)

    def later(self, sql: str, parameters: Parameters = ()) -> None:
        """See `Transaction.later`."""
        self._demand_open()
        self._queued.append(translate(words(sql, "postgresql"), parameters, "numeric"))

    async def flush(self) -> None:
        """Run what `later` has queued: statements of one text that follow each other go in one round trip."""
        queued, self._queued = self._queued, []
        for text, group in groupby(queued, key=itemgetter(0)):
            rows = [values for _, values in group]
            if len(rows) == 1:
                await self._connection.execute(text, *rows[0])
            else:
                await self._connection.executemany(text, rows)

    async def lock(self, name: str) -> None:
        """Wait until no other transaction holds the lock `name`, then hold it until this one ends."""
        await self.execute(SQL["lock"], (name,))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """See `Transaction.savepoint`."""
        await self.execute("SAVEPOINT skerry")  # and what is queued before it
        callbacks = len(self._callbacks)
        try:
            yield
        except BaseException:
            self._queued.clear()
            with contextlib.suppress(NoTransaction):
                await asyncio.shield(self.execute("ROLLBACK TO SAVEPOINT skerry"))
            del self._callbacks[callbacks:]
            raise

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
        if _state(self._connection) == "idle":
            raise NoTransaction("the transaction was ended inside its block, by a COMMIT of your own")

    async def _do(self, method: Callable[..., Awaitable[Any]], sql: str, parameters: Parameters) -> Any:
        self._demand_open()
        with self._database.translated():
            await self.flush()
            return await _run(method, sql, parameters)


class PostgreSQLDatabase:
    """The PostgreSQL database of the service `owner`.

    `url` is a `postgresql://` address; `pool` bounds its connections, `max_waiting` the line for them and `wait` (seconds)
    the time in it: beyond either `StoreBusy` is raised and nothing was written.
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
        parts = urlsplit(url)
        self.owner = owner
        self.clock = clock
        self.where: str = f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
        self._url = url
        self._size = pool
        self._max_waiting = max_waiting
        self._wait = wait
        self._waiting = 0
        self._pool: _Connection | None = None
        self._holders: set[asyncio.Task[Any] | None] = set()
        self._session = Session(self._connect, clock)
        self._bells = Bells(self._session, clock)

    async def open(self) -> None:
        """See `Database.open`. Raises `WrongOwner` also when these credentials open the database of another service."""
        if self._pool is not None:
            return
        try:
            with self.translated(connecting=True):
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=self._size,
                    timeout=CONNECT_TIMEOUT,
                    reset=_nothing,
                    server_settings=self._settings(),
                )
            await claim(self, self._url)
            async with self.transaction() as tx:
                await tx.lock("skerry_leases")
                await tx.execute(SQL["create_leases"])
        except BaseException:
            await self._disconnect()
            raise

    async def close(self) -> None:
        """Wait for what runs, then close. Safe to call twice."""
        await self._bells.close()
        await self._session.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgreSQLTransaction]:
        """See `Database.transaction`."""
        task = asyncio.current_task()
        if task in self._holders:
            raise NestedTransaction(
                "this task is in a transaction already: use that one, for a second would wait for its locks"
            )
        pool, connection = await self._enter()
        self._holders.add(task)
        tx = PostgreSQLTransaction(self, connection)
        try:
            try:
                await self._finish(_run(connection.execute, "BEGIN", ()))
                yield tx
                with self.translated():
                    await tx.flush()
                tx.is_open = False
                await self._commit(tx, connection)
            except BaseException:
                tx.is_open = False
                await self._roll_back(connection)
                raise
        finally:
            self._holders.discard(task)
            await _give_back(pool, connection)

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
        lease = PostgreSQLLease(role, self._session, self.clock)
        while True:
            with self.translated():
                if await lease.take():
                    break
            await self.clock.sleep(poll)
        renewing = asyncio.create_task(lease.keep(), name=f"lease:{role}")
        try:
            yield lease
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with contextlib.suppress(Exception):  # the next one takes over when it runs out
                await asyncio.shield(lease.give_back())

    def ring(self, name: str) -> None:
        """See `Database.ring`; other processes are told with NOTIFY, on a connection of its own, once in a while."""
        self._bells.ring(name)

    def on_ring(self, name: str, callback: Callable[[], None]) -> None:
        """See `Database.on_ring`."""
        self._bells.listen(name, callback)

    @contextlib.contextmanager
    def translated(self, *, connecting: bool = False) -> Iterator[None]:
        """Turn the driver's trouble into ours; the caller's own SQL errors stay as they are."""
        try:
            yield
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, asyncpg.InternalClientError) as e:
            raise self._translate(e, connecting=connecting) from e

    def _translate(self, error: Exception, *, connecting: bool) -> Exception:
        code = getattr(error, "sqlstate", None) or ""
        what = type(error).__name__
        if isinstance(error, asyncpg.PostgresError) and code and not code.startswith(_TRANSIENT):
            if connecting:
                return StoreError(f"{self.where}: the server refuses {self.owner!r} ({what}); check name and password")
            return error
        if code.startswith(_BUSY):
            return StoreBusy(f"{self.where}: {what}; try again")
        return StoreError(f"{self.where}: {what}")

    def _settings(self) -> dict[str, str]:
        return {
            "application_name": f"skerry:{self.owner}"[:60],
            "idle_in_transaction_session_timeout": f"{int(IDLE_IN_TRANSACTION * 1000)}",
        }

    async def _connect(self) -> _Connection:
        """A connection beside the pool."""
        with self.translated(connecting=True):
            return await asyncpg.connect(self._url, timeout=CONNECT_TIMEOUT, server_settings=self._settings())

    async def _disconnect(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    async def _enter(self) -> tuple[_Connection, _Connection]:
        pool = self._pool
        if pool is None:
            raise StoreError(f"the database of {self.owner} is not open")
        if self._waiting >= self._max_waiting:
            raise StoreBusy(f"{self._waiting} transactions already wait for the database of {self.owner}")
        self._waiting += 1
        try:
            with self.translated():
                async with asyncio.timeout(self._wait) as limit:
                    try:
                        return pool, await pool.acquire()
                    except TimeoutError:
                        if limit.expired():
                            raise
                        raise StoreError(f"{self.where}: no connection within {CONNECT_TIMEOUT:g} s") from None
        except StoreError as error:
            if isinstance(error.__cause__, TimeoutError):
                raise StoreBusy(f"waited {self._wait:g} s for a connection to the database of {self.owner}") from None
            raise
        finally:
            self._waiting -= 1

    async def _query(self, method: str, sql: str, parameters: Parameters) -> Any:
        pool, connection = await self._enter()
        try:
            with self.translated():
                return await _run(getattr(connection, method), sql, parameters)
        finally:
            await _give_back(pool, connection)

    async def _commit(self, tx: PostgreSQLTransaction, connection: _Connection) -> None:
        if _state(connection) == "idle":
            raise NoTransaction("the transaction was ended inside its block, by a COMMIT of your own")
        await self._finish(_run(connection.execute, "COMMIT", ()), then=tx.committed)

    async def _roll_back(self, connection: _Connection) -> None:
        if _state(connection) != "open":
            return
        try:
            await self._finish(_run(connection.execute, "ROLLBACK", ()))
        except Exception:  # whatever it is: without its connection the server rolls back by itself
            connection.terminate()

    async def _finish(self, work: Awaitable[Any], *, then: Callable[[], None] | None = None) -> None:
        """Run to the end even when cancelled meanwhile, and `then` if it went well; the cancellation goes on afterwards."""
        job = asyncio.ensure_future(work)
        cancelled: asyncio.CancelledError | None = None
        while True:  # bounded by one statement
            try:
                await asyncio.wait({job})
                break
            except asyncio.CancelledError as error:
                cancelled = error
        with self.translated():
            status = job.result() if cancelled is None or job.exception() is None else "failed"
        if status == "ROLLBACK" and then is not None:
            # a caught SQL error had aborted it: the server says ROLLBACK to a COMMIT
            raise NoTransaction(
                "nothing was committed: a statement had failed inside the block; use a savepoint for that"
            )
        if then is not None and status != "failed":
            then()
        if cancelled is not None:
            raise cancelled


async def _give_back(pool: _Connection, connection: _Connection) -> None:
    """Return it to the pool. One that is lost just now makes the driver complain; what was committed stays committed."""
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        await asyncio.shield(pool.release(connection))


def _state(connection: _Connection) -> Literal["open", "idle", "gone"]:
    """Whether a transaction is open on it; the pool takes back at once what was lost."""
    try:
        if connection.is_closed():
            return "gone"
        return "open" if connection.is_in_transaction() else "idle"
    except asyncpg.InterfaceError:
        return "gone"


async def _run(method: Callable[..., Awaitable[Any]], sql: str, parameters: Parameters) -> Any:
    """Call the driver; inside a coroutine, for it raises at once when the connection is gone."""
    text = words(sql, "postgresql")
    if not parameters:
        return await method(text)
    text, values = translate(text, parameters, "numeric")
    return await method(text, *values)


async def _nothing(connection: _Connection) -> None:
    """What `transaction` and `_query` hand back needs no reset: nothing is left open on it."""


__all__ = ["LEASE", "PostgreSQLDatabase", "PostgreSQLTransaction", "Tx"]
