"""How long the embedded event log keeps its segments."""

import asyncio
import os

import pytest

from skerry.clock import SYSTEM
from skerry.errors import StoreCorrupt, UnknownPosition
from skerry.events.brokers import Message, Position
from skerry.events.brokers.eventlog import DAY, EventLog


def message(n):
    return Message(f"id{n}", "t", "k", f'{{"n":{n}}}')


async def ids(subscription):
    found = []
    while part := await subscription.fetch(100, wait=0.0):
        found += [delivery.message.id for delivery in part]
    return found


def age(folder, numbers, *, days):
    """Make segments look as old as that."""
    then = SYSTEM.now() - days * DAY
    for number in numbers:
        for path in folder.glob(f"{number:08d}.db*"):
            os.utime(path, (then, then))


async def aged(folder, *, retention=30 * DAY):
    """A log whose events 1 and 2 are in segments that are too old; the next publish begins another segment."""
    log = EventLog(folder, source="order", segment_bytes=1, retention=retention)
    for n in range(1, 5):
        await log.publish([message(n)])
    age(folder / "order", [1, 2, 3], days=31)  # the first is empty: it was full before its first event
    age(folder / "order", [4], days=29)
    return log


def test_old_segments_are_deleted_when_a_new_one_begins(tmp_path):
    """Only what nothing was written to for so long goes, with its side files, and a new group begins with what is kept."""

    async def main():
        log = await aged(tmp_path / "events")
        await log.publish([message(5)])
        left = sorted(path.name for path in (tmp_path / "events" / "order").glob("*.db"))
        assert left == ["00000004.db", "00000005.db", "00000006.db"]
        assert await ids(await log.subscribe("new", {"t"}, {})) == ["id3", "id4", "id5"]
        await log.close()

    asyncio.run(main())


def test_a_group_behind_the_retention_is_told(tmp_path):
    """A group whose next event was deleted gets UnknownPosition; one whose next event is kept goes on."""

    async def main():
        log = await aged(tmp_path / "events")
        first = await (await log.subscribe("g", {"t"}, {})).fetch(1, wait=0.0)
        epoch = first[0].position.epoch
        await log.publish([message(5)])
        behind = await log.subscribe("g", {"t"}, {"order": Position(1, epoch)})
        with pytest.raises(UnknownPosition, match="does not reach back to 2"):
            await behind.fetch(10, wait=0.0)
        assert await ids(await log.subscribe("g", {"t"}, {"order": Position(2, epoch)})) == ["id3", "id4", "id5"]
        await log.close()

    asyncio.run(main())


def test_a_reader_that_slept_is_told(tmp_path):
    """A subscription whose following segments are deleted under it raises UnknownPosition instead of waiting for ever."""

    async def main():
        log = await aged(tmp_path / "events")
        sleeper = await log.subscribe("g", {"t"}, {})
        assert [delivery.message.id for delivery in await sleeper.fetch(1, wait=0.0)] == ["id1"]
        await log.publish([message(5)])
        with pytest.raises(UnknownPosition):
            await ids(sleeper)
        await log.close()

    asyncio.run(main())


def test_the_last_segment_stays(tmp_path):
    """However old it is, the segment that is written last is never deleted, nor its position forgotten."""

    async def main():
        folder = tmp_path / "events"
        log = EventLog(folder, source="order", segment_bytes=1, retention=1.0)
        await log.publish([message(1)])
        await log.publish([message(2)])
        age(folder / "order", [1, 2, 3], days=9)
        await log.close()
        log = EventLog(folder, source="order", segment_bytes=10**9, retention=1.0)
        await log.publish([message(3)])
        assert (await ids(await log.subscribe("g", {"t"}, {})))[-2:] == ["id2", "id3"]
        await log.close()

    asyncio.run(main())


def test_a_damaged_note_is_said(tmp_path):
    """When the note of what was deleted is damaged, a new group gets StoreCorrupt instead of a guess."""

    async def main():
        log = await aged(tmp_path / "events")
        await log.publish([message(5)])
        (tmp_path / "events" / "order" / "first-kept").write_text("three")
        subscription = await log.subscribe("new", {"t"}, {})
        with pytest.raises(StoreCorrupt):
            await subscription.fetch(10, wait=0.0)
        await log.close()

    asyncio.run(main())
