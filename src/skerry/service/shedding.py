"""Shedding: a service that has more to do than it can refuses some of it at once, rather than answering everything too late.

Two signs tell of it: an event loop that runs late what is due, for work in Python, and requests that take longer than they
did, for all that waits for something else; the second is an `AdaptiveLimit` by delay. Refusing costs a fraction of the work,
and what is least important is refused first.
"""

from __future__ import annotations

import asyncio

from skerry import context
from skerry.clock import Clock
from skerry.errors import Overloaded
from skerry.resilience import AdaptiveLimit
from skerry.service.problem import Problem
from skerry.signals import CallRefused, emit

LAG = 0.05
"""Seconds of lag from which the least important requests are refused; the others from twice, the most important from four
times as much."""
TICK = 0.02
"""Seconds between two looks at the event loop."""
IDLE_TICKS = 50
"""So many looks without a request, and it is not looked at any more until one comes."""
RETRY_AFTER = [(b"retry-after", b"1")]


class LoopLag:
    """How late an event loop is. One timer, and none while nobody asks."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._last = 0.0
        self._idle = 0
        self._seconds = 0.0

    def look(self) -> float:
        """The lag of the running loop in seconds: the lesser of the last two readings, for one slow callback is no overload."""
        self._idle = 0
        if self._timer is None:
            self._watch(asyncio.get_running_loop())
        return self._seconds

    def stop(self) -> None:
        """Look no more, until somebody asks again."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._last, self._seconds = None, 0.0, 0.0

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + TICK
        self._timer = loop.call_at(self._due, self._read, loop)

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        lag = loop.time() - self._due
        self._seconds, self._last = min(lag, self._last), lag
        self._idle += 1
        if self._idle > IDLE_TICKS:
            self.stop()
        else:
            self._watch(loop)


def too_late(lag: float, priority: int) -> bool:
    """Whether a request of this priority is refused while the event loop runs so many seconds late."""
    if lag <= LAG:
        return False
    return lag > (LAG if priority <= context.LOW else 4 * LAG if priority >= context.HIGH else 2 * LAG)


class Shedding:
    """Decides which requests a service takes. `limit` bounds those under way; a place is held from `enter` to `leave`."""

    def __init__(self, service: str, limit: AdaptiveLimit, clock: Clock) -> None:
        self._service = service
        self._limit = limit
        self._clock = clock
        self._lag = LoopLag()

    async def enter(self) -> None:
        """Take the current request. Raises `Problem`: 504 when its deadline has passed, 503 when there is too much to do."""
        ambient = context.current()
        if ambient.remaining(self._clock) == 0.0:
            emit(CallRefused(policy=self._service, reason="expired"))
            raise Problem(504, "timed_out", "The time for this request was over before it began; nothing was done.")
        if too_late(self._lag.look(), ambient.priority):
            emit(CallRefused(policy=self._service, reason="event_loop_lag"))
            raise _overloaded()
        if not self._limit.enter():
            try:
                await self._limit.wait(self._service, ambient.priority)
            except Overloaded as error:
                raise _overloaded() from error

    def leave(self, seconds: float, *, answered: bool) -> None:
        """The request is over. Only of what was `answered` does the time count: errors are quick for other reasons."""
        self._limit.leave(seconds, failed=False if answered else None)

    def stop(self) -> None:
        """Nothing more comes."""
        self._lag.stop()


def _overloaded() -> Problem:
    detail = "This service has more to do than it can at the moment; nothing was done."
    return Problem(503, Overloaded.reason, detail, headers=RETRY_AFTER)
