"""The switch of a rebuild, on both engines: no read fails, none sees less than one before it, and nothing is left behind."""

import asyncio
import shutil
from contextlib import asynccontextmanager

import pytest
from projecting import hosted, totals, until

from skerry.errors import ConfigurationError, StoreBusy
from skerry.events import Builder, DeadLetter, DeadLetters, Inbox, Outbox, Projections, Relay
from skerry.events import connect as connect_broker
from skerry.events import projection as module
from skerry.resilience import Retry
from skerry.store import connect

BOTH = (
    "SELECT t.events, t.last, (SELECT count(*) FROM {steps} AS s WHERE s.counter = t.counter) AS steps "
    "FROM {totals} AS t WHERE t.counter = ?"
)


async def live(projection, generation):
    await until(lambda: _is(projection, generation))


async def _is(projection, generation):
    return (await projection.status()).live == generation


async def shows(projection, number, counter="a"):
    async def look():
        row = await projection.fetch_one(BOTH, (counter,))
        return row is not None and row["events"] == number

    await until(look)


async def left(stage):
    """The generations that have tables, receipts and positions."""
    projections = await module.generations(stage.database, "totals", 1)
    receipts = await stage.database.fetch_all("SELECT DISTINCT scope FROM skerry_receipts")
    positions = await stage.database.fetch_all("SELECT DISTINCT consumer FROM skerry_positions")
    numbers = [
        {int(row[0].rpartition(":")[2]) for row in rows if "projection:" in row[0]} for rows in (receipts, positions)
    ]
    return set(projections), *numbers


