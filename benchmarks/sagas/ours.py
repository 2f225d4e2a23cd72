"""Four steps that do nothing, as a saga: what is left is the engine and its journal."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry.saga import Engine, Journal, Saga
from skerry.store import connect

OPEN = 200
"""Sagas that a restarted engine finds."""

order = Saga("order", input=int)


@order.step()
async def one(_ctx: Any, n: int) -> int:
    return n


@order.step()
async def two(_ctx: Any, n: int) -> int:
    return n


@order.step()
async def three(_ctx: Any, n: int) -> int:
    return n


@order.step()
async def four(_ctx: Any, n: int) -> int:
    return n


@dataclass
class Figures:
    """Sagas a second, seconds that one takes, and commits for each."""

    rate: float
    p50: float
    p99: float
    commits: float


async def measure(url: str, folder: Path, *, count: int, concurrency: int, together: bool = True) -> Figures:
    async with _database(url, folder) as (database, commits):
        engine = Engine("bench", database)
        engine.add(order)
        if not together:
            engine._journal.together = False
        serving = asyncio.create_task(engine.serve())
        await engine.run(order, 0, key="warm-up")
        taken: list[float] = []

        async def worker(first: int) -> None:
            for n in range(first, count, concurrency):
                begun = time.perf_counter()
                status = await engine.run(order, n, key=str(n))
                assert status.status == "completed"
                taken.append(time.perf_counter() - begun)

        commits.clear()
        begun = time.perf_counter()
        await asyncio.gather(*(worker(first) for first in range(concurrency)))
        rate = count / (time.perf_counter() - begun)
        await engine.stop(serving, within=5.0)
    taken.sort()
    return Figures(rate, taken[len(taken) // 2], taken[int(len(taken) * 0.99)], len(commits) / count)


async def restart(url: str, folder: Path) -> float:
    """Seconds from the start of an engine that finds `OPEN` sagas to the first result of a step."""
    async with _database(url, folder) as (database, _):
        before = Engine("bench", database)
        before.add(order)
        async with database.transaction() as tx:
            for n in range(OPEN):
                await before.start(tx, order, n, key=str(n))
        engine = Engine("bench", database)
        engine.add(order)
        begun = time.perf_counter()
        serving = asyncio.create_task(engine.serve())
        while not await database.fetch_one("SELECT 1 FROM skerry_saga_log LIMIT 1"):
            await asyncio.sleep(0.002)
        first = time.perf_counter() - begun
        while await engine._journal.open():
            await asyncio.sleep(0.01)
        await engine.stop(serving, within=5.0)
    return first


@asynccontextmanager
async def _database(url: str, folder: Path):
    """An open database with a journal, and a list with an entry for each transaction."""
    folder.mkdir(parents=True, exist_ok=True)
    database: Any = connect(url, owner="bench", data=folder)
    await database.open()
    await Journal.prepare(database)
    commits: list[None] = []
    name = "unit_of_work" if database.dialect == "postgresql" else "transaction"
    plain = getattr(database, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        commits.append(None)
        return plain(*arguments, **options)

    setattr(database, name, counted)
    try:
        yield database, commits
    finally:
        await database.close()
