"""What all processes of a soak do alike: write down what happens, die at a point of their code when chosen, leave no orphan."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skerry.errors import LeaseLost
from skerry.store import Database


class Acting:
    """One process, by its settings: `folder`, `owner`, its own `name`, and what its role needs.

    It writes to files that several processes append to, one line a write, before it goes on.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.folder = Path(settings["folder"])
        self.settings = settings
        self.owner: str = settings["owner"]

    def write(self, file: str, **line: Any) -> None:
        """Append a line."""
        descriptor = os.open(self.folder / file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, json.dumps({"t": time.monotonic(), **line}).encode() + b"\n")
        finally:
            os.close(descriptor)

    def die_if_due(self, flag: str) -> None:
        """Be killed here, if this process has been chosen; whoever asks first is it."""
        try:
            (self.folder / flag).unlink()
        except FileNotFoundError:
            return
        self.write("deaths.jsonl", flag=flag, pid=os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)

    def tell_leads(self, database: Database) -> None:
        """From now on `database.lead` also says who leads, and who finds out that another one does."""
        leading = database.lead

        @asynccontextmanager
        async def lead(role: str, **options: Any) -> AsyncIterator[Any]:
            who = {"role": f"{self.owner}/{role}", "pid": os.getpid(), "name": self.settings["name"]}
            async with leading(role, **options) as lease:
                self.write("leads.jsonl", **who)
                try:
                    yield lease
                except LeaseLost:
                    self.write("fenced.jsonl", **who)
                    raise

        database.lead = lead  # type: ignore[method-assign]


async def no_orphan(parent: int) -> None:
    """End with the run, even one that was killed."""
    while os.getppid() == parent:
        await asyncio.sleep(1.0)
    os._exit(3)
