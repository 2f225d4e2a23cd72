"""A participant that is asked by an event and answers with one; the saga waits for the answer as for a signal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from skerry.errors import LateAction
from skerry.events import DomainEvent
from skerry.resilience import Retry
from skerry.saga import Barrier, Rejected, Saga
from skerry.service import Service
from skerry.settings import Settings
from skerry.store import Transaction

PIECES = 10
PATIENCE = 60.0
TWICE = Retry(2, base=0.05, cap=0.05)


class Wanted(DomainEvent, type="order.pieces.wanted", version=1, key="order_id"):
    """A command: keep pieces for an order. `action` is the key of the saga's step."""

    order_id: str
    action: str
    number: int


class Unwanted(DomainEvent, type="order.pieces.unwanted", version=1, key="order_id"):
    """Its compensation."""

    order_id: str
    action: str


class Answered(DomainEvent, type="depot.pieces.answered", version=1, key="order_id"):
    """What became of it."""

    order_id: str
    kept: bool


class World:
    """Two services, each with its own database, and events between them; nobody calls anybody."""

    def __init__(self, folder: Path, *, timeout: float = 30.0) -> None:
        settings = Settings(data=folder)
        self.order = Service("order", database="sqlite:///order.db", events="sqlite:///events/", settings=settings)
        self.depot = Service("depot", database="sqlite:///depot.db", events="sqlite:///events/", settings=settings)
        self.barrier = Barrier()
        self.hears = asyncio.Event()
        self.hears.set()
        self.refused = 0
        self.saga = self.make_saga(timeout)
        self.order.add(self.saga)
        self.order.on(Answered)(self.answered)
        self.depot.on(Wanted)(self.wanted)
        self.depot.on(Unwanted)(self.unwanted)

    def make_saga(self, timeout: float) -> Saga:
        saga = Saga("order", input=int)

        @saga.step(retry=TWICE)
        async def ask(ctx, number):
            async with self.order.transaction() as tx:
                event = Wanted(order_id=str(number), action=ctx.key, number=number)
                await self.order.outbox.record(tx, event)
            if ctx.attempt == 1:
                raise OSError("recorded, and nobody knows: so it is recorded again")

        @ask.compensate
        async def take_back(ctx, number, result):
            async with self.order.transaction() as tx:
                await self.order.outbox.record(tx, Unwanted(order_id=str(number), action=ctx.key))

        saga.receive("pieces", bool, timeout=timeout)

        @saga.pivot(retry=TWICE)
        async def decide(ctx, number):
            if not ctx.results["pieces"]:
                raise Rejected("not so many left")

        return saga

    async def wanted(self, event: Wanted, tx: Transaction) -> None:
        await self.hears.wait()

        async def effect() -> bool:
            taken = "UPDATE pieces SET number = number - ?1 WHERE number >= ?1"
            kept = bool(await tx.execute(taken, (event.number,)))
            await self.depot.outbox.record(tx, Answered(order_id=event.order_id, kept=kept))
            return kept

        try:
            await self.barrier.act(tx, event.action, effect, given=event.number)
        except LateAction:
            self.refused += 1

    async def unwanted(self, event: Unwanted, tx: Transaction) -> None:
        async def compensation(kept: bool) -> None:
            if kept:
                await tx.execute("UPDATE pieces SET number = number + ?", (int(event.order_id),))

        await self.barrier.undo(tx, event.action, compensation)

    async def answered(self, event: Answered, tx: Transaction) -> None:
        await self.order.sagas.signal(tx, self.saga, event.order_id, "pieces", event.kept, id=event.envelope.id)

    async def left(self) -> int:
        row = await self.depot.database.fetch_one("SELECT number FROM pieces")
        assert row is not None
        return int(row["number"])

    async def handled(self, number: int) -> None:
        """Wait until the participant has handled so many events."""
        receipts = "SELECT count(*) FROM skerry_receipts WHERE scope LIKE 'inbox:%'"
        while (await self.depot.database.fetch_one(receipts))[0] < number:
            await asyncio.sleep(0.02)


def play(folder: Path, act: Callable[[World], Awaitable[None]], *, timeout: float = 30.0) -> None:
    async def main() -> None:
        world = World(folder, timeout=timeout)

        @world.depot.on_start
        async def pieces() -> None:
            async with world.depot.transaction() as tx:
                await tx.execute("CREATE TABLE pieces (number INTEGER NOT NULL)")
                await tx.execute("INSERT INTO pieces VALUES (?)", (PIECES,))

        async with asyncio.timeout(PATIENCE):
            await world.depot.start()
            await world.order.start()
            try:
                await act(world)
            finally:
                await world.order.stop()
                await world.depot.stop()

    asyncio.run(main())


def test_a_command_that_is_recorded_twice_has_one_effect_and_one_answer(tmp_path: Path) -> None:
    """The step is tried again after its event was recorded; the key in the event is the same, so the participant knows it."""

    async def act(world: World) -> None:
        ended = await world.order.sagas.run(world.saga, 3, key="3")
        assert (ended.status, ended.result("pieces")) == ("completed", True)
        assert await world.left() == PIECES - 3
        await world.handled(2)
        assert await world.left() == PIECES - 3

    play(tmp_path, act)


def test_a_no_that_comes_as_an_event_turns_the_saga_back(tmp_path: Path) -> None:
    """The answer is a signal like another; the step behind it raises `Rejected`, and what was asked for is taken back."""

    async def act(world: World) -> None:
        ended = await world.order.sagas.run(world.saga, PIECES + 1, key=str(PIECES + 1))
        assert (ended.status, ended.reason) == ("compensated", "decide: not so many left")
        assert await world.left() == PIECES

    play(tmp_path, act)


def test_an_answer_that_comes_too_late_changes_nothing(tmp_path: Path) -> None:
    """The participant sleeps through the time-out: the saga turns back, and what is kept then is put back."""

    async def act(world: World) -> None:
        world.hears.clear()
        ended = await world.order.sagas.run(world.saga, 3, key="3")
        assert (ended.status, ended.reason) == ("compensated", "pieces: nothing has come in time")
        assert await world.left() == PIECES
        world.hears.set()
        await world.handled(3)
        assert await world.left() == PIECES
        assert (await world.order.sagas.find(world.saga, "3")).status == "compensated"

    play(tmp_path, act, timeout=0.3)


@pytest.mark.parametrize("order", [["undo", "do"], ["do", "undo", "do"]], ids=["first", "between"])
def test_a_command_that_comes_after_its_compensation_is_refused(tmp_path: Path, order: list[str]) -> None:
    """Whatever brought the events in this order, such as a queue of dead letters that is played again."""

    async def act(world: World) -> None:
        for action in order:
            async with world.order.transaction() as tx:
                event = (
                    Wanted(order_id="3", action="saga-1:ask:do", number=3)
                    if action == "do"
                    else Unwanted(order_id="3", action="saga-1:ask:undo")
                )
                await world.order.outbox.record(tx, event)
        await world.handled(len(order))
        assert world.refused == 1
        assert await world.left() == PIECES

    play(tmp_path, act)
