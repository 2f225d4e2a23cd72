"""The saga `fulfilment`: reserve, charge, ship, confirm; or undo all of it.

    accept -> reserve -> charge (pivot) -> ship -> confirm
    cancel <- release <- refund

A service that is down for minutes must not cost an order, so the steps are patient: they are tried again for about a
quarter of an hour before the saga gives up and turns back. Each carries its `ctx.key`, so trying again is safe.
"""

from __future__ import annotations

from skerry.errors import StatusError
from skerry.resilience import Retry
from skerry.saga import Rejected, Saga, StepContext

from .clients import inventory, payment, shipping
from .lifecycle import cancel_order, confirm_order
from .models import Order

PATIENT = Retry(1000, on=Exception, base=0.1, cap=2.0)

fulfilment = Saga("fulfilment", version=1, input=Order)


@fulfilment.step(retry=PATIENT)
async def accept(_ctx: StepContext, order: Order) -> None:
    """The order stands already; this step is here for what undoes it."""


@accept.compensate
async def cancel(_ctx: StepContext, order: Order, _result: None) -> None:
    """Nothing is kept and nothing is taken any more: tell the customer."""
    await cancel_order(order)


@fulfilment.step(retry=PATIENT, timeout=3.0)
async def reserve(ctx: StepContext, order: Order) -> dict[str, str]:
    """Keep the goods. Out of stock is a final no."""
    lines = [{"sku": line.sku, "quantity": line.quantity} for line in order.lines]
    try:
        answer: dict[str, str] = await inventory.ask("Reserve", {"order_id": order.id, "lines": lines}, key=ctx.key)
    except StatusError as error:
        if error.code == "out_of_stock":
            raise Rejected(error.code) from error
        raise
    return answer


@reserve.compensate
async def release(ctx: StepContext, order: Order, _result: dict[str, str] | None) -> None:
    """Put the goods back."""
    await inventory.ask("Release", {"order_id": order.id}, key=ctx.key)


@fulfilment.pivot(retry=PATIENT, timeout=6.0)
async def charge(ctx: StepContext, order: Order) -> dict[str, str]:
    """Take the money. Declined is a final no."""
    body = {"order_id": order.id, "amount": order.amount, "currency": order.currency, "token": order.payment_token}
    reply = await payment.post("/payments", json=body, idempotency_key=ctx.key)
    try:
        answer: dict[str, str] = reply.raise_for_status().json()
    except StatusError as error:
        if error.code == "declined":
            raise Rejected(error.code) from error
        raise
    return answer


@charge.compensate
async def refund(ctx: StepContext, order: Order, _result: dict[str, str] | None) -> None:
    """Give the money back, should it have been taken: used only while nobody knows."""
    reply = await payment.post(f"/payments/by-order/{order.id}/refund", idempotency_key=ctx.key)
    reply.raise_for_status()


@fulfilment.retriable(retry=PATIENT, timeout=3.0)
async def ship(ctx: StepContext, order: Order) -> dict[str, int]:
    """Send the parcel."""
    lines = [{"sku": line.sku, "quantity": line.quantity} for line in order.lines]
    body = {"order_id": order.id, "customer_id": order.customer_id, "lines": lines}
    reply = await shipping.post("/shipments", json=body, idempotency_key=ctx.key)
    answer: dict[str, int] = reply.raise_for_status().json()
    return answer


@fulfilment.retriable(retry=PATIENT)
async def confirm(_ctx: StepContext, order: Order) -> None:
    """Tell the customer and everybody else."""
    await confirm_order(order)
