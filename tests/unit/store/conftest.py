from contextlib import asynccontextmanager

import pytest

from skerry.store import SQLiteDatabase


@pytest.fixture
def opened(tmp_path):
    """An open database with an empty table `t (n)`, closed at the end of the block."""

    @asynccontextmanager
    async def manager(**options):
        database = SQLiteDatabase(tmp_path / "order.db", owner="order", **options)
        await database.open()
        try:
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER UNIQUE)")
            yield database
        finally:
            await database.close()

    return manager
