"""Changing policies while they are in use."""

import asyncio

import pytest

from skerry.errors import CircuitOpen, ConfigurationError, DeadlineExceeded, RateLimited
from skerry.resilience import AdaptiveLimit, Bulkhead, CircuitBreaker, Policies, Policy, RateLimit, Retry, RetryBudget
from skerry.resilience._congestion import START
from skerry.signals import BreakerChanged, PolicyReloaded
from skerry.testing import VirtualClock, run_virtual


def broken() -> None:
    raise OSError("down")


def overloaded() -> None:
    raise TimeoutError


def test_calls_under_way_keep_their_time(signals):
    """A call keeps the limits it began with; the next one has the new ones, and what is not named stays."""

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", total=1.0, attempt=0.9, clock=clock)
        old = asyncio.create_task(policy.call(clock.sleep, 60.0))
        await clock.sleep(0.1)
        policy.reload(attempt=None, total=3.0)
        new = asyncio.create_task(policy.call(clock.sleep, 60.0))
        with pytest.raises(DeadlineExceeded):
            await old
        assert clock.monotonic() == 0.9
        with pytest.raises(DeadlineExceeded):
            await new
        assert clock.monotonic() == pytest.approx(3.1)
        policy.reload(attempt=0.5)
        assert (policy.total, policy.attempt) == (3.0, 0.5)

    run_virtual(main)
    reloads = [signal for signal in signals if isinstance(signal, PolicyReloaded)]
    assert reloads[0] == PolicyReloaded(policy="stock", changed="attempt, total")


def test_a_breaker_keeps_its_state_and_counts():
    """New thresholds judge what was counted before; an open circuit stays open."""
    policy = Policy("stock", breaker=CircuitBreaker(min_calls=100), clock=VirtualClock())
    breaker = policy.breaker
    assert breaker is not None
    for _ in range(9):
        with pytest.raises(OSError, match="down"):
            policy.call_sync(broken)
    policy.reload(breaker=CircuitBreaker(min_calls=10))
    assert policy.breaker is breaker
    assert breaker.measured.failures == 9
    with pytest.raises(OSError, match="down"):
        policy.call_sync(broken)
    policy.reload(breaker=CircuitBreaker(0.9))
    assert (breaker.state, breaker.failure_rate, breaker.min_calls) == ("open", 0.9, 20)
    with pytest.raises(CircuitOpen):
        policy.call_sync(broken)


@pytest.mark.parametrize("options", [{"window": 60.0}, {"window_calls": 50}])
def test_a_breaker_with_another_window_counts_anew(options):
    """Counts of one window mean nothing in another."""
    policy = Policy("stock", breaker=CircuitBreaker(), clock=VirtualClock())
    assert policy.breaker is not None
    policy.call_sync(int)
    policy.reload(breaker=CircuitBreaker(**options))
    assert policy.breaker.measured == (0, 0, 0)
    policy.call_sync(int)
    assert policy.breaker.measured == (1, 0, 0)


@pytest.mark.parametrize("probes", [1, 2])
def test_a_breaker_whose_probes_are_enough_after_a_change_closes(probes, signals):
    """Two have succeeded. It would wait for a third otherwise, and let none pass."""
    clock = VirtualClock()
    policy = Policy("stock", breaker=CircuitBreaker(min_calls=1, open_for=5.0, probes=3), clock=clock)
    with pytest.raises(OSError, match="down"):
        policy.call_sync(broken)
    clock.advance(5.0)
    for _ in range(2):
        policy.call_sync(int)
    policy.reload(breaker=CircuitBreaker(min_calls=1, open_for=5.0, probes=probes))
    assert policy.breaker is not None
    assert policy.breaker.state == "closed"
    changes = [(signal.before, signal.after) for signal in signals if isinstance(signal, BreakerChanged)]
    assert changes[-1] == ("half_open", "closed")


@pytest.mark.parametrize(("before", "after"), [(2, 4), (4, 2), (3, 3), (5, 1)])
def test_a_bulkhead_keeps_those_inside(before, after):
    """After a change of its size those inside stay, those who wait come in as soon as there is room, and none is lost."""

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", limit=Bulkhead(before, queue_timeout=60.0), clock=clock)
        bulkhead = policy.limit
        assert isinstance(bulkhead, Bulkhead)
        running, peak = 0, 0

        async def work() -> None:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await clock.sleep(1.0)
            running -= 1

        calls = [asyncio.create_task(policy.call(work)) for _ in range(12)]
        await clock.sleep(0.5)
        policy.reload(limit=Bulkhead(after, queue_timeout=60.0))
        assert policy.limit is bulkhead
        peak = 0
        await clock.sleep(0.0)
        await clock.sleep(0.6)
        assert peak == max(after, before) if after > before else running == after
        await asyncio.gather(*calls)
        assert (bulkhead.active, bulkhead.waiting, len(bulkhead._free)) == (0, 0, after)

    run_virtual(main)


