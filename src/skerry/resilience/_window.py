"""Sums over the recent past, at a cost that depends neither on the window's length nor on the load.

Almost all calls only have to be counted. `next(window.calls)` does that: one step of the interpreter, so threads and tasks count
together without a lock and lose none. It takes one of a finite number of the same value, of which what is left can be asked for:
no number has to be made for each call. All else happens under the lock of who owns the window, and is rare: once a slice, and
for what is remembered beside the count, such as failures.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import length_hint
from typing import Protocol

SLICES = 10
ENDLESS = sys.maxsize
"""More calls than any process counts."""


class Window(Protocol):
    """Remembers the recent calls, and for each some whole numbers beside, by column."""

    calls: Iterator[bool]
    """Counts: each `next` is a call, and gives False unless the window was given something else."""
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

    __slots__ = ("_batch", "_given", "_marks", "_sums", "_tick", "_width", "calls", "turn")

    def __init__(self, seconds: float, columns: int, *, batch: Sequence[bool] | None = None) -> None:
        """`batch`: what `calls` gives instead, one for each call. Who finds it used up has to `count` by the clock."""
        self._batch = batch or ()
        self._given = ENDLESS if batch is None else 0  # what `calls` was given to count, in all
        self.calls: Iterator[bool] = repeat(False, self._given)
        self.turn: float = -math.inf
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
        self.count(now)
        return self.totals(now)

    def count(self, now: float, /) -> None:
        """Count a call at `now`, used up or not."""
        self.advance(now)
        if next(self.calls, None) is None:
            self._given += len(self._batch)
            self.calls = iter(self._batch)
            next(self.calls)

    def add(self, now: float, /, *columns: int) -> None:
        """Remember numbers without counting a call."""
        self.advance(now)
        for column, amount in enumerate(columns):
            self._sums[column] += amount

    def totals(self, now: float, /) -> tuple[int, ...]:
        self.advance(now)
        return tuple(total - mark for total, mark in zip(self._all(), self._marks[0], strict=True))

    def _all(self) -> tuple[int, ...]:
        return (self._given - length_hint(self.calls), *self._sums)


class CountWindow:
    """The last `size` calls, whenever they were. Of each column it keeps which calls had something in it."""

    __slots__ = ("_hits", "_size", "calls", "turn")

    def __init__(self, size: int, columns: int) -> None:
        self.calls: Iterator[bool] = repeat(False, ENDLESS)
        self.turn: float = math.inf
        self._size = size
        self._hits: list[deque[int]] = [deque(maxlen=size) for _ in range(columns)]

    def advance(self, now: float, /) -> None:
        """Nothing is too old."""

    def record(self, now: float, /, *columns: int) -> tuple[int, ...]:  # noqa: ARG002
        next(self.calls)
        calls = ENDLESS - length_hint(self.calls)
        for hits, hit in zip(self._hits, columns, strict=True):
            if hit:
                hits.append(calls - 1)
        return self._latest(calls)

    def totals(self, now: float, /) -> tuple[int, ...]:  # noqa: ARG002
        return self._latest(ENDLESS - length_hint(self.calls))

    def _latest(self, calls: int) -> tuple[int, ...]:
        for hits in self._hits:
            while hits and hits[0] < calls - self._size:
                hits.popleft()
        return (min(calls, self._size), *(len(hits) for hits in self._hits))
