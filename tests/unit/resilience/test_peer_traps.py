"""Mistakes found in other libraries, each reproduced there; none of them may happen here.

The bulkhead that leaks the slots of cancelled waiters is in test_bulkhead.py.
"""

import asyncio
import inspect

import pytest

from skerry.errors import CircuitOpen
from skerry.resilience import CircuitBreaker, Policy, Retry, deadline
from skerry.testing import VirtualClock, run_virtual


async def ok() -> str:
    return "ok"


async def broken() -> None:
    raise OSError("down")


def tripped(clock: VirtualClock, **options: object) -> CircuitBreaker:
    """A circuit that has just opened, for five seconds."""
    breaker = CircuitBreaker(**{"min_calls": 1, "open_for": 5.0, "probes": 1, "clock": clock, **options})
    with breaker.permit(), pytest.raises(ZeroDivisionError):
        raise ZeroDivisionError
    breaker._force("open", "test")
    return breaker


def test_no_herd_when_half_open():
    """Of a hundred tasks waiting for an open circuit to half-open, as many as probes pass."""

    async def main(clock: VirtualClock) -> None:
        breaker = tripped(clock, probes=3)
        await clock.sleep(5.0)
        calls = [asyncio.create_task(breaker.call(clock.sleep, 1.0)) for _ in range(100)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(result, CircuitOpen) for result in results) == 97

    run_virtual(main)


@pytest.mark.parametrize("ending", ["success", "cancelled"])
def test_straggler_does_not_close_an_open_circuit(ending):
    """A call that began before the trip and succeeds, or is cancelled, after it closes nothing."""

    async def main(clock: VirtualClock) -> None:
        breaker = CircuitBreaker(min_calls=1, clock=clock)
        straggler = asyncio.create_task(breaker.call(clock.sleep, 1.0))
        await clock.sleep(0)
        with pytest.raises(OSError, match="down"):
            await breaker.call(broken)
        if ending == "cancelled":
            straggler.cancel()
        await asyncio.wait([straggler])
        assert breaker.state == "open"

    run_virtual(main)


def test_straggler_does_not_close_a_half_open_circuit():
    """A success admitted before the trip is no probe: the circuit stays half open while its probe runs."""

    async def main(clock: VirtualClock) -> None:
        breaker = CircuitBreaker(min_calls=1, open_for=5.0, probes=1, clock=clock)
        straggler = asyncio.create_task(breaker.call(clock.sleep, 6.0))
        await clock.sleep(0)
        with pytest.raises(OSError, match="down"):
            await breaker.call(broken)
        await clock.sleep(5.0)
        probe = asyncio.create_task(breaker.call(clock.sleep, 3.0))
        await straggler
        assert breaker.state == "half_open"
        await probe
        assert breaker.state == "closed"

    run_virtual(main)


def test_stragglers_do_not_extend_the_open_period():
    """Failures of calls that began before the trip leave the open period as it was."""

    async def main(clock: VirtualClock) -> None:
        breaker = CircuitBreaker(min_calls=1, open_for=5.0, clock=clock)

        async def fail_late() -> None:
            await clock.sleep(4.0)
            raise OSError("late")

        straggler = asyncio.create_task(breaker.call(fail_late))
        await clock.sleep(0)
        with pytest.raises(OSError, match="down"):
            await breaker.call(broken)
        await asyncio.wait([straggler])
        assert isinstance(straggler.exception(), OSError)
        await clock.sleep(1.0)
        assert await breaker.call(ok) == "ok"

    run_virtual(main)


def test_probe_of_an_earlier_half_open_period_counts_for_nothing():
    """An old probe frees no permit and counts as no success in a later half-open period."""

    async def main(clock: VirtualClock) -> None:
        breaker = tripped(clock, probes=2)
        await clock.sleep(5.0)
        old = asyncio.create_task(breaker.call(clock.sleep, 6.0))
        await clock.sleep(0)
        with pytest.raises(OSError, match="down"):
            await breaker.call(broken)
        await clock.sleep(5.0)
        probes = [asyncio.create_task(breaker.call(clock.sleep, 4.0)) for _ in range(2)]
        await old
        with pytest.raises(CircuitOpen):
            await breaker.call(ok)
        await asyncio.gather(*probes)
        assert breaker.state == "closed"

    run_virtual(main)


def test_two_thirds_failures_open_it():
    """Failures broken by successes open it: the rate counts, not consecutive failures."""

    async def main(clock: VirtualClock) -> None:
        breaker = CircuitBreaker(0.5, min_calls=20, clock=clock)
        for fn in [broken, broken, ok] * 7:
            await asyncio.gather(breaker.call(fn), return_exceptions=True)
        assert breaker.state == "open"

    run_virtual(main)


