"""The server of the documents is killed with SIGKILL under load and comes back: what it had acknowledged is there.

It speaks MongoDB's protocol but is not MongoDB, see `servers.mongo`: what is tested is our side, and that nothing is taken for
written that was not acknowledged.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from servers.mongo import MongoServer
from skerry.errors import StoreError, VersionConflict
from skerry.events import DomainEvent, Envelope
from skerry.service import Service
from skerry.settings import Settings

WRITERS, KILLS, BETWEEN = 4, 3, 20


class Stepped(DomainEvent, type="crash.thing.stepped", key="thing"):
    thing: str
    n: int


class Writers:
    """Each brings a thing of its own forward, one change and one event at a time, whatever happens meanwhile."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.things = service.documents("things", dict)
        self.acknowledged: Counter[str] = Counter()
        self.troubles = 0
        self.enough = False

    async def write(self, thing: str) -> None:
        while not self.enough:
            try:
                self.acknowledged[thing] = await self._step(thing)
            except VersionConflict:  # with a change of our own that nobody had acknowledged
                continue
            except StoreError:
                self.troubles += 1
                await asyncio.sleep(0.05)

    async def _step(self, thing: str) -> int:
        stored = await self.things.get(thing)
        n = 1 if stored is None else stored.body["n"] + 1
        async with self.service.transaction() as tx:
            if stored is None:
                await self.things.insert(tx, {"id": thing, "n": n})
            else:
                await self.things.replace(tx, {"id": thing, "n": n}, version=stored.version)
            await self.service.outbox.record(tx, Stepped(thing=thing, n=n))
        return n


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not reached():
            await asyncio.sleep(0.01)


async def told(folder: Path) -> dict[str, list[int]]:
    """What the log says of each thing: every event once, in the order of their first time."""
    broker = Service("reader", events="sqlite:///events/", settings=Settings(data=folder)).bus.broker
    subscription = await broker.subscribe("reader", {Stepped.event_type}, {})
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for delivery in await subscription.fetch(100_000, wait=0):
        envelope = Envelope.from_json(delivery.message.body)
        found[envelope.key][envelope.id] = envelope.data["n"]
    await broker.close()
    return {thing: list(events.values()) for thing, events in found.items()}


async def storm(server: MongoServer, writers: Writers) -> None:
    """Kill the server several times, each time in the middle of writing, and let all go on to a calm end."""
    writing = [asyncio.create_task(writers.write(f"thing-{number}")) for number in range(WRITERS)]
    for _ in range(KILLS):
        written, troubles = writers.acknowledged.total(), writers.troubles
        await until(lambda written=written: writers.acknowledged.total() >= written + BETWEEN)
        await asyncio.to_thread(server.kill)
        await until(lambda troubles=troubles: writers.troubles > troubles)
        await asyncio.to_thread(server.start)
    written = writers.acknowledged.total()
    await until(lambda: writers.acknowledged.total() >= written + BETWEEN)
    writers.enough = True
    await asyncio.gather(*writing)
    async with asyncio.timeout(60):
        while await writers.service._mongo.waiting():
            await asyncio.sleep(0.02)


# A driver that is cancelled while it connects leaves the socket to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_killed_server_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Writers and relay go on by themselves when it is back: every acknowledged change is there, and told once, in order."""

    async def main(server: MongoServer) -> None:
        address, settings = server.url("product", "?timeoutMS=1000"), Settings(data=tmp_path)
        service = Service("product", database=address, events="sqlite:///events/", settings=settings)
        writers = Writers(service)
        await service.start()
        try:
            await storm(server, writers)
            stored = {each.id: each.body["n"] for each in (await writers.things.find()).documents}
        finally:
            await service.stop()
        assert stored.keys() == writers.acknowledged.keys()
        for thing, n in writers.acknowledged.items():
            assert stored[thing] >= n
        assert await told(tmp_path) == {thing: list(range(1, n + 1)) for thing, n in stored.items()}

    with MongoServer(tmp_path / "mongo") as server:
        asyncio.run(main(server))
    gc.collect()
