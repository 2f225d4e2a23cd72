"""Money: captured once per key, refunded once, whatever happens on the way.

The tokens stand for the ways a payment provider behaves: `tok_declined` refuses, `tok_slow` takes three seconds,
`tok_lost_reply` charges and then drops the connection before the first answer of each key; all others that begin with
`tok_` charge.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request, Response

from skerry.saga import Barrier
from skerry.service import Problem, Service

from .models import Charge

SLOW = 3.0

api = FastAPI(title="payment")
service = Service("payment", app=api, database="sqlite:///payment.db", migrations=Path(__file__).parent / "migrations")
barrier = Barrier()


@api.post("/payments")
async def charge(
    order: Charge, request: Request, response: Response, idempotency_key: Annotated[str, Header()]
) -> dict[str, Any]:
    """Capture the money for an order: 201, or 402 when it is declined."""
    if order.token == "tok_slow":  # noqa: S105 - a name, not a secret
        await service.clock.sleep(SLOW)
    first = False
    async with service.transaction() as tx:

        async def effect() -> dict[str, Any]:
            nonlocal first
            first = True
            status = "declined" if order.token == "tok_declined" or not order.token.startswith("tok_") else "captured"  # noqa: S105
            await tx.execute(
                "INSERT INTO payments VALUES (?, ?, ?, ?)", (order.order_id, order.amount, order.currency, status)
            )
            if status == "captured":
                await tx.execute(
                    "INSERT INTO ledger (order_id, amount, currency) VALUES (?, ?, ?)",
                    (order.order_id, order.amount, order.currency),
                )
            return {"order_id": order.order_id, "status": status}

        answer: dict[str, Any] = await barrier.act(tx, idempotency_key, effect, given=order.model_dump())
    if first and order.token == "tok_lost_reply":  # noqa: S105
        request.scope["skerry.abort"]()
    if answer["status"] == "declined":
        raise Problem(402, "declined", "The payment was declined.")
    response.status_code = 201
    return answer


@api.post("/payments/by-order/{order_id}/refund", status_code=204)
async def refund(order_id: str, idempotency_key: Annotated[str, Header()]) -> None:
    """Give the money for an order back, if it was taken; and never take it any more."""
    async with service.transaction() as tx:

        async def compensation(answer: Any) -> None:
            if answer["status"] != "captured":
                return
            await tx.execute(
                "INSERT INTO ledger (order_id, amount, currency) "
                "SELECT order_id, -amount, currency FROM payments WHERE order_id = ?",
                (order_id,),
            )
            await tx.execute("UPDATE payments SET status = 'refunded' WHERE order_id = ?", (order_id,))

        await barrier.undo(tx, idempotency_key, compensation)


@api.get("/payments/by-order/{order_id}")
async def get_payment(order_id: str) -> dict[str, Any]:
    """What became of the payment for an order."""
    row = await service.database.fetch_one("SELECT * FROM payments WHERE order_id = ?", (order_id,))
    if row is None:
        raise Problem(404, "no_payment", "There is no payment for this order.")
    return dict(row)
