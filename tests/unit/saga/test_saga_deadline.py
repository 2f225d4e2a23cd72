"""Sagas with a deadline, and steps that are plain functions."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from driven import CountingDatabase, Script, driving, play, start, two_steps

from skerry.resilience import Retry
from skerry.saga import Rejected, Saga
from skerry.testing import VirtualClock


def slow(saga: Saga) -> Saga:
    """The same with attempts that go on for ever, ten minutes apart."""
    for step in saga.steps:
        step.retry = Retry(1000, base=600.0, cap=600.0)
    return saga


def test_a_saga_turns_back_at_its_deadline(tmp_path: Path) -> None:
    """No attempt begins after it; what was done, and the step that may have been, is undone."""
    undo, undo_second = Script(None), Script(None)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = slow(two_steps(Script(1), undo, Script(OSError()), undo_second=undo_second))
        saga.deadline = 60.0
        async with driving(database, saga) as engine:
            status = await engine.wait(await start(engine, database, saga))
            assert (status.status, status.reason) == ("compensated", "two: the deadline has passed")
            assert 60 <= clock.monotonic() < 62

    play(tmp_path, act)
    assert (len(undo_second.calls), len(undo.calls)) == (1, 1)


def test_the_deadline_counts_from_the_start_of_the_saga(tmp_path: Path) -> None:
    """A restart gives no new time, and a time that passed while nobody drove the saga is over."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = slow(two_steps(Script(1), Script(None), failing := Script(OSError()), undo_second=Script(None)))
        saga.deadline = 60.0
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            await clock.sleep(1.0)
        await clock.sleep(100.0)
        asked = len(failing.calls)
        async with driving(database, saga) as engine:
            assert (await engine.wait(saga_id)).status == "compensated"
        assert len(failing.calls) == asked

    play(tmp_path, act)


@pytest.mark.parametrize("kind", ["retriable", "pivot"])
def test_behind_the_point_of_no_return_a_deadline_has_no_effect(tmp_path: Path, kind: str) -> None:
    """A retriable step goes on, and so does a pivot that may be done already and that nothing undoes."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = slow(two_steps(Script(1), Script(None), Script(OSError(), OSError(), 2), kind=kind))
        saga.deadline = 60.0
        async with driving(database, saga) as engine:
            assert (await engine.wait(await start(engine, database, saga))).status == "completed"
        assert clock.monotonic() > 60

    play(tmp_path, act)


@pytest.mark.parametrize("goes_well", [True, False])
def test_steps_and_compensations_may_be_plain_functions(tmp_path: Path, goes_well: bool) -> None:
    """They run with the same arguments, results and rejections, beside the event loop."""
    seen: list[tuple[str, object]] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = Saga("plain", input=int)

        @saga.step()
        def one(ctx, given) -> dict[str, int]:
            seen.append(("one", given))
            return {"taken": given}

        @one.compensate
        def unone(ctx, given, result) -> None:
            seen.append(("unone", result))

        @saga.pivot()
        def two(ctx, given) -> None:
            seen.append(("two", ctx.results["one"]))
            if not goes_well:
                raise Rejected("no")

        async with driving(database, saga) as engine:
            status = await engine.wait(await start(engine, database, saga, value=7))
            assert status.status == ("completed" if goes_well else "compensated")

    play(tmp_path, act)
    assert seen == [("one", 7), ("two", {"taken": 7}), *([] if goes_well else [("unone", {"taken": 7})])]


def test_a_plain_function_does_not_hold_up_the_event_loop() -> None:
    """It runs on a thread of its own."""
    saga = Saga("plain")

    @saga.step()
    def one(ctx, given) -> int:
        return threading.get_ident()

    assert asyncio.run(saga.steps[0].action(None, None)) != threading.get_ident()
