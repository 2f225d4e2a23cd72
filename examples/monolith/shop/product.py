"""The catalogue: what there is, and for how much."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from skerry.service import Problem

from .host import service

router = APIRouter(prefix="/api/products")
COLUMNS = "sku, name, amount, currency"


async def price_of(sku: str) -> tuple[int, str] | None:
    """Amount in minor units and currency; None for what is not sold."""
    row = await service.database.fetch_one("SELECT amount, currency FROM products WHERE sku = ?", (sku,))
    return (row["amount"], row["currency"]) if row else None


@router.get("")
async def list_products(category: str | None = None) -> list[dict[str, Any]]:
    """The whole catalogue, or one category of it."""
    rows = await service.database.fetch_all(
        f"SELECT {COLUMNS} FROM products WHERE ?1 = '' OR category = ?1 ORDER BY sku",  # noqa: S608 - ours
        (category or "",),
    )
    return [_shown(row) for row in rows]


@router.get("/{sku}")
async def get_product(sku: str) -> dict[str, Any]:
    """One product."""
    row = await service.database.fetch_one(f"SELECT {COLUMNS} FROM products WHERE sku = ?", (sku,))  # noqa: S608 - ours
    if row is None:
        raise Problem(404, "unknown_sku", "There is no such product.")
    return _shown(row)


def _shown(row: Any) -> dict[str, Any]:
    return {"sku": row["sku"], "name": row["name"], "price": {"amount": row["amount"], "currency": row["currency"]}}
