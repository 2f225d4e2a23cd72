"""The catalogue as a service: what there is, and for how much.

Until it owns the prices it only hears of them, from the monolith's outbox. Once it is handed them it sets them itself, and tells
the monolith, which still prices orders for as long as it takes any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from faults import Faulty
from skerry.events import DomainEvent
from skerry.service import Problem, Service
from skerry.store import Transaction

api = FastAPI(title="catalogue")
api.add_middleware(Faulty, name="catalogue")
service = Service(
    "catalogue",
    app=api,
    database="sqlite:///catalogue.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "migrations",
)
COLUMNS = "sku, name, amount, currency"


class Price(BaseModel):
    """What a product is to cost, in minor units."""

    amount: Annotated[int, Field(ge=1, le=100_000_000, strict=True)]


class PricedInMonolith(DomainEvent, type="monolith.product.priced", version=1, key="sku"):
    """The monolith has a product for sale at a price. Of two prices the one with the higher `revision` is the later."""

    sku: str
    name: str
    category: str
    amount: int
    currency: str
    revision: int


class ProductPriced(DomainEvent, type="catalogue.product.priced", version=1, key="sku"):
    """The catalogue set a price."""

    sku: str
    amount: int
    currency: str
    revision: int


@service.on(PricedInMonolith)
async def hear(event: PricedInMonolith, tx: Transaction) -> None:
    """Take over what the monolith tells, for as long as it owns the prices."""
    values = (event.sku, event.name, event.category, event.amount, event.currency, event.revision)
    await tx.execute(
        "INSERT INTO products AS p VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (sku) DO UPDATE SET name = excluded.name, "
        "category = excluded.category, amount = excluded.amount, currency = excluded.currency, "
        "revision = excluded.revision WHERE p.revision < excluded.revision",
        values,
    )
    await tx.execute("INSERT INTO prices VALUES (?, ?, 0)", (event.sku, event.revision))


@api.get("/api/products")
async def list_products(category: str | None = None) -> list[dict[str, Any]]:
    """The whole catalogue, or one category of it."""
    rows = await service.database.fetch_all(
        f"SELECT {COLUMNS} FROM products WHERE ?1 = '' OR category = ?1 ORDER BY sku",  # noqa: S608 - ours
        (category or "",),
    )
    return [_shown(row) for row in rows]


@api.get("/api/products/{sku}")
async def get_product(sku: str) -> dict[str, Any]:
    """One product."""
    row = await service.database.fetch_one(f"SELECT {COLUMNS} FROM products WHERE sku = ?", (sku,))  # noqa: S608 - ours
    if row is None:
        raise Problem(404, "unknown_sku", "There is no such product.")
    return _shown(row)


@api.put("/api/products/{sku}/price")
async def set_price(sku: str, price: Price) -> dict[str, Any]:
    """Set a price, and tell it. Setting the same again changes nothing."""
    async with service.transaction() as tx:
        changed = await tx.execute(
            "UPDATE products SET amount = ?1, revision = revision + 1 WHERE sku = ?2 AND amount <> ?1",
            (price.amount, sku),
        )
        row = await tx.fetch_one("SELECT * FROM products WHERE sku = ?", (sku,))
        if row is None:
            raise Problem(404, "unknown_sku", "There is no such product.")
        if changed:
            names = ("sku", "amount", "currency", "revision")
            await service.outbox.record(tx, ProductPriced(**{name: row[name] for name in names}))
            await tx.execute("INSERT INTO prices VALUES (?, ?, 1)", (sku, row["revision"]))
    return _shown(row)


@api.get("/positions/catalogue")
async def position() -> dict[str, int]:
    """How many prices of the monolith are known here, and how many were set here. Not among the gateway's paths."""
    row = await service.database.fetch_one("SELECT count(*) AS known, coalesce(sum(own), 0) AS own FROM prices")
    assert row is not None, "a sum has a row"
    return {"seen": row["known"] - row["own"], "written": row["own"]}


def _shown(row: Any) -> dict[str, Any]:
    return {"sku": row["sku"], "name": row["name"], "price": {"amount": row["amount"], "currency": row["currency"]}}
