"""Revenue per day and product: counted with the order, so it is never late and never twice."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from skerry.store import Transaction

from .host import service
from .values import Order

router = APIRouter(prefix="/api/analytics")


async def count(tx: Transaction, order: Order, day: str) -> None:
    """Add a confirmed order; `day` is the UTC day of the confirmation."""
    await tx.execute_many(
        "INSERT INTO sales AS s (day, sku, currency, amount, orders) VALUES (?, ?, ?, ?, 1) "
        "ON CONFLICT (day, sku, currency) DO UPDATE SET amount = s.amount + excluded.amount, orders = s.orders + 1",
        [(day, line.sku, order.currency, line.amount) for line in order.lines],
    )


@router.get("/revenue")
async def get_revenue() -> list[dict[str, Any]]:
    """Revenue by day and product, oldest day first."""
    rows = await service.database.fetch_all(
        "SELECT day, sku, amount, currency, orders FROM sales ORDER BY day, sku, currency"
    )
    return [dict(row) for row in rows]
