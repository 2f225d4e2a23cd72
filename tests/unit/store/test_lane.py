"""Where the calls of a connection run."""

import asyncio
import sqlite3
import threading

import pytest

from skerry.clock import SYSTEM
from skerry.store import SQLiteDatabase
from skerry.store.lane import AGAIN, EARNED, IN_A_ROW, QUICK, Lane
from skerry.testing import VirtualClock

COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT count(*) FROM n"


def in_lane(main, *, clock=SYSTEM):
    """Run `main(lane)` on a real event loop."""

    async def run():
        lane = Lane("test", clock=clock)
        try:
            return await main(lane)
        finally:
            lane.close()

    return asyncio.run(run())


async def earned(lane, call):
    """Let a call be quick as often as it takes."""
    for _ in range(EARNED):
        assert await lane.run(call, threading.get_ident) != threading.get_ident()


def test_what_was_always_quick_runs_in_the_event_loop():
    """The first calls of a name run on the thread, later ones where they are asked for."""

    async def main(lane):
        await earned(lane, "a")
        assert await lane.run("a", threading.get_ident) == threading.get_ident()
        assert await lane.run("b", threading.get_ident) != threading.get_ident()

    in_lane(main, clock=VirtualClock())


def test_what_is_slow_on_the_thread_never_comes_to_the_event_loop():
    """Calls that take long stay where they hold up nobody."""
    clock = VirtualClock()

    async def main(lane):
        def slow():
            clock.advance(2 * QUICK)
            return threading.get_ident()

        for _ in range(3 * EARNED):
            assert await lane.run("a", slow) != threading.get_ident()

    in_lane(main, clock=clock)


def test_what_was_slow_in_the_event_loop_has_to_earn_it_again():
    """After one slow run in the loop, whatever it raised there, a call is quick a hundred times on the thread first."""
    clock = VirtualClock()

    async def main(lane):
        def slow():
            clock.advance(2 * QUICK)
            raise KeyError(threading.get_ident())

        await earned(lane, "a")
        with pytest.raises(KeyError, match=str(threading.get_ident())):
            await lane.run("a", slow)
        for _ in range(AGAIN):
            assert await lane.run("a", threading.get_ident) != threading.get_ident()
        assert await lane.run("a", threading.get_ident) == threading.get_ident()

    in_lane(main, clock=clock)


def test_nothing_overtakes_what_was_asked_for_before():
    """A quick call waits behind one that is on the thread already."""
    order = []

    async def main(lane):
        await earned(lane, "a")
        go_on = threading.Event()
        first = lane.there(lambda: (go_on.wait(30), order.append("first")))
        second = asyncio.ensure_future(lane.run("a", lambda: order.append("second")))
        await asyncio.sleep(0)
        assert order == []
        go_on.set()
        await asyncio.gather(first, second)
        assert order == ["first", "second"]

    in_lane(main, clock=VirtualClock())


def test_a_call_that_was_given_up_before_its_turn_does_not_close_the_loop_for_ever():
    """It is never run, and the calls behind it come back to the event loop."""
    ran = []

    async def main(lane):
        await earned(lane, "a")
        go_on = threading.Event()
        first = lane.there(lambda: go_on.wait(30))
        lane.there(lambda: ran.append(1)).cancel()
        await asyncio.sleep(0)  # the executor hears of it with the next turn
        await asyncio.sleep(0)
        go_on.set()
        await first
        await lane.run("a", threading.get_ident)
        assert not ran
        assert await lane.run("a", threading.get_ident) == threading.get_ident()

    in_lane(main, clock=VirtualClock())


def test_many_calls_in_a_row_give_others_a_turn():
    """Whatever is ready runs before the next `IN_A_ROW` calls are through."""

    async def main(lane):
        await earned(lane, "a")
        turns = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        for _ in range(IN_A_ROW + 1):
            await lane.run("a", int)
        assert turns

    in_lane(main, clock=VirtualClock())


def test_a_query_that_grows_is_cut_short_and_asked_again_on_the_thread(tmp_path):
    """Its answer is the right one, and the database goes on."""

    async def main():
        database = SQLiteDatabase(tmp_path / "order.db", owner="order")
        await database.open()
        for size in [1] * (EARNED + 2) + [300_000, 1]:
            assert (await database.fetch_one(COUNT, (size,)))[0] == size
        await database.close()

    asyncio.run(main())


def test_a_transaction_that_begins_at_once_waits_for_another_process_off_the_loop(tmp_path):
    """While somebody else holds the file, other tasks go on; then the transaction has its turn."""

    async def main():
        database = SQLiteDatabase(tmp_path / "order.db", owner="order")
        await database.open()
        for number in range(EARNED + 2):
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)")
                await tx.execute("INSERT INTO t VALUES (?)", (number,))
        other = sqlite3.connect(tmp_path / "order.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        async def write():
            async with database.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (?)", (100,))

        writing = asyncio.create_task(write())
        for _ in range(20):
            await SYSTEM.sleep(0.001)
            assert not writing.done()
        other.execute("COMMIT")
        other.close()
        await writing
        assert (await database.fetch_one("SELECT max(n) FROM t"))[0] == 100
        await database.close()

    asyncio.run(main())
