"""`migrating.py ADDRESS FOLDER`: a process that migrates and says which file it begins."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from skerry import signals
from skerry.signals import MigrationBegun, Signal
from skerry.store import connect, migrate


def tell(signal: Signal) -> None:
    if isinstance(signal, MigrationBegun):
        print(signal.file, flush=True)


async def main() -> None:
    address, folder = sys.argv[1:]
    signals.subscribe(tell)
    database = connect(address, owner="order", data=Path(folder))
    await database.open()
    try:
        await migrate(database, "shop", Path(folder) / "sql")
    finally:
        await database.close()


asyncio.run(main())
