"""Stock: what is there, what is promised, what has left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header

from skerry.saga import Barrier
from skerry.service import Problem, Service
from skerry.store import Transaction

from . import rpc
from .models import ParcelDispatched, Reserve, Restock

api = FastAPI(title="inventory")
service = Service(
    "inventory",
    app=api,
    database="sqlite:///inventory.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "migrations",
)
barrier = Barrier()


@api.post("/reservations", status_code=201)
async def reserve(order: Reserve, idempotency_key: Annotated[str, Header()]) -> dict[str, Any]:
    """Keep all lines of an order, or none: 409 `out_of_stock`."""
    async with service.transaction() as tx:

        async def effect() -> dict[str, Any]:
            for line in sorted(
                order.lines, key=lambda line: line.sku
            ):  # one order for all, or two would block each other
                taken = await tx.execute(
                    "UPDATE stock SET available = available - ?1, reserved = reserved + ?1 "
                    "WHERE sku = ?2 AND available >= ?1",
                    (line.quantity, line.sku),
                )
                if not taken:
                    raise Problem(409, "out_of_stock", f"Not enough of {line.sku}.")
                await tx.execute(
                    "INSERT INTO reservations VALUES (?, ?, ?, 'reserved')", (order.order_id, line.sku, line.quantity)
                )
            return {"order_id": order.order_id, "state": "reserved"}

        answer: dict[str, Any] = await barrier.act(tx, idempotency_key, effect, given=order.model_dump())
        return answer


@api.post("/reservations/{order_id}/release", status_code=204)
async def release(order_id: str, idempotency_key: Annotated[str, Header()]) -> None:
    """Put back what was kept for an order, if it was kept; and never keep it any more."""
    async with service.transaction() as tx:

        async def compensation(_answer: Any) -> None:
            await _move(tx, order_id, "released", "available")

        await barrier.undo(tx, idempotency_key, compensation)


service.grpc.add_generic_rpc_handlers([rpc.handlers(reserve, release)])


@api.get("/reservations/{order_id}")
async def get_reservation(order_id: str) -> dict[str, Any]:
    """What is kept for an order."""
    rows = await service.database.fetch_all(
        "SELECT sku, quantity, state FROM reservations WHERE order_id = ? ORDER BY sku", (order_id,)
    )
    if not rows:
        raise Problem(404, "no_reservation", "Nothing is reserved for this order.")
    lines = [{"sku": row["sku"], "quantity": row["quantity"]} for row in rows]
    return {"order_id": order_id, "state": rows[0]["state"], "lines": lines}


@api.post("/inventory/restock")
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


@api.get("/inventory/{sku}")
async def get_stock(sku: str) -> dict[str, Any]:
    """How much there is of a product."""
    row = await service.database.fetch_one("SELECT sku, available, reserved FROM stock WHERE sku = ?", (sku,))
    if row is None:
        raise Problem(404, "unknown_sku", "There is no such product in stock.")
    return dict(row)


@service.on(ParcelDispatched)
async def goods_left(event: ParcelDispatched, tx: Transaction) -> None:
    """What was reserved for the order has left the house."""
    await _move(tx, event.order_id, "shipped", "shipped")


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
