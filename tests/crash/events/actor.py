"""One process of the events soak: `actor.py publish|relay|consume SETTINGS`, where SETTINGS is a JSON object.

It writes what happened to files that several processes append to, one line a write, before it goes on.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skerry.errors import SkerryError
from skerry.events import DomainEvent, EventBus, Inbox, Outbox, Relay, connect
from skerry.resilience import Retry
from skerry.store import Database, Receipts
from skerry.store import connect as connect_database

SLOW_SHARE, SLOWEST = 0.05, 0.05


class Counted(DomainEvent, type="soak.counter.counted", key="counter"):
    counter: str
    n: int
    pad: str = "x" * 400


class Actor:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.folder = Path(settings["folder"])
        self.settings = settings
        self.stopping = asyncio.Event()
        self.database: Database = connect_database(settings["database"], owner=settings["owner"], data=self.folder)
        self._leading = self.database.lead

    def write(self, file: str, **line: Any) -> None:
        descriptor = os.open(self.folder / file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, json.dumps({"t": time.monotonic(), **line}).encode() + b"\n")
        finally:
            os.close(descriptor)

    async def opened(self) -> None:
        """Open the database, however long it takes to come up."""
        while True:
            try:
                await self.database.open()
                await Receipts.prepare(self.database)
                await Outbox.prepare(self.database)
                async with self.database.transaction() as tx:
                    await tx.lock("effects")
                    await tx.execute(self.settings["effects"])
            except SkerryError as error:
                print(f"{os.getpid()} {self.settings['owner']} waits: {error}", flush=True)
                await asyncio.sleep(0.1)
            else:
                break
        self.database.lead = self.lead  # type: ignore[method-assign]

    @asynccontextmanager
    async def lead(self, role: str, **options: Any) -> AsyncIterator[Any]:
        """`Database.lead`, which also says who leads."""
        async with self._leading(role, **options) as lease:
            self.write("leads.jsonl", role=f"{self.settings['owner']}/{role}", pid=os.getpid())
            yield lease

    def due(self, flag: str) -> bool:
        """Whether this process has been chosen to die here; whoever asks first is it."""
        try:
            (self.folder / flag).unlink()
        except FileNotFoundError:
            return False
        return True

    # --- the roles

    async def publish(self) -> None:
        chance = random.Random(os.getpid())
        outbox = Outbox(self.settings["owner"])

        async def writer() -> None:
            while not self.stopping.is_set() and not (self.folder / "enough").exists():
                counter = f"k{chance.randrange(self.settings['keys'])}"
                try:
                    async with self.database.transaction() as tx:
                        await tx.execute("UPDATE counters SET n = n + 1 WHERE name = ?", (counter,))
                        n = (await tx.fetch_one("SELECT n FROM counters WHERE name = ?", (counter,)))["n"]
                        await outbox.record(tx, Counted(counter=counter, n=n))
                        if chance.random() < SLOW_SHARE:
                            await asyncio.sleep(chance.uniform(0, SLOWEST))
                except SkerryError:
                    await asyncio.sleep(0.05)
                else:
                    self.write("published.jsonl", counter=counter, n=n)

        await asyncio.gather(*(writer() for _ in range(self.settings["writers"])))
        await self.stopping.wait()

    async def relay(self) -> None:
        broker = self._broker()
        publish = broker.publish

        async def told(batch: Any) -> None:
            self.write("relayed.jsonl", ids=[each.id for each in batch])
            await publish(batch)
            if self.due("die-relay"):
                os.kill(os.getpid(), signal.SIGKILL)  # handed over, and not deleted yet

        broker.publish = told  # type: ignore[method-assign]
        relay = Relay(self.database, Outbox(self.settings["owner"]), broker)
        task = asyncio.create_task(relay.run())
        await self.stopping.wait()
        await relay.stop(task, within=5.0)
        await broker.close()

    async def consume(self) -> None:
        broker = self._broker()
        subscribe = broker.subscribe

        async def seen(*arguments: Any) -> Any:
            return Seen(await subscribe(*arguments), self)

        broker.subscribe = seen  # type: ignore[method-assign]
        in_memory = self.settings["broker"].startswith("kafka:")  # the server of the tests, see servers/kafka.py
        bus = EventBus(broker, source=self.settings["owner"], accept_process=in_memory)

        async def handle(event: Counted, tx: Any) -> None:
            self.write("called.jsonl", id=event.envelope.id, consumer=self.settings["owner"])
            await tx.execute(
                "INSERT INTO effects (counter, n, at) VALUES (?, ?, ?)", (event.counter, event.n, time.monotonic())
            )
            if self.due(f"die-{self.settings['owner']}"):
                os.kill(os.getpid(), signal.SIGKILL)  # done, and not committed

        bus.on(Counted, inbox=Inbox(self.database), retry=Retry(100, base=0.05, cap=0.5))(handle)
        bus.start()
        await self.stopping.wait()
        await bus.stop(within=5.0)
        await broker.close()

    def _broker(self) -> Any:
        return connect(self.settings["broker"], source=self.settings["owner"], data=self.folder)


class Seen:
    """A subscription that writes down what the broker delivers."""

    def __init__(self, inner: Any, actor: Actor) -> None:
        self._inner, self._actor = inner, actor

    async def fetch(self, limit: int, *, wait: float) -> Any:
        found = await self._inner.fetch(limit, wait=wait)
        if found:
            consumer = self._actor.settings["owner"]
            self._actor.write("wire.jsonl", consumer=consumer, ids=[each.message.id for each in found])
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def no_orphan(parent: int) -> None:
    """End with the run, even one that was killed."""
    while os.getppid() == parent:
        await asyncio.sleep(1.0)
    os._exit(3)


async def main() -> None:
    actor = Actor(json.loads(sys.argv[2]))
    watch = asyncio.create_task(no_orphan(os.getppid()))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, actor.stopping.set)
    await actor.opened()
    try:
        await getattr(actor, sys.argv[1])()
    finally:
        watch.cancel()
        await actor.database.close()


asyncio.run(main())
