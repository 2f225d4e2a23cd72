import asyncio
import shutil
import sqlite3
import threading
import zlib
from contextlib import asynccontextmanager, closing

import pytest

from skerry.errors import ConfigurationError, EventError, StoreCorrupt, UnknownPosition
from skerry.events import connect
from skerry.events.brokers import Message, Position
from skerry.events.brokers.eventlog import EventLog, LogSubscription
from skerry.testing import run_virtual


def message(n, *, event_type="t", size=0):
    return Message(f"id{n}", event_type, "k", f'{{"n":{n}}}' + "x" * size)


@pytest.fixture
def logs(tmp_path):
    """Event logs in one folder, closed at the end of the block."""

    @asynccontextmanager
    async def manager(*sources, folder=tmp_path / "events", **options):
        made = [EventLog(folder, source=source, **options) for source in sources]
        try:
            yield made[0] if len(made) == 1 else made
        finally:
            for log in made:
                await log.close()

    return manager


async def ids(subscription, *, limit=100, wait=0.0):
    return [delivery.message.id for delivery in await subscription.fetch(limit, wait=wait)]


async def everything(subscription, *, limit=100):
    found = []
    while part := await ids(subscription, limit=limit):
        found += part
    return found


@asynccontextmanager
async def held_up(log):
    """Whatever is published in the block waits, and goes on at its end."""
    go = threading.Event()
    log._thread.submit(go.wait)
    try:
        yield
    finally:
        await asyncio.sleep(0)  # let those who publish line up
        go.set()


