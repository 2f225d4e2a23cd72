"""Time-outs of policies: when they fire, what they leave behind, and what else may go on around them."""

import asyncio
import threading

import pytest

from skerry.context import CallContext, current, use
from skerry.errors import AttemptTimeout, DeadlineExceeded
from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry, deadline
from skerry.resilience._wheel import here
from skerry.signals import CallTimedOut
from skerry.testing import VirtualClock, run_virtual


@pytest.fixture(params=["alone", "among parts"])
def limited(request):
    """Makes a policy with a time limit, which is a path of its own where it has nothing else."""

    def make(name: str, **options) -> Policy:
        if request.param == "among parts":
            options |= {"limit": Bulkhead(9), "breaker": CircuitBreaker()}
        return Policy(name, **options)

    return make


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.05, 0.1234567, 0.3, 1.0, 2.0000001, 17.77, 3600.0])
@pytest.mark.parametrize("begin", [0.0, 0.0049, 123.456789, 86_400.001])
def test_never_early_and_hardly_late(begin, seconds, limited):
    """A time-out fires at its time or up to a hundredth of a second later, whatever the time is."""

    async def main(clock: VirtualClock) -> float:
        clock.advance(begin)
        begun = clock.monotonic()
        with pytest.raises(DeadlineExceeded):
            await limited("stock", total=seconds, clock=clock).call(clock.sleep, 1e6)
        return clock.monotonic() - begun

    assert seconds - 1e-8 <= run_virtual(main) <= seconds + 0.010001


def test_whose_limit_it_was(limited, signals):
    """The error says how long the call had and whether its caller's deadline ended it; one signal tells the same."""

    async def main(clock: VirtualClock) -> None:
        policy = limited("stock", total=1.0, clock=clock)
        with pytest.raises(DeadlineExceeded, match="stock: the call took longer than the 1 s it had") as caught:
            await policy.call(clock.sleep, 60.0)
        assert not caught.value.imposed
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        with use(CallContext(deadline=clock.monotonic() + 0.25)):
            with pytest.raises(
                DeadlineExceeded, match=r"stock: the call took longer than the 0\.25 s it had"
            ) as caught:
                await policy.call(clock.sleep, 60.0)
            assert caught.value.imposed
            with pytest.raises(DeadlineExceeded) as caught:  # it has passed
                await policy.call(pytest.fail, "called")
            assert caught.value.imposed
        assert clock.monotonic() == 1.25
        assert current().deadline is None

    run_virtual(main)
    told = [(signal.policy, signal.scope, signal.seconds) for signal in signals if isinstance(signal, CallTimedOut)]
    assert told == [("stock", "total", 1.0), ("stock", "total", 0.25), ("stock", "total", 0.0)]


def test_the_deadline_ends_with_the_call(limited):
    """Whatever the function does, returns, raises or is cancelled, the deadline around the call stands again afterwards."""

    async def main(clock: VirtualClock) -> None:
        policy = limited("stock", total=1.0, clock=clock)

        async def fail() -> None:
            raise ValueError

        async def body() -> float | None:
            with use(CallContext(deadline=9.0)):
                assert await policy.call(asyncio.sleep, 0, "done") == "done"
                with pytest.raises(ValueError, match=r"^$"):
                    await policy.call(fail)
                with pytest.raises(TypeError):
                    await policy.call(lambda: None)
                with pytest.raises(asyncio.CancelledError):
                    await policy.call(clock.sleep, 0.5)
                return current().deadline

        task = asyncio.create_task(body())
        await clock.sleep(0.1)
        task.cancel()
        assert await task == 9.0

    run_virtual(main)


