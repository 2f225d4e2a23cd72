"""The catalogue: what there is, and for how much. It is kept as documents, on SQLite, PostgreSQL or MongoDB."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import FastAPI

from skerry.errors import VersionConflict
from skerry.service import Problem, Service
from skerry.store.documents import Index, Where

from .models import CATALOGUE, Product, ProductPriced

api = FastAPI(title="product")
service = Service("product", app=api, database="sqlite:///product.db", events="sqlite:///events/")
products = service.documents("products", Product, key="sku", indexes=[Index("category"), Index("price.amount")])


@service.on_start
async def stock_the_shelves() -> None:
    """Put the catalogue in place once, and tell the others each price in the unit of work that makes it true."""
    for product in CATALOGUE:
        price = product.price
        event = ProductPriced(sku=product.sku, name=product.name, amount=price.amount, currency=price.currency)
        with suppress(VersionConflict):  # it is there already
            async with service.transaction() as tx:
                await products.insert(tx, product)
                await service.outbox.record(tx, event)


@api.get("/products")
async def list_products(category: str | None = None) -> list[dict[str, Any]]:
    """The whole catalogue, or one category of it."""
    where = [] if category is None else [Where("category", "=", category)]
    page = await products.find(*where)
    shown = page.documents
    while page.next is not None:
        page = await products.find(*where, after=page.next)
        shown += page.documents
    return [_shown(each.body) for each in shown]


@api.get("/products/{sku}")
async def get_product(sku: str) -> dict[str, Any]:
    """One product."""
    stored = await products.get(sku)
    if stored is None:
        raise Problem(404, "unknown_sku", "There is no such product.")
    return _shown(stored.body)


def _shown(product: Product) -> dict[str, Any]:
    return {"sku": product.sku, "name": product.name, "price": product.price.model_dump()}
