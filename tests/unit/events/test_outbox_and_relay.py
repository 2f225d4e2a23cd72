import asyncio
import contextlib
import shutil
import sqlite3
from contextlib import closing

import pytest

from skerry.errors import EventError, InvalidEvent, NoTransaction, OutboxFull
from skerry.events import Token
from skerry.events.brokers import Features, Message
from skerry.signals import EventsRelayed, OutboxChanged, RelayChanged, RelayFailed
from skerry.testing import run_virtual


class Flaky:
    """A broker in front of the log: fails while `down`, before or after it has handed over."""

    durability = "flushed"
    features = Features()

    def __init__(self, log, *, after=False):
        self.log, self.after, self.down, self.calls = log, after, True, 0

    async def publish(self, batch):
        self.calls += 1
        if self.after or not self.down:
            await self.log.publish(batch)
        if self.down:
            raise ConnectionError("no broker")


def test_a_roll_back_leaves_no_event(staged):
    """An event recorded in a transaction that rolls back is never seen; one that commits is."""

    async def main(clock):
        async with staged(clock) as stage, stage.relaying():
            with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
                async with stage.database.transaction() as tx:
                    await stage.outbox.record(tx, stage.Placed(order="a", n=1))
                    raise KeyError
            token = await stage.record(("a", 2))
            await clock.sleep(1)
            assert await stage.logged() == [2]
            assert isinstance(token, Token)
            assert token.source == "billing"
            assert await stage.outbox.waiting(stage.database) == 0

    run_virtual(main)


def test_recording_needs_an_open_transaction(staged):
    """record raises NoTransaction outside a transaction, and never opens one."""

    async def main(clock):
        async with staged(clock) as stage:
            async with stage.database.transaction() as tx:
                pass
            with pytest.raises(NoTransaction):
                await stage.outbox.record(tx, stage.Placed(order="a", n=1))
            with closing(sqlite3.connect(stage.database.path)) as connection, pytest.raises(NoTransaction):
                stage.outbox.record_sync(connection, stage.Placed(order="a", n=1))
            assert await stage.outbox.waiting(stage.database) == 0

    run_virtual(main)


def test_one_bad_event_records_none(staged):
    """When one of several events cannot be recorded, none is, also if the caller commits."""

    async def main(clock):
        async with staged(clock) as stage:
            async with stage.database.transaction() as tx:
                with pytest.raises(InvalidEvent):
                    await stage.outbox.record(tx, stage.Placed(order="a", n=1), stage.Placed(order="", n=2))
            assert await stage.outbox.waiting(stage.database) == 0

    run_virtual(main)


def test_a_sync_caller_records_too(staged):
    """record_sync takes part in the caller's sqlite3 transaction; the relay finds the events at its next look."""

    async def main(clock):
        async with staged(clock) as stage, stage.relaying():
            with closing(sqlite3.connect(stage.database.path, isolation_level=None)) as connection:
                connection.execute("BEGIN")
                stage.outbox.record_sync(connection, stage.Placed(order="a", n=1))
                connection.execute("ROLLBACK")
                connection.execute("BEGIN")
                token = stage.outbox.record_sync(connection, stage.Placed(order="a", n=2), stage.Placed(order="a", n=3))
                connection.execute("COMMIT")
            await clock.sleep(0.3)
            assert await stage.logged() == [2, 3]
            assert token.event_id

    run_virtual(main)


def test_events_leave_right_after_the_commit(staged):
    """A commit wakes the relay: nobody waits for the poll."""

    async def main(clock):
        async with staged(clock) as stage, stage.relaying():
            await clock.sleep(1.1)
            await stage.record(("a", 1))
            await clock.sleep(0.001)
            assert await stage.logged() == [1]

    run_virtual(main)


@pytest.mark.parametrize("after", [False, True], ids=["before the hand-over", "after it"])
def test_a_failing_broker_loses_nothing_and_keeps_order(staged, heard, after):
    """While the broker fails the relay waits longer and longer, whoever commits; then all events are there, once, in order."""

    async def main(clock):
        async with staged(clock) as stage:
            broker = Flaky(stage.log, after=after)
            async with stage.relaying(broker) as relay:
                for n in range(100):
                    await stage.record(("a", n))
                    await clock.sleep(0.2)
                assert relay.failure == "ConnectionError"
                assert broker.calls < 15
                broker.down = False
                await clock.sleep(6)
                assert await stage.logged() == list(range(100))
                assert relay.failure == ""

    run_virtual(main)
    failures = [signal for signal in heard if isinstance(signal, RelayFailed)]
    assert failures[0].error == "ConnectionError: no broker"
    assert [round(signal.delay, 1) for signal in failures][:4] == [0.1, 0.2, 0.4, 0.8]


