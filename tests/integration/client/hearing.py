"""What was told while a test ran."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from skerry.signals import Signal, subscribe


@contextmanager
def heard() -> Iterator[list[Signal]]:
    signals: list[Signal] = []
    unsubscribe = subscribe(signals.append)
    try:
        yield signals
    finally:
        unsubscribe()


async def until(signals: list[Signal], kind: type[Signal], count: int = 1) -> None:
    """Whoever calls it bounds how long it may take."""
    while sum(isinstance(each, kind) for each in signals) < count:
        await asyncio.sleep(0.01)
