import asyncio
import itertools
import shutil
import sqlite3
from contextlib import closing

import pytest

from skerry.errors import ConfigurationError, DurabilityTooLow, ReceiptConflict, StoreError
from skerry.events import DeadLetter, DomainEvent, EventBus, Inbox
from skerry.events.brokers import Message
from skerry.events.brokers.eventlog import EventLog
from skerry.resilience import Retry
from skerry.signals import ConsumerFailed, ConsumerLag, EventHandled, EventParked, HandlerFailed
from skerry.store import SQLiteDatabase
from skerry.testing import run_virtual


def of(heard, kind):
    return [signal for signal in heard if isinstance(signal, kind)]


def test_events_are_handled_once_in_order(staged, heard):
    """Each event has its effect once and in order, its receipt and position commit with it, and it is announced."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.listen()
            await stage.publish(("a", 1), ("b", 2), ("a", 3))
            await clock.sleep(1)
            assert await stage.effects() == [1, 2, 3]
            position = await stage.database.fetch_one("SELECT offset_ FROM skerry_positions")
            assert position[0] == 3

    run_virtual(main)
    assert [signal.duplicate for signal in of(heard, EventHandled)] == [False, False, False]


def test_how_far_a_group_is_behind_is_told_now_and_then(staged, heard):
    """Whoever reads for the group counts every fifteen seconds; another process beside it, or one that stopped, knows nothing."""

    async def main(clock):
        async def slow(event, tx):
            await clock.sleep(0.1)
            await stage.handle(event, tx)

        async with staged(clock) as stage:
            await stage.publish(*(("a", n) for n in range(400)))
            stage.listen(slow)
            leading = stage.bus.consumers["billing"]
            await clock.sleep(1)
            assert leading.behind is None
            waiting = EventBus(stage.log, source="billing", clock=clock)
            waiting.on(stage.Placed, inbox=stage.inbox)(stage.handle)
            waiting.start()
            await clock.sleep(15)
            assert 200 < leading.behind < 300  # ten a second, whether they are read or not
            assert waiting.consumers["billing"].behind is None
            await clock.sleep(30)
            assert leading.behind == 0
            await waiting.stop(within=0)
            await stage.bus.stop(within=1)
            assert leading.behind is None
            assert len(await stage.effects()) == 400

    run_virtual(main)
    told = of(heard, ConsumerLag)
    assert {signal.group for signal in told} == {"billing"}
    first, second, last = (signal.lag for signal in told)
    assert first > second > last == 0


def test_a_lag_that_cannot_be_counted_keeps_nobody_from_reading(staged, heard):
    """A broker that does not tell is no trouble; where counting is slow it is done so rarely that it takes a hundredth."""

    class Mute:
        def __init__(self, log, clock):
            self._log, self._clock = log, clock
            self.asked = []
            self.durability, self.features = log.durability, log.features

        async def subscribe(self, *arguments):
            subscription = await self._log.subscribe(*arguments)
            counted = subscription.lag

            async def lag():
                self.asked.append(self._clock.monotonic())
                if len(self.asked) == 1:
                    raise OSError("no rights")
                await self._clock.sleep(2.0)
                return await counted()

            subscription.lag = lag
            return subscription

    async def main(clock):
        async with staged(clock) as stage:
            mute = Mute(stage.log, clock)
            bus = EventBus(mute, source="billing", clock=clock)
            bus.on(stage.Placed, inbox=stage.inbox)(stage.handle)
            await stage.publish(("a", 1), ("a", 2))
            bus.start()
            await clock.sleep(16)
            assert (await stage.effects(), bus.consumers["billing"].behind) == ([1, 2], None)
            await clock.sleep(500)
            assert bus.consumers["billing"].behind == 0
            first, *others = mute.asked
            assert [round(at - first) for at in others] == [15, 215, 415]
            await bus.stop(within=1)

    run_virtual(main)
    assert of(heard, ConsumerFailed) == []


def test_a_redelivery_has_no_second_effect(staged, heard):
    """When the position is lost, everything is delivered again and nothing happens twice."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.listen()
            await stage.publish(("a", 1), ("a", 2))
            await clock.sleep(1)
            await stage.bus.stop(within=1)
            async with stage.database.transaction() as tx:
                await tx.execute("DELETE FROM skerry_positions")
            stage.renew()
            stage.listen()
            await clock.sleep(1)
            assert await stage.effects() == [1, 2]

    run_virtual(main)
    assert [signal.duplicate for signal in of(heard, EventHandled)] == [False, False, True, True]


