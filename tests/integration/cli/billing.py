"""A service whose handler fails for orders that begin with `order`, as long as there is a file `broken` in the data folder.

So does what undoes the first step of its sagas, and the second step of those called `slow`.
"""

from __future__ import annotations

from typing import Any

from skerry import DomainEvent, Retry, Service
from skerry.events import Projection
from skerry.saga import Rejected, Saga


class Placed(DomainEvent, type="shop.order.placed", key="order"):
    order: str
    n: int


service = Service("billing", database="sqlite:///billing.db", events="sqlite:///events/")
hollow = Service("hollow")
totals = Projection("totals", tables={"orders": "name TEXT PRIMARY KEY, n BIGINT NOT NULL"})


refund, slow = Saga("refund", input=str), Saga("slow", input=str)


def demand_whole() -> None:
    if (service.settings.data / "broken").exists():
        raise OSError("closed")


@refund.step()
async def take(_ctx: Any, customer: str) -> str:
    return f"taken from {customer}"


@take.compensate
async def untake(_ctx: Any, _customer: str, _result: Any) -> None:
    demand_whole()


take.compensation_retry = Retry(2, base=0.01)


@refund.pivot()
async def book(_ctx: Any, _customer: str) -> None:
    raise Rejected("no account")


@slow.step()
async def begin(_ctx: Any, _customer: str) -> None:
    """Always."""


@slow.step(retry=Retry(1000, base=600.0, cap=600.0))
async def call(_ctx: Any, _customer: str) -> None:
    demand_whole()


service.sagas.add(refund, slow)


@service.on_start
async def record() -> None:
    async with service.transaction() as tx:
        for key in ("refund-1", "refund-2", "refund-3"):
            await service.sagas.start(tx, refund, "the customer", key=key)
        await service.sagas.start(tx, slow, "the customer", key="slow-1")
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
