"""Sums over the recent past, at a cost that depends neither on the window's length nor on the load."""

from __future__ import annotations

from collections import deque
from typing import Protocol

SLICES = 10


class Window(Protocol):
    """Remembers rows of whole numbers and knows the sum of each column."""

    def add(self, now: float, /, *row: int) -> None:
        """Remember `row`, seen at `now`."""

    def totals(self, now: float, /) -> list[int]:
        """The sums as of `now`, in seconds on a monotonic clock."""


class TimeWindow:
    """The last `seconds`, in slices: what is older than that is forgotten a slice at a time, at most a tenth too early."""

    def __init__(self, seconds: float, columns: int) -> None:
        self._width = seconds / SLICES
        self._slices = [[0] * columns for _ in range(SLICES)]
        self._totals = [0] * columns
        self._tick = 0

    def add(self, now: float, /, *row: int) -> None:
        totals = self.totals(now)
        newest = self._slices[self._tick % SLICES]
        for column, amount in enumerate(row):
            newest[column] += amount
            totals[column] += amount

    def totals(self, now: float, /) -> list[int]:
        tick = int(now / self._width)
        for fresh in range(max(self._tick + 1, tick - SLICES + 1), tick + 1):
            oldest = self._slices[fresh % SLICES]
            for column, amount in enumerate(oldest):
                self._totals[column] -= amount
                oldest[column] = 0
        self._tick = max(self._tick, tick)
        return self._totals


class CountWindow:
    """The last `calls` rows, whenever they were."""

    def __init__(self, calls: int, columns: int) -> None:
        self._rows: deque[tuple[int, ...]] = deque(maxlen=calls)
        self._totals = [0] * columns

    def add(self, _now: float, /, *row: int) -> None:
        forgotten = self._rows[0] if len(self._rows) == self._rows.maxlen else (0,) * len(row)
        self._rows.append(row)
        for column, amount in enumerate(row):
            self._totals[column] += amount - forgotten[column]

    def totals(self, _now: float, /) -> list[int]:
        return self._totals
