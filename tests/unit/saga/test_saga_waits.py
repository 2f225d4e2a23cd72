"""Sagas that wait: for a signal, for a time, through restarts and cancels."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from driven import CountingDatabase, Script, driving, opened, play
from pydantic import BaseModel

from skerry import signals
from skerry.errors import DefinitionError, NotNow
from skerry.saga import Engine, Saga, Sagas, SagaStatus
from skerry.testing import VirtualClock, run_virtual

DAY = 86_400.0


class Approval(BaseModel):
    by: str


def order(undo: Script, ship: Script, *, timeout: float | None = DAY) -> Saga:
    saga = Saga("order", input=str)

    @saga.step()
    async def reserve(ctx, given):
        return None

    @reserve.compensate
    async def release(ctx, given, result):
        await undo(ctx)

    saga.receive("approval", Approval, timeout=timeout)
    saga.sleep("grace", 60.0)

    @saga.retriable()
    async def send(ctx, given):
        return await ship(ctx)

    return saga


async def tell(
    engine: Engine,
    database: CountingDatabase,
    saga: Saga,
    key: str,
    value: Any,
    *,
    once: str = "",
    name: str = "approval",
) -> bool:
    async with database.transaction() as tx:
        return await engine.signal(tx, saga, key, name, value, id=once)


async def later(clock: VirtualClock, seconds: float) -> None:
    """Let time pass at once, and the engine look."""
    await clock.sleep(2.0)
    clock.advance(seconds)
    await clock.sleep(2.0)


async def begin(engine: Engine, database: CountingDatabase, saga: Saga, key: str = "1") -> str:
    async with database.transaction() as tx:
        return await engine.start(tx, saga, "x", key=key)


async def status(engine: Engine, saga: Saga, key: str = "1") -> SagaStatus:
    found = await engine.find(saga, key)
    assert found is not None
    return found


def test_a_saga_waits_for_its_signal_and_for_a_time(tmp_path: Path) -> None:
    """It goes on when the signal has come, with its value, and after the time has passed; meanwhile nobody drives it."""
    ship = Script(None)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = order(Script(None), ship)
        async with driving(database, saga) as engine:
            saga_id = await begin(engine, database, saga)
            await later(clock, 3600.0)
            waiting = await status(engine, saga)
            assert (waiting.status, waiting.steps["approval"]) == ("running", "waits")
            assert waiting.waits["approval"] == pytest.approx(waiting.started_at + DAY, abs=1.0)
            assert not engine._running
            assert await tell(engine, database, saga, "1", Approval(by="ann"))
            begun = clock.monotonic()
            done = await engine.wait(saga_id)
            assert done.status == "completed"
            assert done.result("approval") == {"by": "ann"}
            assert 60.0 <= clock.monotonic() - begun < 62.0

    play(tmp_path, act)
    assert len(ship.calls) == 1
    assert ship.calls[0].results["approval"] == Approval(by="ann")


def test_a_signal_may_come_early_and_twice(tmp_path: Path) -> None:
    """One that comes before the saga has begun is kept; the same one again, and a later one, have no effect."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = order(Script(None), Script(None))
        async with driving(database, saga) as engine:
            assert await tell(engine, database, saga, "1", Approval(by="ann"), once="a")
            assert not await tell(engine, database, saga, "1", Approval(by="ann"), once="a")
            await clock.sleep(1.0)
            assert await tell(engine, database, saga, "1", Approval(by="bob"), once="b")
            assert (await engine.run(saga, "x", key="1")).result("approval") == {"by": "ann"}

    play(tmp_path, act)


def test_nothing_in_time_turns_the_saga_back(tmp_path: Path) -> None:
    """After the time-out what was done is undone, and a signal that comes then changes nothing."""
    undo = Script(None)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = order(undo, Script(None))
        async with driving(database, saga) as engine:
            saga_id = await begin(engine, database, saga)
            await later(clock, DAY + 2.0)
            ended = await engine.wait(saga_id)
            assert (ended.status, ended.reason) == ("compensated", "approval: nothing has come in time")
            await tell(engine, database, saga, "1", Approval(by="ann"))
            await clock.sleep(5.0)
            assert (await status(engine, saga)).status == "compensated"

    play(tmp_path, act)
    assert len(undo.calls) == 1