def test_a_time_out_that_is_heard_leaves_nothing_behind():
    """After its error the task is not being cancelled, and waits again as if nothing had been."""

    async def main(clock: VirtualClock) -> None:
        for _ in range(3):
            with pytest.raises(AttemptTimeout):
                await Policy("stock", attempt=0.5, clock=clock).call(clock.sleep, 9.0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await clock.sleep(1.0)

    run_virtual(main)


@pytest.mark.parametrize("first", ["result", "alarm"])
def test_a_call_that_completes_in_the_tick_of_its_time_out_leaves_no_cancel(first, limited):
    """Whichever comes first in that tick, the call ends with its result or its time-out, and the task can wait again."""

    async def main(clock: VirtualClock) -> None:
        loop = asyncio.get_running_loop()
        result = loop.create_future()
        if first == "result":
            loop.call_at(1.0, result.set_result, "done")
        policy = limited("stock", total=1.0, clock=clock)

        async def ask() -> str:
            waiting = asyncio.ensure_future(asyncio.shield(result))
            if first == "alarm":
                loop.call_at(1.0, result.set_result, "done")
            return await waiting

        try:
            assert await policy.call(ask) == "done"
        except DeadlineExceeded:
            assert clock.monotonic() == 1.0
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await clock.sleep(1.0)
        assert clock.monotonic() == 2.0

    run_virtual(main)


def test_a_time_out_that_is_not_listened_to_is_taken_back(limited):
    """A function that catches its cancellation and returns gets its result out, and no cancellation stays with the task."""

    async def main(clock: VirtualClock) -> None:
        async def stubborn() -> str:
            try:
                await clock.sleep(9.0)
            except asyncio.CancelledError:
                await clock.sleep(1.0)
            return "all the same"

        assert await limited("stock", total=0.5, clock=clock).call(stubborn) == "all the same"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run_virtual(main)


def test_cleaning_up_after_a_cancellation_has_its_own_time_out(limited):
    """In a task that was cancelled and cleans up, a time-out is still a time-out."""

    async def main(clock: VirtualClock) -> None:
        async def body() -> str:
            try:
                await clock.sleep(60.0)
            except asyncio.CancelledError:
                with pytest.raises(DeadlineExceeded):
                    await limited("release", total=0.5, clock=clock).call(clock.sleep, 60.0)
                return "cleaned"
            return "never"

        task = asyncio.create_task(body())
        await clock.sleep(1.0)
        task.cancel()
        assert await task == "cleaned"
        assert clock.monotonic() == 1.5

    run_virtual(main)


@pytest.mark.parametrize(("inner", "outer", "ends"), [(1.0, 2.0, 1.0), (2.0, 1.0, 1.0), (1.0, 1.0, 1.0)])
def test_nested_policies(inner, outer, ends, limited):
    """Of two policies around each other the earlier one ends the call; what comes out is one error, of the outer if equal."""

    async def main(clock: VirtualClock) -> None:
        near = limited("near", total=inner, clock=clock)
        far = limited("far", total=outer, clock=clock)
        with pytest.raises(DeadlineExceeded) as caught:
            await far.call(near.call, clock.sleep, 60.0)
        assert clock.monotonic() == ends
        assert str(caught.value).startswith("near" if inner < outer else "far")

    run_virtual(main)


def test_others_time_limits_and_groups_around_it_keep_working(limited):
    """asyncio.timeout and TaskGroup around a policy, and within the function, see their own cancellations only."""

    async def main(clock: VirtualClock) -> None:
        policy = limited("stock", total=2.0, clock=clock)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(1.0):
                await policy.call(clock.sleep, 60.0)
        assert type(caught.value) is TimeoutError

        async def many() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(clock.sleep(60.0))

        with pytest.raises(DeadlineExceeded):
            await policy.call(many)
        with pytest.raises(ExceptionGroup) as group:  # noqa: PT012 - the block is what is tested
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(policy.call(clock.sleep, 60.0))
                tasks.create_task(clock.sleep(60.0))
        assert isinstance(group.value.exceptions[0], DeadlineExceeded)
        assert clock.monotonic() == 5.0

    run_virtual(main)


def test_children_see_the_deadline(limited):
    """Tasks that the function begins have its deadline too, while it lasts and after."""

    async def main(clock: VirtualClock) -> None:
        async def child() -> float | None:
            await clock.sleep(0.5)
            return current().deadline

        async def begin() -> "asyncio.Task[float | None]":
            return asyncio.create_task(child())

        task = await limited("stock", total=2.0, clock=clock).call(begin)
        assert current().deadline is None
        assert await task == 2.0

    run_virtual(main)


def test_anything_that_can_be_awaited_is_called(limited):
    """Functions may return a future, a task or an object of their own; a StopIteration of theirs is no result."""

    class Later:
        def __await__(self):
            yield from asyncio.sleep(0.1).__await__()
            return "later"

    async def main(clock: VirtualClock) -> None:
        policy = limited("stock", total=1.0, clock=clock)
        future = asyncio.get_running_loop().create_future()
        future.set_result("future")
        assert await policy.call(lambda: future) == "future"
        assert await policy.call(lambda: asyncio.create_task(asyncio.sleep(0.1, "task"))) == "task"
        assert await policy.call(Later) == "later"

        def stops():
            raise StopIteration("not a result")

        with pytest.raises(RuntimeError, match="StopIteration"):
            await policy.call(stops)

    run_virtual(main)


def test_slots_of_calls_that_ended_are_dropped(limited):
    """Time-outs of an hour, taken back at once, take up no room: there are never many more slots than calls under way."""

    async def main(clock: VirtualClock) -> None:
        policy = limited("stock", total=3600.0, clock=clock)
        for _ in range(2000):
            await policy.call(clock.sleep, 0.011)
        wheel = policy._plan.here.wheel
        assert len(wheel.slots) <= 300
        assert len(wheel._heap) == len(wheel.slots)

    run_virtual(main)


def test_a_thread_may_run_one_loop_after_another(limited):
    """What a thread remembers of a loop that it ran does not disturb the next one."""

    async def call() -> None:
        with pytest.raises(DeadlineExceeded):
            await limited("stock", total=0.01).call(asyncio.sleep, 60.0)

    def run_two() -> None:
        for _ in range(2):
            asyncio.run(call())

    threads = [threading.Thread(target=run_two) for _ in range(2)]
    for thread in threads:
        thread.start()
    run_two()
    for thread in threads:
        thread.join()


def test_a_loop_may_move_to_another_thread(limited):
    """A loop that ran in one thread and goes on in another gets its time-outs there; the first thread runs another loop."""
    policy = limited("stock", total=0.01)

    async def call() -> str:
        try:
            await policy.call(asyncio.sleep, 60.0)
        except DeadlineExceeded:
            return "in time"
        return "never"

    moved = asyncio.new_event_loop()
    assert moved.run_until_complete(call()) == "in time"
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(moved.run_until_complete(call())))
    thread.start()
    assert asyncio.run(call()) == "in time"
    thread.join()
    moved.close()
    assert results == ["in time"]


