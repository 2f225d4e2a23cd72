"""Retries that do not make an overload worse: bounded, spread out, within a budget, by one layer only.

Full and decorrelated jitter are Brooker's (Exponential Backoff And Jitter, AWS 2015); the budget is Finagle's.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Literal

from skerry.clock import Clock
from skerry.context import get_deadline, get_retried, reset_retried, set_retried
from skerry.errors import Refused
from skerry.resilience._part import Matcher, P, Part, T, matches, names, plain, require
from skerry.resilience.breaker import CircuitBreaker
from skerry.resilience.budget import RetryBudget
from skerry.signals import RetryDenied, RetryPlanned, emit

Jitter = Literal["full", "decorrelated"]
_DAY = 86_400.0
"""Seconds. A `retry_after` beyond this is a mistake, not an answer."""


class Retry(Part):
    """Call again after a failure: `attempts` calls in total, at most.

    Retries what matches `on`, a class, several, or a predicate; never `Refused` nor a cancellation. The delay after failure n
    is drawn evenly from 0 to min(`cap`, `base` * 2**(n - 1)) seconds; with `jitter="decorrelated"` from `base` to three times the
    delay before, at most `cap`. An exception with a `retry_after` in seconds is waited for at least that long, but no longer than
    `retry_after_cap`.

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
        jitter: Jitter = "full",
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
        require(jitter in {"full", "decorrelated"}, f"Retry: jitter is {jitter!r}; use 'full' or 'decorrelated'")
        self.jitter: Jitter = jitter
        self.retry_after_cap = retry_after_cap
        self._budget = budget
        self._matches = matches(on)
        self._requests: Iterator[bool] = repeat(False, 0)

    @property
    def budget(self) -> RetryBudget | None:
        """What its retries are taken from. Another may be put in its place."""
        return self._budget

    @budget.setter
    def budget(self, budget: RetryBudget | None) -> None:
        self._budget, self._requests = budget, repeat(False, 0)

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)`, again if need be. Raises what its last attempt raised."""
        for unseen in self._requests:  # counts one
            if unseen:
                self._look()
            break
        else:
            self._deposit()
        mark = None if self.attempts == 1 or get_retried() else set_retried(True)
        tries = None
        try:
            while True:
                try:
                    # an empty call is cheaper than one with nothing in it
                    return await (fn(*args, **kwargs) if args or kwargs else fn())  # type: ignore[call-arg]
                except BaseException as error:
                    tries = tries or Tries(self, self.name, None, get_deadline(), outer_layer_retries=mark is None)
                    if not await tries.again(error):
                        raise
        finally:
            if mark is not None:
                reset_retried(mark)

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`, called again if need be; blocks the thread in between. Raises what its last attempt raised."""
        for unseen in self._requests:
            if unseen:
                self._look()
            break
        else:
            self._deposit()
        mark = None if self.attempts == 1 or get_retried() else set_retried(True)
        tries = None
        try:
            while True:
                try:
                    return plain(fn(*args, **kwargs))
                except BaseException as error:
                    tries = tries or Tries(self, self.name, None, get_deadline(), outer_layer_retries=mark is None)
                    if not tries.again_sync(error):
                        raise
        finally:
            if mark is not None:
                reset_retried(mark)

    def _look(self) -> None:
        """Look at the clock, since nobody has for a while."""
        if self._budget is not None:
            clock = self._now
            self._budget.forget(clock())

    def _deposit(self) -> None:
        """Count a request by the clock, and find what counts the next ones without."""
        if self._budget is None:
            self._requests = repeat(False)
        else:
            clock = self._now
            self._budget.deposit_in_turn(clock())
            self._requests = self._budget.recent.calls

    def retries(self, error: Exception) -> bool:
        """Whether `error` is of the kind that is retried."""
        return not isinstance(error, Refused) and self._matches(error)

    def delay(
        self,
        failures: int,
        error: BaseException | None = None,
        *,
        clock: Clock | None = None,
        before: float | None = None,
    ) -> float:
        """Seconds to wait after so many failures, the last of which was `error`; drawn by `clock`, else by its own.

        `before`: the delay before this one, for decorrelated jitter; without it the longest that it can have been.
        """
        drawn = (clock or self.clock).random()
        if self.jitter == "full":
            delay = drawn * min(self.cap, self.base * 2.0 ** min(failures - 1, 60))
        else:
            longest = 3.0 * (self.base * 3.0 ** min(failures - 1, 60) if before is None else max(self.base, before))
            delay = min(self.cap, self.base + drawn * (longest - self.base))
        return max(delay, min(_retry_after(error), self.retry_after_cap))

    def describe(self) -> str:
        """The rules in words."""
        budget = ""
        if self.budget is not None:
            budget = f"; budget {self.budget.ratio:.0%} of requests + {self.budget.min_per_second:g}/s"
        delay = f"delay up to {self.base:g} s, doubling to {self.cap:g} s"
        if self.jitter == "decorrelated":
            delay = f"delay from {self.base:g} s to thrice the one before, up to {self.cap:g} s"
        return f"retry: {self.attempts} attempts on {names(self.on)}; {delay}{budget}"


class Tries:
    """One call's attempts so far, and what follows a failure."""

    def __init__(
        self,
        retry: Retry | None,
        policy: str,
        breaker: CircuitBreaker | None,
        deadline: float,
        *,
        outer_layer_retries: bool,
    ) -> None:
        self._retry = retry
        self._policy = policy
        self._breaker = breaker
        self._deadline = deadline
        self._outer_layer_retries = outer_layer_retries
        self._attempt = 1
        self._delay = 0.0

    async def again(self, error: BaseException) -> bool:
        """Whether to call again after `error`; returns when it is time to."""
        retry = self._retry
        if retry is None or not isinstance(error, Exception):
            return False
        delay = self._delay_after(retry, error)
        if delay is None:
            return False
        with self._pause(retry, error) as goes_on:
            await retry.clock.sleep(delay)
        return bool(goes_on)

    def again_sync(self, error: BaseException) -> bool:
        """The same for a thread."""
        retry = self._retry
        if retry is None or not isinstance(error, Exception):
            return False
        delay = self._delay_after(retry, error)
        if delay is None:
            return False
        with self._pause(retry, error) as goes_on:
            retry.clock.sleep_sync(delay)
        return bool(goes_on)

    def _delay_after(self, retry: Retry, error: Exception) -> float | None:
        """Seconds until the next attempt, its budget taken; None when there is none."""
        if not retry.retries(error):
            return None
        delay = retry.delay(self._attempt, error, before=self._delay)
        reason = self._denial(retry, delay)
        if reason is not None:
            self._deny(retry, error, reason)
            return None
        self._delay = delay
        emit(RetryPlanned(policy=self._policy, attempt=self._attempt, delay=delay, error=type(error).__name__))
        return delay

    @contextmanager
    def _pause(self, retry: Retry, error: Exception) -> Iterator[list[bool]]:
        """Around the wait before the next attempt. Afterwards what it gives is empty when that has become pointless meanwhile."""
        goes_on: list[bool] = []
        try:
            yield goes_on
            reason = self._pointless(retry, 0.0)
            if reason is None:
                goes_on.append(True)
                self._attempt += 1
            else:
                self._deny(retry, error, reason)
        finally:
            if retry.budget is not None:
                retry.budget.settle(retry.clock.monotonic(), used=bool(goes_on))

    def _denial(self, retry: Retry, delay: float) -> str | None:
        if self._attempt >= retry.attempts:
            return "attempts"
        if self._outer_layer_retries:
            return "outer_layer"
        reason = self._pointless(retry, delay)
        if reason is None and retry.budget is not None and not retry.budget.withdraw(retry.clock.monotonic()):
            return "budget"
        return reason

    def _pointless(self, retry: Retry, delay: float) -> str | None:
        if self._breaker is not None and self._breaker.refuses():
            return "circuit_open"
        return "deadline" if self._deadline - retry.clock.monotonic() <= delay else None

    def _deny(self, retry: Retry, error: Exception, reason: str) -> None:
        error.add_note(f"{self._policy}: gave up after attempt {self._attempt} of {retry.attempts} ({reason})")
        emit(RetryDenied(policy=self._policy, reason=reason, error=type(error).__name__))


def _retry_after(error: BaseException | None) -> float:
    """What the other side asked for, in seconds; 0 for nothing or nonsense."""
    value = getattr(error, "retry_after", None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _DAY:
        return 0.0
    return float(value)
