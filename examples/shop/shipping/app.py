"""Parcels: one per order. Nothing here has a compensation: what has left the house has left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header

from skerry.saga import Barrier
from skerry.service import Problem, Service

from .models import ParcelDispatched, Ship

api = FastAPI(title="shipping")
service = Service(
    "shipping",
    app=api,
    database="sqlite:///shipping.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "migrations",
)
barrier = Barrier()


@api.post("/shipments", status_code=201)
async def ship(order: Ship, idempotency_key: Annotated[str, Header()]) -> dict[str, Any]:
    """Pack and dispatch an order, and tell it in the same transaction."""
    async with service.transaction() as tx:

        async def effect() -> dict[str, Any]:
            row = await tx.fetch_one(
                "INSERT INTO parcels (order_id, address) VALUES (?, ?) RETURNING id",
                (order.order_id, f"home of {order.customer_id}"),
            )
            parcel_id = row["id"]
            await tx.execute_many(
                "INSERT INTO contents VALUES (?, ?, ?)", [(parcel_id, item.sku, item.quantity) for item in order.lines]
            )
            event = ParcelDispatched(order_id=order.order_id, parcel_id=parcel_id, customer_id=order.customer_id)
            await service.outbox.record(tx, event)
            return {"parcel_id": parcel_id}

        answer: dict[str, Any] = await barrier.act(tx, idempotency_key, effect, given=order.model_dump())
        return answer


@api.get("/shipments/by-order/{order_id}")
async def get_shipment(order_id: str) -> dict[str, Any]:
    """The parcel of an order."""
    row = await service.database.fetch_one("SELECT id FROM parcels WHERE order_id = ?", (order_id,))
    if row is None:
        raise Problem(404, "no_shipment", "No parcel was sent for this order.")
    items = await service.database.fetch_all(
        "SELECT sku, quantity FROM contents WHERE parcel_id = ? ORDER BY sku", (row["id"],)
    )
    lines = [dict(item) for item in items]
    return {"order_id": order_id, "parcel_id": row["id"], "state": "dispatched", "lines": lines}
