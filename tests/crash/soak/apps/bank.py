"""A participant: accounts, moved once per action and back once, never again after that. The plan says how it misbehaves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextvars import Context
from pathlib import Path
from typing import Any

from storm.lines import Lines
from wire import Body, Request, Routes

from skerry.errors import LateAction, Rejected
from skerry.saga import Barrier
from skerry.service import Problem, Service
from skerry.store import Transaction

SLOW = 0.6
LATE = 2.5
"""Seconds: longer than a step's time-out, and often than all its attempts."""

NAME = os.environ["SOAK_NAME"]
app = Routes()
service = Service(
    NAME, app=app, database=f"sqlite:///{NAME}.db", migrations=Path(__file__).parent / "migrations" / "bank"
)
barrier = Barrier()
deliveries = Lines(os.environ["SOAK_DELIVERIES"])
underway: set[asyncio.Task[None]] = set()


async def move(tx: Transaction, account: str, amount: int) -> None:
    """Add to an account, or take from it what it has."""
    changed = await tx.execute(
        "UPDATE accounts SET amount = amount + ?1 WHERE name = ?2 AND amount + ?1 >= 0", (amount, account)
    )
    if not changed:
        raise Rejected("not enough money")


async def apply(tx: Transaction, body: Body, sign: int) -> None:
    """A step's effect (`sign` 1) or its undoing (-1), and the line in the books that tells of it."""
    step, amount = body["step"], sign * body["amount"]
    if step == "reserve":
        await move(tx, body["account"], -amount)
        await move(tx, "held", amount)
    elif step == "debit":
        await move(tx, "held", -amount)
    elif step == "credit":
        await move(tx, body["account"], amount)
    elif sign > 0:
        await tx.execute("INSERT INTO notes VALUES (?)", (body["saga"],))
    else:
        await tx.execute("DELETE FROM notes WHERE saga = ?", (body["saga"],))
    kind = "step_effect" if sign > 0 else "comp_effect"
    await tx.execute(
        "INSERT INTO actions (kind, saga, step, t) VALUES (?, ?, ?, ?)",
        (kind, body["saga"], step, service.clock.monotonic()),
    )


@app.post("/do")
async def do(body: Body, request: Request) -> Any:
    """Carry a step out. A refusal is either rolled back or remembered: both must leave nothing to undo."""

    async def work() -> Any:
        async with service.transaction() as tx:

            async def effect() -> Any:
                if body["refuse"]:
                    if body["step"] in {"reserve", "notify"}:
                        raise Rejected("refused")
                    return {"refused": True}
                await apply(tx, body, 1)
                return {"refused": False}

            return await barrier.act(tx, request.key, effect, given=body)

    answer = await misbehave(body, request, work)
    if answer["refused"]:
        raise Problem(409, "rejected", "refused")
    return answer


@app.post("/undo")
async def undo(body: Body, request: Request) -> Any:
    """Undo a step if it had its effect, and see to it that it never has it any more."""

    async def work() -> Any:
        async with service.transaction() as tx:

            async def compensation(answer: Any) -> None:
                if not answer["refused"]:
                    await apply(tx, body, -1)

            return {"ran": await barrier.undo(tx, request.key, compensation)}

    return await misbehave(body, request, work)


async def misbehave(body: Body, request: Request, work: Callable[[], Awaitable[Any]]) -> Any:
    """Do the work as the plan has it: slowly, long after the caller gave up, or without the caller learning of it."""
    if "slow" in body["moods"]:
        await service.clock.sleep(SLOW)
    if "late" in body["moods"] or ("late-once" in body["moods"] and request.attempt == 1):
        task = asyncio.create_task(later(work), context=Context())  # the caller's deadline has no say any more
        underway.add(task)
        task.add_done_callback(underway.discard)
        request.drop()
        raise Problem(503, "late", "Nobody reads this.")
    answer = await work()
    if "lost" in body["moods"] and request.attempt == 1:
        request.drop()
    return answer


async def later(work: Callable[[], Awaitable[Any]]) -> None:
    """What a network does that holds a request back."""
    await service.clock.sleep(LATE)
    try:
        await work()
    except LateAction:
        deliveries.write("late", bank=NAME)
    except Rejected:
        return
