"""`within`, the time-out that costs nothing for what never waits."""

import asyncio
import contextlib

import pytest

from skerry.resilience.within import within
from skerry.testing import run_virtual


async def at_once():
    return "done"


def test_a_call_that_never_waits_gives_what_it_gives():
    """Its result or its error comes through, however little time it has."""

    async def fails():
        raise KeyError("mine")

    async def main(clock):
        assert await within(0.0, at_once()) == "done"
        with pytest.raises(KeyError, match="mine"):
            await within(0.0, fails())

    run_virtual(main)


def test_a_call_that_waits_goes_on_where_it_was():
    """Several waits, a caught error and the result pass through; it stays in the task that began it."""

    async def main(clock):
        async def waits():
            task = asyncio.current_task()
            await clock.sleep(1)
            failing = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(1, failing.set_exception, KeyError("mine"))
            with pytest.raises(KeyError, match="mine"):
                await failing
            await clock.sleep(1)
            return task is asyncio.current_task()

        assert await within(10.0, waits())
        assert clock.monotonic() == 3

    run_virtual(main)


def test_a_call_that_takes_too_long_is_ended():
    """`TimeoutError`, after its own clean-up."""
    seen = []

    async def main(clock):
        async def slow():
            try:
                await clock.sleep(100)
            finally:
                seen.append(clock.monotonic())

        with pytest.raises(TimeoutError):
            await within(2.0, slow())
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(TimeoutError):
            await within(2.0, future)

    run_virtual(main)
    assert seen == [2]


def test_a_cancellation_from_outside_stays_one():
    """The call is cancelled, and so is who waits."""
    seen = []

    async def main(clock):
        async def slow():
            try:
                await clock.sleep(100)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        task = asyncio.create_task(within(50.0, slow()))
        await clock.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main)
    assert seen == ["cancelled"]


def test_a_call_may_go_on_after_a_cancellation_of_its_first_wait():
    """What it was told at its first wait it may catch, wait again, any number of times, and return."""

    async def main(clock):
        async def stubborn():
            for _ in range(3):
                with contextlib.suppress(asyncio.CancelledError):
                    await clock.sleep(100)
            await clock.sleep(1)
            await clock.sleep(1)
            return "done"

        async def ends_at_once():
            with contextlib.suppress(asyncio.CancelledError):
                await clock.sleep(100)
            return "done"

        task, short = asyncio.create_task(within(1000.0, stubborn())), asyncio.create_task(within(9.0, ends_at_once()))
        await clock.sleep(1)
        short.cancel()
        for _ in range(3):
            await clock.sleep(1)
            task.cancel()
        assert (await task, await short) == ("done", "done")

    run_virtual(main)


def test_a_call_that_is_dropped_is_closed():
    """Closing who waits closes the call, so its clean-up runs."""
    seen = []

    class Wait:
        def __await__(self):
            yield

    async def slow():
        try:
            await Wait()
        finally:
            seen.append("closed")

    async def main(clock):
        outer = within(50.0, slow())
        outer.send(None)
        outer.close()

    run_virtual(main)
    assert seen == ["closed"]
