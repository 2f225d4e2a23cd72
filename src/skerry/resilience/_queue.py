"""Where calls wait for a place: bounded, by priority, and short-tempered as soon as it is more than a moment's crowd.

Controlled delay and adaptive LIFO are Facebook's ("Fail at Scale", Maurer, ACM Queue 2015, after Nichols and Jacobson's CoDel):
a queue that has not been empty for a while is no longer a buffer but a delay for everybody. Then those who come wait a few
milliseconds only, and the newest goes first, since the oldest has a caller who is about to give up.
"""

from __future__ import annotations

import math
from collections import deque

from skerry.resilience._waiter import Waiter

PATIENCE = 0.1
"""Seconds that a call may wait in a queue that does not stand, unless its owner was told otherwise."""
TARGET = 0.005
"""Seconds that a call may wait in a queue that stands."""


class Queue:
    """At most `places` waiters in three classes of priority. Not safe by itself: its owner's lock is.

    `calm`: nothing has told of an overload yet. Then it does not stand, and a call waits for as long as its caller does.
    """

    def __init__(self, places: int, patience: float, *, calm: bool) -> None:
        self.calm = calm
        self._places = places
        self._patience = patience
        self._lines: tuple[deque[Waiter], ...] = (deque(), deque(), deque())
        self._busy_since = math.inf

    def adopt(self, other: Queue) -> None:
        """Take the numbers of another. Those who wait stay, and an overload that was told of is not forgotten."""
        self._places, self._patience, self.calm = other._places, other._patience, self.calm and other.calm

    def __len__(self) -> int:
        return sum(map(len, self._lines))

    def stands(self, now: float) -> bool:
        """Whether it has not been empty for as long as anybody may wait in it."""
        return not self.calm and now - self._busy_since >= self._patience

    def patience(self, now: float, left: float | None) -> float:
        """Seconds that who comes at `now`, and has `left` until its deadline, may wait."""
        if self.calm and left is not None:
            return left
        return min(TARGET, self._patience) if self.stands(now) else self._patience

    def add(self, waiter: Waiter, now: float) -> bool:
        """Let `waiter` stand in the queue; a full one refuses its oldest of a lower class instead. False: no place."""
        if len(self) >= self._places and not self._push_out(below=waiter.rank):
            return False
        if not len(self):
            self._busy_since = now
        self._lines[waiter.rank].append(waiter)
        return True

    def take(self, now: float) -> Waiter | None:
        """Who is next: of the highest class the oldest, or the newest once the queue stands."""
        newest_first = self.stands(now)
        for line in reversed(self._lines):
            if line:
                waiter = line.pop() if newest_first else line.popleft()
                self._note_empty()
                return waiter
        return None

    def remove(self, waiter: Waiter) -> None:
        """Forget `waiter`, if it is still here."""
        line = self._lines[waiter.rank]
        if waiter in line:
            line.remove(waiter)
            self._note_empty()

    def _push_out(self, *, below: int) -> bool:
        for line in self._lines[:below]:
            if line:
                line.popleft().refuse()
                return True
        return False

    def _note_empty(self) -> None:
        if not len(self):
            self._busy_since = math.inf
