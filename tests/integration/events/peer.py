"""A service in a process of its own: `peer.py FOLDER` publishes an event for each line it reads, until the end of input."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from skerry.events import DomainEvent, EventBus
from skerry.events.brokers.eventlog import EventLog


class Said(DomainEvent, type="peer.said", key="word"):
    word: str


async def main() -> None:
    log = EventLog(Path(sys.argv[1]), source="peer", segment_bytes=20_000)
    bus = EventBus(log, source="peer")
    while line := await asyncio.to_thread(sys.stdin.readline):
        await bus.publish(Said(word=line.strip()))
    await log.close()


asyncio.run(main())
