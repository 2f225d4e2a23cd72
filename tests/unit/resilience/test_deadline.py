import asyncio

import pytest

from skerry.context import CallContext, current, inject, use
from skerry.errors import ConfigurationError, DeadlineExceeded
from skerry.resilience import deadline
from skerry.signals import CallTimedOut
from skerry.testing import VirtualClock, run_virtual


def test_cancels_in_time(signals):
    """An async block ends at its deadline, not before, with DeadlineExceeded, which is a TimeoutError."""

    async def main(clock: VirtualClock) -> float:
        with pytest.raises(TimeoutError) as caught:
            async with deadline(1.5, clock=clock):
                await clock.sleep(60.0)
        assert isinstance(caught.value, DeadlineExceeded)
        return clock.monotonic()

    assert run_virtual(main) == 1.5
    assert signals == [CallTimedOut(policy="deadline", scope="total", seconds=1.5)]


def test_block_in_time_is_left_alone():
    """A block that ends in time gets its result, and its timer never fires afterwards."""

    async def main(clock: VirtualClock) -> None:
        async with deadline(1.0, clock=clock):
            await clock.sleep(0.9)
        await clock.sleep(10.0)

    run_virtual(main)


def test_everything_inside_sees_the_time_left():
    """Code inside the block and the headers it sends carry the remaining time; outside it is gone again."""
    clock = VirtualClock()
    headers: dict[str, str] = {}
    with deadline(1.5, clock=clock):
        clock.advance(0.5)
        inject(headers, current(), clock=clock)
    assert headers == {"skerry-timeout": "1.000"}
    assert current().deadline is None


def test_inner_deadline_never_extends():
    """An inner deadline that is later than the one around it changes nothing."""

    async def main(clock: VirtualClock) -> float:
        with pytest.raises(DeadlineExceeded):  # noqa: PT012 - the block is what is tested
            async with deadline(1.0, clock=clock), deadline(60.0, clock=clock):
                assert current().remaining(clock) == 1.0
                await clock.sleep(100.0)
        return clock.monotonic()

    assert run_virtual(main) == 1.0


def test_deadline_of_the_caller_is_enforced():
    """A deadline that came over the wire cancels too, though nothing in this process set a timer for it."""

    async def main(clock: VirtualClock) -> float:
        with use(CallContext(deadline=0.3)), pytest.raises(DeadlineExceeded):
            async with deadline(60.0, clock=clock):
                await clock.sleep(100.0)
        return clock.monotonic()

    assert run_virtual(main) == 0.3


def test_nothing_starts_after_the_deadline():
    """A block whose time is over is not entered."""
    clock = VirtualClock()
    with use(CallContext(deadline=0.0)), pytest.raises(DeadlineExceeded), deadline(1.0, clock=clock):
        pytest.fail("entered")


def test_own_time_out_error_passes():
    """A TimeoutError of the block's own is not relabelled, not even when the deadline had struck before."""

    async def main(clock: VirtualClock) -> None:
        with pytest.raises(TimeoutError, match="mine") as caught:
            async with deadline(1.0, clock=clock):
                raise TimeoutError("mine")
        assert type(caught.value) is TimeoutError
        with pytest.raises(TimeoutError, match="mine"):  # noqa: PT012 - the block is what is tested
            async with deadline(1.0, clock=clock):
                try:
                    await clock.sleep(9.0)
                except asyncio.CancelledError:
                    raise TimeoutError("mine") from None

    run_virtual(main)


@pytest.mark.parametrize("cancel_at", [0.5, 1.0])
def test_outside_cancellation_is_never_swallowed(cancel_at):
    """cancel() before the deadline, or in the same tick, ends the task as cancelled."""

    async def main(clock: VirtualClock) -> None:
        async def body() -> None:
            async with deadline(1.0, clock=clock):
                await clock.sleep(9.0)

        task = asyncio.create_task(body())
        asyncio.get_running_loop().call_later(cancel_at, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()

    run_virtual(main)


def test_cancellation_in_the_completing_tick_is_kept():
    """cancel() in the tick in which the awaited result arrives still cancels the task."""

    async def main(clock: VirtualClock) -> None:
        result = asyncio.get_running_loop().create_future()

        async def body() -> None:
            async with deadline(1.0, clock=clock):
                await result

        task = asyncio.create_task(body())
        await clock.sleep(0)
        result.set_result(None)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run_virtual(main)


def test_outer_of_two_equal_deadlines_answers():
    """When two deadlines strike together the outer block reports it, once, and the task is not left cancelled."""

    async def main(clock: VirtualClock) -> None:
        with pytest.raises(DeadlineExceeded):  # noqa: PT012 - the block is what is tested
            async with deadline(1.0, clock=clock):
                try:
                    async with deadline(1.0, clock=clock):
                        await clock.sleep(9.0)
                except DeadlineExceeded:
                    pytest.fail("the inner one answered")
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run_virtual(main)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_senseless_seconds_are_refused(seconds):
    """A deadline is a finite number of seconds from 0."""
    with pytest.raises(ConfigurationError):
        deadline(seconds)
