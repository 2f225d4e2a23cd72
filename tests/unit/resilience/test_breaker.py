import asyncio
import threading

import pytest

from skerry.context import CallContext, use
from skerry.errors import AttemptTimeout, BulkheadFull, CircuitOpen, ConfigurationError, DeadlineExceeded
from skerry.resilience import CircuitBreaker, Policy, deadline
from skerry.signals import BreakerChanged, CallRefused
from skerry.testing import VirtualClock, run_virtual


def breaker_on(clock: VirtualClock, **options: object) -> CircuitBreaker:
    return CircuitBreaker(**{"min_calls": 4, "open_for": 5.0, "probes": 2, "name": "stock", "clock": clock, **options})


def ok() -> str:
    return "ok"


def broken() -> None:
    raise OSError("down")


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(OSError, match="down"):
            breaker.call_sync(broken)


def test_opens_at_the_failure_rate():
    """It opens when the rate is reached, and not one call before."""
    breaker = breaker_on(VirtualClock())
    breaker.call_sync(ok)
    breaker.call_sync(ok)
    fail(breaker)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"


def test_needs_min_calls():
    """Fewer calls than min_calls never open it."""
    breaker = breaker_on(VirtualClock())
    fail(breaker, 3)
    assert breaker.state == "closed"


def test_old_failures_are_forgotten():
    """What is older than the window does not count."""
    clock = VirtualClock()
    breaker = breaker_on(clock, window=10.0)
    fail(breaker, 3)
    clock.advance(10.0)
    fail(breaker)
    assert breaker.state == "closed"


def test_failures_spread_over_the_window_count_together():
    """Failures in different slices of one window add up."""
    clock = VirtualClock()
    breaker = breaker_on(clock, window=10.0)
    for _ in range(4):
        fail(breaker)
        clock.advance(2.0)
    assert breaker.state == "open"


def test_count_window_forgets_by_calls():
    """With window_calls the last N calls count, whenever they were."""
    clock = VirtualClock()
    breaker = breaker_on(clock, window_calls=4)
    fail(breaker)
    for _ in range(3):
        breaker.call_sync(ok)
        clock.advance(1000.0)
    fail(breaker)  # the first failure has left the window: 1 of 4
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"


def test_slow_calls_open_it():
    """Successes slower than slow_call open it at slow_rate."""
    clock = VirtualClock()
    breaker = breaker_on(clock, slow_call=0.4, slow_rate=0.75)
    breaker.call_sync(ok)
    for _ in range(3):
        breaker.call_sync(clock.sleep_sync, 0.4)
    assert breaker.state == "open"


def test_refuses_while_open_and_says_how_long(signals):
    """An open circuit calls nothing, raises CircuitOpen with the seconds left, and signals it."""
    clock = VirtualClock()
    breaker = breaker_on(clock)
    fail(breaker, 4)
    clock.advance(2.0)
    with pytest.raises(CircuitOpen, match=r"stock: the circuit is open, 4 of 4 calls failed; try in 3 s") as caught:
        breaker.call_sync(broken)
    assert caught.value.retry_after == pytest.approx(3.0)
    assert signals == [
        BreakerChanged(policy="stock", before="closed", after="open", reason="4 of 4 calls failed"),
        CallRefused(policy="stock", reason="circuit_open"),
    ]


def test_closes_after_all_probes_succeed(signals):
    """After open_for it probes; as many successes as probes close it."""
    clock = VirtualClock()
    breaker = breaker_on(clock)
    fail(breaker, 4)
    clock.advance(5.0)
    breaker.call_sync(ok)
    assert breaker.state == "half_open"
    breaker.call_sync(ok)
    assert breaker.state == "closed"
    assert [signal.after for signal in signals if isinstance(signal, BreakerChanged)] == ["open", "half_open", "closed"]


def test_first_failed_probe_opens_again():
    """One failed probe is enough to open it for another open_for."""
    clock = VirtualClock()
    breaker = breaker_on(clock)
    fail(breaker, 4)
    clock.advance(5.0)
    breaker.call_sync(ok)
    fail(breaker)
    assert breaker.state == "open"
    clock.advance(4.9)
    with pytest.raises(CircuitOpen):
        breaker.call_sync(ok)


def test_slow_probe_opens_again():
    """A probe slower than slow_call does not count as recovery."""
    clock = VirtualClock()
    breaker = breaker_on(clock, slow_call=0.4)
    fail(breaker, 4)
    clock.advance(5.0)
    breaker.call_sync(clock.sleep_sync, 0.5)
    assert breaker.state == "open"


def test_only_chosen_errors_are_failures():
    """An exception outside `on` is an answer, so a success."""
    breaker = breaker_on(VirtualClock(), on=(ConnectionError,))
    fail(breaker, 10)
    assert breaker.state == "closed"


