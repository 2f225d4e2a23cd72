"""Stock: what is there, what is promised, what has left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header
from pydantic import BaseModel, Field

from skerry.service import Problem
from skerry.store import Transaction

from .host import service
from .values import PricedLine, Sku

router = APIRouter(prefix="/api/inventory")


class OutOfStock(Exception):
    """There is not enough of a product."""


class Restock(BaseModel):
    """Goods came in."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=1_000_000, strict=True)]


async def reserve(tx: Transaction, order_id: str, lines: Sequence[PricedLine]) -> None:
    """Keep all lines of an order, or none: then `OutOfStock`."""
    async with tx.savepoint():
        for line in lines:
            taken = await tx.execute(
                "UPDATE stock SET available = available - ?1, reserved = reserved + ?1 "
                "WHERE sku = ?2 AND available >= ?1",
                (line.quantity, line.sku),
            )
            if not taken:
                raise OutOfStock(line.sku)
            await tx.execute(
                "INSERT INTO reservations VALUES (?, ?, ?, 'reserved')", (order_id, line.sku, line.quantity)
            )


async def release(tx: Transaction, order_id: str) -> None:
    """Put back what was kept for an order."""
    await _move(tx, order_id, "released", "available")


async def ship(tx: Transaction, order_id: str) -> None:
    """What was kept for an order has left the house."""
    await _move(tx, order_id, "shipped", "shipped")


async def reservation_of(order_id: str, *, by: Transaction | None = None) -> dict[str, Any] | None:
    """What is or was kept for an order, as seen `by` a transaction."""
    rows = await (by or service.database).fetch_all(
        "SELECT sku, quantity, state FROM reservations WHERE order_id = ? ORDER BY sku", (order_id,)
    )
    if not rows:
        return None
    lines = [{"sku": row["sku"], "quantity": row["quantity"]} for row in rows]
    return {"order_id": order_id, "state": rows[0]["state"], "lines": lines}


@router.post("/restock")
async def restock(goods: Restock, idempotency_key: Annotated[str | None, Header()] = None) -> dict[str, Any]:
    """Goods came in."""
    async with service.transaction() as tx:

        async def effect() -> dict[str, Any]:
            known = await tx.execute(
                "UPDATE stock SET available = available + ? WHERE sku = ?", (goods.quantity, goods.sku)
            )
            if not known:
                raise Problem(404, "unknown_sku", "sku: there is no such product in stock.")
            await tx.execute("INSERT INTO receipts_of_goods (sku, quantity) VALUES (?, ?)", (goods.sku, goods.quantity))
            row = await tx.fetch_one("SELECT sku, available, reserved FROM stock WHERE sku = ?", (goods.sku,))
            return dict(row)

        answer: dict[str, Any] = await service.once(
            tx, idempotency_key, goods.model_dump(), effect, scope="POST /inventory/restock"
        )
        return answer


@router.get("/{sku}")
async def get_stock(sku: str) -> dict[str, Any]:
    """How much there is of a product."""
    row = await service.database.fetch_one("SELECT sku, available, reserved FROM stock WHERE sku = ?", (sku,))
    if row is None:
        raise Problem(404, "unknown_sku", "There is no such product in stock.")
    return dict(row)


async def _move(tx: Transaction, order_id: str, state: str, column: str) -> None:
    lines = await tx.fetch_all(
        "SELECT sku, quantity FROM reservations WHERE order_id = ? AND state = 'reserved' ORDER BY sku", (order_id,)
    )
    for line in lines:
        await tx.execute(
            f"UPDATE stock SET reserved = reserved - ?1, {column} = {column} + ?1 WHERE sku = ?2",  # noqa: S608 - ours
            (line["quantity"], line["sku"]),
        )
    await tx.execute("UPDATE reservations SET state = ? WHERE order_id = ? AND state = 'reserved'", (state, order_id))
