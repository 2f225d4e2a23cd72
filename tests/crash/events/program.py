"""One service of the crash tests: `program.py ROLE NAME FOLDER COUNT`. It ends by itself when its work is done.

A publisher goes on beyond COUNT, slowly, until the file `enough` is there. A consumer ends when it has had as many effects as the
file `total` says.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path

from skerry.errors import EventError, StoreError
from skerry.events import DomainEvent, EventBus, Inbox, Outbox, Relay
from skerry.events.brokers.eventlog import EventLog
from skerry.resilience import Retry
from skerry.store import Receipts, SQLiteDatabase

role, name, folder, count = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
KEYS = 4
SEGMENT_BYTES = 40_000


class Counted(DomainEvent, type="crash.counted", key="counter"):
    counter: str
    n: int


async def publish(database: SQLiteDatabase, log: EventLog) -> None:
    outbox = Outbox(name)
    relay = Relay(database, outbox, log)
    relaying = asyncio.create_task(relay.run())
    while True:
        async with database.transaction() as tx:
            counter, n = await tx.fetch_one("SELECT counter, n FROM counters ORDER BY n, counter LIMIT 1")
            if n >= count and (folder / "enough").exists():
                break
            await tx.execute("UPDATE counters SET n = n + 1 WHERE counter = ?", (counter,))
            await outbox.record(tx, Counted(counter=counter, n=n + 1))
        if n >= count:  # there has to be something to kill, but not much more to do
            await asyncio.sleep(0.02)
    while await outbox.waiting(database):
        await asyncio.sleep(0.02)
    await relay.stop(relaying, within=5)


async def consume(database: SQLiteDatabase, log: EventLog, *, deadly: bool) -> None:
    bus = EventBus(log, source=name)
    failed = set()

    async def handle(event: Counted, tx) -> None:
        await tx.execute("INSERT INTO effects VALUES (?, ?)", (event.counter, event.n))
        if deadly and event.n == 2 and event.counter.endswith("-1"):
            os.kill(os.getpid(), signal.SIGKILL)
        if not deadly and event.n % 11 == 0 and event.envelope.id not in failed:
            failed.add(event.envelope.id)
            raise OSError

    bus.on(Counted, inbox=Inbox(database), retry=Retry(1000, base=0.02, cap=0.1))(handle)
    bus.start()
    total = folder / "total"
    while not total.exists() or (await database.fetch_one("SELECT count(*) FROM effects"))[0] < int(total.read_text()):
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)  # time for what must not come
    await bus.stop(within=5)


async def fill(database: SQLiteDatabase, log: EventLog) -> None:
    """Write until the disk is full, say what was acknowledged, and go on when there is room again."""
    outbox = Outbox(name)
    recorded, failures = 0, 0
    for n in range(count):
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000 if n < count // 2 else -1, -1))
        try:
            async with database.transaction() as tx:
                await tx.execute("INSERT INTO effects VALUES (?, ?)", ("x" * 5000, n))
                await outbox.record(tx, Counted(counter="a", n=n))
            recorded += 1
        except StoreError:
            failures += 1
    published = 0
    for n in range(count):
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000 if n < count // 2 else -1, -1))
        try:
            await EventBus(log, source=name).publish(Counted(counter="x" * 250, n=n), Counted(counter="y" * 250, n=n))
            published += 2
        except EventError:
            failures += 1
    written = (await database.fetch_one("SELECT count(*) FROM effects"))[0]
    subscription = await log.subscribe("g", {Counted.event_type}, {})
    logged = 0
    while found := await subscription.fetch(1000, wait=0):
        logged += len(found)
    print(recorded, written, await outbox.waiting(database), published, logged, failures)


async def main() -> None:
    database = SQLiteDatabase(folder / f"{name}.db", owner=name)
    log = EventLog(folder / "events", source=name, segment_bytes=10**8 if role == "fill" else SEGMENT_BYTES)
    await database.open()
    await Receipts.prepare(database)
    await Outbox.prepare(database)
    async with database.transaction() as tx:
        await tx.execute("CREATE TABLE IF NOT EXISTS effects (counter TEXT, n INTEGER)")
        await tx.execute("CREATE TABLE IF NOT EXISTS counters (counter TEXT PRIMARY KEY, n INTEGER)")
        for key in range(KEYS):
            await tx.execute("INSERT OR IGNORE INTO counters VALUES (?, 0)", (f"{name}-{key}",))
    if role == "publish":
        await publish(database, log)
    elif role == "fill":
        await fill(database, log)
    else:
        await consume(database, log, deadly=role == "die")
    await log.close()
    await database.close()


asyncio.run(main())
