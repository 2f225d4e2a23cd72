"""Orders over HTTP, as the shop's gateway has them."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from shop import inventory, notification, payment, product, shipping
from shop.host import service
from shop.values import Line, Order, PricedLine
from skerry.service import Problem

from .fulfilment import take

router = APIRouter(prefix="/api/orders")


class PlaceOrder(BaseModel):
    """What a customer asks for."""

    customer_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.@:-]+$")]
    lines: Annotated[list[Line], Field(min_length=1, max_length=50)]
    payment_token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


@router.post("", status_code=202)
async def place(
    wanted: PlaceOrder, response: Response, idempotency_key: Annotated[str | None, Header()] = None
) -> dict[str, Any]:
    """Take an order. Everything it changes commits together; the same key gives the same order."""
    lines, currency = await _priced(wanted.lines)
    authorised = await payment.authorise(wanted.payment_token)
    async with service.transaction() as tx:

        async def effect() -> dict[str, str]:
            order = Order(
                id=str(service.clock.uuid()),
                customer_id=wanted.customer_id,
                lines=lines,
                amount=sum(line.amount for line in lines),
                currency=currency,
            )
            first = await take(tx, order, authorised=authorised)
            return {"order_id": order.id, "status": "pending", "event": first}

        answer: dict[str, Any] = await service.once(
            tx, idempotency_key, wanted.model_dump(), effect, scope="POST /orders"
        )
    await notification.deliver()
    response.headers["location"] = f"/api/orders/{answer['order_id']}"
    response.headers["history-after"] = answer.pop("event")
    return answer


@router.get("/{order_id}")
async def get_order(order_id: str) -> dict[str, Any]:
    """An order with its payment, reservation and shipment. Nothing of one process can be missing while the rest is there."""
    row = await service.database.fetch_one("SELECT * FROM orders WHERE id = ?", (order_id,))
    if row is None:
        raise Problem(404, "unknown_order", "There is no such order.")
    order = {
        "order_id": row["id"],
        "customer_id": row["customer_id"],
        "status": row["status"],
        "lines": json.loads(row["lines"]),
        "total": {"amount": row["amount"], "currency": row["currency"]},
    }
    return {
        "order": order,
        "payment": await payment.payment_of(order_id),
        "reservation": await inventory.reservation_of(order_id),
        "shipment": await shipping.shipment_of(order_id),
        "missing": [],
    }


@router.get("/{order_id}/history")
async def get_history(
    order_id: str, after: Annotated[str | None, Query(pattern=r"^[0-9a-f-]{36}$")] = None
) -> dict[str, Any]:
    """What became of an order. `after` is the `history-after` of a placed order; 409 when there is no such change."""
    if after is not None and not await service.database.fetch_one("SELECT 1 FROM changes WHERE id = ?", (after,)):
        raise Problem(409, "behind", "There is no such change.", headers=[(b"retry-after", b"1")])
    rows = await service.database.fetch_all(
        "SELECT state, at FROM changes WHERE order_id = ? ORDER BY place", (order_id,)
    )
    if not rows:
        raise Problem(404, "unknown_order", "Nothing is known of such an order yet.")
    return {"order_id": order_id, "changes": [dict(row) for row in rows]}


async def _priced(lines: list[Line]) -> tuple[list[PricedLine], str]:
    """One line per product, with its price, and the currency of all."""
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
    priced: list[PricedLine] = []
    currencies: set[str] = set()
    for index, (sku, quantity) in enumerate(quantities.items()):
        price = await product.price_of(sku)
        if price is None:
            raise Problem(422, "unknown_sku", f"lines.{index}.sku: there is no product {sku}.")
        priced.append(PricedLine(sku=sku, quantity=quantity, amount=quantity * price[0]))
        currencies.add(price[1])
    if len(currencies) > 1:
        raise Problem(422, "mixed_currencies", "lines: all products of an order need the same currency.")
    return priced, currencies.pop()
