"""What payment is asked."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field


class Charge(BaseModel):
    """Take money for an order, in minor units."""

    order_id: Annotated[str, Field(min_length=1, max_length=64)]
    amount: Annotated[int, Field(ge=1, strict=True)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    token: Annotated[str, Field(min_length=1, max_length=64)]
