"""A process that is forked while threads are in the middle of something."""

import os
import threading
import traceback
import warnings
from collections.abc import Callable

import pytest

from skerry.resilience import AdaptiveLimit, Bulkhead, CircuitBreaker, RateLimit, RetryBudget
from skerry.testing import VirtualClock


def in_child(check: Callable[[], None]) -> None:
    """Fork, run `check` in the child, and fail when it fails or hangs there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of what is tested here
        child = os.fork()
    if child == 0:
        status = 1
        try:
            threading.Timer(20.0, os._exit, (2,)).start()
            check()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_locks_of_the_parent_are_not_inherited():
    """A child forked while another thread holds every lock goes on as if it had held none."""
    clock = VirtualClock()
    breaker, bulkhead, budget = CircuitBreaker(min_calls=1, clock=clock), Bulkhead(1, clock=clock), RetryBudget()

    def check() -> None:
        with pytest.raises(OSError, match="down"):
            breaker.call_sync(broken)
        assert breaker.state == "open"
        assert bulkhead.call_sync(int) == 0
        assert budget.withdraw(0.0)

    with breaker._lock, bulkhead._lock, budget._lock:
        in_child(check)


def test_an_adaptive_limit_begins_empty_in_the_child():
    """Places of the parent's calls are free, nobody waits, and the call that forked gives back no place twice."""
    clock = VirtualClock()
    limit, rate = AdaptiveLimit(min=2, max=2, queue=1, clock=clock), RateLimit(3, clock=clock)
    held = [limit.enter(), limit.enter()]

    def check() -> None:
        assert (limit.active, limit.waiting) == (0, 0)
        limit.leave()
        assert [limit.enter() for _ in range(3)] == [True, True, False]
        rate.acquire_sync()

    with limit._lock, rate._lock:
        in_child(check)
    assert (held, limit.active) == ([True, True], 2)


def test_calls_of_other_threads_hold_nothing_in_the_child():
    """Slots, probes and shares of calls that only the parent can end are free in the child; its own gives back just one."""
    clock = VirtualClock()
    breaker = CircuitBreaker(probes=1, open_for=5.0, clock=clock)
    bulkhead = Bulkhead(2, queue=0, clock=clock)
    breaker._force("open", "test")
    clock.advance(5.0)
    probing, done = threading.Event(), threading.Event()

    def hang() -> None:
        probing.set()
        assert done.wait(30)

    thread = threading.Thread(target=lambda: bulkhead.call_sync(breaker.call_sync, hang))
    thread.start()
    assert probing.wait(30)

    def check() -> None:
        assert breaker.call_sync(int) == 0
        assert breaker.state == "closed"

    try:
        slot = bulkhead.slot()
        slot.__enter__()

        def check_slots() -> None:
            check()
            slot.__exit__(None, None, None)
            assert (bulkhead.active, bulkhead.waiting) == (0, 0)
            with bulkhead.slot(), bulkhead.slot():
                assert not bulkhead.enter()

        in_child(check_slots)
        slot.__exit__(None, None, None)
        assert bulkhead.active == 1
    finally:
        done.set()
        thread.join()


def broken() -> None:
    raise OSError("down")
