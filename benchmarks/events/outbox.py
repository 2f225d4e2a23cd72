"""Outbox to inbox on PostgreSQL through NATS, both flushing, beside faststream-outbox on the same server."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.events.load import KEYS, PAD, Changed, changed
from benchmarks.report import Report, flush_probe
from servers.nats import NatsServer
from servers.postgresql import PostgresServer
from skerry.events import EventBus, Inbox, Outbox, Relay, connect
from skerry.events.outbox import message
from skerry.store import Receipts
from skerry.store import connect as connect_database

EVENTS, WRITERS, ROWS, HINT_TURNS = 1200, 8, 2 * KEYS, 16

BY_HAND = """
CREATE TABLE least (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id TEXT, type TEXT, key TEXT, body TEXT);
CREATE TABLE numbered (LIKE least INCLUDING ALL, sequence BIGINT NOT NULL, UNIQUE (key, sequence));
CREATE TABLE numbers (key TEXT PRIMARY KEY, last BIGINT NOT NULL) WITH (fillfactor = 70)
"""
LEAST = "INSERT INTO least (event_id, type, key, body) VALUES ($1, $2, $3, $4)"
NUMBERED = """
WITH next AS (
  INSERT INTO numbers VALUES ($3, 1) ON CONFLICT (key) DO UPDATE SET last = numbers.last + 1 RETURNING last
) INSERT INTO numbered (event_id, type, key, body, sequence) SELECT $1, $2, $3, $4, last FROM next
"""


async def outboxes(report: Report, folder: Path, rounds: int) -> None:
    folder.mkdir()
    with PostgresServer(folder / "pg") as postgres, NatsServer(folder / "nats") as nats:
        postgres.wear_in()
        for number in range(rounds):
            report.add("flush", "probe", flush_probe(folder) * 1000, "ms")
            turns = [_ours, _faststream_outbox]
            for turn in turns if number % 2 else reversed(turns):
                await turn(report, postgres, nats, f"round{number}")


async def _in_turns(work: Callable[[int], Awaitable[None]], count: int, workers: int = WRITERS) -> None:
    async def worker(first: int) -> None:
        for n in range(first, count, workers):
            await work(n)

    await asyncio.gather(*(worker(first) for first in range(workers)))


@asynccontextmanager
async def _service(postgres: PostgresServer, nats: NatsServer, name: str):
    """A database with accounts, a relay to NATS, and a group that writes what it sees to another database."""
    async with AsyncExitStack() as stack:
        databases = []
        for part in ("a", "b"):
            database = connect_database(postgres.own_database(f"{name}{part}"), owner="bench", data=Path())
            await database.open()
            stack.push_async_callback(database.close)
            await Receipts.prepare(database)
            await Outbox.prepare(database)
            databases.append(database)
        here, there = databases
        async with here.transaction() as tx:
            await tx.execute("CREATE TABLE accounts (name TEXT PRIMARY KEY, n INTEGER NOT NULL)")
            await tx.execute_many("INSERT INTO accounts VALUES (?, 0)", [(f"a{n}",) for n in range(KEYS)])
        async with there.transaction() as tx:
            await tx.execute("CREATE TABLE effects (name TEXT PRIMARY KEY, n INTEGER NOT NULL)")
        broker = connect(f"{nats.url()}?durability=flushed&namespace={name}", source="bench", data=Path())
        stack.push_async_callback(broker.close)
        outbox, bus = Outbox("bench"), EventBus(broker, source="bench")
        relay = Relay(here, outbox, broker)
        yield here, there, outbox, bus, relay, stack


async def _ours(report: Report, postgres: PostgresServer, nats: NatsServer, name: str) -> None:
    async with _service(postgres, nats, name) as (here, there, outbox, bus, relay, stack):
        handled: dict[int, float] = {}
        done = asyncio.Event()

        async def handle(events: list[Changed], tx: Any) -> None:
            sql = "INSERT INTO effects VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = excluded.n"
            await tx.execute_many(sql, [(event.account, event.n) for event in events])
            tx.on_commit(lambda: seen(events))

        def seen(events: list[Changed]) -> None:
            handled.update(dict.fromkeys((event.n for event in events), time.perf_counter()))
            if len(handled) >= target:
                done.set()

        async def change(n: int, *, into: Outbox | None = outbox) -> float:
            async with here.transaction() as tx:
                await tx.execute("UPDATE accounts SET n = n + 1 WHERE name = ?", (f"a{n % KEYS}",))
                if into is not None:
                    await into.record(tx, changed(n))
            return time.perf_counter()

        bus.on(Changed, inbox=Inbox(there), batch=100)(handle)
        await _row(report, postgres.url(f"{name}a"), outbox, change)  # the relay sleeps meanwhile
        await _hint(report, outbox, change)
        async with here.transaction() as tx:
            await tx.execute("DELETE FROM skerry_outbox")
        relaying = asyncio.create_task(relay.run())
        stack.push_async_callback(bus.stop, within=5.0)
        stack.push_async_callback(relay.stop, relaying, within=5.0)
        bus.start()
        target = 1
        await change(-1)
        await done.wait()
        # as many as it can
        done.clear()
        target += EVENTS
        begun = time.perf_counter()
        await _in_turns(lambda n: _nothing(change(n)), EVENTS)
        await done.wait()
        report.add("outbox to inbox", "ours", EVENTS / (time.perf_counter() - begun), "events/s")
        # at a steady pace
        done.clear()
        paced = 300
        target += paced
        committed: dict[int, float] = {}

        async def one(n: int) -> None:
            committed[n] = await change(n)

        begun, tasks = time.perf_counter(), []
        for n in range(EVENTS, EVENTS + paced):
            await asyncio.sleep(max(0.0, begun + (n - EVENTS) / 300 - time.perf_counter()))
            tasks.append(asyncio.create_task(one(n)))
        await asyncio.gather(*tasks)
        await done.wait()
        taken = [handled[n] - at for n, at in committed.items()]
        report.add("commit to handled, p50", "ours", statistics.median(taken) * 1000, "ms")


async def _row(report: Report, url: str, outbox: Outbox, change: Callable[..., Awaitable[float]]) -> None:
    """What an outbox row costs, and what of that is PostgreSQL's: the same on a connection of the driver, in turns with ours.

    The least row that anybody could write is a prepared INSERT of the same size, with no index but the key. With a number it
    keeps what ours keeps: the next one of its key, under a unique constraint, still in one statement.
    """
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(BY_HAND)

        async def by_hand(n: int, sql: str = "") -> float:
            row = (str(n), "bench.account.changed", f"a{n % KEYS}", bodies[n])
            begun = time.perf_counter()
            async with connection.transaction():
                await connection.execute("UPDATE accounts SET n = n + 1 WHERE name = $1", f"a{n % KEYS}")
                if sql:
                    await connection.execute(sql, *row)
            return time.perf_counter() - begun

        async def ours(n: int, *, into: Outbox | None) -> float:
            begun = time.perf_counter()
            return await change(n, into=into) - begun

        bodies = [message(outbox.seal(changed(n))).body for n in range(ROWS)]
        kinds: dict[str, Callable[[int], Awaitable[float]]] = {
            "ours": partial(ours, into=outbox),
            "without a row": partial(ours, into=None),
            "by hand": partial(by_hand, sql=LEAST),
            "by hand, numbered": partial(by_hand, sql=NUMBERED),
            "by hand, without a row": by_hand,
        }
        taken: dict[str, list[float]] = {who: [] for who in kinds}
        turns = list(kinds.items())
        for n in range(ROWS):
            for who, work in turns[n % len(turns) :] + turns[: n % len(turns)]:
                took = await work(n)
                if n >= KEYS:  # each key has a number by then, and every session its plans
                    taken[who].append(took)
    finally:
        await connection.close()
    cost = {who: statistics.median(times) * 1000 for who, times in taken.items()}
    for who, milliseconds in cost.items():
        report.add("a flushed transaction", who, milliseconds, "ms")
    for who in ("ours", "by hand", "by hand, numbered"):
        bare = cost["without a row" if who == "ours" else "by hand, without a row"]
        report.add("what its row adds", who, (cost[who] - bare) * 1000, "us")


async def _hint(report: Report, outbox: Outbox, change: Callable[..., Awaitable[float]]) -> None:
    """What writers keep of their throughput when each commit hints at the relay of another process, in short turns."""
    rates: dict[str, list[float]] = {"ours": [], "without a hint": []}
    turns: list[tuple[str, Outbox]] = [("ours", outbox), ("without a hint", Outbox("bench"))]
    for turn in range(HINT_TURNS):
        for who, into in turns if turn % 2 else reversed(turns):
            begun = time.perf_counter()
            await _in_turns(lambda n, into=into: _nothing(change(n, into=into)), KEYS)
            rates[who].append(KEYS / (time.perf_counter() - begun))
    for who, each in rates.items():
        report.add("writers", who, statistics.median(each), "transactions/s")


async def _nothing(work: Awaitable[Any]) -> None:
    await work


async def _faststream_outbox(report: Report, postgres: PostgresServer, nats: NatsServer, name: str) -> None:
    """The table is the queue: eight workers, each effect in a transaction with a row that keeps it from happening twice."""
    from faststream_outbox import OutboxBroker, make_outbox_table
    from sqlalchemy import MetaData, text
    from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

    del nats
    url = postgres.own_database(f"{name}peer").replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, pool_size=20)
    metadata = MetaData()
    table = make_outbox_table(metadata, table_name="outbox")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(text("CREATE TABLE accounts (name TEXT PRIMARY KEY, n INTEGER NOT NULL)"))
        await connection.execute(
            text("INSERT INTO accounts SELECT 'a' || n, 0 FROM generate_series(0, :top) n"), {"top": KEYS - 1}
        )
        await connection.execute(text("CREATE TABLE effects (name TEXT PRIMARY KEY, n INTEGER NOT NULL)"))
        await connection.execute(text("CREATE TABLE seen (n INTEGER PRIMARY KEY)"))
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    broker = OutboxBroker(engine, outbox_table=table, logger=None)
    handled, done, target = 0, asyncio.Event(), 1

    @broker.subscriber(
        "accounts", max_workers=8, fetch_batch_size=100, min_fetch_interval=0.01, terminal_flush_batch_size=50
    )
    async def handle(body: dict[str, Any]) -> None:
        nonlocal handled
        async with sessions() as session, session.begin():
            await session.execute(text("INSERT INTO seen VALUES (:n) ON CONFLICT DO NOTHING"), {"n": body["n"]})
            await session.execute(
                text("INSERT INTO effects VALUES (:a, :n) ON CONFLICT (name) DO UPDATE SET n = excluded.n"),
                {"a": body["account"], "n": body["n"]},
            )
        handled += 1
        if handled >= target:
            done.set()

    async def change(n: int) -> None:
        async with sessions() as session, session.begin():
            await session.execute(text("UPDATE accounts SET n = n + 1 WHERE name = :a"), {"a": f"a{n % KEYS}"})
            body = {"account": f"a{n % KEYS}", "n": n, "pad": PAD}
            await broker.publish(body, queue="accounts", session=session)

    await broker.start()
    try:
        await change(-1)
        await done.wait()
        done.clear()
        target += EVENTS
        begun = time.perf_counter()
        await _in_turns(change, EVENTS)
        await done.wait()
        report.add("outbox to inbox", "faststream-outbox", EVENTS / (time.perf_counter() - begun), "events/s")
    finally:
        await broker.stop()
        await engine.dispose()
