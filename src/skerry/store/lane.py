"""Where the calls of one SQLite connection run: on a thread of their own or, what has always been quick, in the event loop.

A way to a thread and back takes twenty times as long as most statements of SQLite, nearly all of it waiting for the
interpreter's lock. So a statement that was quick a few times on the thread runs where it is asked for, until it is slow once.
What may wait, for a lock or for the disk to flush, is never offered to the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from skerry.clock import Clock
from skerry.store.thread import OneThread

T = TypeVar("T")

QUICK: Final = 0.005
"""Seconds that a call in the event loop may take: as long as any thread may keep the interpreter's lock."""
EARNED: Final = 3
"""So often a call is quick on the thread before it comes to the loop."""
AGAIN: Final = 100
"""So often after it was slow there: at most one call in a hundred holds the loop up."""
IN_A_ROW: Final = 32
"""So many calls run in the loop without giving others a turn."""
REMEMBERED: Final = 1000
"""Different calls; with more than that all begin anew."""


class Lane:
    """One connection's way to its engine. Calls run in the order in which they are asked for, one at a time.

    A call is known by its name, such as the text of the statement.
    """

    def __init__(self, name: str, *, clock: Clock) -> None:
        self._thread = OneThread(name)
        self._clock = clock
        self._asked = self._answered = self._row = 0
        self._missing: dict[str, int] = {}
        self.in_loop: bool = False

    def is_quick(self, call: str) -> bool:
        """Whether a call may run in the event loop now: it was always quick, and would overtake nothing."""
        if self._asked != self._answered or self._row >= IN_A_ROW or self._missing.get(call, EARNED) > 0:
            return False
        self._row += 1
        return True

    def here(self, call: str, function: Callable[[], T]) -> T:
        """Run what `is_quick` in the event loop."""
        begun = self._clock.monotonic()
        self.in_loop = True
        try:
            return function()
        finally:
            self.in_loop = False
            if self._clock.monotonic() - begun > QUICK:
                self.was_slow(call)

    def was_slow(self, call: str) -> None:
        """Keep a call out of the event loop for a while."""
        self._missing[call] = AGAIN

    async def run(self, call: str, function: Callable[[], T]) -> T:
        """Run it where it is quicker."""
        return self.here(call, function) if self.is_quick(call) else await self.there(function, call=call)

    def there(self, function: Callable[[], T], *, call: str = "") -> asyncio.Future[T]:
        """Run it on the thread. One that is named may come to the loop another time."""
        self._asked += 1
        self._row = 0
        return self._thread.run(self._run, call, self._asked, function)

    def close(self) -> None:
        """Let the thread end once it has nothing left to do. Safe to call twice."""
        self._thread.close()

    def _run(self, call: str, number: int, function: Callable[[], T]) -> T:
        begun = self._clock.monotonic()
        try:
            return function()
        finally:
            if call and self._clock.monotonic() - begun <= QUICK:
                self._was_quick(call)
            self._answered = number  # and all before it: done, or given up before their turn

    def _was_quick(self, call: str) -> None:
        if len(self._missing) >= REMEMBERED:
            self._missing.clear()
        self._missing[call] = self._missing.get(call, EARNED) - 1
