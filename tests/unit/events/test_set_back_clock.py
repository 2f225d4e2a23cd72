"""A bug the soak found: an event parked for another try waited for as long as the clock on the wall had been set back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from skerry.clock import Clock
from skerry.events import Outbox
from skerry.events.brokers import Message
from skerry.events.parking import Parked, Parking
from skerry.store import SQLiteDatabase

DELAY, LONGEST = 5.0, 30.0


class Wall(Clock):
    """A clock whose time of day is set by hand."""

    __slots__ = ("time",)

    def now(self) -> float:
        return self.time


async def due_after(passed: float, folder: Path) -> Parked | None:
    """What is due when an event was parked for DELAY and the clock on the wall has moved by `passed` since."""
    clock = Wall()
    clock.time = 1_000_000.0
    database = SQLiteDatabase(folder / "order.db", owner="order", clock=clock)
    await database.open()
    try:
        await Outbox.prepare(database)
        parking = Parking("billing", hold_key=True, longest=LONGEST, clock=clock)
        async with database.transaction() as tx:
            await parking.add(tx, Message("1", "placed", "key", "{}"), "retry", delay=DELAY, reason="failed")
        clock.time += passed
        return await parking.due(database)
    finally:
        await database.close()


def test_an_event_is_not_due_before_its_delay_is_over(tmp_path: Path) -> None:
    """A small step back is no reason to hurry."""
    assert asyncio.run(due_after(DELAY - 1.0, tmp_path / "early")) is None
    assert asyncio.run(due_after(-1.0, tmp_path / "back")) is None


def test_a_clock_set_back_does_not_hold_an_event(tmp_path: Path) -> None:
    """No event waits longer than the longest delay, whatever the clock on the wall has done meanwhile."""
    assert asyncio.run(due_after(DELAY, tmp_path / "in-time")) is not None
    assert asyncio.run(due_after(-3600.0, tmp_path / "set-back")) is not None
