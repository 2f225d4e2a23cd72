"""Sums over the recent past, at a cost that depends neither on the window's length nor on the load.

Almost all calls only have to be counted. `next(window.calls)` does that: one step of the interpreter, so threads and tasks count
together without a lock and lose none. All else happens under the lock of who owns the window, and is rare: once a slice, and for
what is remembered beside the count, such as failures.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Protocol

SLICES = 10


class Window(Protocol):
    """Remembers the recent calls, and for each some whole numbers beside, by column."""

    calls: Iterator[int]
    """Counts: `next` gives how many came before."""
    turn: float
    """From this moment on, on a monotonic clock in seconds, who counts has to call `advance` first."""

    def advance(self, now: float, /) -> None:
        """Forget what is too old by `now`."""

    def record(self, now: float, /, *columns: int) -> tuple[int, ...]:
        """Count a call with its numbers; gives the sums of calls and columns as of `now`."""

    def totals(self, now: float, /) -> tuple[int, ...]:
        """The sums of calls and columns as of `now`."""


class TimeWindow:
    """The last `seconds`, in slices: what is older than that is forgotten a slice at a time, at most a tenth too early.

    It never goes through anything: the sums are those since the beginning less those that stood there when the window began.
    """

    __slots__ = ("_looks", "_marks", "_sums", "_tick", "_width", "calls", "turn")

    def __init__(self, seconds: float, columns: int) -> None:
        self.calls: Iterator[int] = count()
        self.turn: float = -math.inf
        self._looks = 0  # to read the count is to count: these are to be taken off
        self._width = seconds / SLICES
        self._tick = -1
        self._sums = [0] * columns
        self._marks: deque[tuple[int, ...]] = deque([(0,) * (columns + 1)] * SLICES, maxlen=SLICES)

    def advance(self, now: float, /) -> None:
        tick = int(now / self._width)
        if tick > self._tick:
            self._marks.extend([self._all()] * min(tick - self._tick, SLICES))
            self._tick = tick
            self.turn = (tick + 1) * self._width

    def record(self, now: float, /, *columns: int) -> tuple[int, ...]:
        self.add(now, *columns)
        next(self.calls)
        return self.totals(now)

    def add(self, now: float, /, *columns: int) -> None:
        """Remember numbers without counting a call."""
        self.advance(now)
        for column, amount in enumerate(columns):
            self._sums[column] += amount

    def totals(self, now: float, /) -> tuple[int, ...]:
        self.advance(now)
        return tuple(total - mark for total, mark in zip(self._all(), self._marks[0], strict=True))

    def _all(self) -> tuple[int, ...]:
        calls = next(self.calls) - self._looks
        self._looks += 1
        return (calls, *self._sums)


class CountWindow:
    """The last `size` calls, whenever they were. Of each column it keeps which calls had something in it."""

    __slots__ = ("_hits", "_looks", "_size", "calls", "turn")

    def __init__(self, size: int, columns: int) -> None:
        self.calls: Iterator[int] = count()
        self.turn: float = math.inf
        self._looks = 0
        self._size = size
        self._hits: list[deque[int]] = [deque(maxlen=size) for _ in range(columns)]

    def advance(self, now: float, /) -> None:
        """Nothing is too old."""

    def record(self, now: float, /, *columns: int) -> tuple[int, ...]:  # noqa: ARG002
        place = next(self.calls) - self._looks
        for hits, hit in zip(self._hits, columns, strict=True):
            if hit:
                hits.append(place)
        return self._latest(place + 1)

    def totals(self, now: float, /) -> tuple[int, ...]:  # noqa: ARG002
        calls = next(self.calls) - self._looks
        self._looks += 1
        return self._latest(calls)

    def _latest(self, calls: int) -> tuple[int, ...]:
        for hits in self._hits:
            while hits and hits[0] < calls - self._size:
                hits.popleft()
        return (min(calls, self._size), *(len(hits) for hits in self._hits))
