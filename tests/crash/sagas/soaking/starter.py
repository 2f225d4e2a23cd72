"""The client: starts what the plan has, each until it is acknowledged, and no more at a time than can be looked after."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from storming.acting import Acting, no_orphan
from storming.books import lines

from skerry.client import ServiceClient
from skerry.errors import SkerryError

from .plan import STEPS, Order, draw_orders

AT_ONCE, MOST_OPEN = 8, 64
LOOK = 0.2
"""Seconds between two looks at how many sagas are open."""


class Starter(Acting):
    """It may be killed: what was acknowledged is in a file, and what is started again under its key is the same saga."""

    async def act(self) -> None:
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        watch = asyncio.create_task(no_orphan(os.getppid()))
        self.engines = [ServiceClient(self.owner, url=url) for url in self.settings["engines"]]
        self.open = MOST_OPEN
        started = {line["saga"] for line in lines(self.folder / "started.jsonl")}
        orders = draw_orders(self.settings["seed"], self.settings["sagas"])
        todo = iter([order for order in orders if order.key not in started])
        working = asyncio.gather(self.look(), *(self.work(todo) for _ in range(AT_ONCE)))
        await asyncio.wait({working, asyncio.ensure_future(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        watch.cancel()
        for engine in self.engines:
            await engine.aclose()

    async def look(self) -> None:
        """See how many are open, as long as there is an engine to say so."""
        while True:
            for engine in self.engines:
                try:
                    self.open = (await engine.post("/open", json={})).raise_for_status().json()["open"]
                    break
                except SkerryError:
                    continue
            await asyncio.sleep(LOOK)

    async def work(self, todo: Any) -> None:
        """Start one after the other."""
        for order in todo:
            while self.open >= MOST_OPEN:
                await asyncio.sleep(LOOK / 4)
            self.open += 1
            first = await self.start(order, int(order.key[1:]))
            self.write("started.jsonl", kind="saga_started", saga=order.key, steps=STEPS, id=first)
            if order.twice:
                again = await self.start(order, int(order.key[1:]) + 1)
                self.write("again.jsonl", saga=order.key, id=again)

    async def start(self, order: Order, turn: int) -> str:
        """Try at one engine after the other until one acknowledges it; the saga's id."""
        while True:
            engine = self.engines[turn % len(self.engines)]
            try:
                reply = await engine.post("/start", json=order.model_dump(), timeout=3.0)
                return str(reply.raise_for_status().json()["id"])
            except SkerryError:
                self.write("unknown.jsonl", kind="saga_start_unknown", saga=order.key, steps=STEPS)
            turn += 1
            await asyncio.sleep(0.1)