def test_a_duplicate_in_a_later_segment_has_no_effect(staged, heard):
    """A batch that was published again into the next segment is delivered twice and handled once, around a parked event too."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.log._writer._segment_bytes = 1
            stage.broken = {1}
            stage.listen(retry=Retry(9, base=1, cap=1))
            sealed = [stage.outbox.seal(stage.Placed(order="a", n=n)) for n in (1, 2, 3)]
            batch = [Message(e.id, e.type, e.key, e.to_json()) for e in sealed]
            await stage.log.publish(batch[:2])
            await clock.sleep(0.1)
            await stage.log.publish(batch)
            stage.broken = set()
            await clock.sleep(5)
            assert await stage.effects() == [1, 2, 3]

    run_virtual(main)


def test_a_failure_is_tried_again_later(staged, heard):
    """A failing handler leaves no effect and runs again after the delay, until it succeeds."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.broken = {1}
            stage.listen()
            await stage.publish(("a", 1))
            await clock.sleep(0.1)
            assert await stage.effects() == []
            stage.broken = set()
            await clock.sleep(5)
            assert await stage.effects() == [1]
            planned = of(heard, HandlerFailed)[0]
            assert stage.seen[1][0] == pytest.approx(stage.seen[0][0] + planned.delay, abs=0.02)
            assert await stage.database.fetch_all("SELECT * FROM skerry_parked") == []

    run_virtual(main)
    assert [signal.error for signal in of(heard, HandlerFailed)] == ["OSError"]


def test_delays_come_from_the_consumers_clock(staged, tmp_path):
    """The same seed gives the same delays, also with a Retry that was made without a clock, and another seed others."""

    async def main(clock):
        async with staged(clock, folder=tmp_path / f"{next(folders)}") as stage:
            stage.broken = {1}
            stage.listen(retry=Retry(5, base=1, cap=30))
            await stage.publish(("a", 1))
            await clock.sleep(60)
            assert len(stage.seen) == 5
            return [time for time, _ in stage.seen]

    folders = itertools.count()
    assert run_virtual(main, seed=3) == run_virtual(main, seed=3) != run_virtual(main, seed=4)


def test_later_events_of_a_key_wait_and_other_keys_go_on(staged, heard):
    """Behind a parked event those of its key are held and then handled in order, while other keys are not held up."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.broken = {1}
            stage.listen(retry=Retry(50, base=1, cap=1))
            await stage.publish(("a", 1), ("a", 2), ("b", 3), ("a", 4))
            await clock.sleep(3)
            assert await stage.effects() == [3]
            await stage.publish(("a", 5))
            await clock.sleep(1)
            stage.broken = set()
            await clock.sleep(3)
            assert await stage.effects() == [3, 1, 2, 4, 5]
            await stage.publish(("a", 6))
            await clock.sleep(1)
            assert await stage.effects() == [3, 1, 2, 4, 5, 6]

    run_virtual(main)
    assert [signal.held for signal in of(heard, EventParked)] == [True] * 3


def test_the_last_attempt_makes_a_dead_letter(staged, heard):
    """After its last attempt an event is a dead letter with a reason, and with hold_key the ones behind it stay."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.broken = {1}
            stage.listen()
            await stage.publish(("a", 1), ("a", 2), ("b", 3))
            await clock.sleep(60)
            assert await stage.effects() == [3]
            assert len([n for _, n in stage.seen if n == 1]) == 3
            dead, held = await stage.letters.list()
            assert (dead.state, dead.attempts, dead.reason, dead.key) == ("dead", 3, "OSError", "a")
            assert (held.state, held.attempts) == ("held", 0)

    run_virtual(main)
    assert [signal.delay is None for signal in of(heard, HandlerFailed)] == [False, False, True]


def test_without_hold_key_the_key_goes_on(staged):
    """With hold_key=False the events behind a dead letter go on, in order, and new ones do not wait."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.broken = {1}
            stage.listen(on_poison=DeadLetter(hold_key=False))
            await stage.publish(("a", 1), ("a", 2), ("a", 3))
            await clock.sleep(60)
            assert await stage.effects() == [2, 3]
            await stage.publish(("a", 4))
            await clock.sleep(1)
            assert await stage.effects() == [2, 3, 4]
            assert [letter.state for letter in await stage.letters.list()] == ["dead"]

    run_virtual(main)


def test_an_operator_retries_a_dead_letter(staged):
    """A retried dead letter has all its attempts again, and what was held behind it follows in order."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.broken = {1}
            stage.listen()
            await stage.publish(("a", 1), ("a", 2))
            await clock.sleep(60)
            dead, held = await stage.letters.list()
            assert not await stage.letters.retry(held.id)
            assert not await stage.letters.retry(999)
            stage.broken = set()
            assert await stage.letters.retry(dead.id)
            await clock.sleep(1)
            assert await stage.effects() == [1, 2]
            assert await stage.letters.list() == []

    run_virtual(main)


