"""Slots: how many steps are under way at the same time."""

import asyncio

from skerry.saga.slots import Slots


def test_whoever_finds_none_free_gets_the_next_one_in_turn():
    """A slot that is given back goes to the first in the line, not to whoever asks just then."""

    async def main():
        slots, order = Slots(1), []
        assert slots.take()

        async def waits(name):
            await slots.turn()
            order.append(name)

        waiting = [asyncio.create_task(waits(name)) for name in ("first", "second")]
        await asyncio.sleep(0)
        slots.give()
        assert not slots.take()
        await waiting[0]
        slots.give()
        await waiting[1]
        assert order == ["first", "second"]
        slots.give()
        assert slots.take()

    asyncio.run(main())


def test_a_slot_is_not_lost_when_whoever_waits_for_it_is_cancelled():
    """Before it came nothing is held; when it had just come it goes to the next one, or is free again."""

    async def main():
        slots = Slots(1)
        assert slots.take()
        early, late, next_one = (asyncio.create_task(slots.turn()) for _ in range(3))
        await asyncio.sleep(0)
        early.cancel()
        slots.give()  # to the second: the first waits no more
        late.cancel()
        await asyncio.gather(early, late, return_exceptions=True)
        await next_one
        slots.give()
        assert slots.take()

    asyncio.run(main())
