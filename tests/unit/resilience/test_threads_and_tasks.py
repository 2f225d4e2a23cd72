"""One breaker, one bulkhead, one budget for the threads and the tasks of a process, all at the same moment."""

import asyncio
import random
import threading
from collections.abc import Callable

import pytest

from skerry.errors import CircuitOpen, Refused
from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry, RetryBudget
from skerry.testing import VirtualClock, run_virtual

CROWD = 64


def together(in_thread: Callable[[], None], in_task: Callable[[], object]) -> None:
    """Run `in_thread` in 64 threads and `in_task` in 64 tasks, let go at once."""
    start = threading.Barrier(CROWD + 1)

    def thread() -> None:
        start.wait(30)
        in_thread()

    async def main() -> None:
        await asyncio.to_thread(start.wait, 30)
        await asyncio.gather(*(in_task() for _ in range(CROWD)))

    threads = [threading.Thread(target=thread) for _ in range(CROWD)]
    for each in threads:
        each.start()
    asyncio.run(main())
    for each in threads:
        each.join()


@pytest.mark.parametrize("probes", [1, 3])
def test_the_herd_before_a_half_open_circuit(probes):
    """Of 64 threads and 64 tasks let go at once as many as `probes` get in, whoever they are; the others are refused."""
    clock = VirtualClock()
    breaker = CircuitBreaker(probes=probes, open_for=5.0, clock=clock)
    breaker._force("open", "test")
    clock.advance(5.0)
    all_tried = threading.Event()
    admitted: list[int] = []
    refused: list[int] = []

    def count_refusal() -> None:
        refused.append(1)
        if len(refused) == 2 * CROWD - probes:
            all_tried.set()

    def probe() -> None:
        admitted.append(1)
        assert all_tried.wait(60)

    async def probe_async() -> None:
        admitted.append(1)
        assert await asyncio.to_thread(all_tried.wait, 60)

    def in_thread() -> None:
        try:
            breaker.call_sync(probe)
        except CircuitOpen:
            count_refusal()

    async def in_task() -> None:
        try:
            await breaker.call(probe_async)
        except CircuitOpen:
            count_refusal()

    together(in_thread, in_task)
    assert (len(admitted), len(refused), breaker.state) == (probes, 2 * CROWD - probes, "closed")


def test_an_open_circuit_lets_nobody_pass():
    """While it is open no call of any thread or task passes."""
    clock = VirtualClock()
    breaker = CircuitBreaker(clock=clock)
    breaker._force("open", "test")
    passed: list[int] = []

    def in_thread() -> None:
        for _ in range(20):
            with pytest.raises(CircuitOpen):
                breaker.call_sync(passed.append, 1)

    async def pass_by() -> None:
        passed.append(1)

    async def in_task() -> None:
        for _ in range(20):
            with pytest.raises(CircuitOpen):
                await breaker.call(pass_by)

    together(in_thread, in_task)
    assert passed == []


def test_every_call_is_counted_once():
    """Successes and failures of threads and tasks, counted without a lock and with one, add up exactly."""
    clock = VirtualClock()
    breaker = CircuitBreaker(window=10.0, min_calls=10**6, clock=clock)
    budget = RetryBudget(1.0, min_per_second=0.0)

    def broken() -> None:
        raise OSError("down")

    async def fine() -> None:
        await asyncio.sleep(0)

    def in_thread() -> None:
        for _ in range(50):
            budget.deposit(0.0)
            breaker.call_sync(int)
            with pytest.raises(OSError, match="down"):
                breaker.call_sync(broken)

    async def in_task() -> None:
        for _ in range(50):
            budget.deposit(0.0)
            await breaker.call(fine)

    together(in_thread, in_task)
    assert breaker.measured == (CROWD * 150, CROWD * 50, 0)
    assert sum(budget.withdraw(0.0) for _ in range(CROWD * 101)) == CROWD * 100


def test_a_bulkhead_is_never_overfull_and_never_loses_a_slot():
    """Threads and tasks with a short queue: at most so many inside, and in the end every slot is free."""
    bulkhead = Bulkhead(5, queue=200, queue_timeout=30.0)
    lock = threading.Lock()
    running = peak = done = 0

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
        leave()

    async def work_async() -> None:
        enter()
        await asyncio.sleep(0)
        leave()

    def in_thread() -> None:
        for _ in range(20):
            bulkhead.call_sync(work)

    async def in_task() -> None:
        for _ in range(20):
            await bulkhead.call(work_async)

    together(in_thread, in_task)
    assert peak <= 5
    assert (done, bulkhead.active, bulkhead.waiting, len(bulkhead._free)) == (2 * CROWD * 20, 0, 0, 5)


def test_ten_thousand_cancellations_leak_nothing():
    """Whenever calls are cancelled, queued, running, retrying or in the tick in which something happens, all slots come back."""

    async def main(clock: VirtualClock) -> None:
        draw = random.Random(7)
        budget = RetryBudget(0.5, min_per_second=100.0)
        policy = Policy(
            "stock",
            total=0.05,
            attempt=0.02,
            limit=Bulkhead(8, queue=16, queue_timeout=0.03),
            retry=Retry(3, base=0.005, budget=budget),
            breaker=CircuitBreaker(min_calls=50, open_for=0.02),
            clock=clock,
        )

        async def work(seconds: float, fails: bool) -> None:
            await clock.sleep(seconds)
            if fails:
                raise OSError("down")

        async def cancelled_some_time() -> str:
            task = asyncio.create_task(policy.call(work, draw.choice([0, 0.01, 0.02, 0.03]), draw.random() < 0.1))
            await clock.sleep(draw.choice([0, 0, 0.01, 0.02, 0.03, 0.05]))
            asked = task.cancel()
            await asyncio.wait([task])
            if task.cancelled():
                return "cancelled"
            error = task.exception()
            assert error is None or isinstance(error, Refused | TimeoutError | OSError), error
            return "swallowed" if asked and error is None else "ended"

        outcomes: list[str] = []
        for _ in range(100):
            outcomes += await asyncio.gather(*(cancelled_some_time() for _ in range(100)))
        limit = policy.limit
        assert isinstance(limit, Bulkhead)
        assert (limit.active, limit.waiting, len(limit._free), budget._waiting) == (0, 0, 8, 0)
        assert not any(policy._plan.here.wheel.slots.values())
        assert (len(outcomes), "swallowed" in outcomes) == (10_000, False)
        assert outcomes.count("cancelled") > 1000

    run_virtual(main)
