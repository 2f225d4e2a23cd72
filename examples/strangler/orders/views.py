"""What is shown of an order."""

from __future__ import annotations

import json
from typing import Any

from skerry.store import Transaction

from .host import service


async def view_of(order_id: str, *, by: Transaction | None = None) -> dict[str, Any] | None:
    """An order with its payment, reservation and shipment, as seen `by` a transaction; None when it is not known here."""
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
    parts = {name: json.loads(row[name]) for name in ("payment", "reservation", "shipment")}
    return {"order": order, **parts, "missing": []}


async def changes_of(order_id: str, *, by: Transaction | None = None) -> list[dict[str, Any]]:
    """What became of an order, in its order, each change with its id."""
    rows = await (by or service.database).fetch_all(
        "SELECT id, place, state, at FROM changes WHERE order_id = ? ORDER BY place", (order_id,)
    )
    return [dict(row) for row in rows]
