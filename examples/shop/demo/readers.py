"""How the books are read: each engine's own way, read-only, beside the services that write them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from skerry.clock import SYSTEM
from skerry.errors import SkerryError
from skerry.events.brokers import Broker, Subscription, connect

T = TypeVar("T")

UNSENT = "SELECT count(*) FROM skerry_outbox"
PATIENCE = 10.0
"""Seconds one look into a book may take."""
WAIT = 0.2
"""Seconds to wait for events that the log has but did not send yet."""
TOGETHER = 500


class Unreadable(Exception):
    """A book cannot be read now, such as while its server is down."""


class Ledger(Protocol):
    """The database of one service."""

    def rows(self, sql: str) -> list[Any]:
        """Query it; rows can be read by position and by name. Raises `Unreadable`."""
        ...

    def unsent(self) -> int:
        """Events that are recorded but have not been handed over. Raises `Unreadable`."""
        ...


class EventLog(Protocol):
    """All events that were published."""

    def events(self) -> dict[str, str]:
        """Every event: id -> type. Raises `Unreadable`."""
        ...


class Aside:
    """An event loop in a thread of its own, so that books are read in the same way whatever their engine."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="books", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` there and wait for it. Raises `Unreadable` when it takes too long."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(PATIENCE)
        except TimeoutError as error:
            future.cancel()
            raise Unreadable(f"no answer within {PATIENCE:g} s") from error


class SQLiteLedger:
    """See `Ledger`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self, sql: str) -> list[Any]:
        """See `Ledger`."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=5.0)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql).fetchall()

    def unsent(self) -> int:
        """See `Ledger`."""
        return int(self.rows(UNSENT)[0][0])


class PostgreSQLLedger:
    """See `Ledger`. Reads with the credentials of the service, in read-only transactions."""

    def __init__(self, url: str, aside: Aside) -> None:
        self._url = url
        self._aside = aside
        self._connection: Any = None

    def rows(self, sql: str) -> list[Any]:
        """See `Ledger`."""
        return self._aside.run(self._rows(sql))

    def unsent(self) -> int:
        """See `Ledger`."""
        return int(self.rows(UNSENT)[0][0])

    async def _rows(self, sql: str) -> list[Any]:
        import asyncpg

        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            found: list[Any] = await self._connection.fetch(sql)
        except BaseException as error:  # a new connection next time, also when somebody gave up waiting
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.terminate()
            # the last is what the driver says when the server goes away between its two steps
            transient = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError)
            if isinstance(error, (*transient, asyncpg.OperatorInterventionError)):
                raise Unreadable(type(error).__name__) from error
            raise
        return found

    async def _connect(self) -> Any:
        import asyncpg

        settings = {"default_transaction_read_only": "on"}
        connection = await asyncpg.connect(self._url, timeout=PATIENCE / 2, server_settings=settings)
        # sums of whole numbers are whole numbers
        await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=int, format="text")
        return connection


class MongoLedger:
    """See `Ledger`. It has documents, which the auditor does not ask for, and no rows."""

    def __init__(self, url: str) -> None:
        self._url = url

    def rows(self, sql: str) -> list[Any]:
        """None: there is no SQL."""
        raise Unreadable(f"no SQL in MongoDB: {sql}")

    def unsent(self) -> int:
        """See `Ledger`."""
        from pymongo import MongoClient
        from pymongo.errors import PyMongoError

        try:
            with MongoClient[dict[str, Any]](self._url, timeoutMS=int(PATIENCE * 1000)) as client:
                documents = client.get_default_database()
                names = [each["_id"] for each in documents["skerry_collections"].find()]
                return sum(each["pending"] for name in names for each in documents[name].find({"pending": {"$gt": 0}}))
        except PyMongoError as error:
            raise Unreadable(type(error).__name__) from error


class Segments:
    """The embedded event log: see `EventLog`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def events(self) -> dict[str, str]:
        """See `EventLog`."""
        found: dict[str, str] = {}
        for segment in sorted(self._folder.glob("*/*.db")):
            ledger = SQLiteLedger(segment)
            if not ledger.rows("SELECT 1 FROM sqlite_master WHERE name = 'log'"):
                continue  # its writer is only just beginning it
            found.update((row[0], row[1]) for row in ledger.rows("SELECT id, type FROM log"))
        return found


class Stream:
    """A broker's log, read from its start by a group that only the auditor is in: see `EventLog`."""

    def __init__(self, url: str, data: Path, types: list[str], aside: Aside) -> None:
        self._url = url
        self._data = data
        self._types = types
        self._aside = aside
        self._broker: Broker | None = None
        self._subscription: Subscription | None = None
        self._found: dict[str, str] = {}

    def events(self) -> dict[str, str]:
        """See `EventLog`."""
        return dict(self._aside.run(self._read()))

    async def _read(self) -> dict[str, str]:
        try:
            if self._broker is None or self._subscription is None:
                self._broker = connect(self._url, source="auditor", data=self._data, clock=SYSTEM)
                self._subscription = await self._broker.subscribe("auditor", self._types, {})
            while await self._subscription.lag():
                deliveries = await self._subscription.fetch(TOGETHER, wait=WAIT)
                self._found.update((delivery.message.id, delivery.message.type) for delivery in deliveries)
                await self._subscription.ack(deliveries)
        except (SkerryError, OSError) as error:
            broker, self._broker, self._subscription = self._broker, None, None
            if broker is not None:
                with suppress(SkerryError, OSError):
                    await broker.close()
            raise Unreadable(type(error).__name__) from error
        return self._found
