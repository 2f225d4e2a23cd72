"""What becomes of an order: all of it in the caller's transaction, so it is whole or it is not."""

from __future__ import annotations

import json

from shop import analytics, inventory, notification, payment, shipping
from shop.host import service
from shop.values import Order
from skerry.store import Transaction


async def take(tx: Transaction, order: Order, *, authorised: bool) -> str:
    """Write down an order and decide it; the id of its first change."""
    lines = json.dumps([line.model_dump() for line in order.lines])
    await tx.execute(
        "INSERT INTO orders (id, customer_id, lines, amount, currency, status, placed_at) "
        "VALUES (?, ?, ?, ?, ?, 'pending', ?)",
        (order.id, order.customer_id, lines, order.amount, order.currency, service.clock.now()),
    )
    first = await _change(tx, order, 1, "placed")
    try:
        await inventory.reserve(tx, order.id, order.lines)
    except inventory.OutOfStock:
        await _cancel(tx, order)
        return first
    if authorised:
        await payment.capture(tx, order)
        await _send(tx, order)
    else:
        await payment.decline(tx, order)
        await inventory.release(tx, order.id)
        await _cancel(tx, order)
    return first


async def _send(tx: Transaction, order: Order) -> None:
    parcel_id = await shipping.dispatch(tx, order)
    await inventory.ship(tx, order.id)
    await _change(tx, order, 2, "dispatched")
    await tx.execute("UPDATE orders SET status = 'confirmed' WHERE id = ?", (order.id,))
    await _change(tx, order, 3, "confirmed")
    await analytics.count(tx, order, service.clock.utcnow().date().isoformat())
    total = f"{order.amount // 100}.{order.amount % 100:02d} {order.currency}"
    text = f"To: {order.customer_id}\nSubject: Your order {order.id}\n\nThank you. We took {total}.\n"
    await notification.remember(tx, "email", order.id, text)
    await notification.remember(tx, "push", order.id, f"{order.customer_id}: parcel {parcel_id} is on its way.")


async def _cancel(tx: Transaction, order: Order) -> None:
    await tx.execute("UPDATE orders SET status = 'cancelled' WHERE id = ?", (order.id,))
    await _change(tx, order, 3, "cancelled")
    text = f"{order.customer_id}: order {order.id} is cancelled, nothing was taken."
    await notification.remember(tx, "sms", order.id, text)


async def _change(tx: Transaction, order: Order, place: int, state: str) -> str:
    change = str(service.clock.uuid())
    at = service.clock.utcnow().isoformat()
    await tx.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", (change, order.id, place, state, at))
    return change