def test_predicate_decides():
    """`on` may be a predicate on the exception."""
    breaker = breaker_on(VirtualClock(), on=lambda error: "down" in str(error))
    fail(breaker, 4)
    assert breaker.state == "open"


def test_broken_predicate_frees_the_probe():
    """A predicate that raises does not keep a probe's permit."""
    clock = VirtualClock()
    breaker = breaker_on(clock, probes=1, on=lambda error: error.no_such_attribute)
    breaker._force("open", "test")
    clock.advance(5.0)
    for _ in range(3):
        with pytest.raises(AttributeError):
            breaker.call_sync(broken)
    assert not breaker.refuses()


def test_refused_counts_for_nothing():
    """A refusal further in says nothing about the dependency, neither closed nor half open."""
    clock = VirtualClock()
    breaker = breaker_on(clock)

    def refused() -> None:
        raise BulkheadFull("full")

    for _ in range(10):
        with pytest.raises(BulkheadFull):
            breaker.call_sync(refused)
    assert breaker.state == "closed"
    fail(breaker, 4)
    clock.advance(5.0)
    for _ in range(10):
        with pytest.raises(BulkheadFull):
            breaker.call_sync(refused)
    assert breaker.state == "half_open"


def test_isolate_and_close():
    """Isolated, it refuses until it is closed by hand, however much time passes."""
    clock = VirtualClock()
    breaker = breaker_on(clock)
    breaker.isolate("maintenance")
    clock.advance(1_000_000.0)
    with pytest.raises(CircuitOpen, match="maintenance") as caught:
        breaker.call_sync(ok)
    assert caught.value.retry_after is None
    breaker.close()
    assert breaker.call_sync(ok) == "ok"


def test_late_failures_do_not_open_it_after_close():
    """A failure of a call that began before close() counts neither in what was forgotten nor in what is counted now."""
    breaker = breaker_on(VirtualClock())
    fail(breaker, 3)
    late = breaker.admit("stock", 0.0)
    breaker.close()
    breaker.failed(late, OSError("late"), 0.0)
    assert (breaker.state, breaker.measured) == ("closed", (0, 0, 0))


def test_results_can_be_failures():
    """A result that `on_result` calls a failure counts as one, closed and half open, and is returned all the same."""
    clock = VirtualClock()
    breaker = breaker_on(clock, probes=1, on_result=lambda reply: reply >= 500)
    assert [breaker.call_sync(lambda reply=reply: reply) for reply in (500, 200, 503, 502)] == [500, 200, 503, 502]
    assert breaker.state == "open"
    clock.advance(5.0)
    assert breaker.call_sync(lambda: 500) == 500
    assert breaker.state == "open"
    clock.advance(5.0)
    assert breaker.call_sync(lambda: 200) == 200
    assert breaker.state == "closed"


def test_broken_result_predicate_frees_the_probe():
    """A predicate on results that raises does not keep a probe's permit."""
    clock = VirtualClock()
    breaker = breaker_on(clock, probes=1, on_result=lambda reply: reply.no_such_attribute)
    breaker._force("open", "test")
    clock.advance(5.0)
    for _ in range(3):
        with pytest.raises(AttributeError):
            breaker.call_sync(ok)
    assert not breaker.refuses()


def test_disabled_it_lets_all_pass_and_counts_nothing(signals):
    """disable() ends all refusing, from any state, until close()."""
    breaker = breaker_on(VirtualClock())
    fail(breaker, 4)
    breaker.disable()
    fail(breaker, 10)
    assert (breaker.state, breaker.measured) == ("disabled", (0, 0, 0))
    breaker.close()
    fail(breaker, 4)
    assert breaker.state == "open"
    changes = [(signal.before, signal.after) for signal in signals if isinstance(signal, BreakerChanged)]
    assert changes == [("closed", "open"), ("open", "disabled"), ("disabled", "closed"), ("closed", "open")]


def test_measures_only():
    """metrics_only() counts failures and slow calls and never opens."""
    clock = VirtualClock()
    breaker = breaker_on(clock, slow_call=0.4)
    breaker.metrics_only()
    fail(breaker, 10)
    breaker.call_sync(clock.sleep_sync, 0.4)
    breaker.call_sync(ok)
    assert (breaker.state, breaker.measured) == ("metrics_only", (12, 10, 1))


@pytest.mark.parametrize("options", [{"window": 10.0}, {"window_calls": 100}])
def test_looking_does_not_count(options):
    """However often somebody looks at `measured`, the numbers are those of the calls, and it opens at the same one."""
    breaker = breaker_on(VirtualClock(), min_calls=8, **options)
    for number in range(7):
        fail(breaker)
        assert [breaker.measured for _ in range(5)] == [(number + 1, number + 1, 0)] * 5
    fail(breaker)
    assert breaker.state == "open"


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0, 9.0, 9.9])
def test_the_window_slides(seconds):
    """What happened up to nine tenths of the window ago counts; what is older than all of it does not."""
    clock = VirtualClock()
    clock.advance(1234.5)
    breaker = breaker_on(clock, window=10.0, min_calls=100)
    breaker.call_sync(ok)
    fail(breaker)
    clock.advance(seconds)
    assert (breaker.measured.calls == 2) is (seconds <= 9.0)
    clock.advance(10.0 - seconds)
    breaker.call_sync(ok)
    assert breaker.measured == (1, 0, 0)


