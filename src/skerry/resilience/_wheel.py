"""Alarms for tasks, cheap to set and to take back: most calls end long before their time, so hardly any alarm ever rings.

All alarms of an event loop that fall due in the same hundredth of a second share one slot, a dictionary, and all slots share
one timer of the loop, which is armed only while there are slots. Setting an alarm and taking it back are two operations on a
dictionary (hashed timing wheels: Varghese and Lauck, SOSP 1987). An alarm rings at the end of its hundredth: never early, and
late by no more than that plus what the event loop takes.
"""

from __future__ import annotations

import asyncio
import math
import threading
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

from skerry.clock import SYSTEM, Clock

PER_SECOND = -100.0
"""`deadline * PER_SECOND // 1.0` is the key of a slot; it falls as time goes by, since rounding up is dearer than down."""
_ROUNDING = 1e-9
"""Seconds. What a sum of floats may be off, and what an event loop's own timers may be early."""


class Cancellable(Protocol):
    """What an alarm can ring for: a task, or whatever else stops when its `cancel` is called, once, in the event loop."""

    def cancel(self) -> object:
        """Its time is over."""


Slot = dict[int, Cancellable]
"""The tasks to cancel, each by a number of `numbers`. Who takes back an alarm and does not find it knows that it has rung."""
numbers = count()


class Wheel:
    """The alarms of the tasks of one event loop, on one clock. Only code that runs in that loop may touch it."""

    __slots__ = ("_clock", "_due", "_heap", "_sweep_at", "_timer", "loop", "slots")

    def __init__(self, loop: asyncio.AbstractEventLoop | None, clock: Clock) -> None:
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.slots: dict[float, Slot] = {}
        self._clock = clock
        self._heap: list[float] = []
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_at = 256

    def slot(self, deadline: float) -> Slot:
        """Where alarms for `deadline` on the clock belong."""
        key = deadline * PER_SECOND // 1.0
        slot = self.slots.get(key)
        if slot is None:
            if len(self._heap) > self._sweep_at:
                self._sweep()
            slot = self.slots[key] = {}
            heappush(self._heap, -key)
            if -key < self._due:
                self._arm(-key)
        return slot

    def _arm(self, tick: float) -> None:
        assert self.loop is not None
        if self._timer is not None:
            self._timer.cancel()
        self._due = tick
        self._timer = self.loop.call_later(max(0.0, self._left(tick)), self._turn)

    def _left(self, tick: float) -> float:
        return -tick / PER_SECOND - self._clock.monotonic()

    def _turn(self) -> None:
        """Ring what is due, then wait for the next slot that has anything in it."""
        while self._heap:
            tick = self._heap[0]
            slot = self.slots[-tick]
            if slot and self._left(tick) > _ROUNDING:
                self._arm(tick)
                return
            heappop(self._heap)
            del self.slots[-tick]
            for task in slot.values():
                task.cancel()
            slot.clear()
        self._due, self._timer = math.inf, None

    def _sweep(self) -> None:
        """Drop the slots in which nothing is left, so that there are no more of them than twice the calls under way."""
        self.slots = {key: slot for key, slot in self.slots.items() if slot}
        self._heap = [-key for key in self.slots]
        heapify(self._heap)
        self._sweep_at = 2 * len(self._heap) + 256


class Here(threading.local):
    """The wheel of the event loop that this thread runs.

    On Python 3.11 to ask for the running loop costs as much as all of a policy's counting. So it is asked for each new slot,
    which is a hundred times a second, and taken to be the same until then.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.wheel: Wheel = Wheel(None, clock)

    def alarm(self, deadline: float) -> tuple[Slot, asyncio.Task[object]]:
        """The slot for `deadline`, for good if that is infinite, and the running task. Raises `RuntimeError` outside of one."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a time limit needs a task that it can cancel")
        if deadline == math.inf:
            return {}, task
        if self.wheel.loop is not loop:
            self.wheel = Wheel(loop, self._clock)
        return self.wheel.slot(deadline), task


_HERE = Here(SYSTEM)


def here(clock: Clock) -> Here:
    """What to set alarms with on `clock`: for real time all the same, so that a loop has one timer."""
    return _HERE if clock is SYSTEM else Here(clock)