def test_killed_between_publish_and_delete_it_publishes_again_without_effect(staged, tmp_path):
    """A batch that is published again is left out by the log, and the events after it follow."""

    async def main(clock):
        async with staged(clock, folder=tmp_path / "a") as stage:
            await stage.record(("a", 1), ("a", 2))
            shutil.copytree(tmp_path / "a", tmp_path / "b", ignore=shutil.ignore_patterns("wake"))
            async with stage.relaying():
                await clock.sleep(0.1)
        shutil.copytree(tmp_path / "a" / "events", tmp_path / "b" / "events", ignore=shutil.ignore_patterns("wake"))
        async with staged(clock, folder=tmp_path / "b") as stage, stage.relaying():
            assert await stage.outbox.waiting(stage.database) == 2
            await stage.record(("a", 3))
            await clock.sleep(0.1)
            assert await stage.logged() == [1, 2, 3]

    run_virtual(main)


def test_stop_hands_over_what_is_left(staged, heard):
    """stop relays the whole outbox, however many batches it takes, and says so."""

    async def main(clock):
        async with staged(clock) as stage:
            for n in range(12):
                await stage.record(*[("a", n)] * 100)
            async with stage.relaying():
                await asyncio.sleep(0)
            assert await stage.outbox.waiting(stage.database) == 0

    run_virtual(main)
    assert sum(signal.count for signal in heard if isinstance(signal, EventsRelayed)) == 1200
    assert [signal.state for signal in heard if isinstance(signal, RelayChanged)] == ["waiting", "leading", "stopped"]


def test_stop_gives_a_dead_broker_up(staged):
    """With a broker that is down stop ends after one more try; the events stay in the outbox."""

    async def main(clock):
        async with staged(clock) as stage:
            async with stage.relaying(Flaky(stage.log)):
                await stage.record(("a", 1))
                await clock.sleep(3)
                before = clock.monotonic()
            assert clock.monotonic() == before
            assert await stage.outbox.waiting(stage.database) == 1

    run_virtual(main)


def test_a_relay_that_waits_for_the_lead_stops_at_once(staged):
    """A second relay waits for the lead, hands nothing over, and is stopped without delay."""

    async def main(clock):
        async with staged(clock) as stage, stage.database.lead("relay"):
            async with stage.relaying():
                await stage.record(("a", 1))
                await clock.sleep(3)
                before = clock.monotonic()
            assert clock.monotonic() == before
            assert await stage.logged() == []

    run_virtual(main)


def test_a_relay_survives_a_lock_file_it_cannot_open(staged, heard):
    """When not even the lock file can be opened the relay says so and tries again."""

    async def main(clock):
        async with staged(clock) as stage:
            lock = stage.folder / "billing.db.relay.lock"
            lock.mkdir()
            async with stage.relaying() as relay:
                await stage.record(("a", 1))
                await clock.sleep(2)
                assert relay.failure == "StoreError"
                lock.rmdir()
                await clock.sleep(6)
                assert await stage.logged() == [1]

    run_virtual(main)


def test_another_writer_of_the_log_is_waited_for(staged):
    """While another process writes the service's log nothing is lost; events follow when it ends."""

    async def main(clock):
        async with staged(clock) as stage:
            other = type(stage.log)(stage.log.folder, source="billing", clock=clock)
            await other.publish([Message("0", "shop.order.forgotten", "a", "{}")])
            with pytest.raises(EventError, match="another process writes"):
                await stage.publish(("a", 0))
            async with stage.relaying():
                await stage.record(("a", 1))
                await clock.sleep(2)
                await other.close()
                await clock.sleep(6)
            assert await stage.logged() == [1]

    run_virtual(main)


def test_a_full_outbox_takes_nothing_more_until_the_broker_has(staged, heard):
    """While the broker is down the outbox fills to its limit; then `record` refuses, and takes events again after that."""

    async def main(clock):
        async with staged(clock) as stage:
            broker = Flaky(stage.log)
            stage.outbox.limit = 5
            async with stage.relaying(broker):
                await stage.record(*(("a", n) for n in range(4)))
                await clock.sleep(2)
                await stage.record(("b", 4), ("b", 5))
                await clock.sleep(2)
                with pytest.raises(OutboxFull, match="5 events in the outbox of billing wait for the broker"):
                    await stage.record(("c", 6))
                assert await stage.outbox.waiting(stage.database) == 6
                broker.down = False
                await clock.sleep(10)
                await stage.record(("c", 7))
                await clock.sleep(2)
                assert await stage.logged() == [0, 1, 2, 3, 4, 5, 7]
            assert [change.full for change in heard if isinstance(change, OutboxChanged)] == [True, False]

    run_virtual(main)


def test_a_relay_ends_although_a_driver_keeps_the_cancellation_to_itself(staged, monkeypatch):
    """Whoever looks after the room in the outbox stops when the relay does, also where its query survives being cancelled."""

    async def main(clock):
        async def deaf(_database):
            with contextlib.suppress(asyncio.CancelledError):
                await clock.sleep(0.5)

        async with staged(clock) as stage:
            monkeypatch.setattr(stage.outbox, "measure", deaf)
            async with stage.relaying():
                await clock.sleep(0.1)

    run_virtual(main)
