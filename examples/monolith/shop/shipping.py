"""Parcels: one per order."""

from __future__ import annotations

from typing import Any

from skerry.store import Transaction

from .host import service
from .values import Order


async def dispatch(tx: Transaction, order: Order) -> int:
    """Pack and send an order; the parcel's number."""
    row = await tx.fetch_one(
        "INSERT INTO parcels (order_id, address) VALUES (?, ?) RETURNING id",
        (order.id, f"home of {order.customer_id}"),
    )
    parcel_id: int = row["id"]
    await tx.execute_many(
        "INSERT INTO contents VALUES (?, ?, ?)", [(parcel_id, line.sku, line.quantity) for line in order.lines]
    )
    return parcel_id


async def shipment_of(order_id: str, *, by: Transaction | None = None) -> dict[str, Any] | None:
    """The parcel of an order, as seen `by` a transaction."""
    row = await (by or service.database).fetch_one("SELECT id FROM parcels WHERE order_id = ?", (order_id,))
    if row is None:
        return None
    items = await (by or service.database).fetch_all(
        "SELECT sku, quantity FROM contents WHERE parcel_id = ? ORDER BY sku", (row["id"],)
    )
    lines = [dict(item) for item in items]
    return {"order_id": order_id, "parcel_id": row["id"], "state": "dispatched", "lines": lines}
