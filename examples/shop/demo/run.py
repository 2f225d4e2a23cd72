"""The main job: place orders, break things, let it settle, audit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from skerry.clock import SYSTEM
from skerry.topology import System

from .audit import Audit, audit
from .books import Books
from .columns import sold
from .faults import Fault, Faults, Processes
from .load import Customers
from .mix import needed, plan
from .readers import Unreadable

Progress = Callable[[str, int, int], None]
"""Called with what is going on, how much of it is done, and how much there is."""

PAYMENT_FALLS, SERVER_FALLS, NEXT_SERVER_FALLS, ORDER_FALLS = 0.25, 0.45, 0.55, 0.65
"""Shares of the orders after which payment, the servers and order are killed."""
SETTLE = 45.0
"""Seconds the shop gets to finish what is open once the last order is placed."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was done to the shop, and what became of it."""

    audit: Audit
    faults: list[Fault]
    planned_faults: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything is exact, and every fault found a saga under way."""
        struck = len(self.faults) == self.planned_faults and any(fault.open_sagas for fault in self.faults[1:])
        return self.audit.ok and struck

    def as_json(self) -> dict[str, Any]:
        """The report for a program."""
        return {
            "orders": {"placed": self.audit.placed, **self.audit.statuses},
            "audit": self.audit.as_json(),
            "faults": [asdict(fault) for fault in self.faults],
            "ok": self.ok,
        }


async def run(
    processes: Processes,
    system: System,
    *,
    url: str,
    data: Path,
    orders: int,
    seed: int,
    rate: float,
    tell: Progress,
    databases: Mapping[str, str] | None = None,
    events: str | None = None,
    analytics: str | None = None,
    servers: Sequence[str] = (),
) -> Report:
    """Run the main job against a shop that is ready.

    `databases` and `events` are the addresses on servers that the shop works on, `servers` the names of their processes;
    `analytics` is the address of its column store.
    """
    begin = SYSTEM.monotonic()
    books = Books(system, data, databases, events)
    faults = Faults(processes, books)
    strikes: list[tuple[float, Callable[[], Awaitable[None]]]] = [
        (PAYMENT_FALLS, faults.hold_payment),
        *(
            (share, partial(faults.kill_server, name))
            for share, name in zip((SERVER_FALLS, NEXT_SERVER_FALLS), servers, strict=False)
        ),
        (ORDER_FALLS, faults.kill_order),
    ]
    async with Customers(url) as customers:
        prices = await customers.catalogue()
        plans = plan(orders, seed=seed, skus=sorted(prices))
        await customers.restock(needed(plans))
        falls = [asyncio.Event() for _ in strikes]

        def placed(count: int) -> None:
            tell("placing orders", count, orders)
            for fall, (share, _) in zip(falls, strikes, strict=True):
                if count >= orders * share:
                    fall.set()

        async def break_things() -> None:
            for fall, (_, strike) in zip(falls, strikes, strict=True):
                await fall.wait()
                await strike()

        faults.begin()
        breaking = asyncio.create_task(break_things())
        try:
            await customers.place_all(plans, rate=rate, placed=placed)
            for fall in falls:
                fall.set()
            await breaking
        finally:
            breaking.cancel()
        await settle(books, tell, orders)
        facts = None if analytics is None else await sold(processes, analytics, data)
        found = await asyncio.to_thread(audit, books, plans, customers.placed, prices, facts)
    return Report(found, faults.done, len(strikes), SYSTEM.monotonic() - begin)


async def settle(books: Books, tell: Progress, orders: int) -> None:
    """Wait until no saga is open and no event is on its way; not for ever."""
    give_up = SYSTEM.monotonic() + SETTLE
    while SYSTEM.monotonic() < give_up:
        try:
            left = await asyncio.to_thread(lambda: (books.open_sagas(), books.unsent(), books.unhandled()))
        except Unreadable:
            await SYSTEM.sleep(0.2)
            continue
        tell("letting it settle", max(0, orders - left[0]), orders)
        if left == (0, 0, 0):
            return
        await SYSTEM.sleep(0.2)
