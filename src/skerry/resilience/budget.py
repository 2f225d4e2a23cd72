"""A budget for what is sent beyond the requests themselves: retries and hedges. It is Finagle's, over a sliding window."""

from __future__ import annotations

import math
import threading

from skerry.resilience._fork import Forked
from skerry.resilience._part import require
from skerry.resilience._window import TimeWindow

UNTIMED = 31
BATCH = (*[False] * UNTIMED, True) * 512
"""What counting a request gives: whether somebody should look at the clock, for so many have not."""


class RetryBudget(Forked):
    """Lets retries and hedges be `ratio` of the requests in the last `window` seconds, plus `min_per_second` for quiet hours.

    A retry that waits for its turn holds its share, however long it waits; one that is given up returns it. Share one budget
    among all policies that call the same dependency. Safe between tasks and threads, which deposit without a lock. A `Retry` that
    stands alone looks at the clock for one request in 32 and for every retry: up to 31 may be forgotten too early, none too late.
    """

    def __init__(self, ratio: float = 0.1, *, min_per_second: float = 1.0, window: float = 10.0) -> None:
        require(0 <= ratio < math.inf, f"RetryBudget: ratio is {ratio}; use 0 or more")
        require(0 <= min_per_second < math.inf, f"RetryBudget: min_per_second is {min_per_second}; use 0 or more")
        require(0 < window < math.inf, f"RetryBudget: window is {window}; give seconds above 0")
        self.ratio: float = ratio
        self.min_per_second: float = min_per_second
        self.window = window
        self.recent: TimeWindow = TimeWindow(window, 1, batch=BATCH)
        self._waiting = 0
        self._lock = threading.Lock()
        self.survive_forks()

    def deposit(self, now: float) -> None:
        """Count a request, neither retry nor hedge, at `now` on the monotonic clock."""
        if now >= self.recent.turn or next(self.recent.calls, None) is None:
            self.deposit_in_turn(now)

    def deposit_in_turn(self, now: float) -> None:
        """The rare half of `deposit`, which forgets what is too old, for who has the other half in its own code."""
        with self._lock:
            self.recent.count(now)

    def forget(self, now: float) -> None:
        """Forget what is too old by `now`, and count nothing."""
        if now >= self.recent.turn:
            with self._lock:
                self.recent.advance(now)

    def withdraw(self, now: float) -> bool:
        """Take the share of one retry or hedge, if there is one. Each share taken must be settled."""
        with self._lock:
            requests, used = self.recent.totals(now)
            if used + self._waiting + 1 > self.ratio * requests + self.min_per_second * self.window:
                return False
            self._waiting += 1
            return True

    def settle(self, now: float, *, used: bool) -> None:
        """Count a share as `used` now, or give it back."""
        with self._lock:
            self._waiting = max(0, self._waiting - 1)  # after a fork its share may be gone
            if used:
                self.recent.add(now, 1)

    def adopt(self, other: RetryBudget) -> None:
        """Take the numbers of another budget, except for its window; what was counted and what waits stays."""
        with self._lock:
            self.ratio = other.ratio
            self.min_per_second = other.min_per_second

    def after_fork(self) -> None:
        """What waits in the parent does not wait here."""
        self._lock = threading.Lock()
        self._waiting = 0
