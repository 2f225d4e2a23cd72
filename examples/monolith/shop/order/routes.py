"""Orders over HTTP, as the shop's gateway has them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from shop import notification, payment, product
from shop.host import service
from shop.values import Line, Order, PricedLine
from skerry.service import Problem

from .facts import digest, tell
from .fulfilment import decide, take
from .views import changes_of, parts_of, view_of

router = APIRouter(prefix="/api/orders")
internal = APIRouter(prefix="/internal")


class PlaceOrder(BaseModel):
    """What a customer asks for."""

    customer_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.@:-]+$")]
    lines: Annotated[list[Line], Field(min_length=1, max_length=50)]
    payment_token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Fulfil(BaseModel):
    """What the service that takes the orders asks for: everything of an order that it does not keep itself."""

    order: Order
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
            placed_at = service.clock.now()
            first = await take(tx, order, authorised=authorised, placed_at=placed_at)
            await tell(tx, order.id, placed_at, key=idempotency_key, request=digest(wanted.model_dump()))
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
    """An order with its payment, reservation and shipment."""
    view = await view_of(order_id)
    if view is None:
        raise Problem(404, "unknown_order", "There is no such order.")
    return view


@router.get("/{order_id}/history")
async def get_history(
    order_id: str, after: Annotated[str | None, Query(pattern=r"^[0-9a-f-]{36}$")] = None
) -> dict[str, Any]:
    """What became of an order. `after` is the `history-after` of a placed order; 409 when there is no such change."""
    if after is not None and not await service.database.fetch_one("SELECT 1 FROM changes WHERE id = ?", (after,)):
        raise Problem(409, "behind", "There is no such change.", headers=[(b"retry-after", b"1")])
    changes = await changes_of(order_id)
    if not changes:
        raise Problem(404, "unknown_order", "Nothing is known of such an order yet.")
    return {"order_id": order_id, "changes": [{"state": each["state"], "at": each["at"]} for each in changes]}


@internal.post("/fulfilments")
async def fulfil(wanted: Fulfil, idempotency_key: Annotated[str, Header()]) -> dict[str, Any]:
    """Decide an order that is kept elsewhere: goods, money, parcel and messages commit together; the same key decides once.

    It is not among the paths that the gateway knows.
    """
    order = wanted.order
    authorised = await payment.authorise(wanted.payment_token)
    async with service.transaction() as tx:

        async def effect() -> dict[str, Any]:
            confirmed = await decide(tx, order, authorised=authorised)
            at = service.clock.utcnow().isoformat()
            return {"confirmed": confirmed, "at": at, **await parts_of(order.id, by=tx)}

        answer: dict[str, Any] = await service.once(
            tx, idempotency_key, digest(wanted.model_dump()), effect, scope="POST /fulfilments"
        )
    await notification.deliver()
    return answer


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
