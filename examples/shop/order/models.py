"""What an order is, what its service is asked, and what it tells."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from skerry.events import DomainEvent

Status = Literal["pending", "confirmed", "cancelled", "stuck"]
Sku = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9-]{0,31}$")]


class Line(BaseModel):
    """So much of a product."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=1000, strict=True)]


class PlaceOrder(BaseModel):
    """What a customer asks for."""

    customer_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.@:-]+$")]
    lines: Annotated[list[Line], Field(min_length=1, max_length=50)]
    payment_token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class PricedLine(BaseModel):
    """A line with its price; `amount` is for the whole line, in minor units."""

    sku: str
    quantity: int
    amount: int


class Order(BaseModel):
    """What the saga works on."""

    id: str
    customer_id: str
    lines: list[PricedLine]
    amount: int
    currency: str
    payment_token: str


class ProductPriced(DomainEvent, type="shop.product.priced", version=1, key="sku"):
    """The catalogue set a price."""

    sku: str
    amount: int
    currency: str


class OrderPlaced(DomainEvent, type="shop.order.placed", version=1, key="order_id"):
    """A customer placed an order; nothing is decided yet."""

    order_id: str
    customer_id: str
    amount: int
    currency: str


class OrderConfirmed(DomainEvent, type="shop.order.confirmed", version=1, key="order_id"):
    """The order is paid and sent. `day` is the UTC day of the confirmation."""

    order_id: str
    customer_id: str
    day: str
    amount: int
    currency: str
    lines: list[PricedLine]


class OrderCancelled(DomainEvent, type="shop.order.cancelled", version=1, key="order_id"):
    """The order will not be fulfilled; whatever was done for it is undone."""

    order_id: str
    customer_id: str
    reason: str


class ParcelDispatched(DomainEvent, type="shop.parcel.dispatched", version=1, key="order_id"):
    """Shipping sent the parcel of an order."""

    order_id: str
