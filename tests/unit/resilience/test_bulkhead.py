import asyncio
import threading

import pytest

from skerry.errors import BulkheadFull, ConfigurationError, DeadlineExceeded
from skerry.resilience import Bulkhead, deadline
from skerry.signals import CallRefused
from skerry.testing import VirtualClock, run_virtual


def test_admits_no_more_than_its_size():
    """At most max_concurrent calls run at once; the queue is served in order of arrival."""

    async def main(clock: VirtualClock) -> None:
        bulkhead = Bulkhead(3, queue=20, queue_timeout=60.0, clock=clock)
        running, peak, order = 0, 0, []

        async def work(number: int) -> None:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            order.append(number)
            await clock.sleep(1.0)
            running -= 1

        await asyncio.gather(*(bulkhead.call(work, number) for number in range(20)))
        assert (peak, order, bulkhead.active, bulkhead.waiting) == (3, list(range(20)), 0, 0)

    run_virtual(main)


def test_the_newest_goes_first_when_asked_for():
    """With `lifo` the queue is served from its end."""

    async def main(clock: VirtualClock) -> None:
        bulkhead = Bulkhead(1, queue_timeout=60.0, lifo=True, clock=clock)
        order = []

        async def work(number: int) -> None:
            order.append(number)
            await clock.sleep(1.0)

        await asyncio.gather(*(bulkhead.call(work, number) for number in range(5)))
        assert order == [0, 4, 3, 2, 1]

    run_virtual(main)


def test_nobody_overtakes_the_queue():
    """A call that comes while others wait stands behind them, though a slot was given back in that very tick."""

    async def main(clock: VirtualClock) -> None:
        bulkhead = Bulkhead(1, queue_timeout=60.0, clock=clock)
        order = []

        async def work(number: int) -> None:
            order.append(number)

        slot = bulkhead.slot()
        await slot.__aenter__()
        waiter = asyncio.create_task(bulkhead.call(work, 1))
        await clock.sleep(0)
        await slot.__aexit__(None, None, None)
        await bulkhead.call(work, 2)
        await waiter
        assert order == [1, 2]

    run_virtual(main)


def test_refuses_when_the_queue_is_full(signals):
    """A call beyond slots and queue is refused at once, and signalled."""

    async def main(clock: VirtualClock) -> None:
        bulkhead = Bulkhead(1, queue=1, name="stock", clock=clock)
        calls = [asyncio.create_task(bulkhead.call(clock.sleep, 0.5)) for _ in range(2)]
        await clock.sleep(0)
        with pytest.raises(BulkheadFull, match="stock: all 1 slots"):
            await bulkhead.call(clock.sleep, 0)
        assert clock.monotonic() == 0
        await asyncio.gather(*calls)

    run_virtual(main)
    assert signals == [CallRefused(policy="stock", reason="bulkhead_full")]


def test_waits_no_longer_than_queue_timeout():
    """A wait in the queue ends after queue_timeout seconds with BulkheadFull and leaves no place taken."""

    async def main(clock: VirtualClock) -> None:
        bulkhead = Bulkhead(1, queue_timeout=0.5, clock=clock)
        first = asyncio.create_task(bulkhead.call(clock.sleep, 9.0))
        await clock.sleep(0)
        with pytest.raises(BulkheadFull):
            await bulkhead.call(clock.sleep, 0)
        assert (clock.monotonic(), bulkhead.waiting) == (0.5, 0)
        await first
        assert bulkhead.active == 0

    run_virtual(main)


def test_waits_no_longer_than_the_deadline():
    """A deadline that is earlier than queue_timeout ends the wait as DeadlineExceeded."""

    async def main(clock: VirtualClock) -> None:
        bulkhead = Bulkhead(1, queue_timeout=5.0, clock=clock)
        async with bulkhead.slot():
            with deadline(0.2, clock=clock), pytest.raises(DeadlineExceeded, match="queue"):
                await bulkhead.call(clock.sleep, 0)
        assert clock.monotonic() == pytest.approx(0.2)

    run_virtual(main)


def test_cancelled_waiters_leak_nothing():
    """Waiters cancelled in the queue, or in the tick in which their slot is granted, leave every slot free."""

    async def main(clock: VirtualClock) -> None:
        bulkhead = Bulkhead(2, queue=50, queue_timeout=60.0, clock=clock)
        for granted_first in (False, True):
            holders = [bulkhead.slot() for _ in range(2)]
            for holder in holders:
                await holder.__aenter__()
            waiters = [asyncio.create_task(bulkhead.call(clock.sleep, 1.0)) for _ in range(6)]
            await clock.sleep(0)
            if granted_first:
                for holder in holders:
                    await holder.__aexit__(None, None, None)
            for waiter in waiters[::2]:
                waiter.cancel()
            if not granted_first:
                for holder in holders:
                    await holder.__aexit__(None, None, None)
            results = await asyncio.gather(*waiters, return_exceptions=True)
            assert [type(result) for result in results] == [asyncio.CancelledError, type(None)] * 3
            assert (bulkhead.active, bulkhead.waiting) == (0, 0)

    run_virtual(main)


def test_slot_is_freed_on_errors():
    """A call that raises gives its slot back."""
    bulkhead = Bulkhead(1, queue=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            bulkhead.call_sync(lambda: 1 / 0)
    assert bulkhead.active == 0


def test_waiter_of_a_dead_loop_is_passed_over():
    """A slot is not handed to a task whose event loop is gone."""
    bulkhead = Bulkhead(1, queue_timeout=60.0)
    loop = asyncio.new_event_loop()
    with bulkhead.slot():
        waiter = bulkhead.call(asyncio.sleep, 0)
        task = loop.create_task(waiter)
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        assert bulkhead.waiting == 1
    task._log_destroy_pending = False
    waiter.close()
    assert (bulkhead.active, bulkhead.waiting) == (0, 0)


def test_threads_and_tasks_share_one_count():
    """Over threads and an event loop together never more than max_concurrent run at once, and all get their turn."""
    bulkhead = Bulkhead(2, queue=64, queue_timeout=30.0)
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
        await asyncio.gather(*(bulkhead.call(work_async) for _ in range(20)))

    threads = [threading.Thread(target=bulkhead.call_sync, args=(work,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    asyncio.run(main())
    for thread in threads:
        thread.join()
    assert (peak, done, bulkhead.active, bulkhead.waiting) == (2, 40, 0, 0)


def test_sync_wait_is_bounded():
    """call_sync waits queue_timeout seconds for a slot and then gives up."""
    clock = VirtualClock()
    bulkhead = Bulkhead(1, queue_timeout=0.5, clock=clock)
    with bulkhead.slot(), pytest.raises(BulkheadFull):
        bulkhead.call_sync(int)
    assert (clock.monotonic(), bulkhead.active, bulkhead.waiting) == (0.5, 0, 0)


@pytest.mark.parametrize("options", [{"max_concurrent": 0}, {"queue": -1}, {"queue_timeout": float("inf")}])
def test_senseless_options_are_refused(options):
    """A size that cannot work, or an unbounded wait, is a ConfigurationError."""
    with pytest.raises(ConfigurationError):
        Bulkhead(**{"max_concurrent": 1, **options})
