"""Events: outbox to inbox on PostgreSQL, the bus over NATS, the embedded log, a projection's rebuild."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.report import Report, flush_probe

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.nats import NatsServer
from servers.postgresql import PostgresServer
from skerry.events import (
    Builder,
    DeadLetter,
    DomainEvent,
    EventBus,
    Inbox,
    Outbox,
    Projection,
    Relay,
    connect,
)
from skerry.events.brokers import Message
from skerry.events.outbox import message
from skerry.resilience import Retry
from skerry.store import Receipts
from skerry.store import connect as connect_database

EVENTS, WRITERS, KEYS = 1200, 8, 200
PAD = "x" * 900
BUS_MESSAGES, IN_FLIGHT = 4000, 64
LOGGED = 5000
REBUILT = 20_000


class Changed(DomainEvent, type="bench.account.changed", key="account"):
    account: str
    n: int
    pad: str


def run(*, rounds: int) -> dict[str, Any]:
    report = Report("events", ["faststream", "faststream-outbox", "nats-py", "asyncpg"])
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(_run(report, Path(folder), rounds))
    return report.document()


async def _run(report: Report, folder: Path, rounds: int) -> None:
    with PostgresServer(folder / "pg") as postgres, NatsServer(folder / "nats") as nats:
        for number in range(rounds):
            await _outboxes(report, postgres, nats, folder, number)
    with NatsServer(folder / "quick", flush=False) as nats:  # where the disk says nothing about the clients
        for number in range(rounds):
            await _buses(report, nats, number)
    for number in range(rounds):
        await _embedded(report, folder / f"log{number}")
    for number in range(rounds):
        await _rebuild(report, folder / f"rebuild{number}")
    flush = report.median("flush", "probe")
    report.ratio("outbox to inbox over faststream-outbox", "outbox to inbox", "faststream-outbox")
    report.ratio("bus over the bare driver, NATS", "bus on NATS", "nats-py")
    report.ratio("bus over FastStream, NATS", "bus on NATS", "faststream")
    report.ratio("a flushed transaction with an outbox row over one without", "a flushed transaction", "without a row")
    report.bar(
        "outbox to inbox over faststream-outbox", report.ratios["outbox to inbox over faststream-outbox"], ">=", 3
    )
    report.bar("outbox to inbox, events/s", report.median("outbox to inbox"), ">=", 2000)
    limit = max(3.0, 6 * flush)
    report.bar("commit to handled at 300/s, p50 ms", report.median("commit to handled, p50"), "<=", limit)
    with_row = report.ratios["a flushed transaction with an outbox row over one without"]
    report.bar("a flushed transaction with an outbox row over one without", with_row, "<=", 1.1)
    report.bar("bus over the bare driver, NATS", report.ratios["bus over the bare driver, NATS"], ">=", 0.75)
    report.bar("bus over FastStream, NATS", report.ratios["bus over FastStream, NATS"], ">=", 2)
    report.bar("embedded log to 3 processes, events/s", report.median("embedded log to 3 processes"), ">=", 5000)
    report.bar("embedded log at 200/s, p50 ms", report.median("embedded log at 200/s, p50"), "<=", 0.6)
    report.bar("projection rebuild, events/s", report.median("projection rebuild"), ">=", 20_000)


# --- outbox to inbox


async def _outboxes(report: Report, postgres: PostgresServer, nats: NatsServer, folder: Path, number: int) -> None:
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


async def _ours(  # noqa: C901 - one setting, three measurements
    report: Report, postgres: PostgresServer, nats: NatsServer, name: str
) -> None:
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

        async def change(n: int, *, record: bool = True) -> float:
            async with here.transaction() as tx:
                await tx.execute("UPDATE accounts SET n = n + 1 WHERE name = ?", (f"a{n % KEYS}",))
                if record:
                    await outbox.record(tx, Changed(account=f"a{n % KEYS}", n=n, pad=PAD))
            return time.perf_counter()

        bus.on(Changed, inbox=Inbox(there), batch=100)(handle)
        # what a row costs: the relay sleeps meanwhile
        kinds = [(True, "ours"), (False, "without a row")]
        taken: dict[str, list[float]] = {who: [] for _, who in kinds}
        for n in range(150):
            for record, who in kinds:
                begun = time.perf_counter()
                await change(n, record=record)
                taken[who].append(time.perf_counter() - begun)
        for who, times in taken.items():
            report.add("a flushed transaction", who, statistics.median(times) * 1000, "ms")
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


# --- the bus over a driver


async def _buses(report: Report, nats: NatsServer, number: int) -> None:
    turns = [_our_bus, _bare_nats, _faststream]
    for turn in turns[number % 3 :] + turns[: number % 3]:
        begun = time.perf_counter()
        await turn(nats, f"bus{number}")
        who = {"_our_bus": "ours", "_bare_nats": "nats-py", "_faststream": "faststream"}[turn.__name__]
        report.add("bus on NATS", who, BUS_MESSAGES / (time.perf_counter() - begun), "messages/s")


async def _our_bus(nats: NatsServer, name: str) -> None:
    broker = connect(f"{nats.url()}?durability=flushed&namespace={name}", source="bench", data=Path())
    outbox = Outbox("bench")
    messages: list[Message] = [
        message(outbox.seal(Changed(account=f"a{n % KEYS}", n=n, pad=PAD))) for n in range(BUS_MESSAGES)
    ]
    subscription = await broker.subscribe("reader", {Changed.event_type}, {})

    async def read() -> None:
        seen = 0
        while seen < BUS_MESSAGES:
            found = await subscription.fetch(250, wait=1.0)
            await subscription.ack(found)
            seen += len(found)

    reading = asyncio.create_task(read())
    for first in range(0, BUS_MESSAGES, IN_FLIGHT):
        await broker.publish(messages[first : first + IN_FLIGHT])
    await reading
    await broker.close()


async def _bare_nats(nats: NatsServer, name: str) -> None:
    import nats as driver

    client = await driver.connect(nats.url())
    jetstream = client.jetstream()
    await jetstream.add_stream(name=f"bare_{name}", subjects=[f"bare.{name}.>"])
    seen, done = 0, asyncio.Event()

    async def read(found: Any) -> None:
        nonlocal seen
        seen += 1
        await found.ack()
        if seen == BUS_MESSAGES:
            done.set()

    await jetstream.subscribe(f"bare.{name}.>", cb=read, manual_ack=True, durable=f"d_{name}")
    body = b"x" * 1100
    for first in range(0, BUS_MESSAGES, IN_FLIGHT):
        count = min(IN_FLIGHT, BUS_MESSAGES - first)
        await asyncio.gather(*(jetstream.publish(f"bare.{name}.a", body) for _ in range(count)))
    await done.wait()
    await client.close()


async def _faststream(nats: NatsServer, name: str) -> None:
    from faststream.nats import JStream, NatsBroker

    broker = NatsBroker(nats.url(), logger=None)
    stream = JStream(name=f"fs_{name}", subjects=[f"fs.{name}.>"])
    seen, done = 0, asyncio.Event()

    @broker.subscriber(f"fs.{name}.a", stream=stream, durable=f"f_{name}", deliver_policy="all")
    async def read(body: Changed) -> None:
        nonlocal seen
        del body
        seen += 1
        if seen == BUS_MESSAGES:
            done.set()

    await broker.start()
    for first in range(0, BUS_MESSAGES, IN_FLIGHT):
        events = [
            Changed(account=f"a{n % KEYS}", n=n, pad=PAD) for n in range(first, min(first + IN_FLIGHT, BUS_MESSAGES))
        ]
        await asyncio.gather(
            *(broker.publish(event, f"fs.{name}.a", stream=stream.name, timeout=10.0) for event in events)
        )
    await done.wait()
    await broker.stop()


# --- the embedded log


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
        seen, late, done = 0, list[float](), asyncio.Event()

        async def handle(events: list[Changed], tx: Any) -> None:
            nonlocal seen
            await tx.execute_many("INSERT INTO effects VALUES (?)", [(event.n,) for event in events])
            tx.on_commit(lambda: committed(events))

        def committed(events: list[Changed]) -> None:
            nonlocal seen
            seen += len(events)
            late.extend(time.monotonic() - float(event.pad) for event in events if event.n >= count)
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


async def _embedded(report: Report, folder: Path) -> None:
    folder.mkdir()
    paced = 200
    context = get_context("spawn")
    readers = []
    for _ in range(3):
        ours, theirs = context.Pipe()
        process = context.Process(target=_read_log, args=(str(folder), LOGGED, paced, theirs))
        process.start()
        readers.append((process, ours))
    log = connect("sqlite:///events/", source="bench", data=folder)
    outbox = Outbox("bench")
    batches = [
        [message(outbox.seal(Changed(account=f"a{n % KEYS}", n=n, pad="x" * 500))) for n in range(first, first + 50)]
        for first in range(0, LOGGED, 50)
    ]
    for _, pipe in readers:
        await asyncio.to_thread(pipe.recv)
    begun = time.monotonic()
    for batch in batches:
        await log.publish(batch)
    ended = [await asyncio.to_thread(pipe.recv) for _, pipe in readers]
    report.add("embedded log to 3 processes", "ours", LOGGED / (max(ended) - begun), "events/s")
    begun = time.monotonic()
    for n in range(paced):
        await asyncio.sleep(max(0.0, begun + n / 200 - time.monotonic()))
        batch = [message(outbox.seal(Changed(account="a", n=LOGGED + n, pad=repr(time.monotonic()))))]
        await log.publish(batch)
    for _, pipe in readers:
        await asyncio.to_thread(pipe.recv)
    late = [value for _, pipe in readers for value in await asyncio.to_thread(pipe.recv)]
    report.add("embedded log at 200/s, p50", "ours", statistics.median(late) * 1000, "ms")
    for process, _ in readers:
        await asyncio.to_thread(process.join)
    await log.close()


# --- a projection's rebuild


async def _rebuild(report: Report, folder: Path) -> None:
    folder.mkdir()
    database = connect_database("sqlite:///bench.db", owner="bench", data=folder)
    await database.open()
    await Receipts.prepare(database)
    await Outbox.prepare(database)
    broker = connect("sqlite:///events/", source="bench", data=folder)
    outbox = Outbox("bench")
    for first in range(0, REBUILT, 500):
        events = [Changed(account=f"a{n % KEYS}", n=n, pad="x" * 100) for n in range(first, first + 500)]
        await broker.publish([message(outbox.seal(event)) for event in events])
    accounts = Projection("accounts", tables={"accounts": "name TEXT PRIMARY KEY, n INTEGER NOT NULL"})

    @accounts.on(Changed)
    async def changed(event: Changed, tx: Any) -> None:
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