def test_closing_by_hand_forgets():
    """Failures from before close() do not count after it."""
    breaker = breaker_on(VirtualClock())
    fail(breaker, 3)
    breaker.close()
    fail(breaker, 3)
    assert breaker.state == "closed"


def test_hung_probe_loses_its_permit():
    """Probes that never end block half-open for open_for and no longer; their late results decide nothing."""

    async def main(clock: VirtualClock) -> None:
        breaker = breaker_on(clock, probes=2)
        breaker._force("open", "test")
        await clock.sleep(5.0)
        never = asyncio.get_running_loop().create_future()
        hung = [asyncio.create_task(breaker.call(lambda: asyncio.shield(never))) for _ in range(2)]
        await clock.sleep(4.0)
        with pytest.raises(CircuitOpen) as caught:
            breaker.call_sync(ok)
        assert caught.value.retry_after == pytest.approx(1.0)
        await clock.sleep(1.0)
        breaker.call_sync(ok)
        never.set_exception(OSError("late"))
        assert len(await asyncio.gather(*hung, return_exceptions=True)) == 2
        assert breaker.state == "half_open"
        breaker.call_sync(ok)
        assert breaker.state == "closed"

    run_virtual(main)


def test_callers_deadline_says_nothing_about_the_callee() -> None:
    """A call that its caller's deadline cuts short counts for nothing: nobody can open the circuit by being in a hurry."""

    async def main(clock: VirtualClock) -> None:
        breaker = breaker_on(clock)
        policy = Policy("peer", total=10.0, attempt=5.0, breaker=breaker, clock=clock)
        for _ in range(8):
            with pytest.raises(TimeoutError):
                async with deadline(0.5, clock=clock):
                    await breaker.call(clock.sleep, 60.0)
            with use(CallContext(deadline=clock.monotonic() + 0.5)), pytest.raises(DeadlineExceeded):
                await policy.call(clock.sleep, 60.0)
        assert breaker.state == "closed"

    run_virtual(main)


def test_time_out_by_the_policys_own_limit_is_a_failure() -> None:
    """A callee that takes longer than the policy allows opens the circuit, whatever time the caller has."""

    async def main(clock: VirtualClock) -> None:
        breaker = breaker_on(clock)
        policy = Policy("peer", total=10.0, attempt=0.5, breaker=breaker, clock=clock)
        for _ in range(4):
            with use(CallContext(deadline=clock.monotonic() + 30.0)), pytest.raises(AttemptTimeout):
                await policy.call(clock.sleep, 60.0)
        assert breaker.state == "open"

    run_virtual(main)


@pytest.mark.parametrize(
    "options",
    [
        {"failure_rate": 0},
        {"failure_rate": 1.1},
        {"open_for": float("nan")},
        {"probes": 0},
        {"window": 0},
        {"slow_call": 0},
    ],
)
def test_senseless_options_are_refused(options):
    """A threshold that cannot work is a ConfigurationError at construction."""
    with pytest.raises(ConfigurationError):
        CircuitBreaker(**options)


@pytest.mark.parametrize("probes", [1, 3])
def test_threads_never_exceed_the_probes(probes):
    """Of 64 threads released at once on a half-open circuit at most `probes` get in; the others are refused."""
    clock = VirtualClock()
    breaker = breaker_on(clock, probes=probes)
    breaker._force("open", "test")
    clock.advance(5.0)
    start, all_tried = threading.Barrier(64), threading.Event()
    admitted: list[int] = []
    refused: list[int] = []

    def probe(number: int) -> None:
        admitted.append(number)
        assert all_tried.wait(30)

    def caller(number: int) -> None:
        start.wait()
        try:
            breaker.call_sync(probe, number)
        except CircuitOpen:
            refused.append(number)
            if len(refused) == 64 - probes:
                all_tried.set()

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(admitted), len(refused)) == (probes, 64 - probes)
    assert breaker.state == "closed"


def test_threads_lose_no_result():
    """Results of many threads are all counted: 400 failures among 800 calls open at exactly one half."""
    breaker = breaker_on(VirtualClock(), min_calls=800)

    def caller() -> None:
        for _ in range(50):
            breaker.call_sync(ok)
            with pytest.raises(OSError, match="down"):
                breaker.call_sync(broken)

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert breaker.state == "open"