def test_few_failures_among_many_calls_do_not_open_it():
    """Five failures in two thousand calls are no reason to open."""

    async def main(clock: VirtualClock) -> None:
        breaker = CircuitBreaker(0.5, min_calls=20, clock=clock)
        for number in range(2000):
            await asyncio.gather(breaker.call(broken if number % 400 == 0 else ok), return_exceptions=True)
        assert breaker.state == "closed"

    run_virtual(main)


def test_async_failures_are_counted_when_they_happen():
    """Making a coroutine is not a success: an async function is judged by how it ends, and call_sync refuses it."""

    async def main(clock: VirtualClock) -> None:
        breaker = CircuitBreaker(min_calls=20, clock=clock)
        protected = breaker(broken)
        for _ in range(20):
            with pytest.raises(OSError, match="down"):
                await protected()
        assert breaker.state == "open"

    run_virtual(main)
    with pytest.raises(TypeError, match="async function"):
        CircuitBreaker().call_sync(broken)


def test_no_lock_is_held_during_a_call():
    """A call inside a call passes the same breaker: nothing is locked while the function runs."""
    breaker = CircuitBreaker()
    assert breaker.call_sync(breaker.call_sync, breaker.call_sync, int, "7") == 7


def test_keyboard_interrupt_passes_and_counts_for_nothing():
    """KeyboardInterrupt and SystemExit are not failures of the dependency and pass unchanged."""
    breaker = CircuitBreaker(min_calls=1, clock=VirtualClock())

    def interrupted(error: BaseException) -> None:
        raise error

    for error in (KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(error)) as caught:
            breaker.call_sync(interrupted, error)
        assert caught.value is error
    assert breaker.state == "closed"


def test_wall_clock_is_never_read():
    """A wall clock set an hour back or forth changes neither the open period nor the deadline of retries."""
    clock = VirtualClock()
    breaker = tripped(clock)
    clock.step_wall(-3600.0)
    clock.advance(5.0)
    assert breaker.call_sync(int) == 0
    calls = []

    def fail() -> None:
        calls.append(1)
        clock.step_wall(3600.0)
        raise OSError("down")

    with deadline(60.0, clock=clock), pytest.raises(OSError, match="down"):
        Retry(5, clock=clock).call_sync(fail)
    assert len(calls) == 5


def test_cancellations_do_not_open_it():
    """Cancelled calls are no failures."""

    async def main(clock: VirtualClock) -> None:
        breaker = CircuitBreaker(min_calls=1, clock=clock)
        tasks = [asyncio.create_task(breaker.call(clock.sleep, 9.0)) for _ in range(5)]
        await clock.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert breaker.state == "closed"

    run_virtual(main)


def test_policies_do_not_share_options_by_name():
    """Two breakers of one name are two breakers: the options of one never change the other."""
    first = CircuitBreaker(name="stock", min_calls=1, on=(OSError,), clock=VirtualClock())
    CircuitBreaker(name="stock", on=(KeyError,))
    with pytest.raises(ZeroDivisionError):
        first.call_sync(lambda: 1 / 0)
    assert first.state == "closed"


def test_rejections_do_not_grow_a_traceback():
    """Each rejection is an exception of its own: five hundred of them leave no traceback growing."""
    breaker = tripped(VirtualClock())
    seen = []
    for _ in range(500):
        with pytest.raises(CircuitOpen) as caught:
            breaker.call_sync(int)
        seen.append(caught.value)
    assert len({id(error) for error in seen}) == 500
    frames = inspect.getinnerframes(seen[-1].__traceback__)
    assert len(frames) < 10


def test_cancelled_probe_frees_its_permit_and_closes_nothing():
    """A cancelled probe is neither a success nor a permit lost for ever."""

    async def main(clock: VirtualClock) -> None:
        breaker = tripped(clock)
        await clock.sleep(5.0)
        probe = asyncio.create_task(breaker.call(clock.sleep, 9.0))
        await clock.sleep(0)
        probe.cancel()
        await asyncio.wait([probe])
        assert breaker.state == "half_open"
        assert await breaker.call(ok) == "ok"
        assert breaker.state == "closed"

    run_virtual(main)


