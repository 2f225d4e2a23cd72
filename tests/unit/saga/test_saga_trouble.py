from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from driven import CountingDatabase, Script, driving, one_step, play, start, two_steps

from skerry.errors import LeaseLost, Rejected, StoreError
from skerry.resilience import Retry
from skerry.saga import Engine, Journal, Saga
from skerry.saga.engine import MAX_RUNNING, MAX_TAKEN_UP
from skerry.signals import SagaSignalled, SagasRecovered, Signal, subscribe
from skerry.testing import VirtualClock


def test_a_failing_journal_keeps_the_saga_open(tmp_path: Path) -> None:
    """While nothing can be written a saga stands still, the engine says why, and all goes on afterwards with the same keys."""
    step = Script(1)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(step, Script(None), Script(2))
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            database.failing = True
            await clock.sleep(5.0)
            assert engine.failure == "OperationalError"
            status = await engine.find(saga, "1")
            assert status is not None
            assert (status.status, dict(status.steps)) == ("running", {})
            database.failing = False
            assert (await engine.wait(saga_id)).status == "completed"
            assert engine.failure == ""

    play(tmp_path, act)
    assert len({ctx.key for ctx in step.calls}) == 1


def test_who_waits_in_run_waits_through_a_failed_commit(tmp_path: Path) -> None:
    """A saga that is taken up again at once after its journal failed holds up nobody, and whoever runs it gets its end."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def fail(_ctx: Any, _given: Any) -> None:
            database.failing = clock.monotonic() < 2.0

        saga = one_step(fail, kind="retriable")
        async with driving(database, saga) as engine:
            running = asyncio.create_task(engine.run(saga, None, key="1"))
            await clock.sleep(1.0)
            assert engine.failure == "OperationalError"
            await clock.sleep(1.0)
            database.failing = False
            assert (await running).status == "completed"

    play(tmp_path, act)


def test_a_failing_look_does_not_end_the_engine(tmp_path: Path) -> None:
    """When the journal cannot be read the engine says so and looks again."""

    class Blind(CountingDatabase):
        blind = True

        async def fetch_one(self, sql: str, parameters: Any = ()) -> Any:
            if self.blind:
                raise StoreError("no light")
            return await super().fetch_one(sql, parameters)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        blind = Blind(database.path, owner="own", clock=clock)
        await blind.open()
        saga = two_steps(Script(1), Script(None), Script(2))
        async with driving(blind, saga) as engine:
            saga_id = await start(engine, blind, saga)
            await clock.sleep(2.0)
            assert engine.failure == "StoreError"
            blind.blind = False
            assert (await engine.wait(saga_id)).status == "completed"
            await clock.sleep(1.0)  # until the next look
            assert engine.failure == ""
        await blind.close()

    play(tmp_path, act)


def test_sagas_share_commits(tmp_path: Path) -> None:
    """Transitions of many sagas at one moment are one commit, not one each."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(Script(1), Script(None), Script(2))
        async with driving(database, saga) as engine:
            async with database.transaction() as tx:
                ids = [await engine.start(tx, saga, None, key=str(n)) for n in range(100)]
            before = database.commits
            for saga_id in ids:
                assert (await engine.wait(saga_id)).status == "completed"
            assert database.commits - before < 20

    play(tmp_path, act)


