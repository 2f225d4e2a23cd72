"""Where calls wait for a place: bounded, by priority, and short-tempered as soon as it is more than a moment's crowd.

Controlled delay and adaptive LIFO are Facebook's ("Fail at Scale", Maurer, ACM Queue 2015, after Nichols and Jacobson's CoDel):
a queue that has not been empty for a while is no longer a buffer but a delay for everybody. Then those who come wait a few
milliseconds only, and the newest goes first, since the oldest has a caller who is about to give up.
"""

from __future__ import annotations

import asyncio
import math
import threading
from abc import ABC, abstractmethod
from collections import deque

from skerry.context import HIGH, LOW

TARGET = 0.005
"""Seconds that a call may wait in a queue that stands."""


class Waiter(ABC):
    """One call in the queue. `granted`, `refused`: what became of it; neither while it waits or when its time was over."""

    __slots__ = ("granted", "rank", "refused")

    def __init__(self, priority: int) -> None:
        self.rank = 0 if priority <= LOW else 2 if priority >= HIGH else 1
        self.granted = False
        self.refused = False

    def grant(self) -> bool:
        """Give it the place. False: nobody is there any more to take it."""
        self.granted = self._wake()
        return self.granted

    def refuse(self) -> None:
        """End its wait without a place."""
        self.refused = True
        self._wake()

    @abstractmethod
    def _wake(self) -> bool: ...


class ThreadWaiter(Waiter):
    """A thread that waits."""

    __slots__ = ("event",)

    def __init__(self, priority: int) -> None:
        super().__init__(priority)
        self.event = threading.Event()

    def _wake(self) -> bool:
        self.event.set()
        return True


class TaskWaiter(Waiter):
    """A task that waits; it may be woken from another thread."""

    __slots__ = ("_future", "_loop")

    def __init__(self, priority: int) -> None:
        super().__init__(priority)
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()

    async def wait(self, seconds: float) -> None:
        """Until it is woken, or `seconds` have passed."""
        timer = self._loop.call_later(seconds, self._ring)
        try:
            await self._future
        finally:
            timer.cancel()

    def _wake(self) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._ring)
        except RuntimeError:  # its loop was closed while it waited
            return False
        return True

    def _ring(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class Queue:
    """At most `places` waiters in three classes of priority. Not safe by itself: its owner's lock is."""

    def __init__(self, places: int, patience: float) -> None:
        self._places = places
        self._patience = patience
        self._lines: tuple[deque[Waiter], ...] = (deque(), deque(), deque())
        self._busy_since = math.inf

    def __len__(self) -> int:
        return sum(map(len, self._lines))

    def stands(self, now: float) -> bool:
        """Whether it has not been empty for as long as anybody may wait in it."""
        return now - self._busy_since >= self._patience

    def patience(self, now: float) -> float:
        """Seconds that who comes at `now` may wait."""
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
