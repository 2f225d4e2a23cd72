"""What all subscriptions have in common, whatever the transport."""

import asyncio

import pytest

from skerry.errors import EventError
from skerry.events.brokers.tail import Tail
from skerry.testing import run_virtual


class SlowToStop(Tail):
    """Its reading takes a second to clean up after it was cancelled."""

    async def fill(self, wait):
        try:
            await self.clock.sleep(wait)
        except asyncio.CancelledError:
            await self.clock.sleep(1.0)
            raise

    async def ends(self):
        return {}

    async def lag(self):
        return 0


@pytest.mark.parametrize("cancelled", [False, True])
def test_who_is_cancelled_while_it_closes_stays_cancelled(cancelled):
    """A fetch whose subscription closes raises that; cancelled just then, while its reading stops, it ends as cancelled."""

    async def main(clock):
        tail = SlowToStop({}, clock=clock, on_close=lambda _: None)
        fetching = asyncio.create_task(tail.fetch(10, wait=60.0))
        await clock.sleep(1.0)
        await tail.close()
        await clock.sleep(0.5)
        if cancelled:
            fetching.cancel()
        with pytest.raises(asyncio.CancelledError if cancelled else EventError):
            await fetching
        assert clock.monotonic() == (1.5 if cancelled else 2.0)

    run_virtual(main)
