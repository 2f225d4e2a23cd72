"""What people do about sagas: they look, let stuck ones go on, skip a step, turn back, or end them by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from driven import TWICE, CountingDatabase, Script, driving, one_step, play, start, two_steps

from skerry.errors import NotNow, UnknownSaga
from skerry.resilience import Retry
from skerry.saga import Engine, Rejected, Saga, Sagas
from skerry.signals import SagaChanged, Signal
from skerry.testing import VirtualClock


async def stuck_back(engine: Engine, database: CountingDatabase) -> tuple[str, Script]:
    """A saga that is stuck while it undoes its only step, and what undoes it."""
    undo = Script(OSError())
    saga = two_steps(Script(1), undo, Script(Rejected("no")))
    engine.add(saga)
    saga_id = await start(engine, database, saga)
    assert (await engine.wait(saga_id)).status == "stuck"
    return saga_id, undo


def three_steps(one: Script, two: Script, three: Script, undone: list[str], *, wait: float = 0.0) -> Saga:
    """Two compensatable steps and a pivot that nothing undoes; between attempts it waits so long."""
    saga = Saga("three")
    retry = Retry(3, base=wait, cap=wait) if wait else TWICE

    def undoes(name: str) -> Any:
        async def undo(ctx, given, result):
            undone.append(f"{name} {result}")

        return undo

    for name, script in (("one", one), ("two", two)):

        async def act(ctx, given, script=script):
            return await script(ctx)

        act.__name__ = name
        saga.step(retry=retry)(act).compensate(undoes(name))

    async def last(ctx, given):
        return await three(ctx)

    saga.pivot(retry=retry)(last)
    return saga


def test_a_stuck_compensation_is_skipped_when_a_person_has_done_it(tmp_path: Path, signals: list[Signal]) -> None:
    """The saga ends compensated without asking the participant again, and its timeline says that it was by hand."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async with driving(database) as engine:
            saga_id, undo = await stuck_back(engine, database)
            asked = len(undo.calls)
            sagas = Sagas(database, clock=clock)
            assert (await sagas.skip(saga_id, "one", note="refunded in the bank's own form")).status == "compensated"
            assert (await engine.wait(saga_id)).status == "compensated"
            await clock.sleep(5.0)
            assert len(undo.calls) == asked
            entries = [entry for entry in await sagas.timeline(saga_id) if entry.by_hand]
        assert [(e.what, e.step, e.note) for e in entries] == [("skip", "one", "refunded in the bank's own form")]
        assert [s.status for s in signals if isinstance(s, SagaChanged)][-2:] == ["stuck", "compensated"]

    play(tmp_path, act)


def test_a_stuck_retriable_step_is_skipped_with_its_result(tmp_path: Path) -> None:
    """The steps behind it get the result that the person gave, and the saga completes."""
    got: list[Any] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = Saga("ship")

        @saga.retriable(retry=TWICE)
        async def ship(ctx, given) -> dict[str, int]:
            raise OSError("closed")

        @saga.retriable(retry=TWICE)
        async def tell(ctx, given):
            got.append(ctx.results["ship"])

        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            assert (await engine.wait(saga_id)).status == "stuck"
            sagas = Sagas(database, clock=clock)
            with pytest.raises(NotNow, match="stands at ship, not at 'tell'"):
                await sagas.skip(saga_id, "tell")
            with pytest.raises(NotNow, match="passed its point of no return"):
                await sagas.cancel(saga_id)
            assert (await sagas.skip(saga_id, "ship", result={"parcel": 7})).status == "running"
            assert (await engine.wait(saga_id)).status == "completed"

    play(tmp_path, act)
    assert got == [{"parcel": 7}]


def test_a_running_saga_that_is_cancelled_undoes_what_was_done(tmp_path: Path) -> None:
    """It turns back at once although it waits for its next attempt; a step that may have had its effect is undone too."""
    undone: list[str] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        two, three = Script(OSError()), Script(3)
        saga = three_steps(Script(1), two, three, undone, wait=1000.0)
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            await clock.sleep(2.0)
            await engine.cancel(saga_id, note="the customer said no")
            status = await engine.wait(saga_id)
            assert clock.monotonic() < 10
            with pytest.raises(NotNow, match="the saga is compensated"):
                await engine.cancel(saga_id)
        assert (status.status, status.reason) == ("compensated", "two: cancelled: the customer said no")
        assert (len(two.calls), three.calls) == (1, [])

    play(tmp_path, act)
    assert undone == ["two None", "one 1"]


