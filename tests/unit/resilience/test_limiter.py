import asyncio
import contextlib
import threading
from collections import Counter
from dataclasses import replace

import pytest

from skerry.client.policy import default_policy
from skerry.context import current, use
from skerry.errors import AttemptTimeout, CircuitOpen, ConfigurationError, DeadlineExceeded, Overloaded, StatusError
from skerry.resilience import AdaptiveLimit, Policy, deadline
from skerry.signals import CallRefused, CallTimedOut, LimitChanged
from skerry.testing import VirtualClock, run_virtual


def imposed() -> DeadlineExceeded:
    error = DeadlineExceeded("the caller is in a hurry")
    error.imposed = True
    return error


def fail(error: BaseException) -> None:
    raise error


async def fails(error: BaseException) -> None:
    raise error


def run_all(limit: AdaptiveLimit, *, failed: bool | None, calls: int, at_once: int = 1) -> None:
    for _ in range(calls // at_once):
        for _ in range(at_once):
            assert limit.enter()
        for _ in range(at_once):
            limit.leave(failed=failed)


async def held(limit: AdaptiveLimit, clock: VirtualClock, count: int, seconds: float) -> list[asyncio.Task[None]]:
    """So many calls under way for so long."""
    tasks = [asyncio.create_task(limit.call(clock.sleep, seconds)) for _ in range(count)]
    await clock.sleep(0)
    return tasks


async def call_as(limit: AdaptiveLimit, priority: int, clock: VirtualClock, seconds: float) -> None:
    with use(replace(current(), priority=priority)):
        await limit.call(clock.sleep, seconds)


@pytest.mark.parametrize(
    ("error", "shrinks"),
    [
        (AttemptTimeout("slow"), True),
        (TimeoutError(), True),
        (StatusError("stock", 503), True),
        (StatusError("stock", 429), True),
        (StatusError("stock", 404), False),
        (StatusError("stock", 500), False),
        (OSError("down"), False),
        (imposed(), False),
        (CircuitOpen("refused on this side"), False),
        (asyncio.CancelledError(), False),
    ],
    ids=repr,
)
def test_only_signs_of_overload_shrink_it(error, shrinks):
    """Time-outs and refusals by the callee take a place; what the caller itself caused, and other answers, do not."""
    limit = AdaptiveLimit(max=10)
    with pytest.raises(type(error)):
        limit.call_sync(fail, error)
    assert (limit.limit, limit.active) == (9 if shrinks else 10, 0)


def test_successes_grow_it_only_while_it_is_used():
    """Successes give places back while half of them are in use; an idle limit learns nothing."""
    limit = AdaptiveLimit(min=4, max=100)
    run_all(limit, failed=True, calls=10)
    assert limit.limit == 10
    run_all(limit, failed=False, calls=1000)
    assert limit.limit == 10
    run_all(limit, failed=False, calls=1000, at_once=8)
    assert 12 < limit.limit < 20


def test_it_begins_with_twenty():
    """Nothing is known at first, so it begins with 20, or as near to that as its bounds allow."""
    assert [AdaptiveLimit(**options).limit for options in ({}, {"min": 50}, {"max": 5})] == [20, 50, 5]


@pytest.mark.parametrize("by", ["loss", "delay"])
def test_it_stays_between_its_bounds(by):
    """However many calls fail it lets `min` run, however many succeed no more than `max`."""
    limit = AdaptiveLimit(min=4, max=6, by=by, clock=VirtualClock())
    run_all(limit, failed=True, calls=100)
    assert limit.limit == 4
    run_all(limit, failed=False, calls=1000, at_once=4)
    assert limit.limit == 6 if by == "loss" else limit.limit <= 6


def test_calls_under_way_go_on_when_it_shrinks():
    """A smaller limit ends no call; new ones wait until there are few enough."""

    async def main(clock: VirtualClock) -> None:
        limit = AdaptiveLimit(min=1, max=4, queue=0, clock=clock)
        calls = await held(limit, clock, 4, 1.0)
        for task in calls[:3]:
            task.cancel()
        await asyncio.wait(calls[:3])
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await limit.call(fail_later, TimeoutError())
        assert (limit.limit, limit.active) == (1, 1)
        with pytest.raises(Overloaded):
            await limit.call(clock.sleep, 0)
        await calls[3]
        await limit.call(clock.sleep, 0)

    async def fail_later(error: BaseException) -> None:
        raise error

    run_virtual(main)


def test_a_policy_takes_it_as_its_limit():
    """In a policy it holds its place through retries and refuses what is too much."""

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", limit=AdaptiveLimit(min=1, max=1, queue=0), clock=clock)
        call = asyncio.create_task(policy.call(clock.sleep, 0.5))
        await clock.sleep(0)
        with pytest.raises(Overloaded, match="stock: 1 calls are under way"):
            await policy.call(clock.sleep, 0)
        await call
        assert policy.call_sync(int) == 0
        assert "adaptive limit: 1 to 1 at once" in policy.explain()

    run_virtual(main)


def test_it_shrinks_when_calls_slow_down_under_load():
    """By delay: more calls than the callee's four workers only queue there, and the limit finds that out."""

    async def main(clock: VirtualClock) -> None:
        limit = AdaptiveLimit(min=2, max=100, queue=0, by="delay", clock=clock)
        workers = asyncio.Semaphore(4)

        async def work() -> None:
            async with workers:
                await clock.sleep(0.01)

        async def caller(pause: float) -> None:
            while clock.monotonic() < 3.0:
                with contextlib.suppress(Overloaded):
                    await limit.call(work)
                await clock.sleep(pause)

        await asyncio.gather(*(caller(0.1) for _ in range(4)), hammer(caller, clock))
        assert 4 <= limit.limit <= 20

    async def hammer(caller, clock: VirtualClock) -> None:
        await clock.sleep(1.0)
        await asyncio.gather(*(caller(0.02) for _ in range(60)))

    run_virtual(main)


def test_slow_calls_without_load_do_not_shrink_it():
    """By delay: what takes long while most places are free is the callee's own pace."""

    async def main(clock: VirtualClock) -> None:
        limit = AdaptiveLimit(min=2, max=100, by="delay", clock=clock)
        for seconds in (0.001, 0.1):
            for _ in range(20):
                await asyncio.gather(*(limit.call(clock.sleep, seconds) for _ in range(10)))
        assert limit.limit >= 20

    run_virtual(main)


def test_each_change_is_told_at_most_once_a_second(signals):
    """However often it changes, one signal a second says what it was when last told, and what it is now."""
    clock = VirtualClock()
    limit = AdaptiveLimit(max=100, name="stock", clock=clock)
    run_all(limit, failed=True, calls=10)
    clock.advance(1.0)
    run_all(limit, failed=True, calls=10)
    assert signals == [
        LimitChanged(policy="stock", before=20, after=19),
        LimitChanged(policy="stock", before=19, after=9),
    ]


def test_each_refusal_is_told(signals):
    """A full queue, a wait that is over and a deadline in the queue are three refusals, and nothing stays in the queue."""

    async def main(clock: VirtualClock) -> None:
        limit = AdaptiveLimit(min=1, max=1, queue=1, queue_timeout=0.1, name="stock", clock=clock)
        await held(limit, clock, 1, 9.0)
        waiter = asyncio.create_task(limit.call(clock.sleep, 0))
        await clock.sleep(0)
        with pytest.raises(Overloaded, match="1 wait"):
            await limit.call(clock.sleep, 0)
        with pytest.raises(Overloaded, match=r"no place came free in 0\.1 s"):
            await waiter
        with deadline(0.05, clock=clock), pytest.raises(DeadlineExceeded, match="queue"):
            await limit.call(clock.sleep, 0)
        assert limit.waiting == 0
        assert clock.monotonic() == pytest.approx(0.15)

    run_virtual(main)
    refused = CallRefused(policy="stock", reason="overloaded")
    assert signals == [refused, refused, CallTimedOut(policy="stock", scope="total", seconds=pytest.approx(0.05))]


def test_a_short_queue_is_first_come_first_served():
    """While the queue empties now and then, calls run in the order in which they came."""

    async def main(clock: VirtualClock) -> None:
        limit = AdaptiveLimit(min=1, max=1, clock=clock)
        order: list[int] = []

        async def work(number: int) -> None:
            order.append(number)
            await clock.sleep(0.01)

        await asyncio.gather(*(limit.call(work, number) for number in range(5)))
        assert order == [0, 1, 2, 3, 4]

    run_virtual(main)


def test_a_fresh_client_refuses_nobody_while_the_service_is_well():
    """However many come at once and again and again: that the limit begins with 20 says nothing about the service."""

    async def main(clock: VirtualClock) -> None:
        policy = default_policy("stock", clock=clock)
        answered: list[float] = []

        async def caller() -> None:
            for number in range(10):
                await policy.call(clock.sleep, 0.3)
                if not number:
                    answered.append(clock.monotonic())

        await asyncio.gather(*(caller() for _ in range(60)))
        # 20, 24 and 28 at once: first come, first served, though the queue stands
        assert [count for _, count in sorted(Counter(answered).items())] == [20, 24, 16]

    run_virtual(main)


def test_the_first_sign_of_overload_ends_the_patience():
    """From then on who comes waits 100 ms, whatever time it has left; no other error does that."""

    async def main(clock: VirtualClock) -> None:
        limit = AdaptiveLimit(min=1, max=1, clock=clock)

        async def waits() -> float:
            await held(limit, clock, 1, 1.0)
            began = clock.monotonic()
            with contextlib.suppress(Overloaded):
                async with deadline(5.0, clock=clock):
                    await limit.call(clock.sleep, 0)
            waited = clock.monotonic() - began
            await clock.sleep(1.0)
            return waited

        with pytest.raises(OSError, match="down"):
            await limit.call(fails, OSError("down"))
        assert await waits() == pytest.approx(1.0)
        with pytest.raises(TimeoutError):
            await limit.call(fails, TimeoutError())
        assert await waits() == pytest.approx(0.1)
        limit.after_fork()
        assert await waits() == pytest.approx(0.1)

    run_virtual(main)


@pytest.mark.parametrize("given", [{"queue_timeout": 0.1}, {"by": "delay"}], ids=str)
def test_a_queue_timeout_that_was_given_holds_from_the_beginning(given):
    """And for a service the default does, since slow answers are all it sees of an overload."""

    async def main(clock: VirtualClock) -> None:
        limit = AdaptiveLimit(min=1, max=1, clock=clock, **given)
        await held(limit, clock, 1, 1.0)
        with pytest.raises(Overloaded, match=r"no place came free in 0\.1 s"):
            async with deadline(5.0, clock=clock):
                await limit.call(clock.sleep, 0)

    run_virtual(main)


def test_a_standing_queue_serves_the_newest_and_soon_refuses_the_others():
    """Once the queue has not been empty for 100 ms the newest goes first, and nobody waits longer than 5 ms."""

    async def main(clock: VirtualClock) -> None:
        limit = AdaptiveLimit(min=1, max=1, queue=50, clock=clock)
        run_all(limit, failed=True, calls=1)
        order: list[str] = []

        async def come(name: str) -> None:
            began = clock.monotonic()
            try:
                await limit.call(clock.sleep, 0.0004)
                order.append(name)
            except Overloaded:
                order.append(f"{name} refused after {clock.monotonic() - began:.3f}")

        await held(limit, clock, 1, 0.105)
        tasks = []
        for number in range(10):
            tasks.append(asyncio.create_task(come(f"early {number}")))
            await clock.sleep(0.0101)
        tasks += [asyncio.create_task(come(f"late {number}")) for number in range(4)]
        await asyncio.gather(*tasks)
        late = ["late 3", "late 2", "late 0 refused after 0.005", "late 1"]
        assert order[:6] == ["early 0 refused after 0.100", *late, "early 9"]

    run_virtual(main)


def test_the_more_important_goes_first_and_takes_a_place_in_a_full_queue():
    """A full queue refuses its least important call for a more important one, and serves by importance."""

    async def main(clock: VirtualClock) -> None:
        limit = AdaptiveLimit(min=1, max=1, queue=3, clock=clock)
        done: list[int] = []

        async def come(priority: int) -> None:
            try:
                await call_as(limit, priority, clock, 0.001)
                done.append(priority)
            except Overloaded:
                done.append(-priority)

        holder = await held(limit, clock, 1, 0.01)
        tasks = []
        for priority in (2, 5, 5, 9, 1, 8):
            tasks.append(asyncio.create_task(come(priority)))
            await clock.sleep(0)
        await asyncio.gather(*holder, *tasks)
        # 9 pushes out 2, 1 finds nobody below it, 8 pushes out the older 5
        assert (sorted(done[:3]), done[3:]) == ([-5, -2, -1], [9, 8, 5])

    run_virtual(main)


def test_cancelled_waiters_leave_nothing_behind():
    """Waiters cancelled in the queue, or in the tick in which their place comes, leave every place free."""

    async def main(clock: VirtualClock) -> None:
        limit = AdaptiveLimit(min=2, max=2, clock=clock)
        for granted_first in (False, True):
            holders = await held(limit, clock, 2, 0.01)
            waiters = await held(limit, clock, 6, 0.001)
            if granted_first:
                for holder in holders:
                    holder.cancel()
                await clock.sleep(0)
            for waiter in waiters[::2]:
                waiter.cancel()
            results = await asyncio.gather(*waiters, return_exceptions=True)
            assert [type(result) for result in results] == [asyncio.CancelledError, type(None)] * 3
            await asyncio.wait(holders)
            assert (limit.active, limit.waiting) == (0, 0)

    run_virtual(main)


def test_a_waiter_of_a_dead_loop_is_passed_over():
    """A place is not handed to a task whose event loop is gone."""
    limit = AdaptiveLimit(min=1, max=1, queue_timeout=60.0)
    loop = asyncio.new_event_loop()
    assert limit.enter()
    waiter = limit.call(asyncio.sleep, 0)
    task = loop.create_task(waiter)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert limit.waiting == 1
    limit.leave()
    task._log_destroy_pending = False
    waiter.close()
    assert (limit.active, limit.waiting) == (0, 0)


def test_threads_and_tasks_share_the_limit():
    """Over threads and an event loop together no more than the limit run at once, and all get their turn."""
    limit = AdaptiveLimit(min=2, max=2, queue=64, queue_timeout=30.0)
    lock = threading.Lock()
    running, peak, done = 0, 0, 0

    def enter() -> None:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)

    def leave() -> None:
        nonlocal running, done
        with lock:
            running -= 1
            done += 1

    def work() -> None:
        enter()
        threading.Event().wait(0.001)
        leave()

    async def work_async() -> None:
        enter()
        await asyncio.sleep(0.001)
        leave()

    async def main() -> None:
        await asyncio.gather(*(limit.call(work_async) for _ in range(20)))

    threads = [threading.Thread(target=limit.call_sync, args=(work,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    asyncio.run(main())
    for thread in threads:
        thread.join()
    assert (peak, done, limit.active, limit.waiting) == (2, 40, 0, 0)


@pytest.mark.parametrize(
    "options", [{"min": 0}, {"min": 9, "max": 8}, {"queue": -1}, {"queue_timeout": float("inf")}, {"by": "luck"}]
)
def test_senseless_options_are_refused(options):
    """Bounds that cannot hold, or an unbounded wait, are a ConfigurationError."""
    with pytest.raises(ConfigurationError):
        AdaptiveLimit(**options)
