"""What an order is, what this service is asked, what it hears and what it tells."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, Field

from skerry.events import DomainEvent

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

    def digest(self) -> str:
        """What was asked, unreadable; the monolith's event has the same."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


class PricedLine(BaseModel):
    """A line with its price; `amount` is for the whole line, in minor units."""

    sku: str
    quantity: int
    amount: int


class Order(BaseModel):
    """What the monolith is asked to fulfil."""

    id: str
    customer_id: str
    lines: list[PricedLine]
    amount: int
    currency: str


class Taken(BaseModel):
    """What the saga works on."""

    order: Order
    payment_token: str


class DecidedInMonolith(DomainEvent, type="monolith.order.decided", version=1, key="order_id"):
    """The monolith took an order and decided it; `idempotency_key` and `request` are those that it was placed with."""

    order_id: str
    placed_at: float
    view: dict[str, Any]
    changes: list[dict[str, Any]]
    idempotency_key: str | None = None
    request: str = ""


class OrderDecided(DomainEvent, type="orders.order.decided", version=1, key="order_id"):
    """This service took an order, and it is decided."""

    order_id: str
    placed_at: float
    view: dict[str, Any]
    changes: list[dict[str, Any]]


class PricedInMonolith(DomainEvent, type="monolith.product.priced", version=1, key="sku"):
    """The monolith has a product for sale at a price; of two, the higher `revision` is the later."""

    sku: str
    amount: int
    currency: str
    revision: int


class PricedInCatalogue(DomainEvent, type="catalogue.product.priced", version=1, key="sku"):
    """The catalogue's own service set a price."""

    sku: str
    amount: int
    currency: str
    revision: int
