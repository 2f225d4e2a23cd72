"""A hedge: a second attempt beside one that is slow, and the first answer counts.

Dean and Barroso, "The Tail at Scale" (CACM, 2013): waiting for the 95th percentile first costs a few per cent more calls and
takes most of the tail away. Without a budget it is what turns a slow dependency into a dead one, so there always is one.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal

from skerry.clock import Clock
from skerry.resilience._fork import Forked
from skerry.resilience._part import P, Part, T, plain, require
from skerry.resilience.budget import RetryBudget
from skerry.signals import CallHedged, emit

SAMPLES = 100
"""Calls whose times the percentile is taken of."""
MIN_SAMPLES = 20
"""Calls before it is known; until then nothing is hedged. It is taken anew after so many more."""


class Hedge(Part, Forked):
    """Sends a second attempt when the first has not ended after `after` seconds, or after what `percentile` of calls take.

    The first that succeeds is the answer; the other is cancelled and waited for, so nothing outlives the call. When one
    fails, the other decides; when both do, the first error is raised. An attempt that fails before the second was sent is
    not repeated: that is for `Retry`.

    Both attempts may take effect, so `safe` has to say that this does no harm: True, or a function of the call's arguments.
    Second attempts come out of `budget` (a tenth of the calls, unless given), which is to be shared with `Retry`. A sync
    function cannot be cancelled: `call_sync` just calls it.

    Example: `Hedge(safe=True, percentile=0.95)`
    """

    def __init__(
        self,
        *,
        safe: Literal[True] | Callable[..., bool],
        after: float | None = None,
        percentile: float = 0.95,
        budget: RetryBudget | None = None,
        name: str = "",
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, clock)
        require(safe is True or callable(safe), "Hedge: both attempts may take effect; say safe=True when they may")
        require(after is None or 0 < after < math.inf, f"Hedge: after is {after}; give seconds above 0")
        require(0 < percentile < 1, f"Hedge: percentile is {percentile}; use more than 0, less than 1")
        self.safe = safe
        self.after = after
        self.percentile = percentile
        self.budget: RetryBudget = budget or RetryBudget(ratio=0.1)
        self._counts = budget is None  # a shared one is told of each request by its `Retry`
        self._times: deque[float] = deque(maxlen=SAMPLES)
        self._seen = 0
        self._usual: float | None = None
        self._lock = threading.Lock()
        self.survive_forks()

    @property
    def delay(self) -> float | None:
        """Seconds until a second attempt, as of now; None while too few calls were seen to know."""
        return self._usual if self.after is None else self.after

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)`, twice if need be. Raises what the first attempt to fail raised."""
        began = self.clock.monotonic()
        if self._counts:
            self.budget.deposit(began)
        delay = self.delay
        if delay is None or not (self.safe is True or self.safe(*args, **kwargs)):
            result = await fn(*args, **kwargs)
        else:
            result = await self._race(lambda: fn(*args, **kwargs), delay)
        if self.after is None:
            self._learn(self.clock.monotonic() - began)
        return result

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`, called once."""
        return plain(fn(*args, **kwargs))

    def after_fork(self) -> None:
        """The times that were seen stay; the lock may be held by a thread that did not come along."""
        self._lock = threading.Lock()

    def describe(self) -> str:
        """When a second attempt is sent, in words."""
        when = f"what {self.percentile:.0%} of calls take" if self.after is None else f"{self.after:g} s"
        return f"hedge: a second attempt after {when}; budget {self.budget.ratio:.0%} of requests"

    async def _race(self, attempt: Callable[[], Awaitable[T]], delay: float) -> T:
        tasks = [asyncio.ensure_future(_run(attempt))]
        try:
            await self._until_done(tasks, delay)
            if not tasks[0].done() and self._may_hedge():
                emit(CallHedged(policy=self.name, after=delay))
                tasks.append(asyncio.ensure_future(_run(attempt)))
            return await _first_success(tasks)
        finally:
            await _end(tasks)

    async def _until_done(self, tasks: list[asyncio.Task[T]], seconds: float) -> None:
        timer = asyncio.ensure_future(_run(lambda: self.clock.sleep(seconds)))
        try:
            await asyncio.wait([*tasks, timer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()

    def _may_hedge(self) -> bool:
        now = self.clock.monotonic()
        if not self.budget.withdraw(now):
            return False
        self.budget.settle(now, used=True)
        return True

    def _learn(self, seconds: float) -> None:
        with self._lock:
            self._times.append(seconds)
            self._seen += 1
            if self._seen % MIN_SAMPLES == 0:
                times = sorted(self._times)
                self._usual = times[min(len(times) - 1, int(self.percentile * len(times)))]


async def _run(attempt: Callable[[], Awaitable[T]]) -> T:
    return await attempt()


async def _first_success(tasks: list[asyncio.Task[T]]) -> T:
    """The first result; when there is none, the error that came first."""
    failed: list[asyncio.Task[T]] = []
    while len(failed) < len(tasks):
        await asyncio.wait([task for task in tasks if task not in failed], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and task not in failed:
                if not task.cancelled() and task.exception() is None:
                    return task.result()
                failed.append(task)
    return failed[0].result()


async def _end(tasks: list[asyncio.Task[T]]) -> None:
    """Cancel what still runs and wait until it has ended."""
    for task in tasks:
        task.cancel()
    left = [task for task in tasks if not task.done()]
    if left:
        await asyncio.wait(left)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen, so that nobody complains that it was not