def damage(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()


def test_a_reader_that_comes_first_finds_the_writer(logs):
    """A subscription may be older than the log it reads, and is woken by the first publish."""

    async def main(clock):
        async with logs("order") as log:
            subscription = await log.subscribe("g", {"t"}, {})
            assert await ids(subscription, wait=1.0) == []
            assert clock.monotonic() == 1.0
            reading = asyncio.create_task(ids(subscription, wait=1000.0))
            await clock.sleep(1)
            await log.publish([message(1)])
            assert await reading == ["id1"]
            assert clock.monotonic() == 2.0

    run_virtual(main)


def test_segments_roll_while_a_reader_follows(logs):
    """Across many small segments a reader that follows, and one that starts at any offset, misses and repeats nothing."""

    async def main(clock):
        async with logs("order", segment_bytes=20_000) as log:
            subscription = await log.subscribe("g", {"t"}, {})
            found = []
            for n in range(60):
                await log.publish([message(n, size=2000)])
                if n % 7 == 0:
                    found += await subscription.fetch(3, wait=0)
            while part := await subscription.fetch(7, wait=0):
                found += part
            assert [delivery.message.id for delivery in found] == [f"id{n}" for n in range(60)]
            assert [delivery.position.offset for delivery in found] == list(range(1, 61))
            assert len({delivery.position.epoch for delivery in found}) == 1
            assert len(list((log.folder / "order").glob("*.db"))) > 5
            for start in range(60):
                later = await log.subscribe("h", {"t"}, {"order": found[start].position})
                assert await everything(later) == [f"id{n}" for n in range(start + 1, 60)]
                await later.close()

    run_virtual(main)


def test_a_writer_that_restarts_continues_the_offsets(logs):
    """Offsets go on where they were, also over a segment whose beginning was cut short, and the epoch stays."""

    async def main(clock):
        positions = []
        for n in range(6):
            async with logs("order", segment_bytes=1 if n > 2 else 10**6) as log:
                await log.publish([message(n)])
                subscription = await log.subscribe("g", {"t"}, {})
                found = []
                while part := await subscription.fetch(100, wait=0):
                    found += part
                positions = [delivery.position for delivery in found]
                last = max((log.folder / "order").glob("*.db"))
            if n == 3:
                (last.parent / f"{int(last.stem) + 1:08d}.db").touch()
        assert [position.offset for position in positions] == [1, 2, 3, 4, 5, 6]
        assert len({position.epoch for position in positions}) == 1

    run_virtual(main)


def test_what_is_published_at_once_shares_a_flush(logs):
    """Batches that wait together are appended in one transaction, in their order, up to a thousand messages."""

    async def main():
        async with logs("order") as log:
            await log.publish([message(0)])
            ran = []
            log._writer._connection.set_trace_callback(ran.append)
            async with asyncio.TaskGroup() as group, held_up(log):
                for n in range(1, 41):
                    group.create_task(log.publish([message(100 * n + i) for i in range(50)]))
            subscription = await log.subscribe("g", {"t"}, {})
            published = ["id0", *(f"id{100 * n + i}" for n in range(1, 41) for i in range(50))]
            assert await everything(subscription, limit=5000) == published
            assert ran.count("COMMIT") == 2

    asyncio.run(main())


def test_a_batch_that_cannot_be_written_fails_alone(logs):
    """Others that waited with it are there; one whose publisher was cancelled is not."""

    async def main():
        async with logs("order") as log:
            async with held_up(log):
                under_way = [asyncio.create_task(log.publish([message(n)])) for n in range(5)]
                bad = asyncio.create_task(log.publish([Message("id9", "t", "k", "\ud800")]))
                after = asyncio.create_task(log.publish([message(5)]))
                await asyncio.sleep(0)
                under_way[3].cancel()
            ended = await asyncio.gather(*under_way, bad, after, return_exceptions=True)
            assert [type(each).__name__ for each in ended if each] == ["CancelledError", "UnicodeEncodeError"]
            subscription = await log.subscribe("g", {"t"}, {})
            assert await everything(subscription) == ["id0", "id1", "id2", "id4", "id5"]

    asyncio.run(main())


def test_a_duplicate_is_left_out(logs):
    """A message published twice in a segment is there once, and offsets still grow."""

    async def main(clock):
        async with logs("order") as log:
            await log.publish([message(1), message(2)])
            await log.publish([message(1), message(2), message(3)])
            subscription = await log.subscribe("g", {"t"}, {})
            found = await subscription.fetch(10, wait=0)
            assert [delivery.message.id for delivery in found] == ["id1", "id2", "id3"]
            assert found[1].position.offset < found[2].position.offset

    run_virtual(main)


def test_only_wanted_types_are_delivered(logs):
    """Other types are passed over, whole segments of them too; lag counts only what is wanted and not fetched."""

    async def main(clock):
        async with logs("order", segment_bytes=20_000) as log:
            for n in range(50):
                await log.publish([message(n, event_type="t" if n % 20 == 0 else "u", size=2000)])
            subscription = await log.subscribe("g", {"t"}, {})
            assert await subscription.lag() == 3
            assert await ids(subscription, limit=2) == ["id0"]
            assert await subscription.lag() == 2
            assert await everything(subscription, limit=2) == ["id20", "id40"]
            nothing = await log.subscribe("h", (), {})
            assert (await nothing.lag(), await ids(nothing)) == (0, [])

    run_virtual(main)


def test_sources_take_turns(logs):
    """A fetch takes its share from each source and never more than its limit in all."""

    async def main(clock):
        async with logs("a", "b", "c") as (a, b, c):
            await a.publish([message(n) for n in range(30)])
            await b.publish([message(n) for n in range(5)])
            subscription = await c.subscribe("g", {"t"}, {})
            first = await subscription.fetch(10, wait=0)
            assert {source: len([d for d in first if d.source == source]) for source in "ab"} == {"a": 5, "b": 5}
            assert len(await subscription.fetch(1, wait=0)) == 1
            await c.publish([message(99)])
            assert len(await everything(subscription)) == 25

    run_virtual(main)


def test_a_cancelled_fetch_has_fetched_nothing(logs):
    """What a cancelled fetch had read is returned by the next one."""

    async def main():
        async with logs("order") as log:
            await log.publish([message(1), message(2)])
            subscription = await log.subscribe("g", {"t"}, {})
            fetched = []  # a fetch may also have ended before its cancellation came
            for _ in range(20):
                task = asyncio.create_task(subscription.fetch(10, wait=0))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})
                fetched += [] if task.cancelled() else [delivery.message.id for delivery in task.result()]
            assert fetched + await ids(subscription) == ["id1", "id2"]

    asyncio.run(main())