def test_outside_of_a_task_a_wait_is_refused(limited):
    """What cannot be cancelled is not begun to be timed: a RuntimeError says so."""

    async def main(clock: VirtualClock) -> None:
        loop = asyncio.get_running_loop()
        outcome = loop.create_future()

        def drive() -> None:
            call = limited("stock", clock=clock).call(clock.sleep, 1.0)
            try:
                call.send(None)
            except RuntimeError as error:
                outcome.set_result(str(error))

        loop.call_soon(drive)
        assert "task" in await outcome

    run_virtual(main)


def test_alarms_of_real_time_share_one_wheel():
    """All policies on real time set their alarms in the same place, so a loop has one timer for them."""
    one, two = Policy("one"), Policy("two", retry=Retry(2))
    assert one._plan.here is two._plan.here is here(one.clock)


def test_a_block_and_a_policy_share_the_rules(limited):
    """A policy inside a block with an earlier deadline ends with the block's error, and the block's is imposed on the policy."""

    async def main(clock: VirtualClock) -> None:
        with pytest.raises(DeadlineExceeded) as caught:
            async with deadline(0.5, clock=clock):
                await limited("stock", total=9.0, clock=clock).call(clock.sleep, 60.0)
        assert str(caught.value).startswith("deadline")
        assert clock.monotonic() == 0.5

    run_virtual(main)
