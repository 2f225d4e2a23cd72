"""One process of the events soak: `actor.py publish|relay|consume SETTINGS`, where SETTINGS is a JSON object."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from typing import Any

from storming.acting import Acting, no_orphan

from skerry.errors import SkerryError
from skerry.events import DomainEvent, EventBus, Inbox, Outbox, Relay, connect
from skerry.resilience import Retry
from skerry.signals import RelayChanged, Signal, subscribe
from skerry.store import Database, Receipts
from skerry.store import connect as connect_database

SLOW_SHARE, SLOWEST = 0.05, 0.05


class Counted(DomainEvent, type="soak.counter.counted", key="counter"):
    counter: str
    n: int
    pad: str = "x" * 400


class Actor(Acting):
    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.stopping = asyncio.Event()
        self.database: Database = connect_database(settings["database"], owner=self.owner, data=self.folder)

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
                print(f"{os.getpid()} {self.owner} waits: {error}", flush=True)
                await asyncio.sleep(0.1)
            else:
                break
        self.tell_leads(self.database)

    # --- the roles

    async def publish(self) -> None:
        chance = random.Random(os.getpid())
        outbox = Outbox(self.owner)

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
        subscribe(self.tell_parts)
        broker = self._broker()
        publish = broker.publish

        async def told(batch: Any) -> None:
            self.write("relayed.jsonl", ids=[each.id for each in batch])
            await publish(batch)
            self.die_if_due("die-relay")  # handed over, and not deleted yet

        broker.publish = told  # type: ignore[method-assign]
        relay = Relay(self.database, Outbox(self.owner), broker)
        task = asyncio.create_task(relay.run())
        await self.stopping.wait()
        await relay.stop(task, within=5.0)
        await broker.close()

    def tell_parts(self, change: Signal) -> None:
        """Say when this process begins to lead the outbox, or another part of it."""
        if isinstance(change, RelayChanged) and change.state == "leading":
            who = {"role": f"{self.owner}/relay", "pid": os.getpid(), "name": self.settings["name"]}
            self.write("leads.jsonl", **who, parts=change.parts)

    async def consume(self) -> None:
        broker = self._broker()
        subscribe = broker.subscribe

        async def seen(*arguments: Any) -> Any:
            return Seen(await subscribe(*arguments), self)

        broker.subscribe = seen  # type: ignore[method-assign]
        in_memory = self.settings["broker"].startswith("kafka:")  # the server of the tests, see servers/kafka.py
        bus = EventBus(broker, source=self.owner, accept_process=in_memory)

        async def handle(event: Counted, tx: Any) -> None:
            self.write("called.jsonl", id=event.envelope.id, consumer=self.owner)
            await tx.execute(
                "INSERT INTO effects (counter, n, at) VALUES (?, ?, ?)", (event.counter, event.n, time.monotonic())
            )
            self.die_if_due(f"die-{self.owner}")  # done, and not committed

        bus.on(Counted, inbox=Inbox(self.database), retry=Retry(100, base=0.05, cap=0.5))(handle)
        bus.start()
        await self.stopping.wait()
        await bus.stop(within=5.0)
        await broker.close()

    def _broker(self) -> Any:
        return connect(self.settings["broker"], source=self.owner, data=self.folder)


class Seen:
    """A subscription that writes down what the broker delivers."""

    def __init__(self, inner: Any, actor: Actor) -> None:
        self._inner, self._actor = inner, actor

    async def fetch(self, limit: int, *, wait: float) -> Any:
        found = await self._inner.fetch(limit, wait=wait)
        if found:
            consumer = self._actor.owner
            self._actor.write("wire.jsonl", consumer=consumer, ids=[each.message.id for each in found])
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


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