def test_a_replaced_log_is_noticed(logs, tmp_path):
    """A log with another epoch than the position's raises UnknownPosition."""

    async def main(clock):
        async with logs("order") as log:
            await log.publish([message(1)])
        shutil.rmtree(tmp_path / "events" / "order")
        async with logs("order") as log:
            await log.publish([message(1), message(2)])
            subscription = await log.subscribe("g", {"t"}, {"order": Position(1, "before")})
            with pytest.raises(UnknownPosition, match="was replaced"):
                await subscription.fetch(10, wait=0)

    run_virtual(main)


def test_a_log_shorter_than_the_position_is_noticed(logs):
    """A log that ends before the position, such as one from an old backup, raises UnknownPosition."""

    async def main(clock):
        async with logs("order") as log:
            await log.publish([message(1)])
            epoch = (await (await log.subscribe("g", {"t"}, {})).fetch(1, wait=0))[0].position.epoch
            subscription = await log.subscribe("g", {"t"}, {"order": Position(2, epoch)})
            with pytest.raises(UnknownPosition, match="ends at 1, before the position 2"):
                await subscription.fetch(10, wait=0)

    run_virtual(main)


def test_a_log_that_does_not_reach_back_is_noticed(logs):
    """When the segments before the position's next one are gone, UnknownPosition is raised instead of a gap."""

    async def main(clock):
        async with logs("order", segment_bytes=1) as log:
            for n in range(4):
                await log.publish([message(n)])
            for path in sorted((log.folder / "order").glob("0000000[12].db*")):
                path.unlink()
            subscription = await log.subscribe("g", {"t"}, {})
            with pytest.raises(UnknownPosition, match="does not reach back to 1"):
                await subscription.fetch(10, wait=0)

    run_virtual(main)


@pytest.mark.parametrize("column", ["body", "key", "type", "id"])
def test_a_damaged_row_is_found(logs, column):
    """What comes before a damaged row is delivered; the row itself raises StoreCorrupt, whatever part of it is damaged."""

    async def main(clock):
        async with logs("order") as log:
            await log.publish([message(n) for n in (1, 2, 3)])
            damage(log.folder / "order" / "00000001.db", f"UPDATE log SET {column} = 'damaged' WHERE position = 2")
            subscription = await log.subscribe("g", {"t"}, {})
            assert await ids(subscription) == ["id1"]
            for _ in range(2):
                with pytest.raises(StoreCorrupt, match="the event at 2 does not match its checksum"):
                    await subscription.fetch(10, wait=0)

    run_virtual(main)


def test_a_damaged_segment_is_refused(logs, tmp_path):
    """A segment that is no database any more raises StoreCorrupt for its writer and its readers."""
    segment = tmp_path / "events" / "order" / "00000001.db"
    segment.parent.mkdir(parents=True)
    segment.write_text("this was a segment once, with a header of a hundred bytes and more " * 4)

    async def main(clock):
        async with logs("order") as log:
            with pytest.raises(StoreCorrupt, match="not a database"):
                await log.publish([message(1)])
            subscription = await log.subscribe("g", {"t"}, {})
            with pytest.raises(StoreCorrupt):
                await subscription.fetch(10, wait=0)
            with pytest.raises(StoreCorrupt):
                await subscription.lag()

    run_virtual(main)


