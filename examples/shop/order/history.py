"""What became of an order, change by change: a view made of what order and shipping tell, for reading only."""

from __future__ import annotations

from typing import Any

from skerry.events import DomainEvent, Projection, ProjectionTx, Token

from .host import service
from .models import OrderCancelled, OrderConfirmed, OrderPlaced, ParcelDispatched

PATIENCE = 1.0

history = Projection(
    "history",
    version=1,
    tables={
        "changes": "order_id TEXT NOT NULL, place INTEGER NOT NULL, state TEXT NOT NULL, at TEXT NOT NULL, "
        "PRIMARY KEY (order_id, place)"
    },
)


async def changes_of(order_id: str, *, after: str | None = None) -> list[dict[str, Any]]:
    """The changes of an order, in their order; `after` is the id of an event of this service that they must show.

    Raises `ProjectionBehind` when that takes longer than a second.
    """
    if after is not None:
        await history.wait(Token(service.name, after), timeout=PATIENCE)
    rows = await history.fetch_all("SELECT state, at FROM {changes} WHERE order_id = ? ORDER BY place", (order_id,))
    return [dict(row) for row in rows]


@history.on(OrderPlaced)
async def placed(event: OrderPlaced, tx: ProjectionTx) -> None:
    """The order is there."""
    await _change(tx, event, 1, "placed")


@history.on(ParcelDispatched)
async def dispatched(event: ParcelDispatched, tx: ProjectionTx) -> None:
    """Shipping tells this, not order: it may be heard before or after what order tells, so each change has its place."""
    await _change(tx, event, 2, "dispatched")


@history.on(OrderConfirmed)
async def confirmed(event: OrderConfirmed, tx: ProjectionTx) -> None:
    """It is paid and sent."""
    await _change(tx, event, 3, "confirmed")


@history.on(OrderCancelled)
async def cancelled(event: OrderCancelled, tx: ProjectionTx) -> None:
    """It will not be fulfilled."""
    await _change(tx, event, 3, "cancelled")


async def _change(tx: ProjectionTx, event: DomainEvent, place: int, state: str) -> None:
    # the event's own time: a rebuild has to give the same rows
    await tx.execute("INSERT INTO {changes} VALUES (?, ?, ?, ?)", (event.key, place, state, event.envelope.time))
