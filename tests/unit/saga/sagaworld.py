"""A world for sagas: a bank that guards its actions with the real Barrier, faults on the way to it, and points to crash at."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skerry.clock import Clock
from skerry.errors import ConnectionLost, LateAction, SkerryError, StoreError, Unreachable
from skerry.resilience import Retry
from skerry.saga import Barrier, Engine, Journal, Rejected, Saga, SagaStatus
from skerry.store import Receipts, SQLiteDatabase, Transaction
from skerry.testing import VirtualClock, run_virtual

START = {"ann": 100, "bob": 100, "pot": 0, "shop": 0, "post": 0}
MOVES = {"take": ("ann", "pot", 10), "add": ("bob", "pot", 5), "book": ("pot", "shop", 15), "send": ("shop", "post", 1)}
DONE = {"ann": 90, "bob": 95, "pot": 0, "shop": 14, "post": 1}
ATTEMPTS = 2
LATE = 60.0
"""Virtual seconds after which a delayed request arrives: when the saga has long given up."""


class Crash(BaseException):
    """The process is no more."""


class Points:
    """Counts the places where a process can die; at the `at`-th it does, or its database fails there instead."""

    def __init__(self, at: int = -1, *, failing: bool = False) -> None:
        self.at = at
        self.failing = failing
        self.reached: list[str] = []
        self.crashed = asyncio.Event()
        self.where = ""

    def reach(self, name: str) -> None:
        self.alive()
        self.reached.append(name)
        if len(self.reached) - 1 == self.at:
            self.where = name
            if self.failing:
                raise StoreError("the disk is full")
            self.crashed.set()
            raise Crash

    def alive(self) -> None:
        if self.crashed.is_set():
            raise Crash


class FragileDatabase(SQLiteDatabase):
    """A database whose process may die around each commit."""

    points: Points
    before = ""
    commits = 0

    @asynccontextmanager
    async def unit_of_work(self, *asked: Any) -> AsyncIterator[Transaction]:
        task = asyncio.current_task()
        name = "journal" if task is not None and task.get_name() == "saga-journal" else "start"
        self.points.alive()
        async with super().unit_of_work(*asked) as tx:
            yield tx
            self.points.reach(f"{name}:uncommitted {self.before}")
        self.commits += 1
        self.points.reach(f"{name}:committed {self.before}")

    async def fetch_all(self, sql: str, parameters: Any = ()) -> list[Any]:
        self.points.alive()
        return await super().fetch_all(sql, parameters)

    async def fetch_one(self, sql: str, parameters: Any = ()) -> Any:
        self.points.alive()
        return await super().fetch_one(sql, parameters)

    def die(self) -> None:
        """Close as a killed process does: what is not committed is gone."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None


@dataclass
class Faults:
    """What goes wrong, by `step.action`: one kind for each attempt, the last one for ever if it ends with `!`.

    Kinds: lost (done, no reply), nothing (neither), late (done when all is over), refused (never sent), no (rejected).
    """

    plan: Mapping[str, str] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def next(self, what: str) -> str:
        kinds = self.plan.get(what, "").split(",")
        attempt = self.asked[what] = self.asked.get(what, 0) + 1
        if attempt <= len(kinds):
            return kinds[attempt - 1].rstrip("!")
        return kinds[-1].rstrip("!") if kinds[-1].endswith("!") else ""


