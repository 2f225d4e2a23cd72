"""A projection made anew from 20,000 events in the embedded log."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from benchmarks.events.load import Changed, changed
from benchmarks.report import Report
from skerry.events import Builder, DeadLetter, Outbox, Projection, connect
from skerry.events.outbox import message
from skerry.resilience import Retry
from skerry.store import Receipts
from skerry.store import connect as connect_database

REBUILT = 20_000


async def rebuild(report: Report, folder: Path) -> None:
    folder.mkdir()
    database = connect_database("sqlite:///bench.db", owner="bench", data=folder)
    await database.open()
    await Receipts.prepare(database)
    await Outbox.prepare(database)
    broker = connect("sqlite:///events/", source="bench", data=folder)
    outbox = Outbox("bench")
    for first in range(0, REBUILT, 500):
        events = [changed(n, "x" * 100) for n in range(first, first + 500)]
        await broker.publish([message(outbox.seal(event)) for event in events])
    accounts = Projection("accounts", tables={"accounts": "name TEXT PRIMARY KEY, n INTEGER NOT NULL"})

    @accounts.on(Changed)
    async def note(event: Changed, tx: Any) -> None:
        sql = "INSERT INTO {accounts} VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = excluded.n"
        await tx.execute(sql, (event.account, event.n))

    accounts.host(database, outbox._clock)
    builder = Builder(accounts, broker, retry=Retry(3), on_poison=DeadLetter())
    begun = time.perf_counter()
    task = asyncio.create_task(builder.run())
    while not builder._consumers or not await next(iter(builder._consumers.values()))[0].caught_up():
        await asyncio.sleep(0.1)  # a look counts what is left: not too often
    report.add("projection rebuild", "ours", REBUILT / (time.perf_counter() - begun), "events/s")
    await builder.stop(task, within=5.0)
    await broker.close()
    await database.close()
