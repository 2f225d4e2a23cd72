"""A circuit breaker: stops calling what fails, and finds out gently when it is back.

The pattern is Nygard's (Release It!); rate over a sliding window and slow-call rate are resilience4j's, probe permits that
expire are Polly's. Results carry the generation of the state that admitted them, so that a late one decides nothing.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from skerry.clock import Clock
from skerry.errors import CircuitOpen, DeadlineExceeded, Refused
from skerry.resilience._part import Matcher, P, Part, T, matches, names, plain, require
from skerry.resilience._window import CountWindow, TimeWindow, Window
from skerry.signals import BreakerChanged, CallRefused, emit

State = Literal["closed", "open", "half_open", "isolated"]


@dataclass(slots=True, eq=False)
class _Permit:
    generation: int
    since: float


class CircuitBreaker(Part):
    """Refuses calls for `open_for` seconds once too many of the recent ones failed or were slow.

    It opens when at least `min_calls` ended in the last `window` seconds (or `window_calls` calls) and `failure_rate` of them
    failed, or `slow_rate` of them took `slow_call` seconds or longer. Then at most `probes` calls pass at a time: the first
    that fails or is slow opens it again, `probes` successes close it. A probe that neither ends nor is cancelled loses its
    permit after `open_for` seconds.

    `on` says which exceptions are failures; others mean that the dependency answered, which is a success. `Refused`, a
    cancellation and a caller's own deadline (`DeadlineExceeded.imposed`) say nothing about the dependency and do not count.
    What a call raises passes unchanged. Results of calls that began before the last change of state count for nothing. Safe
    to share between tasks and threads; no lock is held during a call.

    Example: `CircuitBreaker(0.5, slow_call=0.4, window=10.0, min_calls=20, open_for=5.0, probes=3)`
    """

    def __init__(
        self,
        failure_rate: float = 0.5,
        *,
        slow_call: float | None = None,
        slow_rate: float = 0.8,
        window: float = 10.0,
        window_calls: int | None = None,
        min_calls: int = 20,
        open_for: float = 5.0,
        probes: int = 3,
        on: Matcher = Exception,
        name: str = "",
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, clock)
        require(0 < failure_rate <= 1, f"CircuitBreaker: failure_rate is {failure_rate}; use more than 0, at most 1")
        require(0 < slow_rate <= 1, f"CircuitBreaker: slow_rate is {slow_rate}; use more than 0, at most 1")
        require(slow_call is None or slow_call > 0, f"CircuitBreaker: slow_call is {slow_call}; give seconds above 0")
        require(0 < window < math.inf, f"CircuitBreaker: window is {window}; give seconds above 0")
        require(
            window_calls is None or window_calls >= 1, f"CircuitBreaker: window_calls is {window_calls}; at least 1"
        )
        require(0 < open_for < math.inf, f"CircuitBreaker: open_for is {open_for}; give seconds above 0")
        require(min_calls >= 1 and probes >= 1, "CircuitBreaker: min_calls and probes must be at least 1")
        self.failure_rate = failure_rate
        self.slow_call = slow_call
        self.slow_rate = slow_rate
        self.window = window
        self.window_calls = window_calls
        self.min_calls: int = min_calls if window_calls is None else min(min_calls, window_calls)
        self.open_for = open_for
        self.probes = probes
        self.on = on
        self._is_failure = matches(on)
        self._lock = threading.Lock()
        self._state: State = "closed"
        self._generation = 0
        self._since = 0.0
        self._reason = ""
        self._recent = self._new_window()
        self._probing: set[_Permit] = set()
        self._probed = 0

    @property
    def state(self) -> State:
        """closed, open, half_open or isolated. An open circuit stays open until a call comes after `open_for` seconds."""
        return self._state

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)`. Raises `CircuitOpen` without calling it, or what it raises."""
        with self.permit():
            return await fn(*args, **kwargs)

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`. Raises `CircuitOpen` without calling it, or what it raises."""
        with self.permit():
            return plain(fn(*args, **kwargs))

    @contextmanager
    def permit(self, policy: str = "") -> Iterator[None]:
        """Admit a block and learn from how it ends. Raises `CircuitOpen`. Right for sync and async code alike."""
        permit = self._admit(policy or self.name)
        failed: bool | None = None
        try:
            yield
            failed = False
        except BaseException as error:
            failed = self._verdict(error)
            raise
        finally:
            self._settle(permit, failed=failed)

    def refuses(self) -> bool:
        """Whether a call would be refused at this moment."""
        with self._lock:
            return self._refusal(self.name, self.clock.monotonic()) is not None

    def isolate(self, reason: str) -> None:
        """Refuse all calls until `close`, whatever happens."""
        self._force("isolated", reason)

    def close(self) -> None:
        """Admit calls again and forget what was counted."""
        self._force("closed", "closed by hand")

    def describe(self) -> str:
        """The thresholds in words."""
        span = f"{self.window:g} s" if self.window_calls is None else f"{self.window_calls} calls"
        slow = "" if self.slow_call is None else f" or {self.slow_rate:.0%} took {self.slow_call:g} s"
        return (
            f"breaker: opens for {self.open_for:g} s when {self.failure_rate:.0%} failed ({names(self.on)}){slow}"
            f" of at least {self.min_calls} calls in {span}; {self.probes} probes close it"
        )

    def _new_window(self) -> Window:
        return TimeWindow(self.window, 3) if self.window_calls is None else CountWindow(self.window_calls, 3)

    def _admit(self, policy: str) -> _Permit:
        now = self.clock.monotonic()
        changed = None
        with self._lock:
            refusal = self._refusal(policy, now)
            if refusal is None:
                if self._state == "open":
                    changed = self._enter("half_open", now, f"open for {self.open_for:g} s")
                permit = _Permit(self._generation, now)
                if self._state == "half_open":
                    self._probing.add(permit)
        # signals go out without the lock: a subscriber may look at this breaker
        if refusal is not None:
            emit(CallRefused(policy=policy, reason=refusal.reason))
            raise refusal
        if changed is not None:
            emit(changed)
        return permit

    def _refusal(self, policy: str, now: float) -> CircuitOpen | None:
        """Why a call would be refused at `now`; a fresh exception each time, so that none collects tracebacks."""
        if self._state == "isolated":
            return CircuitOpen(f"{policy}: isolated ({self._reason}) until it is closed by hand")
        if self._state == "open":
            wait = self._since + self.open_for - now
            if wait > 0:
                return CircuitOpen(
                    f"{policy}: the circuit is open, {self._reason}; try in {wait:.3g} s", retry_after=wait
                )
        if self._state == "half_open":
            self._probing = {permit for permit in self._probing if now - permit.since < self.open_for}
            if len(self._probing) + self._probed >= self.probes:
                wait = min(permit.since for permit in self._probing) + self.open_for - now
                return CircuitOpen(f"{policy}: the circuit is half open and its probes are under way", retry_after=wait)
        return None

    def _verdict(self, error: BaseException) -> bool | None:
        """Whether `error` is a failure of the dependency; None when it says nothing about it."""
        if isinstance(error, Refused) or not isinstance(error, Exception):  # a cancellation is not an Exception
            return None
        if isinstance(error, DeadlineExceeded) and error.imposed:
            return None  # a caller in a hurry, or one who forges a deadline, must not open the circuit for others
        return self._is_failure(error)

    def _settle(self, permit: _Permit, *, failed: bool | None) -> None:
        now = self.clock.monotonic()
        with self._lock:
            changed = self._learn(permit, failed, now)
        if changed is not None:
            emit(changed)

    def _learn(self, permit: _Permit, failed: bool | None, now: float) -> BreakerChanged | None:
        if permit.generation != self._generation:
            return None
        probe = self._state == "half_open"
        if probe and permit not in self._probing:  # it lost its permit
            return None
        self._probing.discard(permit)
        if failed is None:
            return None
        slow = self.slow_call is not None and now - permit.since >= self.slow_call
        if not probe:
            self._recent.add(now, 1, failed, slow)
            reason = self._trips(now) if failed or slow else ""
            return self._enter("open", now, reason) if reason else None
        if failed or slow:
            return self._enter("open", now, "a probe failed" if failed else "a probe was slow")
        self._probed += 1
        return self._enter("closed", now, f"{self.probes} probes succeeded") if self._probed == self.probes else None

    def _trips(self, now: float) -> str:
        calls, failures, slow = self._recent.totals(now)
        if calls < self.min_calls:
            return ""
        if failures >= self.failure_rate * calls:
            return f"{failures} of {calls} calls failed"
        if self.slow_call is not None and slow >= self.slow_rate * calls:
            return f"{slow} of {calls} calls were slow"
        return ""

    def _force(self, state: State, reason: str) -> None:
        with self._lock:
            changed = self._enter(state, self.clock.monotonic(), reason)
        if changed.before != changed.after:
            emit(changed)

    def _enter(self, state: State, now: float, reason: str) -> BreakerChanged:
        changed = BreakerChanged(policy=self.name, before=self._state, after=state, reason=reason)
        self._state = state
        self._generation += 1
        self._since = now
        self._reason = reason
        self._recent = self._new_window()
        self._probing = set()
        self._probed = 0
        return changed
