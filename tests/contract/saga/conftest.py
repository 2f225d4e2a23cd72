"""The saga engine on every database engine."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from servers.postgresql import PostgresServer  # noqa: E402
from skerry.saga import Journal  # noqa: E402
from skerry.store import Database, connect  # noqa: E402

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Database]]:
    """Opens one and the same database, with the journal's tables."""
    if request.param == "sqlite":
        address = "sqlite:///order.db"
    else:
        address = request.getfixturevalue("postgres").own_database(f"saga{next(_numbers)}")

    @asynccontextmanager
    async def manager() -> AsyncIterator[Database]:
        database = connect(address, owner="order", data=tmp_path)
        await database.open()
        try:
            await Journal.prepare(database)
            yield database
        finally:
            await database.close()

    return manager
