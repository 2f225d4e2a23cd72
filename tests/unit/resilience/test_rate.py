import asyncio
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import ConfigurationError, RateLimited
from skerry.resilience import RateLimit, deadline
from skerry.resilience.rate import MAX_KEYS
from skerry.signals import CallRefused
from skerry.testing import VirtualClock, run_virtual


def test_a_burst_passes_and_then_the_rate(signals):
    """A full bucket lets its burst pass at once, then one call each time a token comes back; a refusal says when."""
    clock = VirtualClock()
    rate = RateLimit(10, burst=3, name="mail", clock=clock)
    for _ in range(3):
        assert rate.call_sync(int) == 0
    with pytest.raises(RateLimited, match="mail: more than 10 calls") as refused:
        rate.call_sync(int)
    assert refused.value.retry_after == pytest.approx(0.1)
    clock.advance(0.1)
    rate.call_sync(int)
    with pytest.raises(RateLimited):
        rate.call_sync(int)
    assert signals == [CallRefused(policy="mail", reason="rate_limited")] * 2


def test_a_sliding_window_allows_no_second_burst_at_its_edge():
    """In no stretch of time do more calls begin than the window says, also not around where a fixed one would end."""
    clock = VirtualClock()
    rate = RateLimit(10, sliding=True, clock=clock)
    clock.advance(0.9)
    for _ in range(10):
        rate.call_sync(int)
    clock.advance(0.2)
    with pytest.raises(RateLimited) as refused:
        rate.call_sync(int)
    assert refused.value.retry_after == pytest.approx(0.8)
    clock.advance(0.8)
    rate.call_sync(int)


def test_it_waits_for_its_turn_within_bounds():
    """With `wait` calls take their turns in order, as far as that goes; a turn beyond it, or the deadline, is refused at once."""

    async def main(clock: VirtualClock) -> None:
        rate = RateLimit(10, burst=1, wait=0.25, clock=clock)
        began: list[tuple[int, float]] = []

        async def work(number: int) -> None:
            began.append((number, round(clock.monotonic(), 6)))

        results = await asyncio.gather(*(rate.call(work, number) for number in range(5)), return_exceptions=True)
        assert began == [(0, 0.0), (1, 0.1), (2, 0.2)]
        assert [type(result) for result in results[3:]] == [RateLimited, RateLimited]
        with deadline(0.05, clock=clock), pytest.raises(RateLimited):
            await rate.call(work, 9)
        assert clock.monotonic() == pytest.approx(0.2)

    run_virtual(main)


@pytest.mark.parametrize("sliding", [False, True])
def test_a_cancelled_waiter_gives_its_turn_back(sliding):
    """Who is cancelled while waiting has used nothing."""

    async def main(clock: VirtualClock) -> None:
        options = {"sliding": True} if sliding else {"burst": 1}
        rate = RateLimit(1, wait=1.0, clock=clock, **options)
        await rate.acquire()
        waiter = asyncio.create_task(rate.acquire())
        await clock.sleep(0.5)
        waiter.cancel()
        await asyncio.wait([waiter])
        await rate.acquire()
        assert clock.monotonic() == 1.0

    run_virtual(main)


def test_each_key_has_its_own_allowance():
    """The arguments tell whose call it is; one who calls too often keeps nobody else out."""
    rate = RateLimit(1, per=60.0, key=lambda customer, **_: customer, clock=VirtualClock())

    @rate
    def order(customer: str, *, lines: int = 1) -> str:
        return customer

    assert [order("ann"), order("bob", lines=2)] == ["ann", "bob"]
    with pytest.raises(RateLimited):
        order("ann")


def test_keys_are_bounded():
    """However many keys come, only so many are remembered, the latest ones."""
    rate = RateLimit(1, per=3600.0, key=lambda key: key, clock=VirtualClock())
    for key in range(MAX_KEYS + 1):
        rate.call_sync(lambda key: key, key)
    assert len(rate._allowances) == MAX_KEYS
    with pytest.raises(RateLimited):
        rate.call_sync(lambda key: key, 1)
    assert rate.call_sync(lambda key: key, 0) == 0


def test_threads_share_it():
    """Sixteen threads together get no more than the burst."""
    rate = RateLimit(50, per=3600.0)
    passed: list[int] = []

    def caller() -> None:
        for number in range(20):
            try:
                rate.call_sync(passed.append, number)
            except RateLimited:
                return

    threads = [threading.Thread(target=caller) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 50


MOVES = st.lists(st.tuples(st.floats(0, 1.0), st.integers(1, 4), st.booleans()), max_size=30)


@given(MOVES, st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_tokens_are_never_over_the_burst(moves, calls, burst, sliding):
    """Whoever waits, is cancelled or refused: n calls in a row take at least the time that the rate has for them."""
    begun: list[float] = []

    async def main(clock: VirtualClock) -> None:
        options = {"sliding": True} if sliding else {"burst": burst}
        rate = RateLimit(calls, per=1.0, wait=0.7, clock=clock, **options)

        async def work() -> None:
            begun.append(clock.monotonic())

        tasks = []
        for pause, count, cancel in moves:
            tasks += [asyncio.create_task(rate.call(work)) for _ in range(count)]
            await clock.sleep(pause)
            if cancel:
                tasks[len(tasks) // 2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_virtual(main)
    slack = 1e-9
    if sliding:
        assert all(later - first >= 1.0 - slack for first, later in zip(begun, begun[calls:], strict=False))
    tokens = float(burst)
    for before, now in [] if sliding else pairwise([0.0, *begun]):
        tokens = min(burst, tokens + (now - before) * calls) - 1
        assert tokens >= -slack * 100


@pytest.mark.parametrize(
    "options", [{"calls": 0}, {"per": 0.0}, {"burst": 0}, {"burst": 2, "sliding": True}, {"wait": float("inf")}]
)
def test_senseless_options_are_refused(options):
    """A rate that cannot be kept, or an unbounded wait, is a ConfigurationError."""
    with pytest.raises(ConfigurationError):
        RateLimit(**{"calls": 1, **options})
