"""Each contract test runs on every engine: SQLite, a real PostgreSQL, a server that speaks MongoDB's protocol, and mongomock.

Nothing here is MongoDB itself. What the server on the wire has wrong is run without it: see `servers.mongo`.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import mongomock
import pytest

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from document_stage import ENGINES, Stage  # noqa: E402
from mocked_mongo import Client  # noqa: E402

from servers.mongo import MongoServer  # noqa: E402
from servers.postgresql import PostgresServer  # noqa: E402
from skerry.store.documents import connect  # noqa: E402
from skerry.store.documents.mongodb import MongoDatabase  # noqa: E402

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture(scope="session")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    with MongoServer(tmp_path_factory.mktemp("mongo")) as server:
        yield server


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def open_store(engine: str, request: pytest.FixtureRequest, tmp_path: Path):
    """A function that gives a new handle on the one database of this test."""
    if engine == "mongomock":
        memory = mongomock.MongoClient()
        return lambda owner: MongoDatabase("mongodb://nowhere/product", owner=owner, client=Client(memory))
    if engine == "sqlite":
        address = "sqlite:///product.db"
    elif engine == "postgresql":
        address = request.getfixturevalue("postgres").own_database(f"product{next(_numbers)}")
    else:
        address = request.getfixturevalue("mongo").url(f"product{next(_numbers)}")
    return lambda owner: connect(address, owner=owner, data=tmp_path)


@pytest.fixture
def staged(open_store):
    """An open stage, closed at the end of the block."""

    @asynccontextmanager
    async def manager(handles=1):
        async with AsyncExitStack() as closing:
            stage = Stage(open_store, closing)
            for _ in range(handles):
                await stage.another()
            yield stage

    return manager


@pytest.fixture
def play(staged):
    """Run `async def scene(stage)` on a stage."""

    def run(scene, *, handles=1):
        async def main():
            async with staged(handles) as stage:
                return await scene(stage)

        return asyncio.run(main())

    return run
