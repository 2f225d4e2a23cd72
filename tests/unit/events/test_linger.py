"""Handlers of batches that wait for more: for how long, for how many, and for whom not."""

import pytest

from skerry.errors import ConfigurationError, StoreUnavailable
from skerry.events import DomainEvent
from skerry.events.consumer import FETCH
from skerry.testing import run_virtual


class Urgent(DomainEvent, type="shop.order.urgent", key="order"):
    order: str


class Batches:
    """A handler of lists that writes down when it was called, and with what."""

    def __init__(self, clock):
        self._clock = clock
        self.calls = []
        self.down = False

    async def __call__(self, events, tx):
        self.calls.append((self._clock.monotonic(), [event.n for event in events]))
        if self.down:
            raise StoreUnavailable("the column store is away")
        await tx.execute_many("INSERT INTO effects VALUES (?)", [(event.n,) for event in events])


def test_few_events_wait_for_more_until_the_time_is_over(staged):
    """Events that trickle in are handled together, once the first of them has waited for `linger` seconds."""

    async def main(clock):
        async with staged(clock) as stage:
            handler = Batches(clock)
            stage.listen(handler, batch=100, linger=0.5)
            await clock.sleep(1.0)
            begin = clock.monotonic()
            for n in range(1, 9):
                await stage.publish(("a", n))
                await clock.sleep(0.1)
            await clock.sleep(1.0)
            assert [n for _, numbers in handler.calls for n in numbers] == list(range(1, 9))
            assert len(handler.calls) == 2
            for at, numbers in handler.calls:
                came = begin + (numbers[0] - 1) * 0.1
                assert came + 0.5 <= at <= came + 0.6
            assert await stage.effects() == list(range(1, 9))

    run_virtual(main)


def test_a_full_batch_does_not_wait(staged):
    """What fills the batch is handled at once."""

    async def main(clock):
        async with staged(clock) as stage:
            handler = Batches(clock)
            stage.listen(handler, batch=10, linger=60.0)
            await clock.sleep(1.0)
            begin = clock.monotonic()
            await stage.publish(*(("a", n) for n in range(10)))
            await clock.sleep(1.0)
            [(at, numbers)] = handler.calls
            assert numbers == list(range(10))
            assert at < begin + 0.5

    run_virtual(main)


def test_a_backlog_is_taken_in_full_batches_without_waiting(staged):
    """Nobody waits while there is more than can be handled, and what is in hand is bounded."""

    async def main(clock):
        async with staged(clock) as stage:
            handler = Batches(clock)
            await stage.publish(*(("a", n) for n in range(4 * FETCH)))
            begin = clock.monotonic()
            stage.listen(handler, batch=10_000, linger=30.0)
            await clock.sleep(5.0)
            assert [len(numbers) for _, numbers in handler.calls] == [FETCH] * 4
            assert handler.calls[-1][0] < begin + 5.0

    run_virtual(main)


def test_an_event_whose_handler_does_not_linger_is_not_kept_waiting(staged):
    """In a group with both, the one that is in a hurry ends the wait of the others, and the order stays."""

    async def main(clock):
        async with staged(clock) as stage:
            handler, urgent = Batches(clock), []
            stage.bus.on(Urgent, inbox=stage.inbox)(lambda event, tx: _note(urgent, clock))
            stage.listen(handler, batch=100, linger=30.0)
            await clock.sleep(1.0)
            await stage.publish(("a", 1))
            await clock.sleep(1.0)
            assert not handler.calls
            begin = clock.monotonic()
            await stage.bus.publish(Urgent(order="a"))
            await clock.sleep(1.0)
            assert [numbers for _, numbers in handler.calls] == [[1]]
            assert begin <= handler.calls[0][0] <= urgent[0] < begin + 0.5

    async def _note(urgent, clock):
        urgent.append(clock.monotonic())

    run_virtual(main)


def test_a_stop_does_not_wait_for_more_and_loses_nothing(staged):
    """Told to stop while events wait for more, a group ends within its time; they are handled after the restart."""

    async def main(clock):
        async with staged(clock) as stage:
            handler = Batches(clock)
            stage.listen(handler, batch=100, linger=60.0)
            await clock.sleep(1.0)
            await stage.publish(("a", 1), ("a", 2))
            await clock.sleep(1.0)
            begin = clock.monotonic()
            await stage.bus.stop(within=5.0)
            assert clock.monotonic() < begin + 1.0
            assert not handler.calls
            assert await stage.effects() == []
            stage.renew()
            stage.listen(handler, batch=100, linger=0.5)
            await clock.sleep(2.0)
            assert await stage.effects() == [1, 2]

    run_virtual(main)


def test_a_handler_whose_store_is_away_leaves_its_events_in_the_log(staged):
    """Nothing is parked and nothing acknowledged; the group says what is wrong, and goes on by itself, in order."""

    async def main(clock):
        async with staged(clock) as stage:
            handler = Batches(clock)
            handler.down = True
            stage.listen(handler, batch=100, linger=0.5)
            for n in range(20):
                await stage.publish(("a", n))
                await clock.sleep(0.25)
            consumer = stage.bus.consumers["billing"]
            assert consumer.failure == "StoreUnavailable: the column store is away"
            assert await stage.database.fetch_all("SELECT * FROM skerry_parked") == []
            assert await stage.database.fetch_all("SELECT * FROM skerry_positions") == []
            handler.down = False
            await clock.sleep(3.0)
            assert await stage.effects() == list(range(20))
            assert consumer.failure == ""

    run_virtual(main)


@pytest.mark.parametrize("options", [{"linger": 0.5}, {"batch": 5, "linger": -0.1}, {"batch": 5, "linger": 61.0}])
def test_a_linger_that_makes_no_sense_is_refused(staged, options):
    """It needs a batch, and an end."""

    async def main(clock):
        async with staged(clock) as stage:
            with pytest.raises(ConfigurationError, match="linger is at most 60 s, and needs a batch"):
                stage.listen(**options)

    run_virtual(main)