def test_a_restart_does_not_begin_the_wait_anew(tmp_path: Path) -> None:
    """What has passed before counts, and a signal that came while nobody was there is found."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = order(Script(None), Script(None))
        async with driving(database, saga) as engine:
            await begin(engine, database, saga, "late")
            await begin(engine, database, saga, "told")
            await later(clock, DAY / 2)
        async with database.transaction() as tx:
            await Engine("own", database, clock=clock).signal(tx, saga, "told", "approval", Approval(by="ann"))
        await later(clock, DAY / 4)
        async with driving(database, saga) as engine:
            await clock.sleep(100.0)
            assert (await status(engine, saga, "told")).status == "completed"
            assert (await status(engine, saga, "late")).status == "running"
            await later(clock, DAY / 4)
            assert (await status(engine, saga, "late")).status == "compensated"

    play(tmp_path, act)


def test_many_waiting_sagas_take_no_room_and_survive_restarts(tmp_path: Path) -> None:
    """A thousand wait through three restarts, none of them in memory, and each goes on when it is told."""

    async def main(clock: VirtualClock) -> None:
        saga = order(Script(None), Script(None), timeout=None)
        async with opened(tmp_path, clock) as database:
            async with driving(database, saga) as engine:
                for number in range(1000):
                    await begin(engine, database, saga, str(number))
                await clock.sleep(10.0)
            for _ in range(3):
                async with driving(database, saga) as engine:
                    await clock.sleep(10.0)
                    assert not engine._running
                    assert await engine.stats() == {"running": 1000}
            async with driving(database, saga) as engine:
                async with database.transaction() as tx:
                    for number in range(1000):
                        await engine.signal(tx, saga, str(number), "approval", Approval(by=str(number)))
                await clock.sleep(120.0)
                assert await engine.stats() == {"completed": 1000}

    run_virtual(main)


def test_a_waiting_saga_can_be_cancelled_and_has_a_deadline(tmp_path: Path) -> None:
    """A cancel wakes it, and so does its deadline; both undo what was done."""
    undo = Script(None)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = order(undo, Script(None))
        saga.deadline = 3600.0
        async with driving(database, saga) as engine:
            cancelled = await begin(engine, database, saga, "cancelled")
            late = await begin(engine, database, saga, "late")
            await clock.sleep(60.0)
            await engine.cancel(cancelled, note="changed my mind")
            await clock.sleep(2.0)
            assert (await engine.wait(cancelled)).reason == "approval: cancelled: changed my mind"
            await later(clock, 3600.0)
            assert (await engine.wait(late)).reason == "approval: the deadline has passed"

    play(tmp_path, act)
    assert len(undo.calls) == 2


def test_behind_the_pivot_nothing_in_time_is_stuck(tmp_path: Path) -> None:
    """A person sees to it: told to go on it waits anew, as long as the first time."""
    saga = Saga("receipt", input=str)

    @saga.pivot()
    async def pay(ctx, given):
        return None

    saga.receive("signature", str, timeout=10.0)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async with driving(database, saga) as engine:
            saga_id = await begin(engine, database, saga)
            stuck = await engine.wait(saga_id)
            assert (stuck.status, stuck.reason) == ("stuck", "signature: nothing has come in time")
            await engine.retry(saga_id)
            await clock.sleep(8.0)
            assert (await status(engine, saga)).status == "running"
            await tell(engine, database, saga, "1", "ann", name="signature")
            assert (await engine.wait(saga_id)).result("signature") == "ann"

    play(tmp_path, act)


def test_signals_that_cannot_be_are_refused(tmp_path: Path) -> None:
    """One that nobody waits for, a value of another type, and one from outside that does not fit."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = order(Script(None), Script(None))
        async with driving(database, saga) as engine:
            for name, value in (("grace", None), ("reserve", None), ("nothing", None), ("approval", {"by": []})):
                with pytest.raises(DefinitionError, match=name):
                    await tell(engine, database, saga, "1", value, name=name)
            saga_id = await begin(engine, database, saga)
            await clock.sleep(1.0)
            with pytest.raises(NotNow, match="no step of the saga waits for 'grace'"):
                await Sagas(database, clock=clock).signal(saga_id, "grace")
            await Sagas(database, clock=clock).signal(saga_id, "approval", ["no", "approval"])
            ended = await engine.wait(saga_id)
            assert (ended.status, ended.reason) == ("compensated", "approval: what came does not fit: ValidationError")
            with pytest.raises(NotNow, match="it waits for nothing any more"):
                await Sagas(database, clock=clock).signal(saga_id, "approval")

    play(tmp_path, act)


