"""Time that passes only while nothing happens, for clients, gateways and peers in one process.

With real time, a time-out of 50 ms is also over when a busy machine stops this process for 50 ms, whatever the peer did. Here
a time-out is over when for so long nothing was to be read or written: the real sockets decide, not the speed of the machine.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from skerry.clock import Clock

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Counts the waits in which nothing happened."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(timeout)
        if timeout is not None and not events:
            self.passed += max(0.0, timeout)
        return events


class _PatientLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._waits = _Selector()
        super().__init__(self._waits)

    def time(self) -> float:
        return self._waits.passed

    def late(self, seconds: float) -> None:
        self._waits.passed += seconds


class _LoopClock(Clock):
    __slots__ = ()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def be_late(seconds: float) -> None:
    """As if a callback of the running loop, under `run_patiently`, had taken so long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _PatientLoop)
    loop.late(seconds)


LOOP_TIME = _LoopClock()
"""The clock for clients, policies and gateways under `run_patiently`."""


def run_patiently(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a loop whose time passes only while nothing happens."""
    with asyncio.Runner(loop_factory=_PatientLoop) as runner:
        return runner.run(main)
