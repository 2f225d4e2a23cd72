"""What analytics hears."""

from __future__ import annotations

from pydantic import BaseModel

from skerry.events import DomainEvent


class SoldLine(BaseModel):
    """A line of a confirmed order; `amount` is the price of the whole line in minor units."""

    sku: str
    amount: int


class OrderConfirmed(DomainEvent, type="shop.order.confirmed", version=1, key="order_id"):
    """An order is paid and sent. `day` is the UTC day of the confirmation."""

    order_id: str
    day: str
    currency: str
    lines: list[SoldLine]
