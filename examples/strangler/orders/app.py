"""Orders as a service: shown first, taken once it owns them."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Annotated, Any

from fastapi import Header, Query, Response

from skerry.client import Reply
from skerry.service import Problem
from skerry.store import Transaction

from . import monolith
from .host import api, service
from .models import Line, Order, PlaceOrder, PricedLine, Taken
from .projection import SCOPE
from .saga import change, fulfilment
from .views import changes_of, view_of

service.add(fulfilment)

__all__ = ["service"]


@api.get("/api/orders/{order_id}")
async def get_order(order_id: str) -> Any:
    """An order with its parts. One that is not known here is asked of the monolith: it may just have been placed there."""
    view = await view_of(order_id)
    return view if view is not None else _passed_on(await monolith.order_of(order_id))


@api.get("/api/orders/{order_id}/history")
async def get_history(order_id: str, after: Annotated[str | None, Query(pattern=r"^[0-9a-f-]{36}$")] = None) -> Any:
    """What became of an order. `after` is the `history-after` of a placed order; 409 when there is no such change."""
    changes = await changes_of(order_id)
    if not changes:
        return _passed_on(await monolith.order_of(order_id, below="/history", query=f"?after={after}" if after else ""))
    if after is not None and not await service.database.fetch_one("SELECT 1 FROM changes WHERE id = ?", (after,)):
        raise Problem(409, "behind", "There is no such change.", headers=[(b"retry-after", b"1")])
    return {"order_id": order_id, "changes": [{"state": each["state"], "at": each["at"]} for each in changes]}


@api.post("/api/orders", status_code=202)
async def place(
    wanted: PlaceOrder, response: Response, idempotency_key: Annotated[str | None, Header()] = None
) -> dict[str, Any]:
    """Take an order. The order and its saga commit together; the same key gives the same order, whoever took it."""
    lines, currency = await _priced(wanted.lines)
    async with service.transaction() as tx:

        async def effect() -> dict[str, str]:
            order = Order(
                id=str(service.clock.uuid()),
                customer_id=wanted.customer_id,
                lines=lines,
                amount=sum(line.amount for line in lines),
                currency=currency,
            )
            first = await _take(tx, Taken(order=order, payment_token=wanted.payment_token))
            return {"order_id": order.id, "status": "pending", "event": first}

        answer: dict[str, Any] = await service.once(tx, idempotency_key, wanted.digest(), effect, scope=SCOPE)
    response.headers["location"] = f"/api/orders/{answer['order_id']}"
    response.headers["history-after"] = answer.pop("event")
    return answer


async def _take(tx: Transaction, taken: Taken) -> str:
    order = taken.order
    lines = json.dumps([line.model_dump() for line in order.lines])
    await tx.execute(
        "INSERT INTO orders (id, customer_id, lines, amount, currency, status, placed_at, own) "
        "VALUES (?, ?, ?, ?, ?, 'pending', ?, 1)",
        (order.id, order.customer_id, lines, order.amount, order.currency, service.clock.now()),
    )
    first = await change(tx, order.id, 1, "placed", service.clock.utcnow().isoformat())
    await service.sagas.start(tx, fulfilment, taken, key=order.id)
    return first


async def _priced(lines: list[Line]) -> tuple[list[PricedLine], str]:
    """One line per product, with its price, and the currency of all."""
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
    prices = await _prices(quantities)
    priced: list[PricedLine] = []
    currencies: set[str] = set()
    for index, (sku, quantity) in enumerate(quantities.items()):
        price = prices.get(sku)
        if price is None:
            raise Problem(422, "unknown_sku", f"lines.{index}.sku: there is no product {sku}.")
        priced.append(PricedLine(sku=sku, quantity=quantity, amount=quantity * price[0]))
        currencies.add(price[1])
    if len(currencies) > 1:
        raise Problem(422, "mixed_currencies", "lines: all products of an order need the same currency.")
    return priced, currencies.pop()


async def _prices(skus: Collection[str]) -> dict[str, tuple[int, str]]:
    """From our own copy; as long as that has a gap, from the monolith."""
    rows = await service.database.fetch_all("SELECT sku, amount, currency FROM prices")
    prices = {row["sku"]: (row["amount"], row["currency"]) for row in rows}
    return prices if prices.keys() >= set(skus) else await monolith.prices()


def _passed_on(reply: Reply) -> Response:
    """The monolith's answer as it is; of what went wrong over there only that it did."""
    if reply.status >= 500:
        raise Problem(503, "unavailable", "The order cannot be looked up now.", headers=[(b"retry-after", b"1")])
    return Response(reply.content, reply.status, media_type=reply.headers.get("content-type"))
