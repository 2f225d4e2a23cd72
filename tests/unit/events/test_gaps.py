"""Events that come out of their order, to a group that waits for what is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skerry.events.outbox import message
from skerry.testing import run_virtual

WAIT = 10.0


def numbered(stage, order, *numbers):
    """Messages of one key, each with the number that its producer gave it."""
    sealed = {n: stage.outbox.seal(stage.Placed(order=order, n=n)) for n in numbers}
    return [message(replace(envelope, sequence=n)) for n, envelope in sealed.items()]


def handled(stage):
    return [n for _, n in stage.seen]


@pytest.mark.parametrize("arrive", [(1, 2, 3, 4), (1, 3, 2, 4), (3, 2, 1, 4), (4, 3, 2, 1), (2, 1, 4, 3), (1, 4, 2, 3)])
def test_an_event_that_came_too_early_waits_for_those_before_it(staged, arrive):
    """Whatever the order in which they arrive, the events of a key are handled by their numbers, once each and soon."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.listen(gaps=WAIT)
            for each in numbered(stage, "a", *arrive):
                await stage.log.publish([each])
                await clock.sleep(0.3)
            await clock.sleep(1.0)
            assert await stage.effects() == [1, 2, 3, 4]
            assert clock.monotonic() < WAIT

    run_virtual(main)


def test_other_keys_do_not_wait(staged):
    """A gap in one key holds up that key only."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.listen(gaps=WAIT)
            await stage.log.publish([*numbered(stage, "a", 2), *numbered(stage, "b", 1)])
            await clock.sleep(2.0)
            assert await stage.effects() == [1]

    run_virtual(main)


def test_what_never_comes_is_waited_for_only_so_long(staged):
    """After the wait the events that are there go on in their order, and a late one is handled all the same."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.listen(gaps=WAIT)
            late, *others = numbered(stage, "a", 1, 2, 4, 3, 6)
            await stage.log.publish(others)
            await clock.sleep(WAIT - 1.0)
            assert await stage.effects() == []
            rows = await stage.database.fetch_all("SELECT reason FROM skerry_parked")
            reasons = {row["reason"] for row in rows}
            await clock.sleep(3 * WAIT)
            assert await stage.effects() == [2, 3, 4, 6]
            await stage.log.publish([late])
            await clock.sleep(2.0)
            assert await stage.effects() == [2, 3, 4, 6, 1]
            assert "number 1 of this key has not come" in reasons

    run_virtual(main)


@pytest.mark.parametrize("arrive", [(1, 2, 4, 3), (1, 3, 2, 4), (4, 3, 1, 2), (4, 3, 2, 1), (3, 1, 2, 4)])
def test_a_failing_event_holds_those_after_it_as_ever(staged, arrive):
    """While an event is tried again nothing after it is handled, in whatever order that comes; a dead letter holds its key."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.broken = {2}
            stage.listen(gaps=WAIT)
            await stage.log.publish(numbered(stage, "a", *arrive))
            await clock.sleep(5 * WAIT)
            assert await stage.effects() == [1]
            letters = await stage.letters.list()
            assert [(letter.state) for letter in letters if letter.state == "dead"] == ["dead"]
            stage.broken.clear()
            assert await stage.letters.retry(next(letter.id for letter in letters if letter.state == "dead"))
            await clock.sleep(3 * WAIT)
            assert await stage.effects() == [1, 2, 3, 4]

    run_virtual(main)


def test_the_wait_outlives_the_process(staged):
    """What is known of a key is in the database: after a restart the missing event still comes first."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.listen(gaps=WAIT)
            one, two, three = numbered(stage, "a", 1, 2, 3)
            await stage.log.publish([one, three])
            await clock.sleep(1.0)
            await stage.bus.stop(within=1.0)
            stage.renew()
            stage.listen(gaps=WAIT)
            await stage.log.publish([two])
            await clock.sleep(2.0)
            assert await stage.effects() == [1, 2, 3]

    run_virtual(main)
