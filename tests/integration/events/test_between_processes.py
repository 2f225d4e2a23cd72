import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from skerry.clock import SYSTEM
from skerry.events import DomainEvent, EventBus, Inbox, Outbox
from skerry.events.brokers.eventlog import EventLog
from skerry.store import Receipts, SQLiteDatabase


class Said(DomainEvent, type="peer.said", key="word"):
    word: str


@pytest.fixture
def peer(tmp_path):
    program = Path(__file__).parent / "peer.py"
    process = subprocess.Popen([sys.executable, program, tmp_path / "events"], stdin=subprocess.PIPE, text=True)
    yield process
    process.stdin.close()
    process.wait()


def test_another_processs_events_are_heard_at_once(tmp_path, peer):
    """Events of another process arrive once and in order across its segments, woken by a datagram rather than by a poll."""

    async def main():
        log = EventLog(tmp_path / "events", source="me")
        subscription = await log.subscribe("g", {"peer.said"}, {})
        peer.stdin.write("first\n")
        peer.stdin.flush()
        assert len(await subscription.fetch(10, wait=30)) == 1  # the peer has started
        before = SYSTEM.monotonic()
        peer.stdin.write("".join(f"{'x' * 90}{n}\n" for n in range(100)))
        peer.stdin.flush()
        found = []
        while len(found) < 100:
            found += await subscription.fetch(10, wait=30)
        assert SYSTEM.monotonic() - before < 25
        assert [delivery.message.key.lstrip("x") for delivery in found] == [str(n) for n in range(100)]
        await log.close()

    asyncio.run(main())
    assert len(list((tmp_path / "events" / "peer").glob("*.db"))) > 1


def test_handlers_run_on_real_threads(tmp_path, peer):
    """On the real clock and real threads a group handles another process's events once, and stops cleanly."""

    async def main():
        database = SQLiteDatabase(tmp_path / "me.db", owner="me")
        await database.open()
        await Receipts.prepare(database)
        await Outbox.prepare(database)
        log = EventLog(tmp_path / "events", source="me")
        bus = EventBus(log, source="me")
        heard = []
        done = asyncio.Event()

        @bus.on(Said, inbox=Inbox(database))
        async def hear(event, tx):
            heard.append(event.word)
            if len(heard) == 50:
                done.set()

        bus.start()
        peer.stdin.write("".join(f"{n}\n" for n in range(50)))
        peer.stdin.flush()
        async with asyncio.timeout(30):
            await done.wait()
        await bus.stop(within=5)
        await log.close()
        assert heard == [str(n) for n in range(50)]
        assert (await database.fetch_one("SELECT count(*) FROM skerry_receipts"))[0] == 50
        assert await database.fetch_all("SELECT * FROM skerry_running") == []
        await database.close()

    asyncio.run(main())
