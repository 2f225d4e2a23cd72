"""The pool of connections: bounded, first come first served, and nothing is lost on the way."""

from __future__ import annotations

import asyncio

import pytest

from skerry.errors import StoreBusy, StoreError
from skerry.store.pool import IDLE, Pool
from skerry.testing import run_virtual


class Line:
    """A connection, as far as the pool looks at it."""

    def __init__(self):
        self.lost = False

    def is_closed(self):
        return self.lost

    def terminate(self):
        self.lost = True


def pool(clock, *, size=2, max_waiting=10, wait=5.0, fails=()):
    made = []

    async def connect():
        await clock.sleep(0.1)
        made.append(Line())
        if len(made) in fails:
            raise StoreError("no server")
        return made[-1]

    return Pool(connect, of="order", size=size, max_waiting=max_waiting, wait=wait, clock=clock), made


def test_it_makes_no_more_than_its_size_and_uses_the_last_one_first():
    """Connections are made when needed, and one that is free is taken instead."""

    async def main(clock):
        connections, made = pool(clock)
        first = await connections.acquire()
        connections.release(first)
        assert await connections.acquire() is first
        second = await connections.acquire()
        waiting = asyncio.create_task(connections.acquire())
        await clock.sleep(1.0)
        assert len(made) == 2
        connections.release(second)
        assert await waiting is second

    run_virtual(main)


def test_who_came_first_is_served_first():
    """Released connections go along the line, and a newcomer does not get in between."""

    async def main(clock):
        connections, _ = pool(clock, size=1)
        held = await connections.acquire()
        served = []

        async def wait(name):
            connection = await connections.acquire()
            served.append(name)
            connections.release(connection)

        tasks = [asyncio.create_task(wait(n)) for n in range(3)]
        await clock.sleep(0.1)
        connections.release(held)
        tasks.append(asyncio.create_task(wait("newcomer")))
        await asyncio.gather(*tasks)
        assert served == [0, 1, 2, "newcomer"]

    run_virtual(main)


def test_the_line_is_bounded_in_length_and_in_time():
    """One too many is refused at once, one that waits too long when its time is over."""

    async def main(clock):
        connections, _ = pool(clock, size=1, max_waiting=1, wait=5.0)
        held = await connections.acquire()
        begun = clock.monotonic()
        waiting = asyncio.create_task(connections.acquire())
        await clock.sleep(0.0)
        with pytest.raises(StoreBusy, match="1 transactions already wait for the database of order"):
            await connections.acquire()
        with pytest.raises(StoreBusy, match="waited 5 s for a connection to the database of order"):
            await waiting
        assert clock.monotonic() == begun + 5.0
        connections.release(held)
        assert await connections.acquire() is held

    run_virtual(main)


def test_a_connection_given_to_one_who_was_cancelled_goes_to_the_next():
    """The hand-over and the cancellation in one turn of the loop lose no connection."""

    async def main(clock):
        connections, _ = pool(clock, size=1)
        held = await connections.acquire()
        gone, next_one = (asyncio.create_task(connections.acquire()) for _ in range(2))
        await clock.sleep(0.1)
        connections.release(held)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert await next_one is held

    run_virtual(main)


def test_a_lost_connection_makes_room_for_another():
    """Lost while in use, or while free: whoever comes or waits gets a new one."""

    async def main(clock):
        connections, made = pool(clock, size=1)
        held = await connections.acquire()
        waiting = asyncio.create_task(connections.acquire())
        await clock.sleep(0.1)
        held.lost = True
        connections.release(held)
        second = await waiting
        connections.release(second)
        second.lost = True
        third = await connections.acquire()
        assert made == [held, second, third]

    run_virtual(main)


def test_one_who_cannot_connect_lets_the_next_one_try():
    """A failure to connect is the caller's alone; the others in the line try for themselves."""

    async def main(clock):
        connections, _ = pool(clock, size=1, fails={1})
        failed, waiting = (asyncio.create_task(connections.acquire()) for _ in range(2))
        with pytest.raises(StoreError, match="no server"):
            await failed
        assert not (await waiting).is_closed()

    run_virtual(main)


def test_what_nobody_needs_is_closed():
    """The connection that was free the longest is closed once its time is over, and one is used."""

    async def main(clock):
        connections, made = pool(clock)
        both = [await connections.acquire(), await connections.acquire()]
        for each in both:
            connections.release(each)
        await clock.sleep(IDLE + 1.0)
        connections.release(await connections.acquire())
        assert [each.lost for each in made] == [True, False]

    run_virtual(main)


def test_closing_waits_for_what_is_in_use_and_no_longer_than_it_may():
    """Who waits is turned away, who works may finish, who never does is cut off."""

    async def main(clock):
        connections, made = pool(clock)
        working, hanging = await connections.acquire(), await connections.acquire()
        waiting = asyncio.create_task(connections.acquire())
        await clock.sleep(0.1)
        closing = asyncio.create_task(connections.close())
        await clock.sleep(1.0)
        with pytest.raises(StoreError, match="the database of order is not open"):
            await waiting
        connections.release(working)
        assert working.lost
        assert not hanging.lost
        await closing
        assert all(each.lost for each in made)
        with pytest.raises(StoreError, match="not open"):
            await connections.acquire()
        await connections.close()

    run_virtual(main)
