"""The facts that the tests of engines work with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime
from typing import Any

from skerry.store.analytics import Analytics, FactTable

SALES = FactTable(
    name="sales",
    columns={"order_id": str, "sku": str, "day": date, "amount": int, "share": float, "gift": bool, "at": datetime},
    key=("order_id", "sku"),
    order_by=("day",),
)

Engine = Callable[..., AbstractAsyncContextManager[Analytics]]


def sale(order_id: str, **values: Any) -> dict[str, Any]:
    """A fact, plain but for what is given."""
    plain = {"sku": "LAMP-1", "day": date(2026, 3, 1), "amount": 100, "share": 0.5, "gift": False}
    return {"order_id": order_id, "at": datetime(2026, 3, 1, 12, tzinfo=UTC), **plain, **values}
