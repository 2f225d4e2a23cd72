"""Every engine for analysis: ClickHouse inside the process, and a server behind ClickHouse's HTTP interface."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from selling import SALES, Engine  # noqa: E402

from servers.clickhouse import ClickHouseServer  # noqa: E402
from skerry.store.analytics import Analytics, FactTable, connect  # noqa: E402

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """One server for all tests of a run; each makes a database of its own on it."""
    with ClickHouseServer(tmp_path_factory.mktemp("clickhouse")) as running:
        yield running


@pytest.fixture
def server_of_its_own(tmp_path: Path) -> Iterator[ClickHouseServer]:
    """A server that a test may kill."""
    with ClickHouseServer(tmp_path / "clickhouse") as running:
        yield running


@pytest.fixture(params=["chdb", "clickhouse"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of a new, empty engine."""
    if request.param == "chdb":
        return "chdb:///facts/"
    return request.getfixturevalue("server").own_database(f"facts{next(_numbers)}")


@pytest.fixture
def opened(address: str, tmp_path: Path) -> Engine:
    """An open engine with the table `sales`, closed at the end of the block."""

    @asynccontextmanager
    async def manager(*tables: FactTable, owner: str = "analytics", url: str = address) -> AsyncIterator[Analytics]:
        facts = connect(url, owner=owner, data=tmp_path)
        facts.declare(*(tables or (SALES,)))
        try:
            await facts.open()
            yield facts
        finally:
            await facts.close()

    return manager