def test_definitions_that_cannot_wait_are_refused() -> None:
    """Times are above 0, a wait stands alone, has a name of its own, and nothing to undo."""
    saga = Saga("bad", input=str)
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(DefinitionError, match="above 0"):
            saga.sleep("never", seconds)
        with pytest.raises(DefinitionError, match="above 0"):
            saga.receive("never", timeout=seconds)
    waits = saga.receive("approval")
    with pytest.raises(DefinitionError, match="another name"):
        saga.sleep("approval", 1.0)
    with pytest.raises(DefinitionError, match="nothing to undo"):
        waits.compensate(lambda _ctx, _given, _result: None)


def test_what_waits_is_told_and_shown(tmp_path: Path) -> None:
    """A signal of ours for each wait and each signal, and both in the saga's timeline."""
    heard: list[signals.Signal] = []

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = order(Script(None), Script(None))
        async with driving(database, saga) as engine:
            unsubscribe = signals.subscribe(heard.append)
            saga_id = await begin(engine, database, saga)
            await clock.sleep(1.0)
            await tell(engine, database, saga, "1", Approval(by="ann"), once="a")
            await clock.sleep(1.0)
            unsubscribe()
            timeline = await Sagas(database, clock=clock).timeline(saga_id)
            assert {(each.what, each.step) for each in timeline} == {
                ("started", ""),
                ("done", "reserve"),
                ("waits", "approval"),
                ("signalled", "approval"),
                ("done", "approval"),
                ("waits", "grace"),
            }

    play(tmp_path, act)
    waits = [signal for signal in heard if isinstance(signal, signals.SagaWaits)]
    assert [signal.step for signal in waits] == ["approval", "grace"]
    (told,) = [signal for signal in heard if isinstance(signal, signals.SagaSignalled)]
    assert (told.saga, told.key, told.signal, told.new) == ("order", "1", "approval", True)


def test_signals_of_the_past_are_forgotten(tmp_path: Path) -> None:
    """What nobody waited for is dropped after thirty days; what a saga may still ask for stays."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = order(Script(None), Script(None), timeout=None)
        slow = Saga("slow", input=str)
        slow.sleep("long", 40 * DAY)
        slow.receive("approval", Approval)
        async with driving(database, saga, slow) as engine:
            await tell(engine, database, saga, "nobody", Approval(by="ann"))
            await begin(engine, database, slow)
            await tell(engine, database, slow, "1", Approval(by="bob"))
            await later(clock, 31 * DAY)
            rows = await database.fetch_all("SELECT key FROM skerry_saga_signals")
            assert [row[0] for row in rows] == ["1"]
            await later(clock, 10 * DAY)
            assert (await status(engine, slow)).status == "completed"

    play(tmp_path, act)


def test_a_cancel_behind_the_pivot_wakes_a_waiting_saga_once(tmp_path: Path) -> None:
    """It has no effect there, and the saga is not looked at again and again for it."""
    saga = Saga("paid", input=str)
    gate = asyncio.Event()

    @saga.pivot(timeout=60.0)
    async def pay(ctx, given):
        await gate.wait()

    saga.sleep("grace", 600.0)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async with driving(database, saga) as engine:
            saga_id = await begin(engine, database, saga)
            await clock.sleep(1.0)
            await engine.cancel(saga_id)
            gate.set()
            await clock.sleep(5.0)
            commits = database.commits
            await later(clock, 500.0)
            assert database.commits == commits
            assert (await engine.wait(saga_id)).status == "completed"

    play(tmp_path, act)
