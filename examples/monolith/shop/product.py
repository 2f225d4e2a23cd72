"""The catalogue: what there is, and for how much. It tells each price, and hears of those that a service of its own sets."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from skerry.events import DomainEvent
from skerry.service import Problem
from skerry.store import Transaction

from .host import service

router = APIRouter(prefix="/api/products")
positions = APIRouter(prefix="/positions")
COLUMNS = "sku, name, amount, currency"
MOST = 100


class Price(BaseModel):
    """What a product is to cost, in minor units."""

    amount: Annotated[int, Field(ge=1, le=100_000_000, strict=True)]


class ProductPriced(DomainEvent, type="monolith.product.priced", version=1, key="sku"):
    """A product is for sale at a price. Of two prices the one with the higher `revision` is the later."""

    sku: str
    name: str
    category: str
    amount: int
    currency: str
    revision: int


class PricedElsewhere(DomainEvent, type="catalogue.product.priced", version=1, key="sku"):
    """The service that has taken over the catalogue set a price."""

    sku: str
    amount: int
    currency: str
    revision: int


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


@router.put("/{sku}/price")
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
            await _tell(tx, row)
    return _shown(row)


@positions.get("/catalogue")
async def position() -> dict[str, int]:
    """How many prices were told."""
    row = await service.database.fetch_one("SELECT count(*) AS told FROM price_facts WHERE own = 1")
    return {"written": row["told"] if row else 0}


@service.on_start
async def tell_what_was_there() -> None:
    """Tell the prices that nobody was told yet: those from before there was anybody to tell."""
    query = (
        "SELECT * FROM products AS p WHERE NOT EXISTS "
        "(SELECT 1 FROM price_facts AS f WHERE f.sku = p.sku AND f.revision = p.revision) ORDER BY sku LIMIT ?"
    )
    while rows := await service.database.fetch_all(query, (MOST,)):
        async with service.transaction() as tx:
            for row in rows:
                await _tell(tx, row)


@service.on(PricedElsewhere, group="catalogue")
async def hear(event: PricedElsewhere, tx: Transaction) -> None:
    """Take over a price that the catalogue's own service has set: orders are still priced here."""
    later = await tx.execute(
        "UPDATE products SET amount = ?1, currency = ?2, revision = ?3 WHERE sku = ?4 AND revision < ?3",
        (event.amount, event.currency, event.revision, event.sku),
    )
    if later:
        await tx.execute("INSERT INTO price_facts VALUES (?, ?, 0)", (event.sku, event.revision))


async def _tell(tx: Transaction, row: Any) -> None:
    names = ("sku", "name", "category", "amount", "currency", "revision")
    await service.outbox.record(tx, ProductPriced(**{name: row[name] for name in names}))
    await tx.execute("INSERT INTO price_facts VALUES (?, ?, 1)", (row["sku"], row["revision"]))


def _shown(row: Any) -> dict[str, Any]:
    return {"sku": row["sku"], "name": row["name"], "price": {"amount": row["amount"], "currency": row["currency"]}}
