"""What is shown of an order, and told of it: with its payment, reservation and shipment."""

from __future__ import annotations

import json
from typing import Any

from shop import inventory, payment, shipping
from shop.host import service
from skerry.store import Transaction


async def view_of(order_id: str, *, by: Transaction | None = None) -> dict[str, Any] | None:
    """An order with all its parts, as seen `by` a transaction. Nothing of one process can be missing while the rest is there."""
    row = await (by or service.database).fetch_one("SELECT * FROM orders WHERE id = ?", (order_id,))
    if row is None:
        return None
    order = {
        "order_id": row["id"],
        "customer_id": row["customer_id"],
        "status": row["status"],
        "lines": json.loads(row["lines"]),
        "total": {"amount": row["amount"], "currency": row["currency"]},
    }
    return {"order": order, **await parts_of(order_id, by=by), "missing": []}


async def parts_of(order_id: str, *, by: Transaction | None = None) -> dict[str, Any]:
    """Payment, reservation and shipment of an order, whoever keeps the order itself."""
    return {
        "payment": await payment.payment_of(order_id, by=by),
        "reservation": await inventory.reservation_of(order_id, by=by),
        "shipment": await shipping.shipment_of(order_id, by=by),
    }


async def changes_of(order_id: str, *, by: Transaction | None = None) -> list[dict[str, Any]]:
    """What became of an order, in its order, each change with its id."""
    rows = await (by or service.database).fetch_all(
        "SELECT id, place, state, at FROM changes WHERE order_id = ? ORDER BY place", (order_id,)
    )
    return [dict(row) for row in rows]
