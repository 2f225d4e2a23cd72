"""The catalogue: what there is, and for how much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI

from skerry.service import Problem, Service

from .models import CATALOGUE, ProductPriced

api = FastAPI(title="product")
service = Service(
    "product",
    app=api,
    database="sqlite:///product.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "migrations",
)


@service.on_start
async def stock_the_shelves() -> None:
    """Put the catalogue in place once, and tell the others its prices in the same transaction."""
    async with service.transaction() as tx:
        for product in CATALOGUE:
            fresh = await tx.execute(
                "INSERT INTO products VALUES (?, ?, ?, ?) ON CONFLICT (sku) DO NOTHING",
                (product.sku, product.name, product.amount, product.currency),
            )
            if fresh:
                await service.outbox.record(
                    tx,
                    ProductPriced(sku=product.sku, name=product.name, amount=product.amount, currency=product.currency),
                )


@api.get("/products")
async def list_products() -> list[dict[str, Any]]:
    """The whole catalogue."""
    return [_shown(row) for row in await service.database.fetch_all("SELECT * FROM products ORDER BY sku")]


@api.get("/products/{sku}")
async def get_product(sku: str) -> dict[str, Any]:
    """One product."""
    row = await service.database.fetch_one("SELECT * FROM products WHERE sku = ?", (sku,))
    if row is None:
        raise Problem(404, "unknown_sku", "There is no such product.")
    return _shown(row)


def _shown(row: Any) -> dict[str, Any]:
    price = {"amount": row["amount"], "currency": row["currency"]}
    return {"sku": row["sku"], "name": row["name"], "price": price}
