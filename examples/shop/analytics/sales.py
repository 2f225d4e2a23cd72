"""Each sold line as a fact in a column store, for questions that nobody has asked yet. Kept where `SKERRY_ANALYTICS` says."""

from __future__ import annotations

from datetime import date
from typing import Any

from skerry.service import Service
from skerry.store import Transaction
from skerry.store.analytics import FactTable

from .models import OrderConfirmed

sales = FactTable(
    name="sales",
    columns={"order_id": str, "sku": str, "day": date, "currency": str, "amount": int},
    key=("order_id", "sku"),  # an order has one line for each product
    order_by=("day",),
)


def keep(service: Service) -> None:
    """Have `service` keep the sales of confirmed orders, many in one insert."""
    service.analytics.declare(sales)

    @service.on(OrderConfirmed, group="sales", batch=250, linger=0.5)
    async def count(events: list[OrderConfirmed], _tx: Transaction) -> None:
        """Not part of the transaction: after a crash some come again, and replace themselves."""
        await service.analytics.append(
            sales,
            [
                {
                    "order_id": event.order_id,
                    "sku": line.sku,
                    "day": date.fromisoformat(event.day),
                    "currency": event.currency,
                    "amount": line.amount,
                }
                for event in events
                for line in event.lines
            ],
        )


async def best(service: Service, since: date) -> list[dict[str, Any]]:
    """The ten products with the most revenue since a day, and in how many orders they were."""
    return await service.analytics.query(
        "SELECT sku, currency, sum(amount) AS amount, count() AS orders FROM {sales} WHERE day >= ? "
        "GROUP BY sku, currency ORDER BY amount DESC, sku LIMIT 10",
        (since,),
    )
