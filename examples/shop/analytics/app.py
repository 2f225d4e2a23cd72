"""Revenue per day and product: a projection that is fed by events and owned by nobody else.

With `SKERRY_ANALYTICS` in the environment each sale is also a fact in ClickHouse.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from fastapi import FastAPI

from skerry.events import Projection, ProjectionTx
from skerry.service import Problem, Service
from skerry.settings import Settings

from . import sales
from .models import OrderConfirmed

settings = Settings.from_environ()
api = FastAPI(title="analytics")
service = Service(
    "analytics",
    app=api,
    database="sqlite:///analytics.db",
    events="sqlite:///events/",
    analytics=settings.analytics,
    settings=settings,
)
if settings.analytics:
    sales.keep(service)

revenue = Projection(
    "revenue",
    version=1,
    tables={
        "sums": "day TEXT NOT NULL, sku TEXT NOT NULL, currency TEXT NOT NULL, "
        "amount BIGINT NOT NULL, orders BIGINT NOT NULL, PRIMARY KEY (day, sku, currency)"
    },
)


@revenue.on(OrderConfirmed)
async def count(event: OrderConfirmed, tx: ProjectionTx) -> None:
    """Add a confirmed order. The receipt commits with the sums, so no order counts twice."""
    await tx.execute_many(
        "INSERT INTO {sums} AS s (day, sku, currency, amount, orders) VALUES (?, ?, ?, ?, 1) "
        "ON CONFLICT (day, sku, currency) DO UPDATE SET amount = s.amount + excluded.amount, orders = s.orders + 1",
        [(event.day, line.sku, event.currency, line.amount) for line in event.lines],
    )


service.project(revenue)


@api.get("/revenue")
async def get_revenue() -> list[dict[str, Any]]:
    """Revenue by day and product, oldest day first; eventually consistent."""
    rows = await revenue.fetch_all("SELECT day, sku, amount, currency, orders FROM {sums} ORDER BY day, sku, currency")
    return [dict(row) for row in rows]


@api.get("/best")
async def get_best(since: date) -> list[dict[str, Any]]:
    """The ten best sellers since a day; 404 where no facts are kept."""
    if not settings.analytics:
        raise Problem(404, "no_facts", "This shop keeps no facts for analysis.")
    return await sales.best(service, since)
