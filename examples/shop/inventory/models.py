"""What inventory is asked, and what it hears."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from skerry.events import DomainEvent

Sku = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9-]{0,31}$")]


class Line(BaseModel):
    """So much of a product."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=100_000, strict=True)]


class Reserve(BaseModel):
    """Keep goods for an order."""

    order_id: Annotated[str, Field(min_length=1, max_length=64)]
    lines: Annotated[list[Line], Field(min_length=1, max_length=50)]


class Restock(BaseModel):
    """Goods came in."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=1_000_000, strict=True)]


class ParcelDispatched(DomainEvent, type="shop.parcel.dispatched", version=1, key="order_id"):
    """A parcel left the warehouse: what was reserved for the order is gone."""

    order_id: str
