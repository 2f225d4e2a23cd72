"""A circuit breaker: stops calling what fails, and finds out gently when it is back.

The pattern is Nygard's (Release It!); rate over a sliding window and slow-call rate are resilience4j's, probe permits that
expire are Polly's. A result counts in the window that admitted its call, and each change of state begins another: so a late
one decides nothing.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from skerry.clock import Clock
from skerry.errors import CircuitOpen, DeadlineExceeded, Refused
from skerry.resilience._fork import Forked
from skerry.resilience._part import Matcher, P, Part, T, matches, names, plain, require
from skerry.resilience._window import CountWindow, TimeWindow, Window
from skerry.signals import BreakerChanged, CallRefused, emit

State = Literal["closed", "open", "half_open", "isolated", "disabled", "metrics_only"]


_NUMBERS = (
    *("failure_rate", "slow_call", "slow_rate", "window", "window_calls", "min_calls", "open_for", "probes"),
    *("on", "on_result", "glance"),
)


class Measured(NamedTuple):
    """What a circuit breaker has counted in its window."""

    calls: int
    failures: int
    slow: int


class Probe:
    """The permit of one call through a half-open circuit."""

    __slots__ = ("since",)

    def __init__(self, since: float) -> None:
        self.since: float = since


Ticket = Window | Probe | None
"""What admitted a call: the window it counts in, a probe's permit, or a disabled breaker."""


