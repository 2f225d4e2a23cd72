from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from driven import CountingDatabase, Script, driving, one_step, play, start, two_steps

from skerry.resilience import Retry
from skerry.saga import Engine, Rejected, Saga
from skerry.testing import VirtualClock


def test_a_stop_lets_a_step_finish(tmp_path: Path) -> None:
    """A step under way is finished and written down within the time given; the next one waits for the next engine."""
    second = Script(2)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = Saga("slow")

        @saga.step()
        async def one(ctx, given):
            await clock.sleep(3.0)

        @saga.step()
        async def two(ctx, given):
            await second(ctx)

        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            await clock.sleep(1.0)
        assert clock.monotonic() == pytest.approx(3.0)
        status = await engine.find(saga, "1")
        assert status is not None
        assert (dict(status.steps), second.calls) == ({"one": "done"}, [])
        async with driving(database, saga) as engine:
            assert (await engine.wait(saga_id)).status == "completed"

    play(tmp_path, act)


@pytest.mark.parametrize("direction", ["forward", "back"])
def test_a_stop_does_not_wait_for_a_saga_between_attempts(tmp_path: Path, direction: str) -> None:
    """A saga that sleeps before its next attempt ends its sleep when the engine stops, and goes on later."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        failing = Script(OSError(), OSError(), 2)
        undo = Script(OSError(), None) if direction == "back" else Script(None)
        second = Script(Rejected("no")) if direction == "back" else failing
        saga = two_steps(Script(1), undo, second, kind="pivot" if direction == "back" else "retriable")
        for step in saga.steps:
            step.retry = step.compensation_retry = Retry(5, base=1000.0, cap=1000.0)
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            await clock.sleep(0.5)
            before = clock.monotonic()
        assert clock.monotonic() == before
        for step in saga.steps:
            step.retry = step.compensation_retry = Retry(5, base=0.0, cap=0.0)
        async with driving(database, saga) as engine:
            assert (await engine.wait(saga_id)).status == ("compensated" if direction == "back" else "completed")

    play(tmp_path, act)


@pytest.mark.parametrize("direction", ["forward", "back"])
def test_a_step_that_is_cut_off_by_a_stop_is_done_again(tmp_path: Path, direction: str) -> None:
    """A step or compensation cancelled at the end of a stop is not taken for done: it is asked again, with the same key."""
    asked: list[str] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = Saga("slow")

        async def slow(ctx):
            asked.append(ctx.key)
            if len(asked) == 1:
                await clock.sleep(3600)

        @saga.step(timeout=10_000)
        async def one(ctx, given):
            if direction == "forward":
                await slow(ctx)

        @one.compensate
        async def unone(ctx, given, result):
            await slow(ctx)

        @saga.step()
        async def two(ctx, given):
            if direction == "back":
                raise Rejected("no")

        async with driving(database, saga, within=2.0) as engine:
            saga_id = await start(engine, database, saga)
            await clock.sleep(1.0)
        assert clock.monotonic() == pytest.approx(3.0)
        async with driving(database, saga) as engine:
            assert (await engine.wait(saga_id)).status == ("completed" if direction == "forward" else "compensated")

    play(tmp_path, act)
    assert len(asked) == 2
    assert asked[0] == asked[1]


def test_only_one_engine_drives_a_database(tmp_path: Path) -> None:
    """A second engine waits, also while the first one, told to stop, finishes a step; then it takes over."""
    at_once = most = 0

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def slow(ctx, given):
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            try:
                await clock.sleep(2.0)
            finally:
                at_once -= 1

        saga = one_step(slow, timeout=100.0)
        first, second = (Engine("own", database, clock=clock) for _ in range(2))
        first.add(saga)
        second.add(saga)
        serving = [asyncio.create_task(engine.serve()) for engine in (first, second)]
        await clock.sleep(0.1)
        saga_id = await start(second, database, saga)
        await clock.sleep(1.0)
        await first.stop(serving[0], within=10.0)
        other_id = await start(second, database, saga, key="2")
        for each in (saga_id, other_id):
            assert (await second.wait(each)).status == "completed"
        await second.stop(serving[1], within=1.0)

    play(tmp_path, act)
    assert most == 1


def test_an_engine_that_waits_for_its_turn_stops_at_once(tmp_path: Path) -> None:
    """Stopping an engine that never led does not wait for the one that does."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async with driving(database), driving(database, within=0.5):
            await clock.sleep(1.0)
        assert clock.monotonic() < 2.0

    play(tmp_path, act)


def test_an_engine_that_is_cancelled_leaves_nothing_running(tmp_path: Path) -> None:
    """When the task that serves is cancelled, no step goes on without it."""
    ended: list[str] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def slow(ctx, given):
            try:
                await clock.sleep(4.0)
            finally:
                ended.append(ctx.step)

        saga = one_step(slow)
        engine = Engine("own", database, clock=clock)
        engine.add(saga)
        serving = asyncio.create_task(engine.serve())
        await clock.sleep(0.1)
        await start(engine, database, saga)
        await clock.sleep(1.0)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert ended == ["slow"]

    play(tmp_path, act)


@pytest.mark.parametrize("patience", [0.0, 0.4, 0.9])
def test_whoever_stops_waiting_does_not_stop_the_saga(tmp_path: Path, patience: float) -> None:
    """Cancelling `run` or `wait`, in either direction of the saga, leaves it running to its end, and leaves nothing behind."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = Saga("slow")

        @saga.step()
        async def one(ctx, given):
            await clock.sleep(1.0)

        @one.compensate
        async def unone(ctx, given, result):
            await clock.sleep(1.0)

        @saga.pivot()
        async def two(ctx, given):
            raise Rejected("no")

        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(patience):
                    await engine.wait(saga_id)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(patience):
                    await engine.run(saga, None, key="1")
            assert (await engine.wait(saga_id)).status == "compensated"
            assert not engine._ended

    play(tmp_path, act)
