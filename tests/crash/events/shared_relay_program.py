"""One process of a service whose relays share the outbox: `shared_relay_program.py DATABASE FILE`.

Says which parts it leads, hands the events over to a file that several processes append to, and stops on a line on its input.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from skerry.events import Outbox, Relay
from skerry.events.brokers import Features, Message
from skerry.signals import RelayChanged, subscribe
from skerry.store import connect


class Lines:
    """A transport of lines: what several processes write is there, each batch whole and in the order of its writer."""

    durability = "process"
    features = Features(shared=True)

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    async def publish(self, batch: Sequence[Message]) -> None:
        lines = [json.dumps([each.key, json.loads(each.body)["sequence"], os.getpid()]) + "\n" for each in batch]
        os.write(self._descriptor, "".join(lines).encode())


def tell(change: object) -> None:
    if isinstance(change, RelayChanged):
        print(f"{change.state} {change.parts}", flush=True)


async def main(address: str, path: Path) -> None:
    database = connect(address, owner="order", data=Path())
    await database.open()
    await Outbox.prepare(database)
    relay = Relay(database, Outbox("order"), Lines(path))  # type: ignore[arg-type] - it only publishes
    relaying = asyncio.create_task(relay.run())
    await asyncio.to_thread(sys.stdin.readline)
    await relay.stop(relaying, within=5.0)
    await database.close()


subscribe(tell)
asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
