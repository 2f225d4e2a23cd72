"""Money. The tokens stand for the ways a payment provider behaves: `tok_declined` refuses, `tok_slow` takes three seconds;
all others that begin with `tok_` charge.
"""

from __future__ import annotations

from typing import Any

from skerry.store import Transaction

from .host import service
from .values import Order

SLOW = 3.0


async def authorise(token: str) -> bool:
    """Whether the provider would charge this. It takes no money; ask it outside of any transaction, for it may be slow."""
    if token == "tok_slow":  # noqa: S105 - a name, not a secret
        await service.clock.sleep(SLOW)
    return token.startswith("tok_") and token != "tok_declined"  # noqa: S105


async def capture(tx: Transaction, order: Order) -> None:
    """Take the money for an order."""
    await _record(tx, order, "captured")
    await tx.execute(
        "INSERT INTO ledger (order_id, amount, currency) VALUES (?, ?, ?)", (order.id, order.amount, order.currency)
    )


async def decline(tx: Transaction, order: Order) -> None:
    """Remember that the money for an order was not to be had."""
    await _record(tx, order, "declined")


async def payment_of(order_id: str, *, by: Transaction | None = None) -> dict[str, Any] | None:
    """What became of the payment for an order, as seen `by` a transaction."""
    row = await (by or service.database).fetch_one("SELECT * FROM payments WHERE order_id = ?", (order_id,))
    return dict(row) if row else None


async def _record(tx: Transaction, order: Order, status: str) -> None:
    await tx.execute("INSERT INTO payments VALUES (?, ?, ?, ?)", (order.id, order.amount, order.currency, status))
