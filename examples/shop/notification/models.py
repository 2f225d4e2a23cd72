"""What notification hears."""

from __future__ import annotations

from skerry.events import DomainEvent


class OrderConfirmed(DomainEvent, type="shop.order.confirmed", version=1, key="order_id"):
    """An order is paid and sent."""

    order_id: str
    customer_id: str
    amount: int
    currency: str


class OrderCancelled(DomainEvent, type="shop.order.cancelled", version=1, key="order_id"):
    """An order will not be fulfilled; nothing was taken."""

    order_id: str
    customer_id: str


class ParcelDispatched(DomainEvent, type="shop.parcel.dispatched", version=1, key="order_id"):
    """A parcel is on its way."""

    order_id: str
    parcel_id: int
    customer_id: str
