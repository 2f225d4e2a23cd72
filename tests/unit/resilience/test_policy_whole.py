"""Policies with the parts that stand outside and inside the one frame."""

import asyncio

import pytest

from skerry.errors import CircuitOpen, RateLimited
from skerry.resilience import Bulkhead, Chaos, CircuitBreaker, Fallback, Hedge, Policy, RateLimit, Retry
from skerry.signals import CallHedged, ChaosInjected
from skerry.testing import VirtualClock, run_virtual


def everything(clock, **changes):
    parts = {
        "fallback": Fallback("stale", on=(ConnectionError, CircuitOpen, TimeoutError)),
        "rate": RateLimit(100, per=1.0),
        "total": 2.0,
        "limit": Bulkhead(2),
        "retry": Retry(3, base=0.1),
        "breaker": CircuitBreaker(min_calls=4),
        "attempt": 0.5,
        "hedge": Hedge(safe=True, after=0.2),
        "chaos": Chaos(error=ConnectionError),
    }
    return Policy("stock", **{**parts, **changes}, clock=clock)


def test_the_order_is_told():
    """explain() names every part, from the outside in."""
    lines = everything(VirtualClock()).explain().splitlines()[1:]
    words = [line.split(". ")[1].split(":")[0].split(" (")[0] for line in lines]
    assert words == [
        "fallback",
        "rate limit",
        "total time-out",
        "bulkhead",
        "retry",
        "breaker",
        "attempt time-out",
        "hedge",
        "chaos",
    ]


def test_arguments_and_results_pass_all_parts():
    """What goes in and comes out is untouched, from async and from sync code."""

    async def main(clock):
        async def add(a, *, b):
            await clock.sleep(0.01)
            return a + b

        policy = everything(clock)
        assert await policy.call(add, 1, b=2) == 3
        assert policy.call_sync(lambda a, *, b: a + b, 1, b=2) == 3

    run_virtual(main)


def test_chaos_is_retried_then_opens_the_circuit_then_falls_back(signals):
    """Each part does its work on what the ones inside it did: attempts fail, the circuit opens, callers get the fallback."""

    async def main(clock):
        chaos = Chaos(error=ConnectionError)
        policy = everything(clock, chaos=chaos, hedge=None)
        called = []

        async def ask():
            called.append(clock.monotonic())
            return "fresh"

        with chaos.on():
            assert [await policy.call(ask) for _ in range(3)] == ["stale"] * 3
        assert called == []
        assert policy.breaker.state == "open"
        assert sum(isinstance(signal, ChaosInjected) for signal in signals) == 4
        await clock.sleep(5.0)
        assert await policy.call(ask) == "fresh"

    run_virtual(main)


def test_a_hedged_attempt_is_one_attempt_to_the_breaker(signals):
    """The second call is part of the attempt it helps: one success is counted, and neither takes a second slot."""

    async def main(clock):
        policy = everything(clock)
        begun = []

        async def ask():
            begun.append(clock.monotonic())
            await clock.sleep(0.4 if len(begun) == 1 else 0.05)
            return len(begun)

        assert await policy.call(ask) == 2
        assert [round(at - begun[0], 3) for at in begun] == [0.0, 0.2]
        assert policy.breaker.measured.calls == 1
        assert policy.limit.active == 0
        assert sum(isinstance(signal, CallHedged) for signal in signals) == 1

    run_virtual(main)


def test_a_spent_rate_refuses_before_anything_else():
    """Who comes too early takes no slot and says nothing to the breaker; without a fallback for it the refusal is seen."""

    async def main(clock):
        policy = everything(clock, rate=RateLimit(1, per=10.0))

        async def ask():
            return "fresh"

        assert await policy.call(ask) == "fresh"
        with pytest.raises(RateLimited):
            await policy.call(ask)
        assert policy.breaker.measured.calls == 1
        policy.reload(rate=None)
        assert await policy.call(ask) == "fresh"

    run_virtual(main)


def test_a_cancellation_passes_every_part():
    """No fallback, retry or hedge swallows it, and nothing is left running."""

    async def main(clock):
        policy = everything(clock)
        ended = []

        async def ask():
            try:
                await clock.sleep(60.0)
            finally:
                ended.append(True)

        task = asyncio.ensure_future(policy.call(ask))
        await clock.sleep(0.3)  # the hedge is under way too
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [True, True]
        assert policy.limit.active == 0
        assert policy.breaker.measured.calls == 0

    run_virtual(main)


def test_another_policy_may_share_all_but_some_parts():
    """`but` changes what it names and shares the rest, with what they count."""

    async def main(clock):
        policy = everything(clock)
        narrow = policy.but(retry=None, hedge=None, attempt=0.1)

        async def fails():
            raise ConnectionError

        assert await narrow.call(fails) == "stale"
        assert policy.breaker.measured == (1, 1, 0)
        assert (policy.retry.attempts, narrow.retry, policy.attempt, narrow.attempt) == (3, None, 0.5, 0.1)

    run_virtual(main)
