"""One instance as its callers see it: how long it takes, how many calls are under way, and whether it is left alone for a while.

The load is Finagle's peak EWMA: how long calls take, which follows a slower one at once and fades slowly to what they take now,
times the calls under way. An instance that fails call after call is ejected, as Envoy's outlier detection does it.
"""

from __future__ import annotations

import math

from skerry.client.discovery.endpoint import Endpoint

DECAY = 10.0
"""Seconds in which what was seen loses its weight (to 1/e)."""
COST_OF_FAILURE = 1.0
"""Seconds that a failed call is taken to last at most, where it did not last longer: see `Instance.observe_failure`."""
UNKNOWN = 1e6
"""Seconds that the second call to an instance is taken to last while the first, from which it will be known, is under way."""
FAILURES = 5
"""Failed calls in a row, after which an instance is ejected."""
EJECTION, LONGEST_EJECTION = 10.0, 300.0
"""Seconds: the first time, doubled with each that follows; and at most. After as long without one it begins anew."""


class Instance:
    """What is known of one instance. Times are instants of the monotonic clock."""

    __slots__ = ("_at", "_ejections", "_seconds", "busy", "ejected", "endpoint", "failures", "until")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint: Endpoint = endpoint
        self.busy: int = 0
        self.failures: int = 0
        self.ejected: bool = False
        self.until: float = -math.inf
        self._ejections = 0
        self._seconds = 0.0
        self._at = -math.inf

    @property
    def works(self) -> bool:
        """Whether it is not ejected, nor would be if that were allowed."""
        return not self.ejected and self.failures < FAILURES

    def load(self, now: float) -> float:
        """Peak EWMA times calls under way, for its weight."""
        if self._seconds:
            return self._faded(now) * (self.busy + 1) / self.endpoint.weight
        return (UNKNOWN + self.busy) / self.endpoint.weight if self.busy else 0.0

    def observe(self, seconds: float, now: float) -> None:
        """A call took so long."""
        self._seconds = max(seconds, self._faded(now))
        self._at = now

    def observe_failure(self, seconds: float, now: float) -> None:
        """A call failed after so many seconds.

        What fails at once would be the quickest of all, and draw every call. So it counts as twice what calls took before: more
        with each that follows, and soon forgotten after one alone.
        """
        usual = 2.0 * self._faded(now) if self._seconds else COST_OF_FAILURE
        self.observe(max(seconds, min(usual, COST_OF_FAILURE)), now)

    def eject(self, now: float) -> float:
        """Leave it alone from now on; returns for how many seconds."""
        if now - self.until > LONGEST_EJECTION:
            self._ejections = 0
        seconds = min(LONGEST_EJECTION, EJECTION * 2.0 ** min(self._ejections, 16))
        self._ejections += 1
        self.ejected = True
        self.until = now + seconds
        return seconds

    def back(self, now: float) -> None:
        """It is used again, and the next call decides: one more failure ejects it for longer."""
        self.ejected = False
        self.until = min(self.until, now)
        self.failures = min(self.failures, FAILURES - 1)

    def _faded(self, now: float) -> float:
        return self._seconds * math.exp((self._at - now) / DECAY)
