"""An engine at work inside a test, on a file, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skerry.resilience import Retry
from skerry.saga import Engine, Journal, Saga
from skerry.store import SQLiteDatabase
from skerry.testing import VirtualClock, run_virtual

TWICE = Retry(2, base=0.1, cap=0.1)


class CountingDatabase(SQLiteDatabase):
    """Counts commits, and fails them while `failing` says so."""

    commits = 0
    failing = False

    @asynccontextmanager
    async def unit_of_work(self, *asked: Any) -> AsyncIterator[Any]:
        async with super().unit_of_work(*asked) as tx:
            yield tx
            if self.failing:
                await tx.execute("not SQL")
        self.commits += 1


@asynccontextmanager
async def opened(path: Path, clock: VirtualClock) -> AsyncIterator[CountingDatabase]:
    database = CountingDatabase(path / "own.db", owner="own", clock=clock)
    await database.open()
    await Journal.prepare(database)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def driving(database: SQLiteDatabase, *sagas: Saga, within: float = 5.0) -> AsyncIterator[Engine]:
    """An engine that drives these sagas inside the block, and is stopped at its end."""
    engine = Engine("own", database, clock=database.clock)
    engine.add(*sagas)
    serving = asyncio.create_task(engine.serve())
    await asyncio.sleep(0)
    try:
        yield engine
    finally:
        await engine.stop(serving, within=within)


def play(path: Path, act: Callable[[CountingDatabase, VirtualClock], Awaitable[Any]]) -> Any:
    """Run `act(database, clock)` in virtual time."""

    async def main(clock: VirtualClock) -> Any:
        async with opened(path, clock) as database:
            return await act(database, clock)

    return run_virtual(main)


def one_step(action: Callable[..., Awaitable[Any]], *, kind: str = "step", version: int = 1, **options: Any) -> Saga:
    """A saga whose only step is `action`."""
    saga = Saga("one", version=version)
    getattr(saga, kind)(**{"retry": TWICE, **options})(action)
    return saga


class Script:
    """What a step does, attempt by attempt: an exception is raised, anything else returned; the last one for ever."""

    def __init__(self, *acts: Any) -> None:
        self.acts = list(acts)
        self.calls: list[Any] = []

    async def __call__(self, ctx: Any) -> Any:
        self.calls.append(ctx)
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        if isinstance(act, BaseException):
            raise act
        return act


def two_steps(
    first: Script, undo: Script, second: Script, *, kind: str = "pivot", undo_second: Script | None = None
) -> Saga:
    """A compensatable step and another one."""
    saga = Saga("two")

    @saga.step(retry=TWICE)
    async def one(ctx, given):
        return await first(ctx)

    @one.compensate
    async def unone(ctx, given, result):
        await undo(ctx)

    one.compensation_retry = TWICE

    async def two(ctx, given):
        return await second(ctx)

    step = getattr(saga, kind)(retry=TWICE)(two)
    if undo_second is not None:

        async def untwo(ctx, given, result):
            await undo_second(ctx)

        step.compensate(untwo)
        step.compensation_retry = TWICE
    return saga


async def start(engine: Engine, database: CountingDatabase, saga: Saga, key: str = "1", value: Any = None) -> str:
    async with database.transaction() as tx:
        return await engine.start(tx, saga, value, key=key)