@pytest.mark.parametrize("cut", [False, True], ids=["overwritten", "cut"])
def test_damaged_pages_are_refused_by_the_writer(logs, tmp_path, cut):
    """A segment with overwritten or missing pages is not appended to, and the error names it."""
    segment = tmp_path / "events" / "order" / "00000001.db"

    async def main(clock):
        async with logs("order") as log:
            await log.publish([message(n, size=3000) for n in range(20)])
        data = bytearray(segment.read_bytes())
        data[8192:] = b"" if cut else b"\xff" * (len(data) - 8192)
        segment.write_bytes(data)
        async with logs("order") as log:
            with pytest.raises(StoreCorrupt, match=r"00000001\.db"):
                await log.publish([message(99)])
        assert segment.read_bytes() == data

    run_virtual(main)


def test_a_damaged_log_stops_no_other(logs):
    """While one service's log cannot be read the others are, at once and whole; mended, it goes on where it stood."""

    async def main(clock):
        async with logs("order", "payment", clock=clock) as (order, payment):
            await order.publish([message(1), message(2)])
            await payment.publish([message(10)])
            subscription = await payment.subscribe("g", {"t"}, {})
            assert sorted(await ids(subscription)) == ["id1", "id10", "id2"]
            assert not subscription.trouble
            await order.publish([message(3)])
            segment = order.folder / "order" / "00000001.db"
            damage(segment, "UPDATE log SET body = 'damaged' WHERE position = 3")
            for n in range(11, 20):
                await payment.publish([message(n)])
                assert await ids(subscription) == [f"id{n}"]
                assert "StoreCorrupt" in subscription.trouble
                assert str(segment) in subscription.trouble
            damage(segment, "UPDATE log SET body = '{\"n\":3}' WHERE position = 3")
            await clock.sleep(1.0)
            assert await ids(subscription) == ["id3"]
            assert not subscription.trouble

    run_virtual(main)


def test_when_no_log_can_be_read_the_caller_is_told(logs):
    """When all logs are in trouble, fetch raises what it is, each time; the next fetch tries again."""

    async def main(clock):
        async with logs("order", "payment") as (order, payment):
            for log in (order, payment):
                await log.publish([message(1)])
                damage(log.folder / log.source / "00000001.db", "UPDATE log SET key = 'damaged'")
            subscription = await payment.subscribe("g", {"t"}, {})
            for _ in range(2):
                with pytest.raises(StoreCorrupt, match="does not match its checksum"):
                    await subscription.fetch(10, wait=0)
            damage(order.folder / "order" / "00000001.db", "UPDATE log SET key = 'k'")
            assert await ids(subscription) == ["id1"]

    run_virtual(main)


def test_a_damaged_write_ahead_log_is_not_forgotten(logs, tmp_path):
    """A writer that was killed and whose segment's own log is damaged goes on over nothing: StoreCorrupt, all as it was."""
    copy = tmp_path / "copy"

    async def main(clock):
        async with logs("order") as log:
            for n in range(20):
                await log.publish([message(n, size=3000)])
            shutil.copytree(log.folder, copy)
        wal = copy / "order" / "00000001.db-wal"
        with wal.open("r+b") as file:
            file.seek(20_000)
            file.write(b"garbage!" * 10)
        before = wal.read_bytes()
        async with logs("order", folder=copy) as log:
            for _ in range(2):
                with pytest.raises(StoreCorrupt, match=r"00000001\.db-wal is damaged"):
                    await log.publish([message(99)])
        assert wal.read_bytes() == before

    run_virtual(main)


def test_a_segment_that_cannot_be_opened_is_no_empty_one(logs, tmp_path):
    """A segment that is there and cannot be opened raises EventError; a reader does not wait for it as for a new one."""
    (tmp_path / "events" / "order" / "00000001.db").mkdir(parents=True)

    async def main(clock):
        async with logs("payment") as log:
            subscription = await log.subscribe("g", {"t"}, {})
            with pytest.raises(EventError, match=r"00000001\.db"):
                await subscription.fetch(10, wait=0)

    run_virtual(main)