def test_a_cancel_that_another_process_asked_for_is_found_at_the_next_look(tmp_path: Path) -> None:
    """Sagas that wait are told within a second, also those of an engine that starts later."""
    undone: list[str] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = three_steps(Script(1), Script(OSError()), Script(3), undone, wait=1000.0)
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            await clock.sleep(2.0)
            await Sagas(database, clock=clock).cancel(saga_id)
            await clock.sleep(1.0)
            assert (await engine.wait(saga_id)).status == "compensated"
            second = await start(engine, database, saga, key="2")
            await clock.sleep(2.0)
        await Sagas(database, clock=clock).cancel(second)
        async with driving(database, saga) as engine:
            assert (await engine.wait(second)).status == "compensated"

    play(tmp_path, act)


def test_a_pivot_whose_outcome_is_unknown_is_not_turned_back(tmp_path: Path) -> None:
    """A cancel waits for the answer of a pivot that nothing undoes; when it is yes the saga completes."""
    undone: list[str] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = three_steps(Script(1), Script(2), Script(OSError(), 3), undone, wait=100.0)
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            await clock.sleep(2.0)
            await engine.cancel(saga_id)
            assert (await engine.wait(saga_id)).status == "completed"

    play(tmp_path, act)
    assert undone == []


def test_a_stuck_pivot_that_had_no_effect_is_turned_back(tmp_path: Path) -> None:
    """Cancelled, a saga stuck at its pivot undoes what came before; skipped, it would have gone on."""
    undone: list[str] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = three_steps(Script(1), Script(2), Script(OSError()), undone)
        async with driving(database, saga) as engine:
            first, second = (
                await start(engine, database, saga, key="1"),
                await start(engine, database, saga, key="2"),
            )
            for each in (first, second):
                assert (await engine.wait(each)).status == "stuck"
            sagas = Sagas(database, clock=clock)
            assert (await sagas.cancel(first, note="the bank knows nothing of it")).status == "compensating"
            assert (await engine.wait(first)).status == "compensated"
            assert (await sagas.skip(second, "last")).status == "completed"

    play(tmp_path, act)
    assert undone == ["two 2", "one 1"]


def test_resolving_ends_a_stuck_saga_as_it_stands(tmp_path: Path) -> None:
    """Nothing more is asked of anybody; it can be done once, and only while it is stuck."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async with driving(database) as engine:
            saga_id, undo = await stuck_back(engine, database)
            asked = len(undo.calls)
            sagas = Sagas(database, clock=clock)
            await sagas.resolve(saga_id, "compensated", note="by the bank")
            status = await engine.wait(saga_id)
            assert (status.status, status.reason) == ("compensated", "resolved by hand: by the bank")
            for again in (
                sagas.resolve(saga_id, "completed"),
                sagas.retry(saga_id),
                sagas.skip(saga_id, "one"),
                sagas.cancel(saga_id),
            ):
                with pytest.raises(NotNow, match="the saga is compensated"):
                    await again
            await clock.sleep(5.0)
            assert len(undo.calls) == asked
            assert await engine.stuck() == 0

    play(tmp_path, act)


def test_sagas_are_listed_and_counted(tmp_path: Path) -> None:
    """The stuck ones first, then the oldest; by name, by key, and by status."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def waits(ctx, given):
            await clock.sleep(1.0)

        async with driving(database, saga := one_step(waits)) as engine:
            await start(engine, database, saga, key="first")
            await clock.sleep(5.0)
            stuck, _ = await stuck_back(engine, database)
            running = await start(engine, database, saga, key="last")
            sagas = Sagas(database, clock=clock)
            assert [line.id for line in await sagas.found()] == [stuck, running]
            assert [line.key for line in await sagas.found(statuses=["completed"])] == ["first"]
            assert [line.id for line in await sagas.found(name="one", key="last")] == [running]
            assert len(await sagas.found(limit=1)) == 1
            counts = {(each.name, each.status): each.sagas for each in await sagas.stats()}
            assert counts == {("one", "completed"): 1, ("one", "running"): 1, ("two", "stuck"): 1}

    play(tmp_path, act)


def test_an_unknown_saga_is_named(tmp_path: Path) -> None:
    """Whatever is asked of an id that is none raises `UnknownSaga` and changes nothing."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        sagas = Sagas(database, clock=clock)
        for asked in (sagas.get("x"), sagas.timeline("x"), sagas.retry("x"), sagas.cancel("x"), sagas.skip("x", "one")):
            with pytest.raises(UnknownSaga, match="there is no saga 'x'"):
                await asked

    play(tmp_path, act)
