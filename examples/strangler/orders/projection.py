"""What the monolith tells, for as long as it takes the orders: kept in the very tables that are written here afterwards.

It is no view that could be made anew: from the hand-over on these rows are the orders. The key that an order was placed with is
kept as this service keeps its own, so a customer who asks again, after the hand-over, gets the order that the monolith gave.
"""

from __future__ import annotations

import json

from skerry.store import Transaction

from .host import api, service
from .models import DecidedInMonolith, PricedInCatalogue, PricedInMonolith

SCOPE = "POST /orders"


@service.on(DecidedInMonolith)
async def hear(event: DecidedInMonolith, tx: Transaction) -> None:
    """Take over an order with all its parts."""

    async def effect() -> dict[str, str]:
        await _keep(tx, event)
        return {"order_id": event.order_id, "status": "pending", "event": event.changes[0]["id"]}

    await service.once(tx, event.idempotency_key, event.request, effect, scope=SCOPE)


@service.on(PricedInMonolith)
async def hear_price(event: PricedInMonolith, tx: Transaction) -> None:
    """Keep our own copy of the prices."""
    await _keep_price(tx, event)


@service.on(PricedInCatalogue)
async def hear_new_price(event: PricedInCatalogue, tx: Transaction) -> None:
    """From whoever sets them: the two may overtake each other, so each has its number."""
    await _keep_price(tx, event)


@api.get("/positions/orders")
async def position() -> dict[str, int]:
    """How many orders of the monolith are known here, and how many were taken here. Not among the gateway's paths."""
    row = await service.database.fetch_one("SELECT count(*) AS known, coalesce(sum(own), 0) AS own FROM orders")
    assert row is not None, "a sum has a row"
    return {"seen": row["known"] - row["own"], "written": row["own"]}


async def _keep(tx: Transaction, event: DecidedInMonolith) -> None:
    order, view = event.view["order"], event.view
    values = (
        event.order_id,
        order["customer_id"],
        json.dumps(order["lines"]),
        order["total"]["amount"],
        order["total"]["currency"],
        order["status"],
        event.placed_at,
        *(json.dumps(view[name]) for name in ("payment", "reservation", "shipment")),
    )
    await tx.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)", values)
    rows = [(each["id"], event.order_id, each["place"], each["state"], each["at"]) for each in event.changes]
    await tx.execute_many("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", rows)


async def _keep_price(tx: Transaction, event: PricedInMonolith | PricedInCatalogue) -> None:
    await tx.execute(
        "INSERT INTO prices AS p VALUES (?, ?, ?, ?) ON CONFLICT (sku) DO UPDATE SET amount = excluded.amount, "
        "currency = excluded.currency, revision = excluded.revision WHERE p.revision < excluded.revision",
        (event.sku, event.amount, event.currency, event.revision),
    )
