"""What becomes of an order: all of it in the caller's transaction, so it is whole or it is not."""

from __future__ import annotations

import json

from shop import analytics, inventory, notification, payment, shipping
from shop.host import service
from shop.values import Order
from skerry.store import Transaction


async def take(tx: Transaction, order: Order, *, authorised: bool, placed_at: float) -> str:
    """Write down an order and decide it; the id of its first change."""
    lines = json.dumps([line.model_dump() for line in order.lines])
    await tx.execute(
        "INSERT INTO orders (id, customer_id, lines, amount, currency, status, placed_at) "
        "VALUES (?, ?, ?, ?, ?, 'pending', ?)",
        (order.id, order.customer_id, lines, order.amount, order.currency, placed_at),
    )
    first = await _change(tx, order, 1, "placed")
    confirmed = await decide(tx, order, authorised=authorised)
    if confirmed:
        await _change(tx, order, 2, "dispatched")
    status = "confirmed" if confirmed else "cancelled"
    await tx.execute("UPDATE orders SET status = ? WHERE id = ?", (status, order.id))
    await _change(tx, order, 3, status)
    return first


async def decide(tx: Transaction, order: Order, *, authorised: bool) -> bool:
    """Reserve, take the money and send it, or none of these; whether it is confirmed. The order itself may be kept elsewhere."""
    try:
        await inventory.reserve(tx, order.id, order.lines)
    except inventory.OutOfStock:
        await _regret(tx, order)
        return False
    if authorised:
        await payment.capture(tx, order)
        await _send(tx, order)
        return True
    await payment.decline(tx, order)
    await inventory.release(tx, order.id)
    await _regret(tx, order)
    return False


async def _send(tx: Transaction, order: Order) -> None:
    parcel_id = await shipping.dispatch(tx, order)
    await inventory.ship(tx, order.id)
    await analytics.count(tx, order, service.clock.utcnow().date().isoformat())
    total = f"{order.amount // 100}.{order.amount % 100:02d} {order.currency}"
    text = f"To: {order.customer_id}\nSubject: Your order {order.id}\n\nThank you. We took {total}.\n"
    await notification.remember(tx, "email", order.id, text)
    await notification.remember(tx, "push", order.id, f"{order.customer_id}: parcel {parcel_id} is on its way.")


async def _regret(tx: Transaction, order: Order) -> None:
    text = f"{order.customer_id}: order {order.id} is cancelled, nothing was taken."
    await notification.remember(tx, "sms", order.id, text)


async def _change(tx: Transaction, order: Order, place: int, state: str) -> str:
    change = str(service.clock.uuid())
    at = service.clock.utcnow().isoformat()
    await tx.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", (change, order.id, place, state, at))
    return change