class Bank:
    """The participant: one database, one Barrier, and a record of all it did."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.database = SQLiteDatabase(path, owner="bank", clock=clock)
        self.barrier = Barrier(clock=clock)
        self.clock = clock
        self.faults = Faults()
        self.seen: set[str] = set()
        self.asked: list[str] = []
        self.did: list[str] = []
        self.under_way: list[asyncio.Task[None]] = []

    async def ask(self, points: Points, step: str, action: str, key: str) -> dict[str, Any] | None:
        what = f"{step}.{action}"
        points.reach(f"before {what}")
        self.asked.append(what)
        fault = self.faults.next(what)
        if fault == "no":
            self.seen.add(f"rejected {what}")
            raise Rejected("the bank says no")
        if fault == "refused":
            raise Unreachable("bank", "nobody there")
        if fault == "nothing":
            await self.clock.sleep(3600.0)
        if fault == "late":
            self.under_way.append(asyncio.create_task(self._late(what, key)))
            await self.clock.sleep(3600.0)
        answer = await self._perform(step, action, key)
        points.reach(f"after {what}")
        if fault == "lost":
            raise ConnectionLost("bank", "no reply")
        return answer

    async def _late(self, what: str, key: str) -> None:
        await self.clock.sleep(LATE)
        try:
            await self._perform(*what.split("."), key)
        except LateAction:
            self.seen.add("late action refused")

    async def _perform(self, step: str, action: str, key: str) -> dict[str, Any] | None:
        source, target, amount = MOVES[step]
        async with self.database.transaction() as tx:

            async def move() -> dict[str, Any]:
                await tx.execute("UPDATE accounts SET balance = balance - ? WHERE name = ?", (amount, source))
                await tx.execute("UPDATE accounts SET balance = balance + ? WHERE name = ?", (amount, target))
                self.did.append(f"{step}.do")
                return {"moved": amount}

            async def back(answer: Any) -> None:
                assert answer == {"moved": amount}
                await tx.execute("UPDATE accounts SET balance = balance + ? WHERE name = ?", (amount, source))
                await tx.execute("UPDATE accounts SET balance = balance - ? WHERE name = ?", (amount, target))
                self.did.append(f"{step}.undo")

            if action == "do":
                result: dict[str, Any] = await self.barrier.act(tx, key, move)
                return result
            if not await self.barrier.undo(tx, key, back):
                self.seen.add("undone before it was done")
        return None

    async def balances(self) -> dict[str, int]:
        return dict(await self.database.fetch_all("SELECT name, balance FROM accounts"))


def payment_saga(bank: Bank, points: Points, *, undo_pivot: bool = True, parallel: bool = False) -> Saga:
    """Two compensatable steps, a pivot, a retriable one; the first two one after the other or at the same time."""
    saga = Saga("payment", version=1, input=dict[str, str])
    retry = Retry(ATTEMPTS, base=0.1, cap=1.0)

    with saga.parallel() if parallel else nullcontext():

        @saga.step(retry=retry, timeout=1.0)
        async def take(ctx, order):
            return await bank.ask(points, "take", "do", ctx.key)

        @saga.step(retry=retry, timeout=1.0)
        async def add(ctx, order):
            return await bank.ask(points, "add", "do", ctx.key)

    @take.compensate
    async def untake(ctx, order, result):
        await bank.ask(points, "take", "undo", ctx.key)

    @add.compensate
    async def unadd(ctx, order, result):
        await bank.ask(points, "add", "undo", ctx.key)

    @saga.pivot(retry=retry, timeout=1.0)
    async def book(ctx, order):
        return await bank.ask(points, "book", "do", ctx.key)

    if undo_pivot:

        @book.compensate
        async def unbook(ctx, order, result):
            await bank.ask(points, "book", "undo", ctx.key)

    @saga.retriable(retry=retry, timeout=1.0)
    async def send(ctx, order):
        return await bank.ask(points, "send", "do", ctx.key)

    for step in (take, add, book):
        step.compensation_retry = retry
    return saga


@dataclass
class Outcome:
    """What became of one run."""

    status: SagaStatus
    seen: set[str]
    did: list[str]
    asked: list[str]
    balances: dict[str, int]
    points: list[str]
    where: str
    stuck_once: SagaStatus | None


class World:
    """The files of one run, made from a template."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs = 0
        run_virtual(self._make)

    async def _make(self, clock: VirtualClock) -> None:
        own = SQLiteDatabase(self.folder / "own.db", owner="own", clock=clock)
        await own.open()
        await Journal.prepare(own)
        await own.close()
        bank = SQLiteDatabase(self.folder / "bank.db", owner="bank", clock=clock)
        await bank.open()
        await Receipts.prepare(bank)
        async with bank.transaction() as tx:
            await tx.execute("CREATE TABLE accounts (name TEXT PRIMARY KEY, balance INTEGER NOT NULL)")
            await tx.execute_many("INSERT INTO accounts VALUES (?, ?)", START.items())
        await bank.close()

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        self._runs += 1
        folder = self.folder / str(self._runs)
        folder.mkdir()
        for name in ("own.db", "bank.db"):
            shutil.copy(self.folder / name, folder / name)
        yield folder
        shutil.rmtree(folder)

    def run(self, plan: Mapping[str, str], points: Points, **shape: bool) -> Outcome:
        """`shape` is what `payment_saga` takes."""
        with self.fresh() as folder:
            return run_virtual(lambda clock: self._run(folder, clock, plan, points, shape))

    async def _run(
        self, folder: Path, clock: VirtualClock, plan: Mapping[str, str], points: Points, shape: Mapping[str, bool]
    ) -> Outcome:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the dead leave tasks nobody asks about
        bank = Bank(folder / "bank.db", clock)
        bank.faults = Faults(plan)
        await _open(bank.database)
        status = await life(folder, clock, bank, points, shape)
        if status is None:
            bank.seen.add(f"crashed {points.where}")
            status = await life(folder, clock, bank, Points(), shape)
        assert status is not None
        stuck_once = status if status.status == "stuck" else None
        if stuck_once is not None:
            bank.faults.plan = {}  # an operator heals the bank, and lets the saga go on
            status = await life(folder, clock, bank, Points(), shape, retry=True)
        assert status is not None
        await asyncio.gather(*bank.under_way)
        balances = await bank.balances()
        await bank.database.close()
        return Outcome(status, bank.seen, bank.did, bank.asked, balances, points.reached, points.where, stuck_once)


async def life(
    folder: Path, clock: VirtualClock, bank: Bank, points: Points, shape: Mapping[str, bool], *, retry: bool = False
) -> SagaStatus | None:
    """One life of the process that owns the saga: until the saga has ended, or None: until it was killed."""
    database = FragileDatabase(folder / "own.db", owner="own", clock=clock)
    database.points = points
    await _open(database)
    engine = Engine("own", database, clock=clock)
    saga = payment_saga(bank, points, **shape)
    engine.add(saga)
    serving = asyncio.create_task(engine.serve())

    async def caller() -> SagaStatus:
        saga_id = ""
        while not saga_id:
            try:
                async with database.transaction() as tx:
                    started = await engine.start(tx, saga, {"order": "1"}, key="order-1")
                saga_id = started
            except SkerryError:
                bank.seen.add("asked again to start")
                await clock.sleep(0.1)
        if retry:
            assert await engine.retry(saga_id)
        return await engine.wait(saga_id)

    calling = asyncio.create_task(caller())
    dying = asyncio.create_task(points.crashed.wait())
    await asyncio.wait({calling, dying}, return_when=asyncio.FIRST_COMPLETED)
    dead = points.crashed.is_set()
    if dead:
        database.die()
    else:
        await engine.stop(serving, within=1.0)
    tasks = (calling, dying, serving)
    for task in tasks:
        if not dead and task is calling:
            continue
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if dead:
        with suppress(StoreError):
            await database.close()
        return None
    await database.close()
    return calling.result()


async def _open(database: SQLiteDatabase) -> None:
    """Open without waiting for the disk: these processes die, the machine does not."""
    await database.open()
    assert database._writer is not None
    database._writer.execute("PRAGMA synchronous=OFF")
