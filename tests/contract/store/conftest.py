"""Each contract test runs on every engine: SQLite, and a real PostgreSQL server."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from servers.postgresql import PostgresServer  # noqa: E402
from skerry.clock import SYSTEM  # noqa: E402
from skerry.store import Database, Receipts, connect  # noqa: E402

Engine = Callable[..., AbstractAsyncContextManager[Database]]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One server for all tests of a run; each makes a role and a database of its own on it."""
    with PostgresServer(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture
def postgres_of_its_own(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server that a test may kill."""
    with PostgresServer(tmp_path / "postgresql") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of a new, empty database."""
    if request.param == "sqlite":
        return "sqlite:///order.db"
    return request.getfixturevalue("postgres").own_database(f"order{next(_numbers)}")


@pytest.fixture
def opened(address: str, tmp_path: Path) -> Engine:
    """An open database with skerry's tables and an empty table `t (n)`, closed at the end of the block."""

    @asynccontextmanager
    async def manager(*, owner: str = "order", **options: Any) -> AsyncIterator[Database]:
        database = connect(address, owner=owner, data=tmp_path, clock=SYSTEM)
        for name, value in options.items():
            assert hasattr(database, name)
            setattr(database, name, value)
        await database.open()
        try:
            await Receipts.prepare(database)
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER UNIQUE)")
            yield database
        finally:
            await database.close()

    return manager