class CircuitBreaker(Part, Forked):
    """Refuses calls for `open_for` seconds once too many of the recent ones failed or were slow.

    It opens when at least `min_calls` ended in the last `window` seconds (or `window_calls` calls) and `failure_rate` of them
    failed, or `slow_rate` of them took `slow_call` seconds or longer. Then at most `probes` calls pass at a time: the first
    that fails or is slow opens it again, `probes` successes close it. A probe that neither ends nor is cancelled loses its
    permit after `open_for` seconds.

    `on` says which exceptions are failures; others mean that the dependency answered, which is a success. `on_result` says
    which results are failures all the same; they are returned as they are. `Refused`, a cancellation and a caller's own
    deadline (`DeadlineExceeded.imposed`) say nothing about the dependency and do not count. What a call raises passes
    unchanged. Results of calls that began before the last change of state count for nothing. Only the monotonic clock is read.
    Safe to share between tasks and threads; no lock is held during a call. A process that is forked goes on with the state and
    counts of its parent. A success counts for the moment at which a call last began or failed, which saves a look at the clock.

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
        on_result: Callable[[Any], bool] | None = None,
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
        self.on_result = on_result
        self.glance: float | None = slow_call if on_result is None else -1.0
        """Seconds. A success that took as long needs a closer look; None: none does, so nobody reads the clock."""
        self._lock = threading.Lock()
        self._state: State = "closed"
        self._since = 0.0
        self._reason = ""
        self._window: Window = self._new_window()
        self.counting: Window | None = self._window
        """The window of the calls that simply pass; None: each call has to ask `admit`."""
        self._probing: set[Probe] = set()
        self._probed = 0
        self.survive_forks()

    @property
    def state(self) -> State:
        """closed, open, half_open, isolated, disabled or metrics_only.

        An open circuit stays open until a call comes after `open_for` seconds.
        """
        return self._state

    @property
    def measured(self) -> Measured:
        """What has been counted since the last change of state, in the window as of now."""
        now = self._now()
        with self._lock:
            return Measured(*self._window.totals(now))

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)`. Raises `CircuitOpen` without calling it, or what it raises."""
        clock = self._now
        since = clock()
        window = self.counting
        ticket = self.admit(self.name, since) if window is None or since >= window.turn else window
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            self.failed(ticket, error, since)
            raise
        if window is None or (self.glance is not None and clock() - since >= self.glance):
            self.passed(ticket, result, since)
        else:
            next(window.calls)
        return result

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`. Raises `CircuitOpen` without calling it, or what it raises."""
        clock = self._now
        since = clock()
        window = self.counting
        ticket = self.admit(self.name, since) if window is None or since >= window.turn else window
        try:
            result = plain(fn(*args, **kwargs))
        except BaseException as error:
            self.failed(ticket, error, since)
            raise
        if window is None or (self.glance is not None and clock() - since >= self.glance):
            self.passed(ticket, result, since)
        else:
            next(window.calls)
        return result

    @contextmanager
    def permit(self, policy: str = "") -> Iterator[None]:
        """Admit a block and learn from how it ends. Raises `CircuitOpen`. Right for sync and async code alike."""
        since = self._now()
        ticket = self.admit(policy or self.name, since)
        try:
            yield
        except BaseException as error:
            self.failed(ticket, error, since)
            raise
        self._settle(ticket, failed=False, since=since)

    def refuses(self) -> bool:
        """Whether a call would be refused at this moment."""
        with self._lock:
            return self._refusal(self.name, self._now()) is not None

    def isolate(self, reason: str) -> None:
        """Refuse all calls until `close`, whatever happens."""
        self._force("isolated", reason)

    def close(self) -> None:
        """Admit calls again and forget what was counted."""
        self._force("closed", "closed by hand")

    def disable(self) -> None:
        """Let all calls pass and count none of them, until `close`."""
        self._force("disabled", "disabled by hand")

    def metrics_only(self) -> None:
        """Let all calls pass and count them in `measured`, but never open, until `close`: to find the numbers to choose."""
        self._force("metrics_only", "measures only, by hand")

    def describe(self) -> str:
        """The thresholds in words."""
        span = f"{self.window:g} s" if self.window_calls is None else f"{self.window_calls} calls"
        slow = "" if self.slow_call is None else f" or {self.slow_rate:.0%} took {self.slow_call:g} s"
        result = "" if self.on_result is None else ", or by result"
        return (
            f"breaker: opens for {self.open_for:g} s when {self.failure_rate:.0%} failed ({names(self.on)}{result}){slow}"
            f" of at least {self.min_calls} calls in {span}; {self.probes} probes close it"
        )

    def admit(self, policy: str, now: float) -> Ticket:
        """Let a call pass at `now`, or raise `CircuitOpen`. Each ticket goes to `passed` or `failed`.

        Whoever finds `counting`, and finds that its `turn` has not come, may take that for a ticket without asking.
        """
        changed = None
        ticket: Ticket = None
        with self._lock:
            refusal = self._refusal(policy, now)
            if refusal is None:
                if self._state == "open":
                    changed = self._enter("half_open", now, f"open for {self.open_for:g} s")
                ticket = self.counting
                if ticket is not None:
                    ticket.advance(now)
                if self._state == "half_open":
                    ticket = Probe(now)
                    self._probing.add(ticket)
        # signals go out without the lock: a subscriber may look at this breaker
        if refusal is not None:
            emit(CallRefused(policy=policy, reason=refusal.reason))
            raise refusal
        if changed is not None:
            emit(changed)
        return ticket

    def failed(self, ticket: Ticket, error: BaseException, since: float) -> None:
        """A call that began at `since` ended in `error`."""
        verdict = None
        try:
            verdict = self._verdict(error)
        finally:  # a predicate that raises must not keep a probe's permit
            self._settle(ticket, failed=verdict, since=since)

    def passed(self, ticket: Ticket, result: object, since: float) -> None:
        """A call that began at `since` returned `result`."""
        verdict = None
        try:
            verdict = self.on_result is not None and bool(self.on_result(result))
        finally:
            self._settle(ticket, failed=verdict, since=since)

    def adopt(self, other: Part) -> bool:
        """Take the thresholds of another breaker. Its own state stays, and what was counted, unless the window is another."""
        if not isinstance(other, CircuitBreaker):
            return False
        changed = None
        with self._lock:
            same_window = (self.window, self.window_calls) == (other.window, other.window_calls)
            for number in _NUMBERS:
                setattr(self, number, getattr(other, number))
            if not same_window:
                counting, self._window = self.counting, self._new_window()
                self.counting = None if counting is None else self._window
            if self._state == "half_open" and self._probed >= self.probes:  # no further probe would come to close it
                changed = self._closed_by_probes(self._now())
        if changed is not None:
            emit(changed)
        return True

    def after_fork(self) -> None:
        """Probes that are under way in the parent never end here."""
        self._lock = threading.Lock()
        self._probing = set()

    def _new_window(self) -> Window:
        return TimeWindow(self.window, 2) if self.window_calls is None else CountWindow(self.window_calls, 2)

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
            self._probing = {probe for probe in self._probing if now - probe.since < self.open_for}
            if len(self._probing) + self._probed >= self.probes:
                wait = min((probe.since for probe in self._probing), default=now) + self.open_for - now
                return CircuitOpen(f"{policy}: the circuit is half open and its probes are under way", retry_after=wait)
        return None

    def _verdict(self, error: BaseException) -> bool | None:
        """Whether `error` is a failure of the dependency; None when it says nothing about it."""
        if isinstance(error, Refused) or not isinstance(error, Exception):  # a cancellation is not an Exception
            return None
        if isinstance(error, DeadlineExceeded) and error.imposed:
            return None  # a caller in a hurry, or one who forges a deadline, must not open the circuit for others
        return matches(self.on)(error)

    def _settle(self, ticket: Ticket, *, failed: bool | None, since: float) -> None:
        now = self._now()
        with self._lock:
            slow = self.slow_call is not None and now - since >= self.slow_call
            changed = None
            if isinstance(ticket, Probe):
                changed = self._probe_ended(ticket, failed, slow=slow, now=now)
            elif ticket is not None and ticket is self.counting and failed is not None:
                changed = self._call_ended(ticket, failed=failed, slow=slow, now=now)
        if changed is not None:
            emit(changed)

    def _probe_ended(self, probe: Probe, failed: bool | None, *, slow: bool, now: float) -> BreakerChanged | None:
        if probe not in self._probing:  # it lost its permit, or is of an earlier half-open period
            return None
        self._probing.discard(probe)
        if failed is None:
            return None
        if failed or slow:
            return self._enter("open", now, "a probe failed" if failed else "a probe was slow")
        self._probed += 1
        return self._closed_by_probes(now) if self._probed >= self.probes else None

    def _closed_by_probes(self, now: float) -> BreakerChanged:
        return self._enter("closed", now, f"{self._probed} probes succeeded")

    def _call_ended(self, window: Window, *, failed: bool, slow: bool, now: float) -> BreakerChanged | None:
        calls, failures, slow_ones = window.record(now, failed, slow)
        if not (failed or slow) or calls < self.min_calls or self._state == "metrics_only":
            return None
        if failures >= self.failure_rate * calls:
            return self._enter("open", now, f"{failures} of {calls} calls failed")
        if self.slow_call is not None and slow_ones >= self.slow_rate * calls:
            return self._enter("open", now, f"{slow_ones} of {calls} calls were slow")
        return None

    def _force(self, state: State, reason: str) -> None:
        with self._lock:
            changed = self._enter(state, self._now(), reason)
        if changed.before != changed.after:
            emit(changed)

    def _enter(self, state: State, now: float, reason: str) -> BreakerChanged:
        changed = BreakerChanged(policy=self.name, before=self._state, after=state, reason=reason)
        self._state = state
        self._since = now
        self._reason = reason
        self._window = self._new_window()
        self.counting = self._window if state in {"closed", "metrics_only"} else None
        self._probing = set()
        self._probed = 0
        return changed
