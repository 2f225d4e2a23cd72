"""What users hold, library by library, behind one face, so that one contract runs over all of them."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import sqlalchemy as sa
from django.db import connections, transaction
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

WRITE = "INSERT INTO t VALUES ({n})"


@dataclass(frozen=True)
class Home:
    """A database with skerry's tables and a table `t (n)`, and a look into it from outside."""

    dialect: str
    address: str
    path: Path

    def look(self, sql: str) -> list[tuple[Any, ...]]:
        with self.outside() as connection:
            return [tuple(row) for row in connection.execute(sql).fetchall()]

    def outside(self) -> Any:
        """A connection of its own, each statement a transaction."""
        if self.dialect == "sqlite":
            return closing(sqlite3.connect(self.path, isolation_level=None, timeout=0))
        return psycopg.connect(self.address, autocommit=True)

    def is_locked(self, name: str) -> bool:
        """Whether somebody holds the lock."""
        with self.outside() as connection:
            if self.dialect == "postgresql":
                sql = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
                return not connection.execute(sql, (name,)).fetchone()[0]
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    def sqlalchemy(self, driver: str) -> str:
        if self.dialect == "sqlite":
            return f"sqlite+{driver}:///{self.path}"
        return self.address.replace("postgresql:", f"postgresql+{driver}:")


class Holder:
    """One kind of object that holds a transaction."""

    is_async = True
    hears_commits = False
    driver = ""

    def __init__(self, home: Home) -> None:
        self.home = home

    def transaction(self) -> Any:
        """An async block: a new connection, a transaction that commits or rolls back, and what the user holds then."""
        raise NotImplementedError

    def idle(self) -> Any:
        """An async block: what the user holds while no transaction is open."""
        raise NotImplementedError

    async def write(self, tx: Any, n: int) -> None:
        """The user's own state."""
        raise NotImplementedError

    def savepoint(self, tx: Any) -> Any:
        """An async block that is rolled back when it raises."""
        raise NotImplementedError


class AsyncPG(Holder):
    @asynccontextmanager
    async def idle(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.home.address)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.idle() as connection, connection.transaction():
            yield connection

    async def write(self, tx: Any, n: int) -> None:
        await tx.execute(WRITE.format(n=n))

    def savepoint(self, tx: Any) -> Any:
        return tx.transaction()


class AsyncPGPool(AsyncPG):
    @asynccontextmanager
    async def idle(self) -> AsyncIterator[Any]:
        pool = asyncpg.create_pool(self.home.address, min_size=1, max_size=1)
        async with pool, pool.acquire() as connection:
            yield connection


class AsyncPsycopg(Holder):
    rows = staticmethod(psycopg.rows.dict_row)  # the user's own taste must not matter

    @asynccontextmanager
    async def idle(self) -> AsyncIterator[Any]:
        async with await psycopg.AsyncConnection.connect(
            self.home.address, autocommit=True, row_factory=self.rows, cursor_factory=psycopg.AsyncRawCursor
        ) as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.idle() as connection, connection.transaction():
            yield connection

    async def write(self, tx: Any, n: int) -> None:
        await tx.execute(WRITE.format(n=n))

    def savepoint(self, tx: Any) -> Any:
        return tx.transaction()


class Psycopg(Holder):
    is_async = False

    @asynccontextmanager
    async def idle(self) -> AsyncIterator[Any]:
        with psycopg.connect(self.home.address) as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.idle() as connection:  # not in autocommit mode: its first statement begins
            connection.execute("SELECT 1")
            yield connection

    async def write(self, tx: Any, n: int) -> None:
        tx.execute(WRITE.format(n=n))

    def savepoint(self, tx: Any) -> Any:
        return as_async(tx.transaction())


class SQLite3(Holder):
    is_async = False

    @asynccontextmanager
    async def idle(self) -> AsyncIterator[Any]:
        with closing(sqlite3.connect(self.home.path)) as connection:
            connection.row_factory = lambda cursor, row: {column[0]: row[0] for column in cursor.description}
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.idle() as connection:
            with connection:
                connection.execute("BEGIN")
                yield connection

    async def write(self, tx: Any, n: int) -> None:
        tx.execute(WRITE.format(n=n))

    def savepoint(self, tx: Any) -> Any:
        return as_async(sqlite_savepoint(tx))