def test_a_participant_that_is_down_holds_up_no_other_sagas(tmp_path: Path) -> None:
    """Sagas that wait before their next attempt take up no room, however many they are."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def down(ctx, given):
            raise OSError("closed")

        waiting, well = (
            one_step(down, retry=Retry(9, base=3600.0, cap=3600.0)),
            two_steps(Script(1), Script(None), Script(2)),
        )
        async with driving(database, waiting, well) as engine:
            async with database.transaction() as tx:
                for number in range(2 * MAX_RUNNING):
                    await engine.start(tx, waiting, None, key=str(number))
            await clock.sleep(5.0)
            assert (await engine.run(well, None, key="1")).status == "completed"
            assert clock.monotonic() < 10

    play(tmp_path, act)


def test_a_restart_with_many_open_sagas_is_paced(tmp_path: Path, signals: list[Signal]) -> None:
    """A thousand open sagas all end after a restart, a hundred at the same time, and one that begins meanwhile passes them."""
    at_once = most = 0

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        async def slow(ctx, given):
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await clock.sleep(0.1)
            at_once -= 1

        saga = one_step(slow)
        before = Engine("own", database, clock=clock)
        before.add(saga)
        async with database.transaction() as tx:
            for number in range(1000):
                await before.start(tx, saga, None, key=str(number))
        async with driving(database, saga) as engine:
            await clock.sleep(0.05)
            assert at_once == MAX_TAKEN_UP
            assert (await engine.run(saga, None, key="meanwhile")).status == "completed"
            assert clock.monotonic() < 0.3
            while await engine.needed() and (await engine.stats()).get("running"):
                await clock.sleep(0.1)
            assert await engine.stats() == {"completed": 1001}
            assert clock.monotonic() < 5.0

    play(tmp_path, act)
    assert most == MAX_TAKEN_UP + 1
    assert [signal.count for signal in signals if isinstance(signal, SagasRecovered)] == [1000]


def test_a_full_engine_does_not_read_the_journal_over_and_over(tmp_path: Path) -> None:
    """Pages of open sagas are read about once each, not each time a saga ends."""
    pages = 0

    class Reading(CountingDatabase):
        async def fetch_all(self, sql: str, parameters: Any = ()) -> list[Any]:
            nonlocal pages
            pages += "LIMIT" in sql
            return await super().fetch_all(sql, parameters)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(Script(1), Script(None), Script(2))
        reading = Reading(database.path, owner="own", clock=clock)
        await reading.open()
        before = Engine("own", reading, clock=clock)
        before.add(saga)
        async with reading.transaction() as tx:
            ids = [await before.start(tx, saga, None, key=str(number)) for number in range(1000)]
        async with driving(reading, saga) as engine:
            for saga_id in ids:
                await engine.wait(saga_id)
        await reading.close()

    play(tmp_path, act)
    assert pages < 20


def test_what_has_ended_stays_ended(tmp_path: Path) -> None:
    """A transition that comes after the end, from whomever, changes nothing."""
    from skerry.saga import Journal
    from skerry.saga.entry import Record

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        saga = two_steps(Script(1), Script(None), Script(2))
        async with driving(database, saga) as engine:
            status = await engine.run(saga, None, key="1")
            await Journal(database, clock=clock).write(Record(status.id, "one", "unknown", status="compensating"))
            assert (await engine.wait(status.id)).status == "completed"

    play(tmp_path, act)


def test_a_lead_that_cannot_be_had_does_not_end_the_engine(tmp_path: Path) -> None:
    """While the lock file cannot be opened the engine says so, and it leads as soon as it can."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        obstacle = Path(f"{database.path}.saga.lock")
        obstacle.mkdir()
        saga = two_steps(Script(1), Script(None), Script(2))
        async with driving(database, saga) as engine:
            saga_id = await start(engine, database, saga)
            await clock.sleep(5.0)
            assert engine.failure == "StoreError"
            obstacle.rmdir()
            assert (await engine.wait(saga_id)).status == "completed"
            assert engine.failure == ""

    play(tmp_path, act)


def test_sagas_between_two_attempts_do_not_hold_up_those_behind_them(tmp_path: Path) -> None:
    """A participant that is down keeps its own sagas waiting, however many there are."""

    async def down(ctx: Any, given: Any) -> None:
        raise OSError("down")

    async def up(ctx: Any, given: Any) -> None:
        return None

    waits, goes = one_step(down, retry=Retry(100, base=60.0, cap=60.0)), Saga("other")
    goes.step()(up)

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        before = Engine("own", database, clock=clock)
        before.add(waits, goes)
        async with database.transaction() as tx:
            for number in range(500):
                await before.start(tx, waits, None, key=str(number))
            last = await before.start(tx, goes, None, key="1")
        async with driving(database, waits, goes) as engine:
            begun = clock.monotonic()
            await engine.wait(last)
            assert clock.monotonic() - begun < 10.0
            assert (await engine.stats())["running"] == 500

    play(tmp_path, act)


def test_a_reason_that_no_database_takes_is_written_down_without_it(tmp_path: Path) -> None:
    """What a participant says may hold a NUL, or half a character; neither keeps others from being written."""
    step = Script(Rejected("no\x00thing \ud800 left"))

    async def act(database: CountingDatabase, clock: VirtualClock) -> Any:
        saga = two_steps(Script(1), Script(None), step)
        async with driving(database, saga) as engine:
            return await engine.run(saga, None, key="1")

    status = play(tmp_path, act)
    assert (status.status, status.reason) == ("compensated", "two: no\ufffdthing ? left")


def test_a_saga_that_begins_as_the_lead_is_lost_goes_on_when_it_is_had_again(tmp_path: Path) -> None:
    """Although what drives it was cancelled before its first step: nobody has to start the process anew."""

    class Losing(CountingDatabase):
        lost = False

        @asynccontextmanager
        async def lead(self, role: str) -> AsyncIterator[Any]:
            async with super().lead(role) as lease:
                yield Lost(self, lease)

    class Lost:
        def __init__(self, database: Losing, lease: Any) -> None:
            self._database, self._lease = database, lease

        def __getattr__(self, name: str) -> Any:
            return getattr(self._lease, name)

        def check(self) -> None:
            if self._database.lost:
                self._database.lost = False
                raise LeaseLost("somebody else has it")

    async def main() -> None:  # in real time: the virtual one goes on to the next look while a commit is under way
        losing = Losing(tmp_path / "own.db", owner="own")
        await losing.open()
        await Journal.prepare(losing)
        waits, saga = Saga("waits"), two_steps(Script(1), Script(None), Script(2))
        waits.receive("word", str, timeout=3600.0)
        async with driving(losing, waits, saga) as engine:
            await engine.run(saga, None, key="0")
            end = subscribe(lambda told: setattr(losing, "lost", True) if isinstance(told, SagaSignalled) else None)
            async with losing.transaction() as tx:
                await engine.signal(tx, waits, "1", "word", "go")  # which has the engine look, and find out
                saga_id = await engine.start(tx, saga, None, key="1")
            end()
            assert (await asyncio.wait_for(engine.wait(saga_id), 20.0)).status == "completed"
        await losing.close()

    asyncio.run(main())