def test_an_operator_drops_a_dead_letter(staged):
    """A dropped dead letter is gone and the events behind it go on."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.broken = {1}
            stage.listen()
            await stage.publish(("a", 1), ("a", 2), ("a", 3))
            await clock.sleep(60)
            dead, held, _ = await stage.letters.list()
            assert not await stage.letters.drop(held.id)
            assert await stage.letters.drop(dead.id)
            assert not await stage.letters.drop(dead.id)
            await clock.sleep(1)
            assert await stage.effects() == [2, 3]

    run_virtual(main)


def test_dropping_an_old_letter_does_not_let_events_overtake(staged):
    """Dropping a dead letter does not release what is held behind another event of the key that waits for its retry."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.broken = {1, 2}
            stage.listen(on_poison=DeadLetter(hold_key=False), retry=Retry(3, base=5, cap=5))
            await stage.publish(("a", 1))
            await clock.sleep(60)
            await stage.publish(("a", 2), ("a", 3))
            await clock.sleep(0.01)
            assert await stage.letters.drop((await stage.letters.list())[0].id)
            stage.broken = set()
            await clock.sleep(60)
            assert await stage.effects() == [2, 3]

    run_virtual(main)


def test_a_duplicate_of_a_dead_letter_is_not_handled(staged):
    """A dead letter that is delivered again stays dead, also when its key is not held."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.broken = {1}
            stage.listen(on_poison=DeadLetter(hold_key=False))
            await stage.publish(("a", 1))
            await clock.sleep(60)
            stage.broken = set()
            await stage.bus.stop(within=1)
            async with stage.database.transaction() as tx:
                await tx.execute("DELETE FROM skerry_positions")
            stage.renew()
            stage.listen()
            await clock.sleep(1)
            assert await stage.effects() == []
            assert [letter.state for letter in await stage.letters.list()] == ["dead"]

    run_virtual(main)


def test_a_slow_handler_is_stopped(staged, heard):
    """A handler that takes longer than its time-out is rolled back and tried again."""

    async def main(clock):
        async with staged(clock) as stage:

            async def slow(event, tx):
                await stage.handle(event, tx)
                await clock.sleep(0 if len(stage.seen) > 1 else 60)

            stage.listen(slow, timeout=2.0)
            await stage.publish(("a", 1))
            await clock.sleep(1.9)
            assert not of(heard, HandlerFailed)
            await clock.sleep(8)
            assert await stage.effects() == [1]

    run_virtual(main)
    assert [signal.error for signal in of(heard, HandlerFailed)] == ["TimeoutError"]


def test_a_handler_that_cancels_itself_does_not_end_the_group(staged, heard):
    """A CancelledError out of a handler's own doing counts as its failure, and the group goes on."""

    async def main(clock):
        async with staged(clock) as stage:

            async def handle(event, tx):
                if event.n == 1:
                    raise asyncio.CancelledError
                await stage.handle(event, tx)

            stage.listen(handle, retry=Retry(1))
            await stage.publish(("a", 1), ("b", 2))
            await clock.sleep(1)
            assert await stage.effects() == [2]

    run_virtual(main)
    assert [signal.error for signal in of(heard, HandlerFailed)] == ["EventError"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body.replace('"n":1', '"n":"four"'), "InvalidEvent: shop.order.placed version 1: n: int_parsing"),
        (
            lambda body: body.replace('"specversion":"1.0"', '"specversion":"9"'),
            "InvalidEvent: not a CloudEvents 1.0 envelope",
        ),
        (lambda body: body[:-1], "InvalidEvent: not a JSON envelope (JSONDecodeError)"),
        (
            lambda body: body.replace('"partitionkey":"a"', '"partitionkey":"b"'),
            "InvalidEvent: the envelope is not the one",
        ),
    ],
)
def test_an_invalid_event_is_dead_at_once(staged, change, reason):
    """What can never be read is a dead letter after one look, and the reason holds nothing of the data."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.listen()
            envelope = stage.outbox.seal(stage.Placed(order="a", n=1))
            await stage.log.publish([Message(envelope.id, envelope.type, "a", change(envelope.to_json()))])
            await stage.publish(("b", 2))
            await clock.sleep(1)
            assert await stage.effects() == [2]
            (letter,) = await stage.letters.list()
            assert letter.reason.startswith(reason)
            assert "four" not in letter.reason
            assert letter.attempts == 1

    run_virtual(main)


def test_an_older_version_without_upcaster_is_dead_at_once(staged):
    """An event of a version that cannot be brought up to date is a dead letter at once."""

    class Newer(DomainEvent, type="shop.order.placed", key="order", version=2):
        order: str

    async def main(clock):
        async with staged(clock) as stage:
            stage.bus.on(Newer, inbox=stage.inbox)(stage.handle)
            stage.bus.start()
            await stage.publish(("a", 1))
            await clock.sleep(1)
            (letter,) = await stage.letters.list()
            assert letter.reason == "InvalidEvent: shop.order.placed: no upcaster from version 1"

    run_virtual(main)


def test_a_parked_event_whose_handler_is_gone_is_dead(staged):
    """A parked event that no handler of its group takes any more becomes a dead letter, not an endless loop."""

    class Other(DomainEvent, type="shop.other", key="order"):
        order: str

    async def main(clock):
        async with staged(clock) as stage:
            stage.broken = {1}
            stage.listen(retry=Retry(9, base=5, cap=5))
            await stage.publish(("a", 1))
            await clock.sleep(0.1)
            await stage.bus.stop(within=1)
            stage.renew()
            stage.bus.on(Other, inbox=stage.inbox)(stage.handle)
            stage.bus.start()
            await clock.sleep(10)
            (letter,) = await stage.letters.list()
            assert (letter.state, letter.reason) == (
                "dead",
                "InvalidEvent: the group 'billing' has no handler for shop.order.placed any more",
            )

    run_virtual(main)


def test_trouble_with_the_database_parks_nothing(staged, heard):
    """A StoreError is not the event's fault: the loop says so, pauses and comes back to it, with no attempt used up."""

    async def main(clock):
        async with staged(clock) as stage:

            async def handle(event, tx):
                if clock.monotonic() < 20:
                    raise StoreError("the disk is full")
                await stage.handle(event, tx)

            stage.listen(handle)
            await stage.publish(("a", 1), ("b", 2))
            await clock.sleep(10)
            assert stage.bus.consumers["billing"].failure == "StoreError: the disk is full"
            await clock.sleep(15)
            assert await stage.effects() == [1, 2]
            assert stage.bus.consumers["billing"].failure == ""

    run_virtual(main)
    assert len(of(heard, ConsumerFailed)) > 5
    assert not of(heard, HandlerFailed)


