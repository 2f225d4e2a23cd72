"""A relay in a process of its own: `relay_program.py FOLDER`. Says `leading` once it leads, and relays until killed."""

import asyncio
import sys
from pathlib import Path

from skerry.events import Outbox, Relay
from skerry.events.brokers import connect
from skerry.signals import RelayChanged, subscribe
from skerry.store import SQLiteDatabase


def tell(change: object) -> None:
    if isinstance(change, RelayChanged):
        print(change.state, flush=True)


async def main(folder: Path) -> None:
    database = SQLiteDatabase(folder / "order.db", owner="order")
    await database.open()
    await Outbox.prepare(database)
    await Relay(database, Outbox("order"), connect("sqlite:///events/", source="order", data=folder)).run()


subscribe(tell)
asyncio.run(main(Path(sys.argv[1])))
