"""A small service whose saga moves money between two participants in a database of their own; killed again and again.

`tiny_bank.py FOLDER COUNT SEED`: keeps COUNT transfers going and ends when all sagas have ended.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

from skerry.errors import ConnectionLost
from skerry.resilience import Retry
from skerry.saga import Barrier, Rejected, Saga, StepContext
from skerry.service import Service
from skerry.settings import Settings
from skerry.store import Receipts, SQLiteDatabase

FOLDER, COUNT, SEED = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
ACCOUNTS = {"left": 10_000, "transit": 0, "right": 0}
PATIENT = Retry(50, base=0.005, cap=0.02)

service = Service("transfers", database="sqlite:///transfers.db", settings=Settings(data=FOLDER))
bank = SQLiteDatabase(FOLDER / "bank.db", owner="bank")
barrier = Barrier()
chance = random.Random(SEED)
saga = Saga("transfer", input=int)


async def ask(key: str, amount: int, source: str, target: str, *, undo: bool = False) -> None:
    """One action or compensation at the bank; now and then its reply is lost."""

    async def move(sign: int) -> None:
        for name, change in ((source, -amount * sign), (target, amount * sign)):
            await tx.execute("UPDATE accounts SET balance = balance + ? WHERE name = ?", (change, name))
        await tx.execute("INSERT INTO effects (key) VALUES (?)", (key,))

    async def act() -> None:
        await move(1)

    async def compensate(_answer: Any) -> None:
        await move(-1)

    async with bank.transaction() as tx:
        if undo:
            await barrier.undo(tx, key, compensate)
        else:
            await barrier.act(tx, key, act, given=amount)
    await asyncio.sleep(chance.random() * 0.01)
    if chance.random() < 0.1:
        raise ConnectionLost("bank", "no reply")


@saga.step(retry=PATIENT)
async def take(ctx: StepContext, amount: int) -> None:
    """Take the money from the left."""
    await ask(ctx.key, amount, "left", "transit")


@take.compensate
async def give_back(ctx: StepContext, amount: int, _result: None) -> None:
    """Give it back."""
    await ask(ctx.key, amount, "left", "transit", undo=True)


@saga.pivot(retry=PATIENT)
async def decide(_ctx: StepContext, amount: int) -> None:
    """Every third transfer is refused."""
    if amount % 3 == 0:
        raise Rejected("not this one")


@saga.retriable(retry=PATIENT)
async def put(ctx: StepContext, amount: int) -> None:
    """Put the money to the right."""
    await ask(ctx.key, amount, "transit", "right")


service.add(saga)


async def main() -> None:
    """Start what is not started yet, until all have ended."""
    await bank.open()
    await Receipts.prepare(bank)
    async with bank.transaction() as tx:
        await tx.execute("CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, balance INTEGER NOT NULL)")
        await tx.execute("CREATE TABLE IF NOT EXISTS effects (key TEXT NOT NULL)")
        await tx.execute_many("INSERT INTO accounts VALUES (?, ?) ON CONFLICT DO NOTHING", ACCOUNTS.items())
    await service.start()
    print("started", flush=True)
    running = set()
    for number in range(1, COUNT + 1):
        running.add(asyncio.create_task(service.sagas.run(saga, number, key=str(number))))
        if len(running) > 8:
            _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(running)
    while await service.sagas.needed() and (await service.sagas.stats()).keys() & {"running", "compensating"}:
        await asyncio.sleep(0.05)
    await service.stop()
    await bank.close()


asyncio.run(main())