def test_trouble_with_the_database_uses_up_no_attempt_of_a_parked_event(staged, heard):
    """A parked event whose retry meets a StoreError keeps its attempts, however often that happens."""

    async def main(clock):
        async with staged(clock) as stage:

            async def handle(event, tx):
                if clock.monotonic() < 1:
                    raise OSError
                if clock.monotonic() < 30:
                    raise StoreError("the disk is full")
                await stage.handle(event, tx)

            stage.listen(handle)
            await stage.publish(("a", 1))
            await clock.sleep(40)
            assert await stage.effects() == [1]

    run_virtual(main)
    assert len(of(heard, ConsumerFailed)) > 20


@pytest.mark.parametrize("how", ["nested", "conflict"])
def test_store_errors_of_the_handlers_own_making_are_its_failures(staged, heard, how):
    """A handler that nests transactions or meets a receipt conflict is parked; it does not stop the group."""

    async def main(clock):
        async with staged(clock) as stage:

            async def handle(event, tx):
                if event.n == 2:
                    await stage.handle(event, tx)
                elif how == "conflict":
                    raise ReceiptConflict("again")
                else:
                    async with stage.database.transaction():
                        pytest.fail("entered")

            stage.listen(handle, retry=Retry(1))
            await stage.publish(("a", 1), ("b", 2))
            await clock.sleep(1)
            assert await stage.effects() == [2]

    run_virtual(main)
    assert [signal.error for signal in of(heard, HandlerFailed)] in (["NestedTransaction"], ["ReceiptConflict"])


