import asyncio
from contextlib import asynccontextmanager

import pytest

from skerry.errors import StoreError
from skerry.store import SQLiteDatabase
from skerry.testing import run_virtual

SETTLED = 1.5
"""Seconds: a look of who has all, one between two pieces of work, a look of who waits, and some."""


class Process:
    """One that shares a role, and settles now and then unless it is busy."""

    def __init__(self, folder, clock, count=4):
        self.database = SQLiteDatabase(folder / "order.db", owner="order", clock=clock)
        self.count, self.clock = count, clock
        self.busy, self.parts, self.changes = False, (), 0
        self.over = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    def _changed(self):
        self.changes += 1

    async def _run(self):
        async with self.database.share("relay", self.count, changed=self._changed) as share:
            while not self.over.is_set():
                if not self.busy:
                    await share.settle()
                self.parts = share.parts
                await self.clock.sleep(0.1)
        self.parts = ()

    async def stop(self):
        self.over.set()
        await self.task


@pytest.fixture
def sharing(tmp_path):
    """Starts processes that share a role; all end with the block. Nobody ever holds what another one holds."""

    @asynccontextmanager
    async def manager(clock, **options):
        started = []

        async def watch():
            while True:
                held = [part for each in started for part in each.parts]
                assert len(held) == len(set(held)), held
                await clock.sleep(0.01)

        def start():
            started.append(Process(tmp_path, clock, **options))
            return started[-1]

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        try:
            yield start
            assert not watching.done(), watching.exception()
        finally:
            watching.cancel()
            for each in started:
                await each.stop()

    return manager


def test_who_is_alone_has_all_at_once(sharing):
    """A process that is alone has every part before any time has passed, and nothing changes for it afterwards."""

    async def main(clock):
        async with sharing(clock) as start:
            one = start()
            await asyncio.sleep(0)
            assert (one.parts, clock.monotonic()) == ((0, 1, 2, 3), 0.0)
            before = one.changes
            await clock.sleep(60)
            assert one.changes == before

    run_virtual(main)


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (2, [(0, 2), (1, 3)]),
        (3, [(0, 3), (1,), (2,)]),
        (4, [(0,), (1,), (2,), (3,)]),
        (5, [(0,), (1,), (2,), (3,), ()]),
    ],
)
def test_who_comes_gets_its_share_and_gives_it_back(sharing, count, shares):
    """Each newcomer has its share soon, without waiting for a lease to run out; when the others have gone, the last has all."""

    async def main(clock):
        async with sharing(clock) as start:
            started = []
            for _ in range(count):
                started.append(start())
                await clock.sleep(SETTLED)
            assert [each.parts for each in started] == shares
            for each in started[:-1]:
                await each.stop()
            await clock.sleep(SETTLED)
            assert started[-1].parts == (0, 1, 2, 3)

    run_virtual(main)


def test_a_part_in_work_stays_until_the_work_is_done(sharing):
    """What is due to a newcomer is given up between two pieces of work, however long one takes, and taken soon after that."""

    async def main(clock):
        async with sharing(clock) as start:
            one = start()
            await clock.sleep(0.1)
            one.busy = True
            two = start()
            await clock.sleep(60)
            assert (one.parts, two.parts) == ((0, 1, 2, 3), ())
            one.busy = False
            await clock.sleep(0.5)
            assert (one.parts, two.parts) == ((0, 2), (1, 3))

    run_virtual(main)


def test_who_holds_the_role_as_a_whole_has_all_of_it(sharing, tmp_path):
    """Beside a release that leads the whole role nobody has a part, also when it comes to lead it in the middle."""

    async def main(clock):
        old = SQLiteDatabase(tmp_path / "order.db", owner="order", clock=clock)
        async with sharing(clock) as start:
            async with old.lead("relay"):
                one, two = start(), start()
                await clock.sleep(5)
                assert (one.parts, two.parts) == ((), ())
            await clock.sleep(SETTLED)
            assert sorted(one.parts + two.parts) == [0, 1, 2, 3]
            async with asyncio.TaskGroup() as group:
                group.create_task(one.stop())
                await asyncio.sleep(0)  # the whole role is free for a moment
                async with old.lead("relay"):
                    await clock.sleep(SETTLED)
                    assert two.parts == ()
            await clock.sleep(SETTLED)
            assert two.parts == (0, 1, 2, 3)

    run_virtual(main)


def test_one_part_is_one_leader(sharing):
    """A role of one part has one holder; the next follows when it has gone."""

    async def main(clock):
        async with sharing(clock, count=1) as start:
            one, two = start(), start()
            await clock.sleep(5)
            assert (one.parts, two.parts) == ((0,), ())
            await one.stop()
            await clock.sleep(0.4)
            assert two.parts == (0,)

    run_virtual(main)


def test_what_keeps_it_from_any_part_is_raised(tmp_path):
    """Where a lock file cannot be opened the share says so, as often as it is asked, and goes on when it can be."""

    async def main(clock):
        database = SQLiteDatabase(tmp_path / "order.db", owner="order", clock=clock)
        other = SQLiteDatabase(tmp_path / "order.db", owner="order", clock=clock)
        lock = tmp_path / "order.db.relay.lock"
        lead = other.lead("relay")
        await lead.__aenter__()
        async with database.share("relay", 4, changed=lambda: None) as share:
            await lead.__aexit__(None, None, None)
            lock.unlink()
            lock.mkdir()
            await clock.sleep(1)
            for _ in range(2):
                with pytest.raises(StoreError, match="Is a directory"):
                    await share.settle()
            lock.rmdir()
            await clock.sleep(1)
            await share.settle()
            assert share.whole

    run_virtual(main)
