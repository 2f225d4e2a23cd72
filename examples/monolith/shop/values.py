"""Values that modules hand to each other."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

Sku = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9-]{0,31}$")]


class Line(BaseModel):
    """So much of a product."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=1000, strict=True)]


class PricedLine(BaseModel):
    """A line with its price; `amount` is for the whole line, in minor units."""

    sku: str
    quantity: int
    amount: int


class Order(BaseModel):
    """What is to be paid and sent."""

    id: str
    customer_id: str
    lines: list[PricedLine]
    amount: int
    currency: str
