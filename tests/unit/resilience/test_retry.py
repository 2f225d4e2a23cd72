import asyncio

import pytest

from skerry.context import CallContext, current, use
from skerry.errors import BulkheadFull, ConfigurationError, StatusError
from skerry.resilience import CircuitBreaker, Policy, Retry, RetryBudget, deadline
from skerry.signals import RetryDenied, RetryPlanned
from skerry.testing import VirtualClock, run_virtual


class Flaky:
    """Fails `failures` times, then answers."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0
        self.marks: list[bool] = []

    def __call__(self) -> str:
        self.calls += 1
        self.marks.append(current().retries_above)
        if self.calls <= self.failures:
            raise self.error or OSError(f"failure {self.calls}")
        return "ok"


class HalfClock(VirtualClock):
    """Always draws the middle."""

    def random(self) -> float:
        return 0.5


def test_attempts_are_a_total(signals):
    """Retry(3) calls at most three times, raises the last error itself, and notes the attempts on it."""
    flaky = Flaky(9)
    with pytest.raises(OSError, match="failure 3") as caught:
        Retry(3, name="stock", clock=VirtualClock()).call_sync(flaky)
    assert flaky.calls == 3
    assert caught.value.__notes__ == ["stock: gave up after attempt 3 of 3 (attempts)"]
    assert [type(signal) for signal in signals] == [RetryPlanned, RetryPlanned, RetryDenied]


def test_delays_double_up_to_the_cap():
    """The delay is random * min(cap, base * 2**n): full jitter."""
    clock = HalfClock()
    retry = Retry(9, base=0.1, cap=0.5, clock=clock)
    assert [retry.delay(failures) for failures in (1, 2, 3, 4, 5000)] == [0.05, 0.1, 0.2, 0.25, 0.25]


def test_decorrelated_delays_grow_from_the_one_before():
    """With decorrelated jitter a delay is drawn from base to three times the one before, at most cap."""
    clock = HalfClock()
    retry = Retry(9, base=0.1, cap=2.0, jitter="decorrelated", clock=clock)
    assert [retry.delay(9, before=before) for before in (0.0, 0.1, 0.4, 9.0)] == pytest.approx([0.2, 0.2, 0.65, 2.0])
    assert [retry.delay(failures) for failures in (1, 2, 5000)] == pytest.approx([0.2, 0.5, 2.0])
    assert "from 0.1 s to thrice the one before" in retry.describe()


@pytest.mark.parametrize("jitter", ["full", "decorrelated"])
def test_no_delay_leaves_its_bounds(jitter):
    """Whatever is drawn, a delay lies between its bounds, and the delays of one call follow from each other."""
    clock = VirtualClock(seed=3)
    retry = Retry(200, base=0.05, cap=2.0, jitter=jitter, clock=clock)
    with pytest.raises(OSError, match="failure"):
        retry.call_sync(Flaky(10**6))
    least = 0.05 if jitter == "decorrelated" else 0.0
    assert 199 * least < clock.monotonic() < 199 * 2.0


def test_async_and_sync_follow_the_same_schedule():
    """Both faces wait the same delays for the same seed."""

    async def main(clock: VirtualClock) -> float:
        flaky = Flaky(3)

        async def call() -> str:
            return flaky()

        assert await Retry(4, clock=clock).call(call) == "ok"
        return clock.monotonic()

    clock = VirtualClock(seed=7)
    assert Retry(4, clock=clock).call_sync(Flaky(3)) == "ok"
    assert run_virtual(main, seed=7) == pytest.approx(clock.monotonic())


@pytest.mark.parametrize("error", [ValueError("mine"), BulkheadFull("full"), StatusError("stock", 404)])
def test_other_errors_are_not_retried(error):
    """What `on` does not name passes at once; Refused always does."""
    flaky = Flaky(1, error)
    with pytest.raises(type(error)):
        Retry(3, clock=VirtualClock()).call_sync(flaky)
    assert flaky.calls == 1


def test_predicate_cannot_make_refusals_retried():
    """Even a predicate that says yes to everything does not retry Refused."""
    flaky = Flaky(1, BulkheadFull("full"))
    with pytest.raises(BulkheadFull):
        Retry(3, on=lambda _: True, clock=VirtualClock()).call_sync(flaky)
    assert flaky.calls == 1


def test_predicate_chooses():
    """`on` may be a predicate on the exception."""
    retry = Retry(3, on=lambda error: getattr(error, "status", 0) == 503, clock=VirtualClock())
    assert retry.call_sync(Flaky(2, StatusError("stock", 503))) == "ok"


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        (3, 3),
        (0.001, 0.025),
        (500, 30),
        (-1, 0.025),
        (float("nan"), 0.025),
        (float("inf"), 0.025),
        (1000000000000.0, 0.025),
        ("3", 0.025),
        (True, 0.025),
        (None, 0.025),
        (10**400, 0.025),
    ],
)
def test_retry_after_raises_the_delay(asked, waited):
    """retry_after in seconds is a lower bound for the delay, capped; nonsense is ignored."""
    error = OSError("busy")
    error.retry_after = asked
    clock = HalfClock()
    Retry(2, clock=clock).call_sync(Flaky(1, error))
    assert clock.monotonic() == waited


def test_never_sleeps_past_the_deadline(signals):
    """When the delay would pass the deadline the error is raised at once."""
    clock = HalfClock()
    with deadline(1.0, clock=clock), pytest.raises(OSError, match="failure 1"):
        Retry(3, base=2.0, name="stock", clock=clock).call_sync(Flaky(9))
    assert clock.monotonic() == 0
    assert signals == [RetryDenied(policy="stock", reason="deadline", error="OSError")]


def test_sleep_that_overshoots_the_deadline_ends_the_call():
    """A sleep that took longer than asked does not lead to an attempt after the deadline."""

    class Late(HalfClock):
        def sleep_sync(self, seconds: float) -> None:
            self.advance(seconds + 5.0)

    clock, flaky = Late(), Flaky(9)
    with deadline(1.0, clock=clock), pytest.raises(OSError, match="failure 1"):
        Retry(3, clock=clock).call_sync(flaky)
    assert flaky.calls == 1


def test_only_one_layer_retries(signals):
    """With several attempts the call is marked; a layer inside then does not retry and says so."""
    clock = VirtualClock()
    flaky = Flaky(9)
    inner = Retry(5, name="inner", clock=clock)
    with pytest.raises(OSError, match="failure 2"):
        Retry(2, name="outer", clock=clock).call_sync(inner.call_sync, flaky)
    assert flaky.marks == [True, True]
    assert RetryDenied(policy="inner", reason="outer_layer", error="OSError") in signals


def test_a_single_attempt_sets_no_mark():
    """Retry(1) does not retry, so it leaves that to the layers inside."""
    flaky = Flaky(0)
    Retry(1).call_sync(flaky)
    assert flaky.marks == [False]


def test_mark_from_the_wire_is_kept():
    """A caller elsewhere that retries keeps this process from retrying."""
    flaky = Flaky(9)
    with use(CallContext(retries_above=True)), pytest.raises(OSError, match="failure 1"):
        Retry(5, clock=VirtualClock()).call_sync(flaky)
    assert flaky.marks == [True]


def test_budget_bounds_retries():
    """Retries stay within ratio * requests plus the floor, whatever fails."""
    clock = VirtualClock()
    budget = RetryBudget(0.1, min_per_second=0.5, window=10.0)
    retry = Retry(3, base=0, budget=budget, clock=clock)
    flaky = Flaky(10**9)
    for _ in range(200):
        with pytest.raises(OSError, match="failure"):
            retry.call_sync(flaky)
    assert flaky.calls == 200 + 0.1 * 200 + 5


def test_budget_denial_raises_the_original(signals):
    """Without budget the original error comes at once, with a note and a signal."""
    retry = Retry(3, budget=RetryBudget(0, min_per_second=0), name="stock", clock=VirtualClock())
    with pytest.raises(OSError, match="failure 1") as caught:
        retry.call_sync(Flaky(9))
    assert caught.value.__notes__ == ["stock: gave up after attempt 1 of 3 (budget)"]
    assert signals == [RetryDenied(policy="stock", reason="budget", error="OSError")]


def test_waiting_retry_holds_its_share():
    """A retry in its delay counts against the budget even when the delay outlasts the window; a cancelled one returns it."""

    async def main(clock: VirtualClock) -> None:
        budget = RetryBudget(0, min_per_second=0.1, window=10.0)  # one retry in ten seconds
        busy = OSError("busy")
        busy.retry_after = 25.0
        calls = 0

        async def fail() -> None:
            nonlocal calls
            calls += 1
            raise busy

        retry = Retry(2, budget=budget, clock=clock)
        waiting = asyncio.create_task(retry.call(fail))
        await clock.sleep(20.0)
        with pytest.raises(OSError, match="busy"):
            await retry.call(fail)
        assert (calls, clock.monotonic()) == (2, 20.0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert budget.withdraw(clock.monotonic())

    run_virtual(main)


def test_policies_share_a_budget():
    """One budget bounds the retries of all policies that hold it together."""
    clock = VirtualClock()
    budget = RetryBudget(0, min_per_second=0.2, window=10.0)
    flaky = Flaky(10**9)
    for name in ("one", "two", "three"):
        policy = Policy(name, retry=Retry(5, base=0, budget=budget), clock=clock)
        with pytest.raises(OSError, match="failure"):
            policy.call_sync(flaky)
    assert flaky.calls == 3 + 2


def test_breaker_that_opens_during_the_delay_ends_the_call():
    """A circuit that opened while a retry waited is not called; the original error is raised."""

    async def main(clock: VirtualClock) -> None:
        breaker = CircuitBreaker()
        policy = Policy("stock", retry=Retry(3, base=1.0, cap=1.0), breaker=breaker, clock=clock)
        flaky = Flaky(9)

        async def call() -> str:
            return flaky()

        task = asyncio.create_task(policy.call(call))
        await clock.sleep(0)
        breaker.isolate("maintenance")
        with pytest.raises(OSError, match="failure 1"):
            await task
        assert flaky.calls == 1

    run_virtual(main)


@pytest.mark.parametrize(
    "options", [{"attempts": 0}, {"base": 3.0}, {"cap": float("inf")}, {"base": float("nan")}, {"jitter": "none"}]
)
def test_senseless_options_are_refused(options):
    """Options that cannot work are a ConfigurationError."""
    with pytest.raises(ConfigurationError):
        Retry(**options)


def test_every_request_is_deposited():
    """However many requests a retry makes without a look at the clock, its budget has counted each of them once."""
    budget = RetryBudget(0.001, min_per_second=0)
    retry = Retry(3, budget=budget, clock=VirtualClock())
    for _ in range(20_000):
        retry.call_sync(int)
    assert sum(budget.withdraw(0.0) for _ in range(100)) == 20


def test_requests_are_forgotten_in_time():
    """A retry that stands alone may forget the last 31 requests too early, but keeps none beyond the window."""
    clock = VirtualClock()
    budget = RetryBudget(1.0, min_per_second=0, window=10.0)
    retry = Retry(3, budget=budget, clock=clock)
    for _ in range(60):
        for _ in range(5):
            retry.call_sync(int)
        clock.advance(1.0)
    assert 50 - 31 <= sum(budget.withdraw(clock.monotonic()) for _ in range(100)) <= 50


def test_another_budget_counts_from_then_on():
    """Once a retry has another budget, its requests are counted there, and no more in the one before."""
    before, after = RetryBudget(1.0, min_per_second=0), RetryBudget(1.0, min_per_second=0)
    retry = Retry(3, budget=before, clock=VirtualClock())
    retry.call_sync(int)
    retry.budget = after
    retry.call_sync(int)
    assert [sum(budget.withdraw(0.0) for _ in range(5)) for budget in (before, after)] == [1, 1]


def test_nothing_of_a_call_stays_behind():
    """Deadline and mark of a call are gone when it is over, whether it returned or failed."""
    around = CallContext(deadline=500.0, priority=7)

    async def fail() -> None:
        raise OSError("down")

    async def main(clock: VirtualClock) -> None:
        with use(around):
            retries = Retry(1, clock=clock), Retry(2, base=0, clock=clock)
            for part in (*retries, Policy("stock", total=1.0, retry=Retry(2, base=0), clock=clock)):
                await part.call(asyncio.sleep, 0)
                part.call_sync(int)
                with pytest.raises(OSError, match="down"):
                    await part.call(fail)
                assert current() == around

    run_virtual(main)
