"""How an order's status changes. Each change commits with the event that tells of it, and happens once."""

from __future__ import annotations

from .host import service
from .models import Order, OrderCancelled, OrderConfirmed


async def confirm_order(order: Order) -> None:
    """Confirm a pending order; one that is confirmed already stays so."""
    async with service.transaction() as tx:
        if await tx.execute("UPDATE orders SET status = 'confirmed' WHERE id = ? AND status = 'pending'", (order.id,)):
            event = OrderConfirmed(
                order_id=order.id,
                customer_id=order.customer_id,
                day=service.clock.utcnow().date().isoformat(),
                amount=order.amount,
                currency=order.currency,
                lines=order.lines,
            )
            await service.outbox.record(tx, event)


async def cancel_order(order: Order) -> None:
    """Cancel a pending order; one that is cancelled already stays so."""
    async with service.transaction() as tx:
        if await tx.execute("UPDATE orders SET status = 'cancelled' WHERE id = ? AND status = 'pending'", (order.id,)):
            event = OrderCancelled(order_id=order.id, customer_id=order.customer_id, reason="not fulfilled")
            await service.outbox.record(tx, event)