@pytest.mark.parametrize(("bounds", "size"), [((1, 50), 5), ((8, 50), 8), ((1, 3), 3)])
def test_an_adaptive_limit_keeps_what_it_found_and_those_inside(bounds, size):
    """Within the new bounds: a service that can take five calls is not sent twenty more after each change."""
    least, most = bounds

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", limit=AdaptiveLimit(min=1, max=100, queue_timeout=60.0), clock=clock)
        limit = policy.limit
        assert isinstance(limit, AdaptiveLimit)
        running, peak = 0, 0

        async def work() -> None:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await clock.sleep(1.0)
            running -= 1
            raise CircuitOpen("which says nothing of the service")

        for _ in range(START - 5):
            with pytest.raises(TimeoutError):
                policy.call_sync(overloaded)
        calls = [asyncio.create_task(policy.call(work)) for _ in range(20)]
        await clock.sleep(0.5)
        policy.reload(limit=AdaptiveLimit(min=least, max=most, queue_timeout=60.0))
        assert policy.limit is limit
        assert limit.limit == size
        await clock.sleep(0.6)
        assert running == size
        await asyncio.gather(*calls, return_exceptions=True)
        assert (limit.active, limit.waiting, peak) == (0, 0, max(5, size))

    run_virtual(main)


def test_an_adaptive_limit_of_another_kind_begins_anew():
    """What was found in one way means nothing in the other."""
    policy = Policy("stock", limit=AdaptiveLimit(), clock=VirtualClock())
    before = policy.limit
    policy.reload(limit=AdaptiveLimit(by="delay"))
    assert policy.limit is not before


def passed(policy: Policy, most: int = 99) -> int:
    """How many calls begin now, one after the other."""
    for count in range(most):
        try:
            policy.call_sync(int)
        except RateLimited:
            return count
    return most


def test_a_rate_limit_keeps_what_was_used():
    """A change gives no new burst: of another size or speed, the bucket misses as many tokens as before."""
    clock = VirtualClock()
    policy = Policy("stock", rate=RateLimit(10, per=1.0), clock=clock)
    rate = policy._plan.rate
    assert passed(policy) == 10
    policy.reload(rate=RateLimit(10, per=1.0))
    assert policy._plan.rate is rate
    assert passed(policy) == 0
    policy.reload(rate=RateLimit(100, per=1.0, burst=12))
    assert passed(policy) == 2
    clock.advance(0.05)
    assert passed(policy) == 5
    policy.reload(rate=RateLimit(1, per=1.0, burst=13, wait=2.5))
    assert passed(policy, 1) == 1
    clock.advance(60.0)
    policy.reload(rate=RateLimit(4, per=1.0))
    assert passed(policy) == 4
    with pytest.raises(RateLimited) as caught:
        policy.call_sync(int)
    assert caught.value.retry_after == pytest.approx(0.25)


def test_a_sliding_rate_limit_keeps_what_was_used():
    """What began within the window counts by the new numbers; one that counts in another way begins anew."""
    clock = VirtualClock()
    policy = Policy("stock", rate=RateLimit(3, sliding=True), clock=clock)
    assert passed(policy) == 3
    policy.reload(rate=RateLimit(5, per=0.5, sliding=True))
    assert passed(policy) == 2
    clock.advance(0.5)
    assert passed(policy) == 5
    policy.reload(rate=RateLimit(7, per=0.5))
    assert passed(policy) == 7


def test_a_budget_keeps_what_was_deposited():
    """A new retry with a new budget goes on with the requests, and the retries, that were counted."""
    clock = VirtualClock()
    policy = Policy("stock", retry=Retry(2, base=0, budget=RetryBudget(0.1, min_per_second=0)), clock=clock)
    for _ in range(100):
        policy.call_sync(int)
    policy.reload(retry=Retry(5, base=0, budget=RetryBudget(0.02, min_per_second=0)))
    calls = []

    def fail() -> None:
        calls.append(1)
        raise OSError("down")

    for _ in range(3):
        with pytest.raises(OSError, match="down"):
            policy.call_sync(fail)
    assert len(calls) == 3 + 2


def test_a_wrong_change_changes_nothing(signals):
    """What cannot be is refused as a whole, and nobody is told of a change."""
    policy = Policy("stock", total=1.0, breaker=CircuitBreaker(0.5), clock=VirtualClock())
    for wrong in ({"total": -1.0, "breaker": CircuitBreaker(0.9)}, {"name": "other"}, {"attempt": float("nan")}):
        with pytest.raises(ConfigurationError):
            policy.reload(**wrong)
    assert policy.breaker is not None
    assert (policy.total, policy.attempt, policy.breaker.failure_rate, signals) == (1.0, None, 0.5, [])


def test_all_of_several_policies_or_none():
    """A registry changes all policies that it is told to, or, when one change is wrong, none; names are there once."""
    policies = Policies(Policy("payment", total=1.0), Policy("stock", total=1.0))
    with pytest.raises(ConfigurationError):
        policies.reload({"payment": {"total": 3.0}, "stock": {"total": 0}})
    with pytest.raises(ConfigurationError, match="nobody"):
        policies.reload({"payment": {"total": 3.0}, "nobody": {"total": 1.0}})
    assert [policy.total for policy in policies.values()] == [1.0, 1.0]
    policies.reload({"payment": {"total": 3.0}, "stock": {"total": 4.0}})
    assert [policies[name].total for name in policies] == [3.0, 4.0]
    with pytest.raises(ConfigurationError, match="two policies"):
        policies.add(Policy("stock"))
    assert policies.explain().splitlines() == [
        "payment, from the outside in:", "  1. total time-out: 3 s", "stock, from the outside in:", "  1. total time-out: 4 s",
    ]  # fmt: skip


def test_parts_on_another_clock_are_refused():
    """A policy and its parts measure with one clock; a policy without one takes that of its parts."""
    clock = VirtualClock()
    assert Policy("stock", breaker=CircuitBreaker(clock=clock)).clock is clock
    with pytest.raises(ConfigurationError, match="another clock"):
        Policy("stock", breaker=CircuitBreaker(clock=clock), retry=Retry(3, clock=VirtualClock()))