def test_what_a_handler_records_carries_cause_and_trace(staged):
    """An event recorded inside a handler names the event that led to it and carries its trace; a forged trace is dropped."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def main(clock):
        async with staged(clock) as stage:
            seen = []

            async def handle(event, tx):
                seen.append((event.envelope.id, stage.outbox.seal(event)))

            stage.listen(handle)
            for text in (trace, "00-forged"):
                envelope = stage.outbox.seal(stage.Placed(order="a", n=1))
                object.__setattr__(envelope, "traceparent", text)
                await stage.log.publish([Message(envelope.id, envelope.type, "a", envelope.to_json())])
            await clock.sleep(1)
            assert [(sealed.causation, sealed.traceparent) for _, sealed in seen] == [
                (seen[0][0], trace),
                (seen[1][0], ""),
            ]
            assert stage.outbox.seal(stage.Placed(order="a", n=1)).causation == ""

    run_virtual(main)


def test_stop_lets_the_event_in_hand_finish(staged):
    """stop waits for the event in hand, handles no other, and leaves no sign of a crash."""

    async def main(clock):
        async with staged(clock) as stage:

            async def slow(event, tx):
                await clock.sleep(2)
                await stage.handle(event, tx)

            stage.listen(slow)
            await stage.publish(("a", 1), ("b", 2))
            await clock.sleep(1)
            await stage.bus.stop(within=5)
            assert await stage.effects() == [1]
            assert clock.monotonic() == pytest.approx(2, abs=0.1)
            assert await stage.database.fetch_all("SELECT * FROM skerry_running") == []

    run_virtual(main)


def test_a_stop_that_takes_too_long_rolls_back_and_is_no_crash(staged):
    """After `within` seconds the event in hand is rolled back; it runs again after the restart and is no suspect."""

    async def main(clock):
        async with staged(clock) as stage:

            async def slow(event, tx):
                await stage.handle(event, tx)
                await clock.sleep(20)

            stage.listen(slow)
            await stage.publish(("a", 1))
            await clock.sleep(1)
            await stage.bus.stop(within=5)
            assert clock.monotonic() == pytest.approx(6)
            assert await stage.effects() == []
            assert await stage.database.fetch_all("SELECT * FROM skerry_running") == []
            stage.renew()
            stage.listen()
            await clock.sleep(1)
            assert await stage.effects() == [1]

    run_virtual(main)


def test_one_process_at_a_time_handles_a_group(staged):
    """A second consumer of the same group and database waits for the first to end, and stops at once while it waits."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.listen()
            await clock.sleep(0.1)
            second = EventBus(stage.log, source="billing", clock=clock)
            second.on(stage.Placed, inbox=stage.inbox)(stage.handle)
            second.start()
            await stage.publish(("a", 1))
            await clock.sleep(1)
            before = clock.monotonic()
            await second.stop(within=60)
            assert clock.monotonic() == before
            assert [n for _, n in stage.seen] == [1]

    run_virtual(main)


@pytest.mark.parametrize("parked", [False, True], ids=["delivered", "parked"])
def test_an_event_that_kills_the_process_is_counted_before_it_is_handled(staged, tmp_path, parked):
    """After five deaths with one event in hand, fresh or parked, it is a dead letter; others go on; no count is left."""
    tries = []

    async def life(clock, number):
        async with staged(clock, folder=tmp_path / f"{number}") as stage:

            async def deadly(event, tx):
                if event.n == 1:
                    tries.append(1)
                    if parked and len(tries) == 1:
                        raise OSError
                    await clock.sleep(20)
                await stage.handle(event, tx)

            stage.listen(deadly, retry=Retry(9, base=1, cap=1))
            if number == 0:
                await stage.publish(("a", 1), ("b", 2))
            await clock.sleep(5)
            # what is on the disk while the handler runs is what SIGKILL leaves
            shutil.copytree(stage.folder, tmp_path / f"{number + 1}", ignore=shutil.ignore_patterns("wake"))
            suspects = await stage.database.fetch_all("SELECT * FROM skerry_suspects")
            return await stage.effects(), await stage.letters.list(), suspects

    async def main(clock):
        for number in range(5):
            _, letters, _ = await life(clock, number)
            assert letters == []
        effects, (letter,), suspects = await life(clock, 5)
        assert (effects, suspects, len(tries) - parked) == ([2], [], 5)
        assert "died 5 times" in letter.reason

    run_virtual(main)