def test_a_second_writer_is_refused(logs):
    """Two writers of one log cannot be; when the first has closed the second goes on after it."""

    async def main(clock):
        async with logs("order", "order") as (first, second):
            await first.publish([message(1)])
            with pytest.raises(EventError, match="another process writes the event log 'order'"):
                await second.publish([message(2)])
            await first.close()
            await second.publish([message(2)])
            assert await ids(await second.subscribe("g", {"t"}, {})) == ["id1", "id2"]

    run_virtual(main)


def test_trouble_with_the_disk_is_an_event_error_and_passes(logs, tmp_path):
    """A log that cannot be written raises EventError; nothing of the batch is there; afterwards the same writer goes on."""

    async def main(clock):
        async with logs("order") as log:
            (tmp_path / "events").write_text("a file where the folder should be")
            with pytest.raises(EventError, match="the log in"):
                await log.publish([message(1)])
            (tmp_path / "events").unlink()
            await log.publish([message(1)])
            blocker = sqlite3.connect(log.folder / "order" / "00000001.db", isolation_level=None)
            blocker.execute("BEGIN IMMEDIATE")
            log._writer._connection.execute("PRAGMA busy_timeout=1")
            with pytest.raises(EventError, match="locked"):
                await log.publish([message(2), message(3)])
            blocker.close()
            await log.publish([message(4)])
            assert await ids(await log.subscribe("g", {"t"}, {})) == ["id1", "id4"]

    run_virtual(main)


def test_closing_twice_and_using_it_afterwards(logs):
    """close may come twice; afterwards publish, subscribe, fetch and lag raise EventError; fetches in other tasks end."""

    async def main(clock):
        async with logs("order") as log:
            subscription = await log.subscribe("g", {"t"}, {})
            fetching = asyncio.create_task(subscription.fetch(10, wait=5))
            await clock.sleep(1)
            await log.close()
            await log.close()
            await subscription.close()
            for action in (
                fetching,
                log.publish([message(1)]),
                log.subscribe("g", {"t"}, {}),
                subscription.fetch(1, wait=0),
                subscription.lag(),
            ):
                with pytest.raises(EventError, match="closed"):
                    await action

    run_virtual(main)


def test_a_closed_subscription_is_forgotten(logs):
    """A consumer that begins again and again leaves nothing behind in its log."""

    async def main(clock):
        async with logs("order") as log:
            for _ in range(10):
                subscription = await log.subscribe("g", {"t"}, {})
                await subscription.ack([])
                await subscription.close()
            assert log._subscriptions == set()

    run_virtual(main)


def test_a_lost_wake_up_costs_no_more_than_the_wait(logs):
    """An event whose wake-up was lost is found when the wait is over."""

    async def main(clock):
        async with logs("order", "payment") as (order, payment):
            subscription = await order.subscribe("g", {"t"}, {})
            for path in (order.folder / "wake").iterdir():
                path.unlink()
            reading = asyncio.create_task(ids(subscription, wait=5.0))
            await clock.sleep(1)
            await payment.publish([message(1)])
            assert await reading == ["id1"]
            assert clock.monotonic() == 5.0

    run_virtual(main)


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("log", [b"!"]),
        ("log", [b"order/00000001.db", b"payment/00000001.db"]),
        ("segment", [b"!"]),
        ("segment", [b"order/00000001.db", b"order/00000002.db"]),
    ],
)
def test_what_began_while_others_were_read_is_not_waited_for(logs, new, words):
    """A log or a segment that is newer than the last look for one is read at once, though its ring was heard before."""

    async def main(clock):
        async with logs("order", "payment", segment_bytes=20_000) as (order, payment):
            await order.publish([message(0)])
            subscription = await order.subscribe("g", {"t"}, {})
            assert await ids(subscription) == ["id0"]
            for path in (order.folder / "wake").iterdir():
                path.unlink()
            reading = asyncio.create_task(ids(subscription, wait=1000.0))
            await clock.sleep(1)
            await order.publish([message(1, size=30_000)])
            await (payment if new == "log" else order).publish([message(2)])
            order.wake.stir(words)  # one ring for both
            found = await reading
            if found == ["id1"]:
                found += await ids(subscription, wait=1000.0)
            assert found == ["id1", "id2"]
            assert clock.monotonic() == 1.0

    run_virtual(main)


