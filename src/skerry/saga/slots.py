"""So many at the same time, and the others in a line, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """`count` slots of one event loop. Like `asyncio.Semaphore`, but a free one is had without a coroutine, which is every
    time that few are at work: `if not slots.take(): await slots.turn()`, and in any case `slots.give()` afterwards.
    """

    __slots__ = ("_free", "_line")

    def __init__(self, count: int) -> None:
        self._free = count
        self._line: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a slot if one is free; whether it was."""
        if self._free:
            self._free -= 1
            return True
        return False

    async def turn(self) -> None:
        """Wait in the line for a slot. Whoever is cancelled there has none."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # it came just then: to the next one with it
                self.give()
            raise

    def give(self) -> None:
        """Give a slot back: to the first in the line, so that nobody who comes later gets it first."""
        while self._line:
            first = self._line.popleft()
            if not first.done():
                first.set_result(None)
                return
        self._free += 1