class AioSQLite(Holder):
    @asynccontextmanager
    async def idle(self) -> AsyncIterator[Any]:
        async with aiosqlite.connect(self.home.path, isolation_level=None) as connection:
            connection.row_factory = sqlite3.Row
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.idle() as connection:
            await connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    async def write(self, tx: Any, n: int) -> None:
        await tx.execute(WRITE.format(n=n))

    @asynccontextmanager
    async def savepoint(self, tx: Any) -> AsyncIterator[None]:
        await tx.execute("SAVEPOINT mine")
        try:
            yield
        except BaseException:
            await tx.execute("ROLLBACK TO mine")
            raise


class AlchemySession(Holder):
    is_async = False
    hears_commits = True

    @asynccontextmanager
    async def idle(self) -> AsyncIterator[Any]:
        engine = sa.create_engine(self.home.sqlalchemy(self.driver), poolclass=sa.NullPool)
        with self.held(engine) as held:
            yield held
        engine.dispose()

    def held(self, engine: Any) -> Any:
        return Session(engine)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.idle() as held:
            with held.begin():
                yield held

    async def write(self, tx: Any, n: int) -> None:
        tx.execute(sa.text(WRITE.format(n=n)))

    def savepoint(self, tx: Any) -> Any:
        return as_async(tx.begin_nested())


class AlchemyConnection(AlchemySession):
    hears_commits = False

    def held(self, engine: Any) -> Any:
        return engine.connect()


class AsyncAlchemySession(Holder):
    hears_commits = True

    @asynccontextmanager
    async def idle(self) -> AsyncIterator[Any]:
        engine = create_async_engine(self.home.sqlalchemy(self.driver), poolclass=sa.NullPool)
        async with self.held(engine) as held:
            yield held
        await engine.dispose()

    def held(self, engine: Any) -> Any:
        return AsyncSession(engine)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.idle() as held, held.begin():
            yield held

    async def write(self, tx: Any, n: int) -> None:
        await tx.execute(sa.text(WRITE.format(n=n)))

    def savepoint(self, tx: Any) -> Any:
        return tx.begin_nested()


class AsyncAlchemyConnection(AsyncAlchemySession):
    hears_commits = False

    def held(self, engine: Any) -> Any:
        return engine.connect()


class Django(Holder):
    is_async = False
    hears_commits = True

    @asynccontextmanager
    async def idle(self) -> AsyncIterator[Any]:
        connection = connections[self.home.dialect]
        try:
            yield connection
        finally:
            connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.idle() as connection:
            with transaction.atomic(using=self.home.dialect):
                yield connection

    async def write(self, tx: Any, n: int) -> None:
        with tx.cursor() as cursor:
            cursor.execute(WRITE.format(n=n))

    def savepoint(self, tx: Any) -> Any:
        return as_async(transaction.atomic(using=self.home.dialect))


def on(kind: type[Holder], driver: str) -> type[Holder]:
    """SQLAlchemy's kinds, over a driver."""
    return type(kind.__name__, (kind,), {"driver": driver})


@asynccontextmanager
async def as_async(block: Any) -> AsyncIterator[Any]:
    with block as entered:
        yield entered


@contextmanager
def sqlite_savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("SAVEPOINT mine")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK TO mine")
        raise


HOLDERS: dict[str, tuple[str, type[Holder]]] = {
    "asyncpg": ("postgresql", AsyncPG),
    "asyncpg-pool": ("postgresql", AsyncPGPool),
    "psycopg-async": ("postgresql", AsyncPsycopg),
    "psycopg": ("postgresql", Psycopg),
    "AsyncSession-asyncpg": ("postgresql", on(AsyncAlchemySession, "asyncpg")),
    "AsyncSession-psycopg": ("postgresql", on(AsyncAlchemySession, "psycopg")),
    "AsyncConnection-asyncpg": ("postgresql", on(AsyncAlchemyConnection, "asyncpg")),
    "Session-psycopg": ("postgresql", on(AlchemySession, "psycopg")),
    "Connection-psycopg": ("postgresql", on(AlchemyConnection, "psycopg")),
    "django-postgresql": ("postgresql", Django),
    "sqlite3": ("sqlite", SQLite3),
    "aiosqlite": ("sqlite", AioSQLite),
    "AsyncSession-aiosqlite": ("sqlite", on(AsyncAlchemySession, "aiosqlite")),
    "AsyncConnection-aiosqlite": ("sqlite", on(AsyncAlchemyConnection, "aiosqlite")),
    "Session-sqlite3": ("sqlite", on(AlchemySession, "pysqlite")),
    "Connection-sqlite3": ("sqlite", on(AlchemyConnection, "pysqlite")),
    "django-sqlite": ("sqlite", Django),
}
