"""An adaptive limit: as many calls at once as the other side, or this one, can take right now, found by trying.

A bulkhead's fixed size is wrong as soon as the callee gets slower or loses an instance. See `_congestion` for how the size is
found and `_queue` for how calls wait.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from skerry.clock import Clock
from skerry.context import current
from skerry.errors import DeadlineExceeded, Overloaded
from skerry.resilience._congestion import START, Control, Gradient, Loss
from skerry.resilience._fork import Forked
from skerry.resilience._limit import Limit
from skerry.resilience._part import Part, require
from skerry.resilience._queue import PATIENCE, Queue
from skerry.resilience._waiter import TaskWaiter, ThreadWaiter, Waiter
from skerry.signals import CallRefused, CallTimedOut, LimitChanged, Signal, emit

TOLD_EVERY = 1.0
"""Seconds between two signals about one limit, at least: it may change with every call."""


class AdaptiveLimit(Limit, Forked):
    """Lets between `min` and `max` calls run at once, over all tasks and threads, as many as succeed; at most `queue` wait.

    It begins with 20. `by="loss"`, for callers: every time-out and every refusal by the callee (429, 503) takes a place away,
    successes bring places while at least half are in use. `by="delay"`, for servers, compares how long calls take with how
    long they take when nothing queues. A call that was cancelled, refused on this side, or ended by its caller's own deadline
    changes nothing in either.

    A call that finds no place waits up to `queue_timeout` seconds, or until its deadline. A queue that has not been empty for
    so long is an overload: from then on nobody waits longer than 5 ms, and the newest goes first. Without a `queue_timeout`
    that is 0.1 s, and with `by="loss"` a call with a deadline waits until then as long as no call has failed of overload, first
    come, first served: the limit is a guess still, and no reason to refuse anybody. Priorities of the context
    (0 to 9) make three classes, 0 to 3, 4 to 6, 7 to 9: a higher one goes first, and takes the place of a lower one in a full
    queue. Raises `Overloaded`, or `DeadlineExceeded` when the deadline passed; then nothing was called. A cancelled waiter
    leaves nothing behind. When the limit shrinks, calls under way go on, and new ones wait until there are few enough.

    Sources: AIMD and gradient after Netflix's concurrency-limits, the queue after Facebook's "Fail at Scale" (ACM Queue, 2015).

    Example: `AdaptiveLimit(min=4, max=200, queue=50)`
    """

    def __init__(
        self,
        *,
        min: int = 4,  # noqa: A002 - the words for it
        max: int = 200,  # noqa: A002
        queue: int = 50,
        queue_timeout: float | None = None,
        by: Literal["loss", "delay"] = "loss",
        name: str = "",
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, clock)
        require(1 <= min <= max, f"AdaptiveLimit: min is {min} and max {max}; give 1 <= min <= max")
        require(queue >= 0, f"AdaptiveLimit: queue is {queue}; it must be at least 0")
        patience = PATIENCE if queue_timeout is None else queue_timeout
        require(0 <= patience < math.inf, f"AdaptiveLimit: queue_timeout is {queue_timeout}; give seconds from 0")
        require(by in {"loss", "delay"}, f'AdaptiveLimit: by is {by!r}; use "loss" or "delay"')
        self.min: int = min
        self.max: int = max
        self.queue: int = queue
        self.queue_timeout: float = patience
        self.by = by
        self._control: Control = Loss() if by == "loss" else Gradient()
        self.timed: bool = self._control.timed
        self._lock = threading.Lock()
        places = sorted((min, START, max))[1]
        self._size = float(places)
        self._queue = Queue(queue, patience, calm=queue_timeout is None and by == "loss")
        self._waiting = 0
        # one entry for each free place: taking one is a single step, so that `enter` needs no lock
        self._free: list[None] = [None] * places
        self._places: int = places
        self._told: int = places
        self._told_at = -math.inf
        self._surplus = False
        self.survive_forks()

    @property
    def limit(self) -> int:
        """How many calls may run at once, as of now."""
        return int(self._size)

    @property
    def active(self) -> int:
        """Calls under way."""
        return self._places - len(self._free)

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return self._waiting

    def enter(self) -> bool:
        """Take a place if one is free now."""
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    async def wait(self, policy: str, priority: int = 0) -> None:
        """Stand in the queue until a place is held. Raises `Overloaded` or `DeadlineExceeded`."""
        waiter = TaskWaiter(priority or current().priority)
        with self._queued(waiter, policy) as patience:
            await waiter.wait(patience)

    def wait_sync(self, policy: str, priority: int = 0) -> None:
        """The same for a thread."""
        waiter = ThreadWaiter(priority or current().priority)
        with self._queued(waiter, policy) as patience:
            self.clock.wait(waiter.event, patience)

    def leave(self, seconds: float = 0.0, failed: bool | None = False) -> None:  # noqa: FBT002 - on the quickest path
        """Give the place back, and learn from how the call went."""
        free = self._free
        if failed is None:
            self._hand_back(place=True)
            return
        # at its largest a success can add nothing
        if failed or self.timed or (self._size < self.max and 2 * len(free) <= self._places):
            self._learn(seconds, failed=failed)
            return
        free.append(None)
        if (
            self._waiting or self._surplus
        ):  # since the line before; it looked for a free place before that, or will look now
            self._hand_back(place=False)

    def adopt(self, other: Part) -> bool:
        """Take the bounds and the queue's numbers of another that finds its size in the same way. What was found stays, within
        the bounds, and so do those inside and in the queue.
        """
        if not isinstance(other, AdaptiveLimit) or other.by != self.by:
            return False
        with self._lock:
            self.min, self.max = other.min, other.max
            self.queue, self.queue_timeout = other.queue, other.queue_timeout
            self._queue.adopt(other._queue)
            self._bound(self._size)
            self._surplus = True  # those who leave take places out, while there are too many
            self._resize()
            self._serve(self.clock.monotonic())
        return True

    def after_fork(self) -> None:
        """Whoever held a place or waited did so in the parent."""
        self._lock = threading.Lock()
        self._queue, self._waiting = Queue(self.queue, self.queue_timeout, calm=self._queue.calm), 0
        self._free = [None] * self._places
        self._surplus = True  # the call that forked, if one did, has yet to give back what is free already

    def describe(self) -> str:
        """The bounds in words."""
        sign = "time-outs and refusals" if self.by == "loss" else "longer times"
        queue = f"{self.queue} more wait up to {self.queue_timeout:g} s" if self.queue else "no queue"
        return f"adaptive limit: {self.min} to {self.max} at once by {sign}, {queue}"

    def _learn(self, seconds: float, *, failed: bool) -> None:
        now = self.clock.monotonic()
        with self._lock:
            self._queue.calm = self._queue.calm and not failed
            self._bound(self._control.after(self._size, self.min, self.active, seconds=seconds, failed=failed, now=now))
            self._free.append(None)
            self._resize()
            self._serve(now)
            changed = self._news(now)
        if changed is not None:
            emit(changed)

    def _bound(self, size: float) -> None:
        self._size = float(self.min) if size < self.min else float(self.max) if size > self.max else size

    def _resize(self) -> None:
        """Bring the places to the limit: new ones at once, too many of them as they come free."""
        del self._free[self._places :]
        while self._places < self.limit:
            self._places += 1
            self._free.append(None)
        while self._places > self.limit and self.enter():
            self._places -= 1

    def _serve(self, now: float) -> None:
        """Hand free places to who waits."""
        while self._waiting and self.enter():
            waiter = self._queue.take(now)
            if waiter is None or not waiter.grant():
                self._free.append(None)
            self._waiting = len(self._queue)

    def _hand_back(self, *, place: bool) -> None:
        """Look for who waits; first give a `place` back from whose use nothing is learned."""
        now = self.clock.monotonic()
        with self._lock:
            if place:
                self._free.append(None)
            self._resize()
            self._serve(now)

    def _news(self, now: float) -> Signal | None:
        if self.limit == self._told or now - self._told_at < TOLD_EVERY:
            return None
        changed = LimitChanged(policy=self.name, before=self._told, after=self.limit)
        self._told, self._told_at = self.limit, now
        return changed

    @contextmanager
    def _queued(self, waiter: Waiter, policy: str) -> Iterator[float]:
        """Around the wait; gives how long it may last. Afterwards a place is held, or an error says why not."""
        now = self.clock.monotonic()
        left = current().remaining(self.clock)
        with self._lock:
            patience = self._queue.patience(now, left)
            stands = self._queue.add(waiter, now)
            self._waiting = len(self._queue)
            self._serve(now)  # one may have come free since `enter`
        if not stands:
            raise self._refusal(policy, f"{self.limit} calls are under way and {self.queue} wait")
        hurried = left is not None and left <= patience
        try:
            yield left if left is not None and hurried else patience
        except BaseException:  # a cancellation above all: it may come in the very tick in which the place is granted
            if self._withdraw(waiter):
                self._hand_back(place=True)
            raise
        if self._withdraw(waiter):
            return
        if hurried and not waiter.refused:
            emit(CallTimedOut(policy=policy, scope="total", seconds=left or 0.0))
            raise DeadlineExceeded(f"{policy}: the deadline passed in the queue; nothing was sent")
        why = "a more important call took its place" if waiter.refused else f"no place came free in {patience:.3g} s"
        raise self._refusal(policy, f"{self.limit} calls are under way; {why}")

    def _withdraw(self, waiter: Waiter) -> bool:
        """End the wait. True: the place came all the same, and has to be used or given back."""
        with self._lock:
            if not waiter.granted:
                self._queue.remove(waiter)
                self._waiting = len(self._queue)
            return waiter.granted

    @staticmethod
    def _refusal(policy: str, why: str) -> Overloaded:
        emit(CallRefused(policy=policy, reason=Overloaded.reason))
        return Overloaded(f"{policy}: {why}")