def test_an_innocent_suspect_is_acquitted(staged, tmp_path):
    """After a crash the first event of a source is counted as a suspect, once, and no more once it is handled."""

    async def main(clock):
        async with staged(clock) as stage:
            async with stage.database.transaction() as tx:
                await tx.execute("INSERT INTO skerry_running VALUES ('billing')")

            async def handle(event, tx):
                if clock.monotonic() < 10:
                    raise StoreError("the disk is full")
                await stage.handle(event, tx)

            stage.listen(handle)
            await stage.publish(("a", 1), ("b", 2))
            await clock.sleep(8)
            assert (await stage.database.fetch_one("SELECT deaths FROM skerry_suspects"))[0] == 1
            await clock.sleep(8)
            assert await stage.database.fetch_all("SELECT deaths FROM skerry_suspects") == []
            assert await stage.effects() == [1, 2]

    run_virtual(main)


def test_bus_rules(staged, tmp_path):
    """A class has one handler in a group, a group one database, and handlers come before the start."""

    class Lax:
        durability = "process"

    async def main(clock):
        async with staged(clock) as stage:
            stage.bus.on(stage.Placed, inbox=stage.inbox)(stage.handle)
            with pytest.raises(ConfigurationError, match=r"has a handler for shop.order.placed already"):
                stage.bus.on(stage.Placed, inbox=stage.inbox)(stage.handle)
            elsewhere = Inbox(SQLiteDatabase(tmp_path / "other.db", owner="billing", clock=clock))
            with pytest.raises(ConfigurationError, match="another database"):
                stage.bus.on(stage.Placed, inbox=elsewhere)(stage.handle)
            stage.bus.on(stage.Placed, inbox=stage.inbox, group="second")(stage.handle)
            stage.bus.start()
            with pytest.raises(ConfigurationError, match="too late"):
                stage.bus.on(stage.Placed, inbox=stage.inbox, group="third")(stage.handle)
            await stage.publish(("a", 1))
            await clock.sleep(1)
            assert await stage.effects() == [1, 1]

    run_virtual(main)
    with pytest.raises(DurabilityTooLow, match="loses acknowledged events"):
        EventBus(Lax(), source="billing")
    assert EventBus(Lax(), source="billing", accept_process=True).consumers == {}


def test_the_inbox_knows_what_was_handled(staged):
    """has says whether a group has handled an event, whoever asks."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.listen()
            await stage.publish(("a", 1))
            await clock.sleep(1)
            (row,) = await stage.database.fetch_all("SELECT key FROM skerry_receipts")
            assert await stage.inbox.has("billing", row["key"])
            assert not await stage.inbox.has("other", row["key"])

    run_virtual(main)


def test_a_damaged_log_is_reported_while_others_are_handled(staged, heard, tmp_path):
    """One service's damaged log is told once, and to health as long as it lasts; what others publish is handled meanwhile."""

    async def main(clock):
        async with staged(clock) as stage:
            await stage.publish(("a", 1))
            segment = tmp_path / "events" / "billing" / "00000001.db"
            with closing(sqlite3.connect(segment)) as other, other:
                other.execute("UPDATE log SET key = 'damaged'")
            log = EventLog(tmp_path / "events", source="order", clock=clock)
            orders = EventBus(log, source="order", clock=clock)
            stage.listen()
            for n in range(10, 14):
                await orders.publish(stage.Placed(order="b", n=n))
                await clock.sleep(1)
                assert str(segment) in stage.bus.consumers["billing"].failure
            assert await stage.effects() == [10, 11, 12, 13]
            with closing(sqlite3.connect(segment)) as other, other:
                other.execute("UPDATE log SET key = 'a'")
            await clock.sleep(2)
            assert await stage.effects() == [10, 11, 12, 13, 1]
            assert not stage.bus.consumers["billing"].failure
            await log.close()

    run_virtual(main)
    told = [signal for signal in of(heard, ConsumerFailed) if signal.error.startswith("StoreCorrupt")]
    assert 1 <= len(told) <= 2  # before the other log is there, the damaged one is all there is


def test_a_lost_log_is_reported_and_found_again(staged, heard, tmp_path):
    """A log that disappears and comes back under another epoch is reported over and over; nothing is handled from it."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.listen()
            await stage.publish(("a", 1))
            await clock.sleep(1)
            await stage.bus.stop(within=1)
            with sqlite3.connect(tmp_path / "events" / "billing" / "00000001.db") as other:
                other.execute("UPDATE meta SET epoch = 'another'")
            other.close()
            stage.renew()
            stage.listen()
            await stage.publish(("a", 2))
            await clock.sleep(2)
            assert await stage.effects() == [1]

    run_virtual(main)
    assert {signal.error.partition(":")[0] for signal in of(heard, ConsumerFailed)} == {"UnknownPosition"}