def test_rings_of_open_segments_cost_no_look_for_files(logs, monkeypatch):
    """Who hears only of segments that it has open reads those, and looks for no others."""
    looks = []
    discover = LogSubscription._discover
    monkeypatch.setattr(LogSubscription, "_discover", lambda self: looks.append(1) or discover(self))

    async def main(clock):
        async with logs("order") as order:
            await order.publish([message(0)])
            subscription = await order.subscribe("g", {"t"}, {})
            assert await ids(subscription) == ["id0"]
            assert await ids(subscription, wait=0.1) == []
            looks.clear()
            for number in range(1, 6):
                reading = asyncio.create_task(ids(subscription, wait=1000.0))
                await asyncio.sleep(0)
                await order.publish([message(number)])
                assert await reading == [f"id{number}"]
            assert not looks

    run_virtual(main)


def test_who_goes_back_waits_for_no_ring(logs):
    """What was read to its end is read again at once after `nack` and `seek`."""

    async def main(clock):
        async with logs("order") as log:
            await log.publish([message(1)])
            subscription = await log.subscribe("g", {"t"}, {})
            (delivery,) = await subscription.fetch(10, wait=1000.0)
            await subscription.nack(delivery)
            assert await ids(subscription, wait=1000.0) == ["id1"]
            await subscription.seek("start")
            assert await ids(subscription, wait=1000.0) == ["id1"]
            assert clock.monotonic() == 0.0

    run_virtual(main)


@pytest.mark.parametrize("name", ["wake", "", "..", "a/b", ".hidden", "x" * 65])
def test_a_source_names_a_folder(tmp_path, name):
    """A name that is taken, or that would lead out of the folder, is refused."""
    with pytest.raises(ConfigurationError, match="cannot be the name of a log"):
        EventLog(tmp_path, source=name)


def test_odd_folder_names_are_read(logs, tmp_path):
    """Signs that mean something in an address mean nothing in the name of a folder."""

    async def main(clock):
        async with logs("order", folder=tmp_path / "50%20?a#b&mode=rw") as log:
            await log.publish([message(1)])
            assert await ids(await log.subscribe("g", {"t"}, {})) == ["id1"]

    run_virtual(main)


def test_an_address_of_a_log_is_a_folder(tmp_path):
    """connect takes sqlite:///FOLDER/ and refuses an address without its last slash, and engines nobody knows."""
    assert isinstance(connect("sqlite:///events/", source="order", data=tmp_path), EventLog)
    for url in ("sqlite:///events", "pigeon://host/"):
        with pytest.raises(ConfigurationError):
            connect(url, source="order", data=tmp_path)


def test_files_of_others_are_left_alone(logs, tmp_path):
    """Files, and folders without segments, in the folder of the logs do no harm."""

    async def main(clock):
        async with logs("order") as log:
            await log.publish([message(1)])
            (log.folder / "README").write_text("")
            (log.folder / "empty").mkdir()
            (log.folder / "order" / "notes.db").write_text("")
            assert await ids(await log.subscribe("g", {"t"}, {})) == ["id1"]

    run_virtual(main)


def test_a_segment_says_how_it_is_written(logs):
    """A segment is a WAL database, fully synchronised by its writer, and a row's checksum covers all of it."""

    async def main(clock):
        async with logs("order") as log:
            await log.publish([message(1)])
            assert log._writer._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            assert log._writer._connection.execute("PRAGMA synchronous").fetchone()[0] == 2
            crc = log._writer._connection.execute("SELECT crc FROM log").fetchone()[0]
            assert crc == zlib.crc32(b'id1\0t\0k\0{"n":1}')

    run_virtual(main)
