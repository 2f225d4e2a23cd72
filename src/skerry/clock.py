"""Time and randomness, the only place either comes from.

Everything in skerry takes a `Clock`; `SYSTEM` is the real one. Tests pass one that runs on virtual time and a seed, which
is what makes a failure repeatable. A lint rule forbids `time`, `random`, `asyncio.sleep` and `uuid4` elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID

IDS_DRAWN = 512
"""At once: each draw asks the operating system, and lets another thread go first."""


class _Ids:
    """Ids of 16 hex digits, drawn from the operating system for many. Safe between threads; a forked process has its own."""

    __slots__ = ("_forks", "_left")

    def __init__(self) -> None:
        self._left: list[str] = []
        self._forks = False

    def draw(self) -> str:
        try:
            return self._left.pop()
        except IndexError:
            return self._more()

    def _more(self) -> str:
        if not self._forks:  # not at import
            self._forks = True
            os.register_at_fork(after_in_child=self._forget)
        digits = os.urandom(8 * IDS_DRAWN).hex()
        first, *self._left = [digits[at : at + 16] for at in range(0, len(digits), 16)]
        return first

    def _forget(self) -> None:
        self._left = []


_IDS = _Ids()


class Clock:
    """Real time and the operating system's randomness. Immutable, safe to share between threads and tasks."""

    __slots__ = ()

    def now(self) -> float:
        """Wall-clock time: seconds since 1970, UTC. It may jump; never use it to measure a duration."""
        return time.time()

    # the built-in function itself: policies read it twice a call, and a method around it would cost as much again
    monotonic: ClassVar[staticmethod[[], float]] = staticmethod(time.monotonic)
    """Seconds from an arbitrary start; never goes backwards. The same clock for all processes of one Linux host."""

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass without blocking the event loop."""
        await asyncio.sleep(seconds)

    def sleep_sync(self, seconds: float) -> None:
        """Let `seconds` pass, blocking this thread."""
        time.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Block this thread until `event` is set, at most `seconds`; returns whether it is set."""
        return event.wait(seconds)

    def random(self) -> float:
        """A number drawn evenly from [0, 1)."""
        return random.random()

    def random_bytes(self, n: int) -> bytes:
        """`n` unpredictable bytes."""
        return os.urandom(n)

    hex_id: ClassVar[staticmethod[[], str]] = staticmethod(_IDS.draw)
    """16 hex digits, unpredictable: `random_bytes(8).hex()` at a tenth of its cost, for what has an id by the thousand."""

    def uuid(self) -> UUID:
        """A fresh id that sorts by time: UUID version 7 (RFC 9562, section 5.7)."""
        return UUID(int=self._uuid())

    def uuid_text(self) -> str:
        """`str(self.uuid())` at a third of its cost, for what is identified by text and by the thousand."""
        digits = f"{self._uuid():032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def _uuid(self) -> int:
        milliseconds = int(self.now() * 1000) & 0xFFFF_FFFF_FFFF
        tail = int.from_bytes(self.random_bytes(10), "big")
        return milliseconds << 80 | 0x7 << 76 | (tail >> 64 & 0xFFF) << 64 | 0b10 << 62 | tail & 0x3FFF_FFFF_FFFF_FFFF

    def utcnow(self) -> datetime:
        """`now()` as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.now(), UTC)


SYSTEM = Clock()
"""The real clock; the default everywhere."""
