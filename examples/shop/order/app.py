"""Orders: placed here, fulfilled by the saga, told to everybody by events."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Header, Query, Response

from skerry.errors import StatusError
from skerry.events import Token
from skerry.service import Problem
from skerry.store import Transaction

from .clients import product
from .history import changes_of, history
from .host import api, service
from .models import Line, Order, OrderPlaced, PlaceOrder, PricedLine, ProductPriced
from .saga import fulfilment

service.add(fulfilment)
service.project(history)

__all__ = ["service"]

Price = tuple[int, str]


@service.on(ProductPriced)
async def remember_price(event: ProductPriced, tx: Transaction) -> None:
    """Keep our own copy of the prices, so that orders can be taken while the catalogue is down."""
    await _save_price(tx, event.sku, event.amount, event.currency)


@api.post("/orders", status_code=202)
async def place(
    wanted: PlaceOrder, response: Response, idempotency_key: Annotated[str | None, Header()] = None
) -> dict[str, Any]:
    """Take an order. The order, its event and its saga commit together; the same key gives the same order."""
    lines = _merged(wanted.lines)
    prices = await _prices(lines)
    currencies = {prices[line.sku][1] for line in lines}
    if len(currencies) > 1:
        raise Problem(422, "mixed_currencies", "lines: all products of an order need the same currency.")
    priced = [
        PricedLine(sku=line.sku, quantity=line.quantity, amount=line.quantity * prices[line.sku][0]) for line in lines
    ]
    async with service.transaction() as tx:

        async def effect() -> dict[str, str]:
            order = Order(
                id=str(service.clock.uuid()),
                customer_id=wanted.customer_id,
                lines=priced,
                amount=sum(line.amount for line in priced),
                currency=currencies.pop(),
                payment_token=wanted.payment_token,
            )
            token = await _insert(tx, order)
            return {"order_id": order.id, "status": "pending", "event": token.event_id}

        answer: dict[str, Any] = await service.once(
            tx, idempotency_key, wanted.model_dump(), effect, scope="POST /orders"
        )
    response.headers["location"] = f"/orders/{answer['order_id']}"
    response.headers["history-after"] = answer.pop("event", "")
    return answer


@api.get("/orders/{order_id}")
async def get_order(order_id: str) -> dict[str, Any]:
    """One order. `stuck` means: its saga waits for a person."""
    row = await service.database.fetch_one("SELECT * FROM orders WHERE id = ?", (order_id,))
    if row is None:
        raise Problem(404, "unknown_order", "There is no such order.")
    status = row["status"]
    if status == "pending":
        saga = await service.sagas.find(fulfilment, order_id)
        if saga is not None and saga.status == "stuck":
            status = "stuck"
    return {
        "order_id": row["id"],
        "customer_id": row["customer_id"],
        "status": status,
        "lines": json.loads(row["lines"]),
        "total": {"amount": row["amount"], "currency": row["currency"]},
    }


@api.get("/orders/{order_id}/history")
async def get_history(
    order_id: str, after: Annotated[str | None, Query(pattern=r"^[0-9a-f-]{36}$")] = None
) -> dict[str, Any]:
    """What became of an order. With `after`, the `history-after` of a placed order, it shows that order at least; 409 when
    that cannot be had within a second.
    """
    changes = await changes_of(order_id, after=after)
    if not changes:
        raise Problem(404, "unknown_order", "Nothing is known of such an order yet.")
    return {"order_id": order_id, "changes": changes}


def _merged(lines: list[Line]) -> list[Line]:
    """One line per product."""
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
    return [Line.model_construct(sku=sku, quantity=quantity) for sku, quantity in quantities.items()]


async def _insert(tx: Transaction, order: Order) -> Token:
    lines = json.dumps([line.model_dump() for line in order.lines])
    await tx.execute(
        "INSERT INTO orders (id, customer_id, lines, amount, currency, status, placed_at) "
        "VALUES (?, ?, ?, ?, ?, 'pending', ?)",
        (order.id, order.customer_id, lines, order.amount, order.currency, service.clock.now()),
    )
    event = OrderPlaced(order_id=order.id, customer_id=order.customer_id, amount=order.amount, currency=order.currency)
    token = await service.outbox.record(tx, event)
    await service.sagas.start(tx, fulfilment, order, key=order.id)
    return token


async def _prices(lines: list[Line]) -> dict[str, Price]:
    """What each product costs: from our own copy, else from the catalogue."""
    prices: dict[str, Price] = {}
    for index, line in enumerate(lines):
        row = await service.database.fetch_one("SELECT amount, currency FROM prices WHERE sku = ?", (line.sku,))
        prices[line.sku] = (row["amount"], row["currency"]) if row else await _ask_for_price(line.sku, index)
    return prices


async def _ask_for_price(sku: str, index: int) -> Price:
    try:
        found = (await product.get(f"/products/{sku}")).raise_for_status().json()
    except StatusError as error:
        if error.status == 404:
            raise Problem(422, "unknown_sku", f"lines.{index}.sku: there is no product {sku}.") from error
        raise
    price = found["price"]
    async with service.transaction() as tx:
        await _save_price(tx, sku, price["amount"], price["currency"])
    return price["amount"], price["currency"]


async def _save_price(tx: Transaction, sku: str, amount: int, currency: str) -> None:
    await tx.execute(
        "INSERT INTO prices VALUES (?, ?, ?) "
        "ON CONFLICT (sku) DO UPDATE SET amount = excluded.amount, currency = excluded.currency",
        (sku, amount, currency),
    )
