from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from driven import CountingDatabase, driving, one_step, play, start

from skerry import context
from skerry.context import CallContext
from skerry.resilience import Retry
from skerry.signals import SagaStepFailed, Signal
from skerry.testing import VirtualClock


def test_a_step_sees_its_deadline_and_that_the_engine_retries(tmp_path: Path) -> None:
    """Inside a step the time left is the step's own, not the starter's, and clients know that a layer above retries."""
    seen: list[CallContext] = []

    async def look(ctx, given):
        seen.append(context.current())

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(look, timeout=7.0)
        async with driving(database, saga) as engine:
            with context.use(CallContext(deadline=clock.monotonic() + 0.01)):
                saga_id = await start(engine, database, saga)
            await engine.wait(saga_id)
            assert seen[0].deadline == pytest.approx(7.0)
            assert seen[0].retries_above

    play(tmp_path, act)


def test_a_saga_is_part_of_the_trace_that_started_it(tmp_path: Path, signals: list[Signal]) -> None:
    """Steps before and after a restart, and the saga's signals, carry the trace of the request that started it."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    seen: list[str] = []

    async def flaky(ctx, given):
        seen.append(context.current().trace_id)
        if len(seen) == 1:
            await asyncio.sleep(3600)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(flaky, timeout=100.0)
        async with driving(database, saga, within=1.0) as engine:
            with context.use(CallContext(traceparent=f"00-{trace}-b7ad6b7169203331-01")):
                saga_id = await start(engine, database, saga)
            await clock.sleep(1.0)
        async with driving(database, saga) as engine:
            await engine.wait(saga_id)

    play(tmp_path, act)
    assert seen == [trace, trace]


def test_an_attempt_is_bounded_and_its_key_stays(tmp_path: Path, signals: list[Signal]) -> None:
    """Each attempt ends at the step's time-out; the key is the same, the attempt is counted and told."""
    keys: list[tuple[str, int]] = []

    async def slow(ctx, given):
        keys.append((ctx.key, ctx.attempt))
        await asyncio.sleep(3600)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = one_step(slow, timeout=2.0)
        async with driving(database, saga) as engine:
            status = await engine.run(saga, None, key="1")
            assert keys == [(f"{status.id}:slow:do", 1), (f"{status.id}:slow:do", 2)]
            assert 4.0 <= clock.monotonic() < 4.6

    play(tmp_path, act)
    failed = [(s.step, s.action, s.attempt, s.error) for s in signals if isinstance(s, SagaStepFailed)]
    assert failed == [("slow", "do", 1, "TimeoutError"), ("slow", "do", 2, "TimeoutError")]


def test_waits_between_attempts_are_repeatable(tmp_path: Path) -> None:
    """The waits are drawn from the engine's clock, so a run with one seed always takes the same time."""

    async def broken(ctx, given):
        raise OSError

    async def act(database: CountingDatabase, clock: VirtualClock) -> float:
        saga = one_step(broken, retry=Retry(10, base=1.0, cap=60.0))
        async with driving(database, saga) as engine:
            await engine.run(saga, None, key="1")
        return clock.monotonic()

    first = play(tmp_path / "a", act)
    assert first == play(tmp_path / "b", act)
    assert first > 1.0
