"""The owner of the sagas: moves money between participants, all of the way or not at all.

transfer    reserve -> debit -> notify -> credit (pivot)
payout      reserve -> debit (pivot) -> notify -> credit, the last two tried until they succeed
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from storm.lines import Lines
from wire import Body, Request, Routes

from skerry.errors import StatusError
from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry
from skerry.saga import Rejected, Saga, StepContext
from skerry.service import Service

BANKS = ("bank-a", "bank-b", "bank-c")
STEPS = ("reserve", "debit", "notify", "credit")
RETRY = Retry(4, on=Exception, base=0.1, cap=0.5)
TIMEOUT = 1.5

NAME = os.environ["SOAK_NAME"]
app = Routes()
service = Service(
    NAME, app=app, database=f"sqlite:///{NAME}.db", migrations=Path(__file__).parent / "migrations" / "teller"
)
history = Lines(os.environ["SOAK_HISTORY"])
banks = {
    name: service.client(
        name,
        policy=Policy(
            name,
            total=5.0,
            limit=Bulkhead(100, queue=100),
            breaker=CircuitBreaker(failure_rate=0.5, window=5.0, min_calls=20, open_for=0.5, probes=3),
        ),
    )
    for name in BANKS
}


class Order(BaseModel):
    """What to move, and how each step will misbehave."""

    saga: str
    source: str
    messenger: str
    target: str
    from_account: str
    to_account: str
    amount: int
    refuse: str = ""
    moods: dict[str, list[str]] = {}


async def ask(ctx: StepContext, order: Order, action: str) -> None:
    """Ask the participant of a step to do or undo it; the history learns of it first."""
    history.write("step_called" if action == "do" else "comp_called", saga=order.saga, step=ctx.step, key=ctx.key)
    bank = {"notify": order.messenger, "credit": order.target}.get(ctx.step, order.source)
    body = {
        "saga": order.saga,
        "step": ctx.step,
        "account": order.to_account if ctx.step == "credit" else order.from_account,
        "amount": order.amount,
        "refuse": order.refuse == ctx.step,
        "moods": order.moods.get(f"{ctx.step}:{action}", []),
    }
    reply = await banks[bank].post(
        f"/{action}", json=body, idempotency_key=ctx.key, headers={"x-attempt": str(ctx.attempt)}
    )
    try:
        reply.raise_for_status()
    except StatusError as error:
        if error.status == 409 and error.code == "rejected":
            raise Rejected("refused") from error
        raise


def make(name: str, pivot: str) -> Saga:
    """A saga of the four steps, with its point of no return at `pivot`."""
    saga = Saga(name, version=1, input=Order)
    passed = False
    for each in STEPS:

        async def action(ctx: StepContext, order: Order) -> None:
            await ask(ctx, order, "do")

        async def compensation(ctx: StepContext, order: Order, _result: None) -> None:
            await ask(ctx, order, "undo")

        action.__name__ = each
        if passed:
            saga.retriable(timeout=TIMEOUT)(action)
            continue
        passed = each == pivot
        kind = saga.pivot if passed else saga.step
        kind(retry=RETRY, timeout=TIMEOUT)(action).compensate(compensation)
    return saga


sagas = {"transfer": make("transfer", "credit"), "payout": make("payout", "debit")}
service.add(*sagas.values())


@app.post("/start")
async def start(body: Body, request: Request) -> Any:
    """Start a saga together with a row of our own; the same key starts nothing anew."""
    order = Order(**body["order"])
    async with service.transaction() as tx:

        async def effect() -> Any:
            await tx.execute(
                "INSERT INTO asked VALUES (?, ?, ?, ?)", (order.saga, order.source, order.target, order.amount)
            )
            return {"saga": await service.sagas.start(tx, sagas[body["name"]], order, key=order.saga)}

        answer = await service.once(tx, request.key, body, effect, scope="start")
    if body["lost"] and request.attempt == 1:
        request.drop()
    return answer