class Slow:
    """A database that is slow between two reads, as one of a process that was stopped meanwhile."""

    def __init__(self, database):
        self._database = database
        self.meanwhile = None

    def __getattr__(self, name):
        return getattr(self._database, name)

    async def fetch_all(self, sql, parameters=()):
        if "totals_1_" in sql and (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            await meanwhile()
        return await self._database.fetch_all(sql, parameters)


class Gate:
    """A broker that can stop what a rebuild reads, and do something right after it was found to have read all there was."""

    def __init__(self, broker):
        self._broker = broker
        self.open = asyncio.Event()
        self.open.set()
        self.then = None

    def __getattr__(self, name):
        return getattr(self._broker, name)

    async def subscribe(self, group, types, positions):
        subscription = await self._broker.subscribe(group, types, positions)
        return subscription if group.endswith(":1") else _Gated(subscription, self)


class _Gated:
    def __init__(self, subscription, gate):
        self._subscription = subscription
        self._gate = gate
        self._fetching = asyncio.Lock()

    def __getattr__(self, name):
        return getattr(self._subscription, name)

    async def fetch(self, limit, *, wait):
        async with self._fetching:
            found = await self._subscription.fetch(limit, wait=0) if self._gate.open.is_set() else []
        if not found:
            await asyncio.sleep(0.01)
        return found

    async def lag(self):
        async with self._fetching:
            lag = await self._subscription.lag()
            if lag == 0 and (then := self._gate.then) is not None:
                self._gate.then = None
                self._gate.open.clear()
                await then()
            return lag


def test_readers_beside_rebuilds_switches_and_drops_never_fail_and_never_see_less(staged, monkeypatch):
    """Four readers without a pause, a writer, and rebuilds whose old tables go at once: each read is whole, each as new."""
    monkeypatch.setattr(module, "GRACE", 0.0)
    monkeypatch.setattr(module, "LOOK", 0.01)

    async def main():
        async with staged() as stage, stage.relaying():
            projection = totals(stage)
            async with hosted(stage, projection):
                await stage.count("a")
                await shows(projection, 1)
                done = asyncio.Event()

                async def read():
                    last, reads = 0, 0
                    while not done.is_set():
                        row = await projection.fetch_one(BOTH, ("a",))
                        assert row["events"] == row["last"] == row["steps"] >= last
                        last, reads = row["events"], reads + 1
                        await asyncio.sleep(0)
                    return reads

                async def write():
                    while not done.is_set():
                        await stage.count("a")
                        await asyncio.sleep(0.002)

                async with asyncio.TaskGroup() as group:
                    readers = [group.create_task(read()) for _ in range(4)]
                    group.create_task(write())
                    for generation in range(2, 8):
                        assert await projection.rebuild()
                        await live(projection, generation)
                    done.set()
                assert all(reader.result() for reader in readers)

                async def nothing_is_left():
                    return await left(stage) == ({7}, {7}, {7})

                await until(nothing_is_left)

    asyncio.run(main())


def test_a_read_whose_tables_go_before_it_begins_reads_the_new_ones(staged, monkeypatch):
    """Stopped just before its query, for longer than the old generation is kept, a reader sees the new one."""
    monkeypatch.setattr(module, "GRACE", 0.0)

    async def main():
        async with staged() as stage, stage.relaying():
            projection = totals(stage)
            slow = stage.database = Slow(stage.database)
            async with hosted(stage, projection):
                await stage.count("a")
                await shows(projection, 1)

                async def another_takes_over():
                    await projection.rebuild()
                    await live(projection, 2)
                    await until(lambda: _gone(stage))

                slow.meanwhile = another_takes_over
                assert [row["events"] for row in await projection.fetch_all("SELECT events FROM {totals}")] == [1]
                assert slow.meanwhile is None
                with pytest.raises(Exception, match="nonsense"):
                    await projection.fetch_all("SELECT nonsense FROM {totals}")

    async def _gone(stage):
        return (await left(stage))[0] == {2}

    asyncio.run(main())


def test_a_read_of_tables_that_are_no_longer_the_ones_to_read_is_thrown_away(staged):
    """Switched over while its query was under way, a reader sees the new tables: the old ones may have gone on for a moment."""

    async def main():
        async with staged() as stage, stage.relaying():
            projection = totals(stage)
            slow = stage.database = Slow(stage.database)
            async with hosted(stage, projection):
                await stage.count("a")
                await shows(projection, 1)

                async def another_takes_over():
                    await projection.rebuild()
                    await live(projection, 2)
                    async with stage.database.transaction() as tx:
                        await tx.execute("UPDATE totals_1_1_totals SET events = 99")

                slow.meanwhile = another_takes_over
                assert [row["events"] for row in await projection.fetch_all("SELECT events FROM {totals}")] == [1]
                assert slow.meanwhile is None

    asyncio.run(main())


def test_an_event_that_the_old_tables_show_is_in_the_new_ones_before_they_are_read(staged):
    """One that comes just after the new generation had caught up, and that a reader has seen, puts the switch off."""

    async def main():
        async with staged() as stage, stage.relaying():
            projection, gate = totals(stage), Gate(stage.broker)
            async with hosted(stage, projection, broker=gate):
                await stage.count("a")
                await shows(projection, 1)
                seen = asyncio.Event()

                async def meanwhile():
                    await stage.count("a")
                    await shows(projection, 2)
                    seen.set()

                gate.then = meanwhile
                assert await projection.rebuild()
                await seen.wait()
                for _ in range(20):
                    row = await projection.fetch_one(BOTH, ("a",))
                    assert row["events"] == 2
                    await asyncio.sleep(module.LOOK / 10)
                assert await _is(projection, 1)
                gate.open.set()
                await live(projection, 2)
                await shows(projection, 2)

    asyncio.run(main())


def test_a_rebuild_that_cannot_show_an_event_is_not_switched_to(staged):
    """While the new tables lack what the old ones show, the old ones are read; dropped by an operator, it goes on."""

    async def main():
        async with staged() as stage, stage.relaying():
            projection, letters = totals(stage), DeadLetters(stage.database)
            async with hosted(stage, projection):
                for _ in range(3):
                    await stage.count("a")
                await shows(projection, 3)
                stage.broken = {3}
                assert await projection.rebuild()
                await until(letters.list)
                for _ in range(20):
                    await asyncio.sleep(module.LOOK / 10)
                    await shows(projection, 3)
                assert await _is(projection, 1)
                [dead] = await letters.list()
                assert (dead.group, dead.state) == (projection.group(2), "dead")
                assert await letters.drop(dead.id)
                await live(projection, 2)
                await shows(projection, 2)

    asyncio.run(main())


def test_a_log_that_was_cut_does_not_keep_a_rebuild_from_ending(staged):
    """Of a source whose past is gone the new tables can show nothing; they are switched to all the same."""

    async def main():
        async with staged() as stage, stage.relaying():
            async with other_source(stage) as publish:
                await publish("b")
            projection = totals(stage)
            async with hosted(stage, projection):
                await stage.count("a")
                await shows(projection, 1)
                await shows(projection, 1, "b")
                await asyncio.to_thread(shutil.rmtree, stage.folder / "events" / "other")
                assert await projection.rebuild()
                await live(projection, 2)
                await shows(projection, 1)
                assert await projection.fetch_one(BOTH, ("b",)) is None

    asyncio.run(main())


@asynccontextmanager
async def other_source(stage):
    """A service of its own that publishes the same kind of event."""
    database = connect("sqlite:///other.db", owner="other", data=stage.folder)
    await database.open()
    await Outbox.prepare(database)
    outbox, broker = Outbox("other"), connect_broker("sqlite:///events/", source="other", data=stage.folder)
    relay = Relay(database, outbox, broker)
    task = asyncio.create_task(relay.run())

    async def publish(counter):
        async with database.transaction() as tx:
            await outbox.record(tx, stage.Counted(counter=counter, n=1))
        while await outbox.waiting(database):
            await asyncio.sleep(0.01)

    try:
        yield publish
    finally:
        await relay.stop(task, within=5.0)
        await broker.close()
        await database.close()


def test_an_old_version_is_dropped_once_nobody_keeps_it_up_to_date(staged):
    """Not while a process does; afterwards with tables, receipts and all, so that it can be made anew from the start."""

    async def main():
        async with staged() as stage, stage.relaying():
            projections = Projections(stage.database)
            for _ in range(3):
                await stage.count("a")
            async with hosted(stage, totals(stage, version=2)) as newer:
                old = totals(stage)
                async with hosted(stage, old):
                    await shows(old, 3)
                    with pytest.raises(StoreBusy, match="keeps totals 1 up to date"):
                        await projections.drop("totals", 1)
                    await shows(old, 3)
                assert await projections.drop("totals", 1) == ["totals_1_1_steps", "totals_1_1_totals"]
                assert await left(stage) == (set(), {1}, {1})  # what is left of receipts and positions is version 2's
                assert await projections.find("totals", 1) is None
                assert await projections.drop("totals", 1) == []
                await shows(newer.projection, 3)
            again = totals(stage)
            async with hosted(stage, again):
                await shows(again, 3)

    asyncio.run(main())


def test_a_broker_that_forgets_is_no_ground_for_a_projection(staged):
    """Where the past cannot be read again there is no rebuild, so hosting is refused."""

    async def main():
        async with staged() as stage:
            broker = connect_broker("amqp://localhost/events", source="order", data=stage.folder)
            with pytest.raises(ConfigurationError, match="'totals' needs a broker that keeps"):
                Builder(totals(stage), broker, retry=Retry(2), on_poison=DeadLetter())
            assert not await Inbox(stage.database).has("projection:totals:1:1", "x")
            await broker.close()

    asyncio.run(main())
