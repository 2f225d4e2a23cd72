"""Steps that run at the same time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from driven import TWICE, CountingDatabase, Script, driving, play, start

from skerry.errors import DefinitionError
from skerry.resilience import Retry
from skerry.saga import Rejected, Saga, Sagas
from skerry.testing import VirtualClock


def side_by_side(*acts: Any, kind: str = "step", retry: Retry = TWICE, undone: list[str] | None = None) -> Saga:
    """A saga of one group, whose steps `s1`, `s2`, ... do `acts`."""
    saga = Saga("group")
    with saga.parallel():
        for number, act in enumerate(acts, 1):

            async def step(ctx, given, act=act):
                return await act(ctx)

            async def undo(ctx, given, result):
                assert undone is not None
                undone.append(f"{ctx.step} {result}")

            step.__name__ = f"s{number}"
            made = getattr(saga, kind)(retry=retry)(step)
            if undone is not None:
                made.compensate(undo)
    return saga


def test_steps_of_a_group_run_at_the_same_time(tmp_path: Path) -> None:
    """Neither waits for the other, neither sees the other's result, and the step behind them sees both."""
    seen: list[dict[str, Any]] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        meet = asyncio.Barrier(2)

        async def meets(ctx):
            await meet.wait()
            seen.append(dict(ctx.results))
            return ctx.step

        saga = side_by_side(meets, meets)

        @saga.step()
        async def behind(ctx, given):
            seen.append(dict(ctx.results))

        async with driving(database, saga) as engine:
            assert (await engine.wait(await start(engine, database, saga))).status == "completed"

    play(tmp_path, act)
    assert seen == [{}, {}, {"s1": "s1", "s2": "s2"}]


def test_a_failure_turns_the_whole_group_back(tmp_path: Path) -> None:
    """The others begin no further attempt; what was done, and what may have been, is undone, the last step first."""
    undone: list[str] = []
    slow = Script(OSError(), 3)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def refuses(ctx):
            await clock.sleep(1.0)
            raise Rejected("no")

        retry = Retry(5, base=1000.0, cap=1000.0)
        saga = side_by_side(Script(1), refuses, slow, retry=retry, undone=undone)
        async with driving(database, saga) as engine:
            status = await engine.wait(await start(engine, database, saga))
            assert (status.status, status.reason) == ("compensated", "s2: no")
            assert dict(status.steps) == {"s1": "undone", "s2": "rejected", "s3": "undone"}
        assert clock.monotonic() < 5

    play(tmp_path, act)
    assert (undone, len(slow.calls)) == (["s3 None", "s1 1"], 1)


def test_a_saga_that_ends_with_a_group_completes_after_a_stop_in_between(tmp_path: Path) -> None:
    """What is done stays done; the next engine takes the rest, and completes the saga even when nothing is left to take."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        first, second = Script(1), Script(OSError(), OSError(), 2)
        saga = side_by_side(first, second, kind="retriable", retry=Retry(9, base=1000.0, cap=1000.0))
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            await clock.sleep(1.0)
        for step in saga.steps:
            step.retry = Retry(9, base=0.0, cap=0.0)
        async with driving(database, saga) as engine:
            assert (await engine.wait(saga_id)).status == "completed"
        assert (len(first.calls), len(second.calls)) == (1, 3)
        async with database.transaction() as tx:
            await tx.execute("UPDATE skerry_sagas SET status = 'running'")  # killed before it was written
        async with driving(database, saga) as engine:
            assert (await engine.wait(saga_id)).status == "completed"

    play(tmp_path, act)


def test_a_group_of_retriable_steps_is_stuck_once_all_have_ended(tmp_path: Path) -> None:
    """One that gives up does not keep the others from their end; an operator takes it for done."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = side_by_side(Script(OSError()), Script(OSError(), 2), kind="retriable")
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            status = await engine.wait(saga_id)
            assert (status.status, dict(status.steps)) == ("stuck", {"s2": "done"})
            assert (await Sagas(database, clock=clock).skip(saga_id, "s1")).status == "completed"

    play(tmp_path, act)


def test_cancelling_a_saga_that_is_stuck_in_a_group_forgets_none_of_it(tmp_path: Path) -> None:
    """Of steps that may have begun side by side each is undone."""
    undone: list[str] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def waits(ctx):
            await clock.sleep(3600.0)

        saga = side_by_side(waits, waits, undone=undone)
        async with driving(database, saga, within=0.0) as engine:
            saga_id = await start(engine, database, saga)
            await clock.sleep(1.0)
        async with database.transaction() as tx:
            await tx.execute("UPDATE skerry_sagas SET status = 'stuck'")  # as after a change of its definition
        assert (await Sagas(database, clock=clock).cancel(saga_id)).status == "compensating"
        async with driving(database, saga) as engine:
            assert (await engine.wait(saga_id)).status == "compensated"

    play(tmp_path, act)
    assert undone == ["s2 None", "s1 None"]


def test_groups_are_of_one_kind_and_stand_beside_each_other() -> None:
    """What could not be taken together is refused, and a group is part of what may not change."""

    async def a(ctx: Any, given: Any) -> None: ...
    async def b(ctx: Any, given: Any) -> None: ...

    saga = Saga("s")
    with saga.parallel():
        saga.step()(a)
        with pytest.raises(DefinitionError, match="a pivot stands alone"):
            saga.pivot()(b)
        with pytest.raises(DefinitionError, match="a group is all steps, or all retriable steps"):
            saga.retriable()(b)
        with pytest.raises(DefinitionError, match="inside each other"), saga.parallel():
            pass
    with saga.parallel():
        saga.step()(b)
    assert [[step.name for step in group] for group in saga.groups()] == [["a"], ["b"]]
    assert saga.signature() == '["step a in group 1", "step b in group 2"]'
