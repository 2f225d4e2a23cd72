"""Opens a chdb folder, says so, and keeps it until its standard input ends: `python holder.py FOLDER`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from skerry.errors import SkerryError
from skerry.store.analytics import connect


async def main() -> None:
    facts = connect("chdb:///facts/", owner="analytics", data=Path(sys.argv[1]))
    try:
        await facts.open()
    except SkerryError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await facts.close()


asyncio.run(main())
