"""The embedded log: one process publishes, three others handle, each with an inbox database of its own. All of it is flushed.

The latency is from the moment at which the publisher is told that its event is safe, to the commit of its effect. It is that of
a steady pace: a second after as many events as can be, when the disk has what they left behind.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.events.load import Changed, changed
from benchmarks.report import Report, flush_probe
from skerry.events import EventBus, Inbox, Outbox, connect
from skerry.events.outbox import message
from skerry.store import Receipts
from skerry.store import connect as connect_database

LOGGED, PACED, REST = 5000, 600, 1.0


def _read_log(folder: str, count: int, paced: int, pipe: Any) -> None:
    """A consumer process with an inbox database of its own."""

    async def main() -> None:
        source = f"reader{pipe.fileno()}"
        database = connect_database(f"sqlite:///{source}.db", owner=source, data=Path(folder))
        await database.open()
        await Receipts.prepare(database)
        await Outbox.prepare(database)
        async with database.transaction() as tx:
            await tx.execute("CREATE TABLE effects (n INTEGER PRIMARY KEY)")
        broker = connect("sqlite:///events/", source=source, data=Path(folder))
        bus = EventBus(broker, source=source)
        seen, late, done = 0, dict[int, float](), asyncio.Event()

        async def handle(events: list[Changed], tx: Any) -> None:
            nonlocal seen
            await tx.execute_many("INSERT INTO effects VALUES (?)", [(event.n,) for event in events])
            tx.on_commit(lambda: committed(events))

        def committed(events: list[Changed]) -> None:
            nonlocal seen
            seen += len(events)
            late.update((event.n, time.monotonic()) for event in events if event.n >= count)
            if seen in {count, count + paced}:
                done.set()

        bus.on(Changed, inbox=Inbox(database), batch=100)(handle)
        bus.start()
        pipe.send("ready")
        for _ in range(2):
            await done.wait()
            done.clear()
            pipe.send(time.monotonic())
        pipe.send(late)
        await bus.stop(within=5.0)
        await broker.close()
        await database.close()

    uvloop.run(main())


async def embedded(report: Report, folder: Path) -> None:
    folder.mkdir()
    context = get_context("spawn")
    report.add("flush beside the log", "probe", flush_probe(folder) * 1000, "ms")
    readers = []
    for _ in range(3):
        ours, theirs = context.Pipe()
        process = context.Process(target=_read_log, args=(str(folder), LOGGED, PACED, theirs))
        process.start()
        readers.append((process, ours))
    log = connect("sqlite:///events/", source="bench", data=folder)
    outbox = Outbox("bench")
    batches = [
        [message(outbox.seal(changed(n, "x" * 500))) for n in range(first, first + 50)]
        for first in range(0, LOGGED, 50)
    ]
    for _, pipe in readers:
        await asyncio.to_thread(pipe.recv)
    begun = time.monotonic()
    for batch in batches:
        await log.publish(batch)
    ended = [await asyncio.to_thread(pipe.recv) for _, pipe in readers]
    report.add("embedded log to 3 processes", "ours", LOGGED / (max(ended) - begun), "events/s")
    await asyncio.sleep(REST)
    begun, committed = time.monotonic(), dict[int, float]()
    for n in range(LOGGED, LOGGED + PACED):
        await asyncio.sleep(max(0.0, begun + (n - LOGGED) / 200 - time.monotonic()))
        await log.publish([message(outbox.seal(changed(n, "x" * 500)))])
        committed[n] = time.monotonic()
    for _, pipe in readers:
        await asyncio.to_thread(pipe.recv)
    late = [at - committed[n] for _, pipe in readers for n, at in (await asyncio.to_thread(pipe.recv)).items()]
    report.add("embedded log at 200/s, p50", "ours", statistics.median(late) * 1000, "ms")
    for process, _ in readers:
        await asyncio.to_thread(process.join)
    await log.close()
