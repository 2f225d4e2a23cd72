"""The main job: place orders, break things, let it settle, audit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skerry.clock import SYSTEM
from skerry.topology import System

from .audit import Audit, audit
from .books import Books
from .faults import Fault, Faults, Processes
from .load import Customers
from .mix import needed, plan

Progress = Callable[[str, int, int], None]
"""Called with what is going on, how much of it is done, and how much there is."""

PAYMENT_FALLS, ORDER_FALLS = 0.25, 0.65
"""Shares of the orders after which payment and order are killed."""
SETTLE = 45.0
"""Seconds the shop gets to finish what is open once the last order is placed."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was done to the shop, and what became of it."""

    audit: Audit
    faults: list[Fault]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything is exact, and every fault found a saga under way."""
        return self.audit.ok and len(self.faults) == 2 and any(fault.open_sagas for fault in self.faults[1:])

    def as_json(self) -> dict[str, Any]:
        """The report for a program."""
        return {
            "orders": {"placed": self.audit.placed, **self.audit.statuses},
            "audit": self.audit.as_json(),
            "faults": [asdict(fault) for fault in self.faults],
            "ok": self.ok,
        }


async def run(
    processes: Processes, system: System, *, url: str, data: Path, orders: int, seed: int, rate: float, tell: Progress
) -> Report:
    """Run the main job against a shop that is ready."""
    begin = SYSTEM.monotonic()
    books = Books(system, data)
    faults = Faults(processes, books)
    async with Customers(url) as customers:
        prices = await customers.catalogue()
        plans = plan(orders, seed=seed, skus=sorted(prices))
        await customers.restock(needed(plans))
        payment_falls, order_falls = asyncio.Event(), asyncio.Event()

        def placed(count: int) -> None:
            tell("placing orders", count, orders)
            if count >= orders * PAYMENT_FALLS:
                payment_falls.set()
            if count >= orders * ORDER_FALLS:
                order_falls.set()

        async def break_things() -> None:
            await payment_falls.wait()
            await faults.hold_payment()
            await order_falls.wait()
            await faults.kill_order()

        faults.begin()
        breaking = asyncio.create_task(break_things())
        try:
            await customers.place_all(plans, rate=rate, placed=placed)
            payment_falls.set()
            order_falls.set()
            await breaking
        finally:
            breaking.cancel()
        await settle(books, tell, orders)
        found = await asyncio.to_thread(audit, books, plans, customers.placed, prices)
    return Report(found, faults.done, SYSTEM.monotonic() - begin)


async def settle(books: Books, tell: Progress, orders: int) -> None:
    """Wait until no saga is open and no event is on its way; not for ever."""
    give_up = SYSTEM.monotonic() + SETTLE
    while SYSTEM.monotonic() < give_up:
        left = await asyncio.to_thread(lambda: (books.open_sagas(), books.unsent(), books.unhandled()))
        tell("letting it settle", max(0, orders - left[0]), orders)
        if left == (0, 0, 0):
            return
        await SYSTEM.sleep(0.2)
