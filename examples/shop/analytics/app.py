"""Revenue per day and product: a projection that is fed by events and owned by nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI

from skerry.service import Service
from skerry.store import Transaction

from .models import OrderConfirmed

api = FastAPI(title="analytics")
service = Service(
    "analytics",
    app=api,
    database="sqlite:///analytics.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "migrations",
)


@service.on(OrderConfirmed)
async def count(event: OrderConfirmed, tx: Transaction) -> None:
    """Add a confirmed order. The receipt commits with the sums, so no order counts twice."""
    await tx.execute_many(
        "INSERT INTO revenue (day, sku, currency, amount, orders) VALUES (?, ?, ?, ?, 1) "
        "ON CONFLICT (day, sku, currency) "
        "DO UPDATE SET amount = revenue.amount + excluded.amount, orders = revenue.orders + 1",
        [(event.day, line.sku, event.currency, line.amount) for line in event.lines],
    )


@api.get("/revenue")
async def revenue() -> list[dict[str, Any]]:
    """Revenue by day and product, oldest day first; eventually consistent."""
    rows = await service.database.fetch_all(
        "SELECT day, sku, amount, currency, orders FROM revenue ORDER BY day, sku, currency"
    )
    return [dict(row) for row in rows]
