"""Retries that do not make an overload worse: bounded, spread out, within a budget, by one layer only.

Full jitter is Brooker's (Exponential Backoff And Jitter, AWS 2015); the budget is Finagle's.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

from skerry.clock import Clock
from skerry.context import CallContext, current, use
from skerry.errors import Refused
from skerry.resilience._part import Matcher, P, Part, T, matches, names, plain, require
from skerry.resilience.breaker import CircuitBreaker
from skerry.resilience.budget import RetryBudget
from skerry.signals import RetryDenied, RetryPlanned, emit

_DAY = 86_400.0
"""Seconds. A `retry_after` beyond this is a mistake, not an answer."""


class Retry(Part):
    """Call again after a failure: `attempts` calls in total, at most.

    Retries what matches `on`, a class, several, or a predicate; never `Refused` nor a cancellation. The delay after failure n
    is drawn evenly from 0 to min(`cap`, `base` * 2**(n - 1)) seconds. An exception with a `retry_after` in seconds is waited for
    at least that long, but no longer than `retry_after_cap`.

    It gives up at once, and raises the exception it has, with a note: when the delay would pass the deadline, when the breaker
    beside it would refuse the next attempt, when the budget is spent, or when a layer further out retries already
    (`current().retries_above`). With more than one attempt it sets that mark for what it calls, so that only one layer retries.

    Example: `Retry(3, on=(OSError, TimeoutError), budget=RetryBudget(ratio=0.1))`
    """

    def __init__(
        self,
        attempts: int = 3,
        *,
        on: Matcher = (OSError, TimeoutError),
        base: float = 0.05,
        cap: float = 2.0,
        retry_after_cap: float = 30.0,
        budget: RetryBudget | None = None,
        name: str = "",
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, clock)
        require(attempts >= 1, f"Retry: attempts is {attempts}; it counts the first call too, so at least 1")
        require(0 <= base <= cap < math.inf, f"Retry: base is {base} and cap {cap}; give 0 <= base <= cap")
        require(0 <= retry_after_cap < math.inf, f"Retry: retry_after_cap is {retry_after_cap}; give seconds from 0")
        self.attempts = attempts
        self.on = on
        self.base = base
        self.cap = cap
        self.retry_after_cap = retry_after_cap
        self.budget = budget
        self._matches = matches(on)

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)`, again if need be. Raises what its last attempt raised."""
        return await self.run(lambda: fn(*args, **kwargs))

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`, called again if need be; blocks the thread in between. Raises what its last attempt raised."""
        return self.run_sync(lambda: plain(fn(*args, **kwargs)))

    async def run(
        self, attempt: Callable[[], Awaitable[T]], *, policy: str = "", breaker: CircuitBreaker | None = None
    ) -> T:
        """The loop itself, for a policy: `breaker` stands inside it."""
        tries = _Tries(self, policy or self.name, breaker)
        while True:
            try:
                with tries.marked():
                    return await attempt()
            except Exception as error:
                delay = tries.delay_after(error)
                if delay is None:
                    raise
                with tries.pause(error):
                    await self.clock.sleep(delay)

    def run_sync(self, attempt: Callable[[], T], *, policy: str = "", breaker: CircuitBreaker | None = None) -> T:
        """As `run`, for sync code."""
        tries = _Tries(self, policy or self.name, breaker)
        while True:
            try:
                with tries.marked():
                    return attempt()
            except Exception as error:
                delay = tries.delay_after(error)
                if delay is None:
                    raise
                with tries.pause(error):
                    self.clock.sleep_sync(delay)

    def retries(self, error: Exception) -> bool:
        """Whether `error` is of the kind that is retried."""
        return not isinstance(error, Refused) and self._matches(error)

    def delay(self, failures: int, error: BaseException | None = None, *, clock: Clock | None = None) -> float:
        """Seconds to wait after so many failures, the last of which was `error`; drawn by `clock`, else by its own."""
        ceiling = min(self.cap, self.base * 2.0 ** min(failures - 1, 60))
        return max((clock or self.clock).random() * ceiling, min(_retry_after(error), self.retry_after_cap))

    def describe(self) -> str:
        """The rules in words."""
        budget = ""
        if self.budget is not None:
            budget = f"; budget {self.budget.ratio:.0%} of requests + {self.budget.min_per_second:g}/s"
        delay = f"delay up to {self.base:g} s, doubling to {self.cap:g} s"
        return f"retry: {self.attempts} attempts on {names(self.on)}; {delay}{budget}"


class _Tries:
    """One call's attempts so far, and what follows a failure. It waits for nothing, so both faces share it."""

    def __init__(self, retry: Retry, policy: str, breaker: CircuitBreaker | None) -> None:
        self._retry = retry
        self._policy = policy
        self._breaker = breaker
        self._outer_layer_retries = current().retries_above
        self._attempt = 1
        if retry.budget is not None:
            retry.budget.deposit(retry.clock.monotonic())

    def marked(self) -> AbstractContextManager[CallContext | None]:
        """Tell what is called that this layer retries."""
        if self._retry.attempts == 1 or self._outer_layer_retries:
            return nullcontext()
        return use(replace(current(), retries_above=True))

    def delay_after(self, error: Exception) -> float | None:
        """Seconds until the next attempt, its budget taken; None when there is none."""
        if not self._retry.retries(error):
            return None
        delay = self._retry.delay(self._attempt, error)
        reason = self._denial(delay)
        if reason is not None:
            self._deny(error, reason)
            return None
        emit(RetryPlanned(policy=self._policy, attempt=self._attempt, delay=delay, error=type(error).__name__))
        return delay

    @contextmanager
    def pause(self, error: Exception) -> Iterator[None]:
        """Around the wait before the next attempt. Raises `error` when that has become pointless meanwhile."""
        used = False
        try:
            yield
            reason = self._pointless(0.0)
            if reason is not None:
                self._deny(error, reason)
                raise error
            used = True
        finally:
            if self._retry.budget is not None:
                self._retry.budget.settle(self._retry.clock.monotonic(), used=used)
        self._attempt += 1

    def _denial(self, delay: float) -> str | None:
        if self._attempt >= self._retry.attempts:
            return "attempts"
        if self._outer_layer_retries:
            return "outer_layer"
        reason = self._pointless(delay)
        budget = self._retry.budget
        if reason is None and budget is not None and not budget.withdraw(self._retry.clock.monotonic()):
            return "budget"
        return reason

    def _pointless(self, delay: float) -> str | None:
        if self._breaker is not None and self._breaker.refuses():
            return "circuit_open"
        left = current().remaining(self._retry.clock)
        return "deadline" if left is not None and left <= delay else None

    def _deny(self, error: Exception, reason: str) -> None:
        error.add_note(f"{self._policy}: gave up after attempt {self._attempt} of {self._retry.attempts} ({reason})")
        emit(RetryDenied(policy=self._policy, reason=reason, error=type(error).__name__))


def _retry_after(error: BaseException | None) -> float:
    """What the other side asked for, in seconds; 0 for nothing or nonsense."""
    value = getattr(error, "retry_after", None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _DAY:
        return 0.0
    return float(value)
