import asyncio
import inspect

import pytest

import skerry.resilience
from skerry.context import CallContext, current, use
from skerry.errors import AttemptTimeout, BulkheadFull, CircuitOpen, ConfigurationError, DeadlineExceeded
from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry, RetryBudget
from skerry.signals import CallTimedOut
from skerry.testing import VirtualClock, run_virtual


def test_public_names_are_sorted():
    """The package says what is public, in order."""
    assert skerry.resilience.__all__ == sorted(skerry.resilience.__all__)


def test_default_is_bounded():
    """A policy without options ends a hanging call after ten seconds."""

    async def main(clock: VirtualClock) -> float:
        with pytest.raises(DeadlineExceeded, match="stock: the call took longer than the 10 s it had"):
            await Policy("stock", clock=clock).call(clock.sleep, 3600.0)
        return clock.monotonic()

    assert run_virtual(main) == 10.0


def test_attempts_time_out_and_are_retried(signals):
    """Each attempt has its own limit; the total bounds them and the waits between them."""

    async def main(clock: VirtualClock) -> float:
        policy = Policy("stock", total=2.0, attempt=0.5, retry=Retry(99, base=0), clock=clock)
        with pytest.raises(DeadlineExceeded):
            await policy.call(clock.sleep, 60.0)
        return clock.monotonic()

    assert run_virtual(main) == pytest.approx(2.0)
    assert [signal.scope for signal in signals if isinstance(signal, CallTimedOut)][:3] == ["attempt"] * 3


def test_attempt_and_total_are_told_apart():
    """AttemptTimeout when the attempt's limit struck, plain DeadlineExceeded when the total or the caller's deadline did."""

    async def main(clock: VirtualClock) -> None:
        with pytest.raises(AttemptTimeout):
            await Policy("stock", attempt=0.5, clock=clock).call(clock.sleep, 60.0)
        for policy in (Policy("stock", total=0.5, attempt=9.0, clock=clock), Policy("stock", total=0.5, clock=clock)):
            with pytest.raises(DeadlineExceeded) as caught:
                await policy.call(clock.sleep, 60.0)
            assert type(caught.value) is DeadlineExceeded
        with use(CallContext(deadline=clock.monotonic() + 0.2)), pytest.raises(DeadlineExceeded) as caught:
            await Policy("stock", total=9.0, attempt=9.0, clock=clock).call(clock.sleep, 60.0)
        assert type(caught.value) is DeadlineExceeded
        assert clock.monotonic() == pytest.approx(1.7)

    run_virtual(main)


@pytest.mark.parametrize(
    ("ambient", "total", "attempt", "seen"),
    [
        (None, 2.0, 0.5, 0.5),
        (None, 2.0, None, 2.0),
        (0.3, 2.0, 0.5, 0.3),
        (9.0, None, None, 9.0),
        (None, None, None, None),
    ],
)
def test_function_sees_the_earliest_deadline(ambient, total, attempt, seen):
    """While the function runs, async or sync, the context's deadline is the earliest of all limits."""

    async def remaining(clock: VirtualClock) -> float | None:
        return current().remaining(clock)

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", total=total, attempt=attempt, clock=clock)
        with use(CallContext(deadline=ambient)):
            assert await policy.call(remaining, clock) == seen
            assert policy.call_sync(lambda: current().remaining(clock)) == seen
            assert current().deadline == ambient

    run_virtual(main)


def test_nothing_is_called_after_the_deadline():
    """A call whose deadline has passed fails at once, calls nothing and counts against nobody."""
    clock = VirtualClock()
    breaker = CircuitBreaker(min_calls=1)
    policy = Policy("stock", breaker=breaker, clock=clock)
    with use(CallContext(deadline=0.0)), pytest.raises(DeadlineExceeded):
        policy.call_sync(pytest.fail, "called")
    assert breaker.state == "closed"


def test_wait_for_a_slot_counts_in_the_total():
    """The total includes the queue; nothing was called when it ends there."""

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", total=0.5, limit=Bulkhead(1, queue_timeout=9.0), clock=clock)
        assert policy.limit is not None
        async with policy.limit.slot():
            with pytest.raises(DeadlineExceeded, match="queue"):
                await policy.call(clock.sleep, 0)
        assert clock.monotonic() == 0.5

    run_virtual(main)


def test_a_full_bulkhead_neither_retries_nor_trips():
    """Refusals of the bulkhead stay outside of retry and breaker."""
    breaker = CircuitBreaker(min_calls=1)
    policy = Policy(
        "stock", limit=Bulkhead(1, queue=0), retry=Retry(3, on=Exception), breaker=breaker, clock=VirtualClock()
    )
    assert policy.limit is not None
    with policy.limit.slot(), pytest.raises(BulkheadFull):
        policy.call_sync(int)
    assert breaker.state == "closed"


def test_breaker_sees_every_attempt():
    """Each attempt counts; once the circuit opens the retry ends with the original error."""
    calls = []

    def fail() -> None:
        calls.append(1)
        raise OSError("down")

    policy = Policy("stock", retry=Retry(9), breaker=CircuitBreaker(min_calls=4), clock=VirtualClock())
    with pytest.raises(OSError, match="down") as caught:
        policy.call_sync(fail)
    assert len(calls) == 4
    assert caught.value.__notes__ == ["stock: gave up after attempt 4 of 9 (circuit_open)"]
    with pytest.raises(CircuitOpen):
        policy.call_sync(fail)
    assert len(calls) == 4


