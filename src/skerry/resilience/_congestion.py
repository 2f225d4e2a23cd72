"""How a limit finds its size: from calls that fail, as a caller sees overload, or from calls that slow down, as a server does.

The split is Netflix's (concurrency-limits): loss-based for callers, delay-based for servers. Loss is additive increase,
multiplicative decrease (Chiu and Jain, 1989); delay is the gradient of Netflix's `GradientLimit` and of Envoy's adaptive
concurrency filter.
"""

from __future__ import annotations

import math
from typing import Protocol

START = 20
"""Where a limit begins, unless its bounds say otherwise: many times what most callers need, little enough to be no overload."""
WINDOW = 0.1
"""Seconds of calls that a delay-based limit judges together."""
MIN_SAMPLES = 10
"""Calls that a window needs; it goes on until it has them."""
TOLERANCE = 1.5
"""Times the time without a queue that a call may take before the limit shrinks."""


class Control(Protocol):
    """Says what a limit becomes after a call. It is asked under the limit's lock, so it needs none."""

    timed: bool
    """Whether it looks at how long calls take."""

    def after(self, limit: float, floor: int, busy: int, *, seconds: float, failed: bool, now: float) -> float:
        """The limit after a call that took `seconds`, when `busy` calls were under way; never to be kept below `floor`."""


class Loss:
    """A failed call takes its place with it, so that a round of calls shrinks the limit by the share that failed.

    A call that succeeds while at least half the places are in use adds so much that a round of them adds the limit's square
    root: enough to be back from 20 at 100 in 600 calls, and little enough that a full service refuses few.
    """

    timed = False

    def after(self, limit: float, floor: int, busy: int, *, seconds: float, failed: bool, now: float) -> float:
        del floor, seconds, now
        if failed:
            return limit - 1.0
        return limit + 1.0 / math.sqrt(limit) if 2 * busy >= limit else limit


class Gradient:
    """Shrinks the limit by as much as calls take longer than without a queue, to half at most, and adds its square root.

    So it grows while calls are quick, and comes to rest where about so many queue behind those that are worked on.

    What calls take without a queue is learned while fewer than half the places are in use, or as few as there may be: then
    whatever they take is not of this limit's making. It is never taken for more than was seen, so a standing overload does
    not become the new normal.
    """

    timed = True

    def __init__(self) -> None:
        self._quick = 0.0
        self._sum = 0.0
        self._count = 0
        self._peak = 0
        self._until = 0.0

    def after(self, limit: float, floor: int, busy: int, *, seconds: float, failed: bool, now: float) -> float:
        if failed:
            return limit - 1.0
        self._sum += seconds
        self._count += 1
        self._peak = max(self._peak, busy)
        if now < self._until or self._count < MIN_SAMPLES:
            return limit
        average = self._sum / self._count
        crowded = 2 * self._peak >= limit
        self._learn(average, queued=crowded and limit > floor)
        self._sum, self._count, self._peak, self._until = 0.0, 0, 0, now + WINDOW
        if not crowded:
            return limit
        gradient = 1.0 if average <= 0 else min(1.0, max(0.5, TOLERANCE * self._quick / average))
        return limit * gradient + math.sqrt(limit)

    def _learn(self, average: float, *, queued: bool) -> None:
        if self._quick == 0 or average < self._quick:
            self._quick = average
        elif not queued:
            self._quick += 0.1 * (average - self._quick)
