"""A service whose handler fails for orders that begin with `order`, as long as there is a file `broken` in the data folder."""

from __future__ import annotations

from typing import Any

from skerry import DomainEvent, Retry, Service
from skerry.events import Projection


class Placed(DomainEvent, type="shop.order.placed", key="order"):
    order: str
    n: int


service = Service("billing", database="sqlite:///billing.db", events="sqlite:///events/")
hollow = Service("hollow")
totals = Projection("totals", tables={"orders": "name TEXT PRIMARY KEY, n BIGINT NOT NULL"})


@service.on_start
async def record() -> None:
    async with service.transaction() as tx:
        await tx.execute("CREATE TABLE IF NOT EXISTS bills (name TEXT NOT NULL, n BIGINT NOT NULL)")
        for order, n in (("order-1", 1), ("order-1", 2), ("order-1", 3), ("order-2", 4), ("well-1", 5)):
            await service.outbox.record(tx, Placed(order=order, n=n))
        await service.outbox.record(tx, Placed(order="later", n=6), delay=3600.0)


@service.on(Placed, retry=Retry(2, base=0.01))
async def bill(event: Placed, tx: Any) -> None:
    if (service.settings.data / "broken").exists() and event.order.startswith("order"):
        raise OSError("closed")
    await tx.execute("INSERT INTO bills VALUES (?, ?)", (event.order, event.n))


@totals.on(Placed)
async def count(event: Placed, tx: Any) -> None:
    await tx.execute(
        "INSERT INTO {orders} AS o VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET n = o.n + 1", (event.order,)
    )


service.project(totals)