@pytest.mark.parametrize(
    "options", [{"on_result": bool}, {"slow_call": 0.4, "slow_rate": 0.5}, {"window_calls": 10, "on_result": bool}]
)
@pytest.mark.parametrize("face", ["async", "sync"])
def test_the_breaker_inside_judges_as_it_does_alone(options, face):
    """Bad results and slow calls open the circuit of a policy, called either way; good and quick ones are counted beside."""

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", breaker=CircuitBreaker(min_calls=4, **options), clock=clock)
        assert policy.breaker is not None

        async def answer(bad: bool) -> bool:
            await clock.sleep(0.5 if bad else 0)
            return bad

        def answer_sync(bad: bool) -> bool:
            clock.advance(0.5 if bad else 0)
            return bad

        for number in range(4):
            bad = number >= 2
            assert policy.breaker.measured.calls == number
            answered = await policy.call(answer, bad) if face == "async" else policy.call_sync(answer_sync, bad)
            assert answered is bad
        assert policy.breaker.state == "open"

    run_virtual(main)


def test_hanging_dependency_opens_the_breaker():
    """Calls that run into the total limit are failures for the breaker, with no attempt limit set."""

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", total=0.5, breaker=CircuitBreaker(min_calls=3), clock=clock)
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                await policy.call(clock.sleep, 60.0)
        with pytest.raises(CircuitOpen):
            await policy.call(clock.sleep, 60.0)

    run_virtual(main)


def test_cancellation_passes_and_counts_for_nothing():
    """A task cancelled from outside ends as cancelled, wherever it stood; slot and breaker are as before."""

    async def main(clock: VirtualClock) -> None:
        policy = Policy(
            "stock",
            limit=Bulkhead(1, queue_timeout=9.0),
            retry=Retry(3),
            breaker=CircuitBreaker(min_calls=1),
            clock=clock,
        )
        assert policy.limit is not None
        assert policy.breaker is not None
        tasks = [asyncio.create_task(policy.call(clock.sleep, 5.0)) for _ in range(3)]
        await clock.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        assert (policy.limit.active, policy.breaker.state) == (0, "closed")

    run_virtual(main)


def test_decorates_async_functions():
    """@policy on an async def keeps name and signature and protects the awaited call."""
    breaker = CircuitBreaker(min_calls=1, clock=VirtualClock())

    @Policy("stock", breaker=breaker)
    async def reserve(sku: str, *, count: int = 1) -> str:
        """Reserve."""
        if count > 9:
            raise OSError("down")
        return f"{count} {sku}"

    assert inspect.iscoroutinefunction(reserve)
    assert (reserve.__name__, reserve.__doc__) == ("reserve", "Reserve.")
    assert list(inspect.signature(reserve).parameters) == ["sku", "count"]
    assert asyncio.run(reserve("oar", count=2)) == "2 oar"
    with pytest.raises(OSError, match="down"):
        asyncio.run(reserve("oar", count=10))
    assert breaker.state == "open"


@pytest.mark.parametrize("part", [Policy("p"), Retry(1), CircuitBreaker(), Bulkhead(2)])
def test_each_part_works_alone(part):
    """Policy, retry, breaker and bulkhead have the same three faces, for functions, methods and callables."""

    class Stock:
        @part
        def count(self, fn: str) -> str:
            return fn

        @part
        async def count_later(self, fn: str) -> str:
            return fn

        async def __call__(self, fn: str) -> str:
            return fn

    async def main() -> list[str]:
        return [await part.call(Stock().count_later, fn="a"), await Stock().count_later("b"), await part(Stock())("c")]

    assert asyncio.run(main()) == ["a", "b", "c"]
    assert part.call_sync(Stock().count, fn="d") == "d"
    assert Stock().count(fn="e") == "e"


def test_generators_are_refused():
    """A generator function runs nothing when called, so decorating it is an error."""

    def numbers():
        yield 1

    async def numbers_async():
        yield 1

    for fn in (numbers, numbers_async):
        with pytest.raises(TypeError, match="generator"):
            Policy("p")(fn)


def test_explains_itself():
    """explain() names the parts in their order, with their numbers."""
    policy = Policy(
        "payment",
        total=2.0,
        attempt=0.5,
        limit=Bulkhead(20, queue=50, queue_timeout=0.5),
        retry=Retry(3, budget=RetryBudget(0.1)),
        breaker=CircuitBreaker(0.5, slow_call=0.4),
    )
    assert policy.explain().splitlines() == [
        "payment, from the outside in:",
        "  1. total time-out: 2 s",
        "  2. bulkhead: 20 at once, 50 more wait up to 0.5 s",
        (
            "  3. retry: 3 attempts on OSError, TimeoutError; delay up to 0.05 s, doubling to 2 s;"
            " budget 10% of requests + 1/s"
        ),
        (
            "  4. breaker: opens for 5 s when 50% failed (Exception) or 80% took 0.4 s of at least 20 calls in 10 s;"
            " 3 probes close it"
        ),
        "  5. attempt time-out: 0.5 s",
    ]


@pytest.mark.parametrize("options", [{"total": 0}, {"attempt": -1}, {"total": float("nan")}, {"attempt": float("inf")}])
def test_senseless_limits_are_refused(options):
    """Limits are finite and above zero, or None."""
    with pytest.raises(ConfigurationError):
        Policy("p", **options)


def test_parts_take_clock_and_name_from_the_first_policy():
    """A part that was given no name or clock of its own uses those of its policy."""
    clock = VirtualClock()
    breaker, own = CircuitBreaker(), CircuitBreaker(name="mine")
    Policy("first", breaker=breaker, clock=clock)
    Policy("second", breaker=breaker)
    Policy("third", breaker=own)
    assert (breaker.name, breaker.clock, own.name) == ("first", clock, "mine")
