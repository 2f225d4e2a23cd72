"""The saga `fulfilment`: the monolith decides an order, and what it decided is kept and told.

    fulfil -> settle

Stock, payment and shipping are still one transaction of the monolith, so there is nothing here that could be undone half-way:
it is asked, patiently and under one key, until it has answered. When these become services too, each gets a step with what
undoes it, as in the shop that is split already (examples/shop/order/saga.py).
"""

from __future__ import annotations

import json
from typing import Any

from skerry.resilience import Retry
from skerry.saga import Saga, StepContext
from skerry.store import Transaction

from . import monolith
from .host import service
from .models import OrderDecided, Taken
from .views import changes_of, view_of

PATIENT = Retry(1000, on=Exception, base=0.1, cap=2.0)

fulfilment = Saga("fulfilment", version=1, input=Taken)


@fulfilment.retriable(retry=PATIENT, timeout=6.0)
async def fulfil(ctx: StepContext, taken: Taken) -> dict[str, Any]:
    """Ask the monolith. Out of stock and declined are answers, not failures."""
    return await monolith.fulfil(taken, key=ctx.key)


@fulfilment.retriable(retry=PATIENT)
async def settle(ctx: StepContext, taken: Taken) -> None:
    """Keep what was decided, and tell it; once."""
    decided = ctx.results["fulfil"]
    status = "confirmed" if decided["confirmed"] else "cancelled"
    parts = [json.dumps(decided[name]) for name in ("payment", "reservation", "shipment")]
    async with service.transaction() as tx:
        changed = await tx.execute(
            "UPDATE orders SET status = ?, payment = ?, reservation = ?, shipment = ? WHERE id = ? AND status = 'pending'",
            (status, *parts, taken.order.id),
        )
        if not changed:
            return
        if decided["confirmed"]:
            await change(tx, taken.order.id, 2, "dispatched", decided["at"])
        await change(tx, taken.order.id, 3, status, decided["at"])
        await _tell(tx, taken.order.id)


async def change(tx: Transaction, order_id: str, place: int, state: str, at: str) -> str:
    """Write down a change of an order; its id."""
    identifier = str(service.clock.uuid())
    await tx.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", (identifier, order_id, place, state, at))
    return identifier


async def _tell(tx: Transaction, order_id: str) -> None:
    view, changes = await view_of(order_id, by=tx), await changes_of(order_id, by=tx)
    row = await tx.fetch_one("SELECT placed_at FROM orders WHERE id = ?", (order_id,))
    assert view is not None, "it was changed in this transaction"
    assert row is not None, "likewise"
    event = OrderDecided(order_id=order_id, placed_at=row["placed_at"], view=view, changes=changes)
    await service.outbox.record(tx, event)
