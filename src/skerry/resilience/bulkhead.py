"""A bulkhead: so many calls at once and no more, so that one slow dependency cannot take every thread and connection."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from skerry.clock import Clock
from skerry.context import current
from skerry.errors import BulkheadFull, DeadlineExceeded
from skerry.resilience._fork import Forked
from skerry.resilience._limit import Limit
from skerry.resilience._part import P, Part, T, plain, require
from skerry.resilience._waiter import TaskWaiter, ThreadWaiter, Waiter
from skerry.signals import CallRefused, CallTimedOut, emit


class Bulkhead(Limit, Forked):
    """At most `max_concurrent` calls at once over all tasks and threads; at most `queue` more wait.

    The queue is served in order of arrival; with `lifo` the newest goes first, which under a lasting overload serves callers
    that still wait for the answer (Facebook's adaptive LIFO, Fail at Scale, ACM Queue 2015). A call that finds the queue full,
    or waits in it for `queue_timeout` seconds, raises `BulkheadFull`; one whose deadline passes in the queue raises
    `DeadlineExceeded`. In both cases nothing was called. A cancelled waiter leaves nothing behind.

    Example: `Bulkhead(20, queue=50, queue_timeout=0.5)`
    """

    def __init__(
        self,
        max_concurrent: int,
        *,
        queue: int = 50,
        queue_timeout: float = 1.0,
        lifo: bool = False,
        name: str = "",
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, clock)
        require(max_concurrent >= 1, f"Bulkhead: max_concurrent is {max_concurrent}; it must be at least 1")
        require(queue >= 0, f"Bulkhead: queue is {queue}; it must be at least 0")
        require(0 <= queue_timeout < math.inf, f"Bulkhead: queue_timeout is {queue_timeout}; give seconds from 0")
        self.max_concurrent: int = max_concurrent
        self.queue: int = queue
        self.queue_timeout: float = queue_timeout
        self.lifo: bool = lifo
        # one token for each free slot: to pop and to append one are single steps of the interpreter, so threads and tasks
        # share them without a lock, which alone would cost as much as all the rest
        self._free = deque([None] * max_concurrent)
        self._waiters: deque[Waiter] = deque()
        self._lock = threading.Lock()
        self._slots = max_concurrent  # that there are; `max_concurrent` is how many there should be
        self._surplus = False
        self.survive_forks()

    @property
    def active(self) -> int:
        """Slots in use."""
        return self._slots - len(self._free)

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._waiters)

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)` in a slot. Raises `BulkheadFull`, `DeadlineExceeded`, and what `fn` raises."""
        if not self.enter():
            await self.wait(self.name)
        try:
            # an empty call is cheaper than one with nothing in it
            return await (fn(*args, **kwargs) if args or kwargs else fn())  # type: ignore[call-arg]
        finally:  # `leave`, without a call
            self._free.append(None)
            if self._waiters or self._surplus:
                self._hand_on()

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`, run in a slot. Raises `BulkheadFull`, `DeadlineExceeded`, and what `fn` raises."""
        if not self.enter():
            self.wait_sync(self.name)
        try:
            return plain(fn(*args, **kwargs))
        finally:
            self.leave()

    def enter(self) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        if self._waiters:
            return False
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    async def wait(self, policy: str, priority: int = 0) -> None:  # noqa: ARG002 - all wait in one line
        """Wait in the queue for a slot. Raises `BulkheadFull` or `DeadlineExceeded`; then none is held."""
        waiter = TaskWaiter()
        if not self._line_up(waiter, policy):
            with self._queued(waiter, policy) as patience:
                await waiter.wait(patience)

    def wait_sync(self, policy: str, priority: int = 0) -> None:  # noqa: ARG002
        """The same for a thread."""
        waiter = ThreadWaiter()
        if not self._line_up(waiter, policy):
            with self._queued(waiter, policy) as patience:
                self.clock.wait(waiter.event, patience)

    def leave(self, seconds: float = 0.0, failed: bool | None = False) -> None:  # noqa: ARG002, FBT002 - as in Limit
        """Free the slot, or hand it to who is next."""
        self._free.append(None)
        if self._waiters or self._surplus:
            self._hand_on()

    def adopt(self, other: Part) -> bool:
        """Take the numbers of another bulkhead. Calls inside stay: with fewer slots than they hold, nobody enters until
        enough of them have left.
        """
        if not isinstance(other, Bulkhead):
            return False
        with self._lock:
            self.queue, self.queue_timeout, self.lifo = other.queue, other.queue_timeout, other.lifo
            self.max_concurrent = other.max_concurrent
            more = max(0, self.max_concurrent - self._slots)
            self._slots += more
            self._free.extend([None] * more)
            self._surplus = True  # those who leave take slots out, while there are too many
            self._serve()
        return True

    def after_fork(self) -> None:
        """Whoever held a slot or waited did so in the parent."""
        self._lock = threading.Lock()
        self._waiters.clear()
        self._free.extend([None] * self.active)
        self._surplus = True  # the call that forked, if one did, has yet to give back what is free already

    def describe(self) -> str:
        """The limits in words."""
        order = ", the newest first" if self.lifo else ""
        queue = f"{self.queue} more wait up to {self.queue_timeout:g} s{order}" if self.queue else "no queue"
        return f"bulkhead: {self.max_concurrent} at once, {queue}"

    def _line_up(self, waiter: Waiter, policy: str) -> bool:
        """True: a slot is held. False: `waiter` stands in the queue. Raises `BulkheadFull`."""
        with self._lock:
            if self.enter():
                return True
            if len(self._waiters) < self.queue:
                self._waiters.append(waiter)
                # who gave a slot back before we stood here has seen nobody to hand it to
                self._serve()
                return waiter.granted
        emit(CallRefused(policy=policy, reason=BulkheadFull.reason))
        raise BulkheadFull(f"{policy}: all {self.max_concurrent} slots and {self.queue} places in the queue are taken")

    def _hand_on(self) -> None:
        with self._lock:
            self._serve()

    def _serve(self) -> None:
        """Hand free slots to those who wait, under the lock."""
        while len(self._free) > self._slots:
            self._free.pop()
        while self._slots > self.max_concurrent and self._free:
            self._free.pop()
            self._slots -= 1
        if self._slots > self.max_concurrent:
            return
        while self._waiters:
            try:
                self._free.pop()
            except IndexError:
                return
            if not (self._waiters.pop() if self.lifo else self._waiters.popleft()).grant():
                self._free.append(None)

    def _withdraw(self, waiter: Waiter) -> bool:
        """End the wait. True: the slot came all the same and has to be used or handed on."""
        with self._lock:
            if not waiter.granted and waiter in self._waiters:  # one of a closed loop was passed over
                self._waiters.remove(waiter)
            return waiter.granted

    @contextmanager
    def _queued(self, waiter: Waiter, policy: str) -> Iterator[float]:
        """Around the wait; gives how long it may last. Afterwards the slot is held, or an error says why not."""
        time_left = current().remaining(self.clock)
        hurried = time_left is not None and time_left <= self.queue_timeout
        patience = time_left if time_left is not None and hurried else self.queue_timeout
        try:
            yield patience
        except BaseException:  # a cancellation above all: it may come in the very tick in which the slot is granted
            if self._withdraw(waiter):
                self.leave()
            raise
        if self._withdraw(waiter):
            return
        if hurried:
            emit(CallTimedOut(policy=policy, scope="total", seconds=patience))
            raise DeadlineExceeded(
                f"{policy}: the deadline passed in the queue, after {patience:.3g} s; nothing was sent"
            )
        emit(CallRefused(policy=policy, reason=BulkheadFull.reason))
        raise BulkheadFull(f"{policy}: no slot came free in {patience:.3g} s")
