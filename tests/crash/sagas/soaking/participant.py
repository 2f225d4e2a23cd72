"""A participant, a bank or the post: each action has its effect once, and none after its compensation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from pathlib import Path
from typing import Any

from wire import Body, Request, Routes

from skerry.errors import LateAction
from skerry.saga import Barrier, Rejected
from skerry.service import Problem, Service
from skerry.store import Transaction

from .plan import ACCOUNTS, BANKS, LATER, OPENING, Order
from .served import Served


class Participant(Served):
    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        app = Routes()
        app.post("/do")(self.do)
        app.post("/undo")(self.undo)
        self.service = Service(
            self.owner,
            app=app,
            database=settings["database"],
            migrations=Path(__file__).parent / "migrations",
            settings=self.own,
            clock=self.clock,
        )
        self.service.on_start(self.fill)
        self.barrier = Barrier(clock=self.clock)
        self.underway: set[asyncio.Task[None]] = set()

    async def fill(self) -> None:
        """A bank's accounts, at its first start."""
        if self.owner in BANKS:
            rows = [(name, OPENING) for name in ACCOUNTS]
            async with self.service.transaction() as tx:
                await tx.execute_many("INSERT INTO accounts VALUES (?, ?) ON CONFLICT DO NOTHING", rows)

    async def do(self, body: Body, request: Request) -> Any:
        """Carry a step out, or decline it."""
        order, step = Order(**body["order"]), body["step"]

        async def work() -> None:
            async with self.service.transaction() as tx:

                async def effect() -> None:
                    if order.refuse == step:
                        raise Rejected("declined")
                    await self.apply(tx, order, step, 1)

                await self.barrier.act(tx, request.key, effect, given=body)
                self.die_if_due(f"die-{self.owner}-before-commit")

        return await self.misbehave(order.moods.get(f"{step}:do", ""), request, work)

    async def undo(self, body: Body, request: Request) -> Any:
        """Undo a step if it had its effect, and see to it that it never has it any more."""
        order, step = Order(**body["order"]), body["step"]

        async def work() -> None:
            async with self.service.transaction() as tx:

                async def compensation(_answer: Any) -> None:
                    await self.apply(tx, order, step, -1)

                await self.barrier.undo(tx, request.key, compensation)
                self.die_if_due(f"die-{self.owner}-before-commit")

        return await self.misbehave(order.moods.get(f"{step}:undo", ""), request, work)

    async def apply(self, tx: Transaction, order: Order, step: str, sign: int) -> None:
        """A step's effect (`sign` 1) or its undoing (-1), and the line in the books that tells of it."""
        if step == "take":
            change = (-sign * order.amount, order.source_account)
        elif step == "give":
            change = (sign * order.amount, order.target_account)
        if step in {"take", "give"}:
            await tx.execute("UPDATE accounts SET amount = amount + ? WHERE name = ?", change)
        elif sign > 0:
            await tx.execute("INSERT INTO papers VALUES (?, ?)", (order.key, step))
        else:
            await tx.execute("DELETE FROM papers WHERE saga = ? AND step = ?", (order.key, step))
        kind = "step_effect" if sign > 0 else "comp_effect"
        await tx.execute("INSERT INTO effects VALUES (?, ?, ?, ?)", (kind, order.key, step, self.clock.monotonic()))

    async def misbehave(self, mood: str, request: Request, work: Callable[[], Awaitable[None]]) -> Any:
        """Do the work as the plan has it: without the caller learning of it, or long after the caller gave up."""
        if mood == "late" or (mood == "late-once" and request.attempt == 1):
            task = asyncio.create_task(self.later(work), context=Context())  # the caller's deadline has no say any more
            self.underway.add(task)
            task.add_done_callback(self.underway.discard)
            request.drop()
            raise Problem(503, "late", "Nobody reads this.")
        try:
            await work()
        except Rejected:
            self.write("happened.jsonl", what="declined")
            raise
        self.die_if_due(f"die-{self.owner}-before-reply")
        if mood == "lost" and request.attempt == 1:
            self.write("happened.jsonl", what="reply lost")
            request.drop()
        return {}

    async def later(self, work: Callable[[], Awaitable[None]]) -> None:
        """What a network does that holds a request back."""
        await self.clock.sleep(LATER)
        try:
            await work()
        except LateAction:
            self.write("happened.jsonl", what="late action refused")
        except Rejected:
            return
        else:
            self.write("happened.jsonl", what="late action taken")
