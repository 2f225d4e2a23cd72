"""A service on MongoDB that dies where it is told to: `program.py ADDRESS FOLDER STEPS`.

Each of its things takes STEPS steps, with an event for each; the second step of one deletes it. It goes on where it stands, and
ends by itself when all is done and handed over. A point is a write as the driver sees it: the command, the collection, what it
leaves, and the side: before it is sent, or after it was acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from pymongo import monitoring

from skerry.events import DomainEvent
from skerry.service import Service
from skerry.settings import Settings

address, folder, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
WRITES = {"insert": "documents", "update": "updates", "delete": "deletes"}


class Stepped(DomainEvent, type="crash.thing.stepped", key="thing"):
    thing: str
    n: int


class Watch(monitoring.CommandListener):
    """Writes down each point, and dies at the one that is armed."""

    def __init__(self) -> None:
        self._under_way: dict[int, str] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        name = event.command_name
        if name in WRITES:
            written = event.command[WRITES[name]][0]
            left = written.get("u", written)
            state = "carrying" if left.get("pending") else "deleted" if left.get("live") is False else "empty"
            shown = state if event.command[name] == "things" and name != "delete" else ""
            self._under_way[event.request_id] = f"{name}:{event.command[name]}:{shown}"
            reach(f"{self._under_way[event.request_id]}:before")

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        if (point := self._under_way.pop(event.request_id, None)) is not None:
            reach(f"{point}:after")

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._under_way.pop(event.request_id, None)


def reach(point: str) -> None:
    with (folder / "reached").open("a") as out:
        out.write(point + "\n")
    armed = folder / "armed"
    if armed.exists() and armed.read_text() == point:
        armed.rename(folder / "fired")
        os.kill(os.getpid(), signal.SIGKILL)


monitoring.register(Watch())
service = Service("product", database=address, events="sqlite:///events/", settings=Settings(data=folder))
things = service.documents("things", dict)


async def step(thing: str) -> bool:
    """The next step of a thing; False when it has taken them all."""
    record = await service._mongo.raw("things").find_one({"_id": thing})
    n = 1 + (record["told"] if record else 0)
    if n > steps:
        return False
    stored = await things.get(thing)
    async with service.transaction() as tx:
        if thing == "gone" and n == 2:
            assert stored is not None
            await things.delete(tx, thing, version=stored.version)
        elif stored is None:
            await things.insert(tx, {"id": thing, "n": n})
        else:
            await things.replace(tx, {"id": thing, "n": n}, version=stored.version)
        await service.outbox.record(tx, Stepped(thing=thing, n=n))
    return True


async def main() -> None:
    await service.start()
    for thing in ("one", "two", "gone"):
        while await step(thing):
            await asyncio.sleep(0.03)
    while await service._mongo.waiting():
        await asyncio.sleep(0.02)
    async with service.transaction() as tx:  # one that never told anything goes without a trace
        await things.put(tx, {"id": "silent"})
    async with service.transaction() as tx:
        await things.delete(tx, "silent")
    await service.stop()


asyncio.run(main())