def test_probe_with_an_uncounted_error_does_not_block():
    """A probe that ends in an exception outside `on` got an answer: the circuit closes, it does not reject for ever."""
    clock = VirtualClock()
    breaker = tripped(clock, on=(OSError,))
    clock.advance(5.0)
    with pytest.raises(ZeroDivisionError):
        breaker.call_sync(lambda: 1 / 0)
    assert breaker.state == "closed"


def test_own_time_out_error_is_not_relabelled():
    """A TimeoutError that the function raised itself comes out as that very object."""
    mine = TimeoutError("mine")

    async def fail() -> None:
        raise mine

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", total=5.0, attempt=1.0, retry=Retry(1), breaker=CircuitBreaker(), clock=clock)
        with pytest.raises(TimeoutError) as caught:
            await policy.call(fail)
        assert caught.value is mine

    run_virtual(main)


@pytest.mark.parametrize("moment", ["running", "completing", "expiring", "sleeping"])
def test_cancel_is_never_swallowed(moment):
    """cancel() ends the task as cancelled: while it runs, in the completing tick, in the expiring tick, between attempts."""

    async def main(clock: VirtualClock) -> None:
        result = asyncio.get_running_loop().create_future()
        policy = Policy("stock", attempt=1.0, retry=Retry(3, on=lambda _: True, base=2.0), clock=clock)
        fn = broken if moment == "sleeping" else lambda: result
        task = asyncio.create_task(policy.call(fn))
        if moment == "expiring":
            asyncio.get_running_loop().call_at(1.0, task.cancel)
        else:
            await clock.sleep(0)
            if moment == "completing":
                result.set_result(None)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run_virtual(main)


def test_retry_does_not_catch_cancellation_by_a_wide_predicate():
    """Not even on=BaseException retries a cancellation."""

    async def main(clock: VirtualClock) -> None:
        task = asyncio.create_task(Retry(3, on=BaseException, clock=clock).call(clock.sleep, 9.0))
        await clock.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run_virtual(main)


def test_tripping_error_is_not_replaced():
    """The call that opens the circuit raises its own error, the one with the cause in it."""
    boom = OSError("the cause")

    def fail() -> None:
        raise boom

    breaker = CircuitBreaker(min_calls=1, clock=VirtualClock())
    with pytest.raises(OSError, match="the cause") as caught:
        breaker.call_sync(fail)
    assert caught.value is boom
    assert breaker.state == "open"


def test_hanging_attempt_is_bounded():
    """The limit of a retried call ends an attempt that hangs, not only the time between attempts."""

    async def main(clock: VirtualClock) -> float:
        with pytest.raises(TimeoutError):
            async with deadline(2.0, clock=clock):
                await Retry(3, clock=clock).call(clock.sleep, 3600.0)
        return clock.monotonic()

    assert run_virtual(main) == 2.0


def test_retry_does_not_sleep_through_an_open_circuit():
    """A retry in front of an open breaker gives up at once, with the error it has."""

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", retry=Retry(5, base=9.0, cap=9.0), breaker=CircuitBreaker(min_calls=1), clock=clock)
        with pytest.raises(OSError, match="down"):
            await policy.call(broken)
        assert clock.monotonic() == 0

    run_virtual(main)


def test_hung_probe_does_not_block_half_open_for_ever():
    """A probe that never returns holds its permit for open_for seconds, not longer."""

    async def main(clock: VirtualClock) -> None:
        breaker = tripped(clock)
        await clock.sleep(5.0)
        hung = asyncio.create_task(breaker.call(clock.sleep, 1e6))
        await clock.sleep(5.0)
        assert await breaker.call(ok) == "ok"
        assert breaker.state == "closed"
        hung.cancel()

    run_virtual(main)


def test_dead_dependency_gets_one_failed_probe():
    """The first failed probe opens the circuit again; the others of that period are not sent."""

    async def main(clock: VirtualClock) -> None:
        breaker = tripped(clock, probes=10)
        await clock.sleep(5.0)
        calls = 0

        async def fail() -> None:
            nonlocal calls
            calls += 1
            raise OSError("down")

        for _ in range(10):
            await asyncio.gather(breaker.call(fail), return_exceptions=True)
        assert calls == 1

    run_virtual(main)


def test_cost_does_not_grow_with_the_window():
    """The window keeps the same few counters for a second and for a year, for one call and for ten thousand."""
    sizes = set()
    for window, calls in ((1.0, 1), (31_536_000.0, 10_000)):
        breaker = CircuitBreaker(window=window, min_calls=10**6, clock=VirtualClock())
        for _ in range(calls):
            breaker.call_sync(int)
        sizes.add(len(breaker._window._marks))
    assert sizes == {10}
