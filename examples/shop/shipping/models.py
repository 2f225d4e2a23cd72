"""What shipping is asked, and what it tells."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from skerry.events import DomainEvent


class Item(BaseModel):
    """So much of a product in a parcel."""

    sku: Annotated[str, Field(min_length=1, max_length=32)]
    quantity: Annotated[int, Field(ge=1, strict=True)]


class Ship(BaseModel):
    """Send an order to its customer."""

    order_id: Annotated[str, Field(min_length=1, max_length=64)]
    customer_id: Annotated[str, Field(min_length=1, max_length=64)]
    lines: Annotated[list[Item], Field(min_length=1, max_length=50)]


class ParcelDispatched(DomainEvent, type="shop.parcel.dispatched", version=1, key="order_id"):
    """A parcel left the warehouse."""

    order_id: str
    parcel_id: int
    customer_id: str
