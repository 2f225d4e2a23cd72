"""Calls that wait for a place, as tasks or as threads, and are woken from whichever thread a place comes free in."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod

from skerry.context import HIGH, LOW


class Waiter(ABC):
    """One call in the queue. `granted`, `refused`: what became of it; neither while it waits or when its time was over."""

    __slots__ = ("granted", "rank", "refused")

    def __init__(self, priority: int = 5) -> None:
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

    def __init__(self, priority: int = 5) -> None:
        super().__init__(priority)
        self.event = threading.Event()

    def _wake(self) -> bool:
        self.event.set()
        return True


class TaskWaiter(Waiter):
    """A task that waits; it may be woken from another thread."""

    __slots__ = ("_future", "_loop")

    def __init__(self, priority: int = 5) -> None:
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
