import asyncio
import signal
import subprocess
import sys

import pytest

from skerry.errors import StoreError
from skerry.store import SQLiteDatabase
from skerry.testing import run_virtual

LEADER = """
import asyncio, sys
from pathlib import Path
from skerry.store import SQLiteDatabase

async def main():
    async with SQLiteDatabase(Path(sys.argv[1]), owner="order").lead("relay"):
        print("leads", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_one_leads_and_the_next_follows(tmp_path):
    """A role has one leader at a time; the one that waits leads within a poll of the release; other roles are free."""

    async def main(clock):
        databases = [SQLiteDatabase(tmp_path / "order.db", owner="order", clock=clock) for _ in range(2)]
        events = []

        async def lead(number, seconds):
            async with databases[number].lead("relay"):
                events.append(("leads", number))
                await clock.sleep(seconds)
            events.append(("left", number))

        first = asyncio.create_task(lead(0, 5))
        await clock.sleep(1)
        second = asyncio.create_task(lead(1, 1))
        async with databases[1].lead("saga"):
            assert clock.monotonic() == 1
        await asyncio.wait({first, second})
        assert events == [("leads", 0), ("left", 0), ("leads", 1), ("left", 1)]
        assert clock.monotonic() < 6.3

    run_virtual(main)


def test_a_killed_leader_gives_the_lead_up(tmp_path):
    """While another process leads nobody else does, and when it is killed with SIGKILL the lead is free."""
    path = tmp_path / "order.db"
    process = subprocess.Popen([sys.executable, "-c", LEADER, str(path)], stdout=subprocess.PIPE, text=True)

    async def main(clock):
        assert process.stdout.readline() == "leads\n"
        database = SQLiteDatabase(path, owner="order", clock=clock)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60), database.lead("relay"):
                pytest.fail("two leaders")
        process.send_signal(signal.SIGKILL)
        process.wait()
        async with asyncio.timeout(1), database.lead("relay"):
            pass

    try:
        run_virtual(main)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_who_stops_waiting_holds_nothing(tmp_path):
    """A candidate that is cancelled leaves the lead to the others."""

    async def main(clock):
        database = SQLiteDatabase(tmp_path / "order.db", owner="order", clock=clock)

        async def lead():
            async with database.lead("relay"):
                pytest.fail("two leaders")

        async with database.lead("relay"):
            task = asyncio.create_task(lead())
            await clock.sleep(1)
            task.cancel()
            await asyncio.wait({task})
        async with asyncio.timeout(0.1), database.lead("relay"):
            pass

    run_virtual(main)


def test_a_role_is_no_path(tmp_path):
    """A role's name never leaves the folder of the database, whatever is in it."""

    async def main(clock):
        async with SQLiteDatabase(tmp_path / "order.db", owner="order", clock=clock).lead("events-../a/b"):
            assert [path.name for path in tmp_path.iterdir()] == ["order.db.events-..%2Fa%2Fb.lock"]

    run_virtual(main)


def test_a_lock_file_that_cannot_be_is_a_store_error(tmp_path):
    """Where no lock file can be made, StoreError says so."""

    async def main(clock):
        with pytest.raises(StoreError, match="No such file"):
            async with SQLiteDatabase(tmp_path / "none" / "order.db", owner="order", clock=clock).lead("relay"):
                pytest.fail("led")

    run_virtual(main)
