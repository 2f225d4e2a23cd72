"""The bus over a broker beside the bare driver and FastStream: batches of 64 published, each read and acknowledged.

The bare driver does what its documentation shows for this: no order to keep, nothing that leaves duplicates out. It is compared
with messages; FastStream is compared with typed events, which are put into envelopes and read out of them. NATS and Redis run
without a flush of each write here, so that the clients are compared and not the disk; a quorum queue of RabbitMQ always flushes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.events.load import Changed, changed
from benchmarks.report import Report
from servers.nats import NatsServer
from servers.rabbitmq import RabbitServer, installed
from servers.redis import RedisServer
from skerry.events import Envelope, Outbox, connect
from skerry.events.brokers import Message
from skerry.events.outbox import message

MESSAGES, IN_FLIGHT, PART, LEAST_ROUNDS = 4000, 64, 250, 5
BODY = b"x" * 1100
BATCHES = [range(first, min(first + IN_FLIGHT, MESSAGES)) for first in range(0, MESSAGES, IN_FLIGHT)]

Turn = Callable[[Any, str], Awaitable[None]]


async def buses(report: Report, folder: Path, rounds: int) -> None:
    with ExitStack() as servers:
        stages: list[tuple[str, Any, dict[str, Turn]]] = [
            ("NATS", NatsServer(folder / "nats", flush=False), {"nats-py": _bare_nats}),
            ("Redis", RedisServer(folder / "redis", appendfsync="everysec"), {"redis": _bare_redis}),
        ]
        if installed():
            stages.append(("RabbitMQ", RabbitServer(folder / "rabbitmq"), {"aiormq": _bare_rabbit}))
        else:
            report.notes.append("RabbitMQ is not installed here: not measured")
        for broker, server, peers in stages:
            servers.enter_context(server)
            outbox = Outbox("bench")
            ready = [message(outbox.seal(changed(n))) for n in range(MESSAGES)]
            turns = {"ours": partial(_ours, ready=ready), **peers}
            await _in_turns(report, rounds, server, f"bus on {broker}", turns, "messages/s")
            if broker == "NATS":
                typed: dict[str, Turn] = {"ours": _ours, "faststream": _faststream}
                await _in_turns(report, rounds, server, "typed events on NATS", typed, "events/s")


async def _in_turns(report: Report, rounds: int, server: Any, metric: str, peers: dict[str, Turn], unit: str) -> None:
    turns = list(peers.items())
    for number in range(max(rounds, LEAST_ROUNDS)):  # a round takes a second, and scatters by a tenth
        for who, turn in turns[number % len(turns) :] + turns[: number % len(turns)]:
            begun = time.perf_counter()
            await turn(server, f"{metric.split(maxsplit=1)[0]}{who.replace('-', '')}{number}")
            report.add(metric, who, MESSAGES / (time.perf_counter() - begun), unit)


async def _ours(server: Any, name: str, *, ready: Sequence[Message] = ()) -> None:
    """With messages that are `ready`, or with events."""
    broker = connect(f"{server.url()}?namespace={name}", source="bench", data=Path())
    outbox = Outbox("bench")
    subscription = await broker.subscribe("reader", {Changed.event_type}, {})

    async def read() -> None:
        seen = 0
        while seen < MESSAGES:
            found = await subscription.fetch(PART, wait=1.0)
            if not ready:
                for delivery in found:
                    Changed.from_envelope(Envelope.from_json(delivery.message.body))
            await subscription.ack(found)
            seen += len(found)

    reading = asyncio.create_task(read())
    for batch in BATCHES:
        await broker.publish(ready[batch.start : batch.stop] or [message(outbox.seal(changed(n))) for n in batch])
    await reading
    await broker.close()


class _Count:
    def __init__(self) -> None:
        self._seen = 0
        self.done = asyncio.Event()

    def one(self) -> None:
        self._seen += 1
        if self._seen == MESSAGES:
            self.done.set()


async def _bare_nats(server: NatsServer, name: str) -> None:
    import nats as driver

    client = await driver.connect(server.url())
    jetstream = client.jetstream()
    await jetstream.add_stream(name=f"bare_{name}", subjects=[f"bare.{name}.>"])
    count = _Count()

    async def read(found: Any) -> None:
        await found.ack()
        count.one()

    await jetstream.subscribe(f"bare.{name}.>", cb=read, manual_ack=True, durable=f"d_{name}")
    for batch in BATCHES:
        await asyncio.gather(*(jetstream.publish(f"bare.{name}.a", BODY) for _ in batch))
    await count.done.wait()
    await client.close()


async def _faststream(server: NatsServer, name: str) -> None:
    from faststream.nats import JStream, NatsBroker

    broker = NatsBroker(server.url(), logger=None)
    stream = JStream(name=f"fs_{name}", subjects=[f"fs.{name}.>"])
    count = _Count()

    @broker.subscriber(f"fs.{name}.a", stream=stream, durable=f"f_{name}", deliver_policy="all")
    async def read(body: Changed) -> None:
        del body
        count.one()

    await broker.start()
    for batch in BATCHES:
        published = (broker.publish(changed(n), f"fs.{name}.a", stream=stream.name, timeout=10.0) for n in batch)
        await asyncio.gather(*published)
    await count.done.wait()
    await broker.stop()


async def _bare_redis(server: RedisServer, name: str) -> None:
    from redis.asyncio import Redis

    async with Redis.from_url(server.url()) as publisher, Redis.from_url(server.url()) as reader:
        await reader.xgroup_create(name, "reader", id="0", mkstream=True)

        async def read() -> None:
            seen = 0
            while seen < MESSAGES:
                found = await reader.xreadgroup("reader", "one", {name: ">"}, count=PART, block=1000)
                ids = [identifier for _, entries in found for identifier, _ in entries]
                await reader.xack(name, "reader", *ids)
                seen += len(ids)

        reading = asyncio.create_task(read())
        for batch in BATCHES:
            async with publisher.pipeline(transaction=False) as pipe:
                for _ in batch:
                    pipe.xadd(name, {"body": BODY})
                await pipe.execute()
        await reading


async def _bare_rabbit(server: RabbitServer, name: str) -> None:
    import aiormq

    connection = await aiormq.connect(server.url())
    channel = await connection.channel(publisher_confirms=True)
    await channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    reader = await connection.channel(publisher_confirms=False)
    await reader.basic_qos(prefetch_count=200)
    count = _Count()

    async def read(found: Any) -> None:
        await reader.basic_ack(found.delivery.delivery_tag)
        count.one()

    await reader.basic_consume(name, read)
    persistent = aiormq.spec.Basic.Properties(delivery_mode=2)
    for batch in BATCHES:
        await asyncio.gather(*(channel.basic_publish(BODY, routing_key=name, properties=persistent) for _ in batch))
    await count.done.wait()
    await connection.close()
