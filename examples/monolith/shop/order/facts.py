"""Orders told to others by events, in the transactions that make them true; and heard, once a service of their own takes them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fastapi import APIRouter

from shop.host import service
from skerry.events import DomainEvent
from skerry.store import Transaction

from .views import changes_of, view_of

positions = APIRouter(prefix="/positions")
MOST = 100


class OrderDecided(DomainEvent, type="monolith.order.decided", version=1, key="order_id"):
    """An order was taken and decided. `view` is what the contract shows of it, `changes` what became of it.

    `idempotency_key` and `request`, a digest of what was asked, are those that it was placed with: whoever takes orders after
    us gives the same answer to the same key.
    """

    order_id: str
    placed_at: float
    view: dict[str, Any]
    changes: list[dict[str, Any]]
    idempotency_key: str | None = None
    request: str = ""


class DecidedElsewhere(DomainEvent, type="orders.order.decided", version=1, key="order_id"):
    """The service that has taken over the orders took one, and it is decided."""

    order_id: str
    placed_at: float
    view: dict[str, Any]
    changes: list[dict[str, Any]]


def digest(wanted: dict[str, Any]) -> str:
    """What was asked, unreadable: a request has a payment token, and events are kept for long."""
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()


async def tell(tx: Transaction, order_id: str, placed_at: float, *, key: str | None = None, request: str = "") -> None:
    """Record the event of an order."""
    view = await view_of(order_id, by=tx)
    assert view is not None, "only orders that are there are told"
    changes = await changes_of(order_id, by=tx)
    event = OrderDecided(
        order_id=order_id, placed_at=placed_at, view=view, changes=changes, idempotency_key=key, request=request
    )
    await service.outbox.record(tx, event)
    await tx.execute("INSERT INTO order_facts VALUES (?, 1)", (order_id,))


@positions.get("/orders")
async def position() -> dict[str, int]:
    """How many orders were told."""
    row = await service.database.fetch_one("SELECT count(*) AS told FROM order_facts WHERE own = 1")
    return {"written": row["told"] if row else 0}


@service.on_start
async def tell_what_was_there() -> None:
    """Tell the orders from before there was anybody to tell. The keys that they were placed with are not known any more."""
    query = (
        "SELECT id, placed_at FROM orders WHERE NOT EXISTS "
        "(SELECT 1 FROM order_facts WHERE order_id = orders.id) ORDER BY placed_at, id LIMIT ?"
    )
    while rows := await service.database.fetch_all(query, (MOST,)):
        async with service.transaction() as tx:
            for row in rows:
                await tell(tx, row["id"], row["placed_at"])


@service.on(DecidedElsewhere, group="orders")
async def hear(event: DecidedElsewhere, tx: Transaction) -> None:
    """Keep a copy, so that who still asks the monolith is answered."""
    order = event.view["order"]
    lines, total = json.dumps(order["lines"]), order["total"]
    await tx.execute(
        "INSERT INTO orders (id, customer_id, lines, amount, currency, status, placed_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            event.order_id,
            order["customer_id"],
            lines,
            total["amount"],
            total["currency"],
            order["status"],
            event.placed_at,
        ),
    )
    rows = [(each["id"], event.order_id, each["place"], each["state"], each["at"]) for each in event.changes]
    await tx.execute_many("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", rows)
    await tx.execute("INSERT INTO order_facts VALUES (?, 0)", (event.order_id,))
