"""Two services at work while something goes wrong: `order` records events, `billing` handles them, and the books are compared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from skerry import DomainEvent, Service, Transaction, signals
from skerry.clock import SYSTEM
from skerry.errors import SkerryError
from skerry.settings import Settings

S = TypeVar("S", bound=signals.Signal)
LANES, TOGETHER = 4, 2
"""So many keys, and so many events of one key in a transaction."""
PATIENCE = 90.0
"""Seconds; a guard against hanging, nothing is measured."""


class Counted(DomainEvent, type="faults.counted", version=1, key="lane"):
    lane: str
    n: int
    text: str


class Scene:
    """`size` is that of an event's text, in characters."""

    def __init__(
        self,
        data: Path,
        *,
        broker: str = "sqlite:///events/",
        order: str = "sqlite:///order.db",
        billing: str = "sqlite:///billing.db",
        size: int = 100,
    ) -> None:
        settings = replace(Settings.from_environ(), data=data)
        self.order = Service("order", database=order, events=broker, settings=settings)
        self.billing = Service("billing", database=billing, events=broker, settings=settings)
        self.billing.on_start(self._prepare)
        self.billing.on(Counted)(self._handle)
        self.text = "x" * size
        self.attempted: dict[str, list[int]] = {}
        self.committed: dict[str, list[int]] = {}
        self.handled: dict[str, list[int]] = {}
        self.refused: list[SkerryError] = []
        self.heard: list[signals.Signal] = []
        self.found: dict[str, list[str]] = {"order": [], "billing": []}

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        """Both services are up, and their health is asked for all the time."""
        unsubscribe = signals.subscribe(self.heard.append)
        asking = asyncio.create_task(self._ask())
        try:
            for service in (self.billing, self.order):
                await service.start()
            yield
        finally:
            asking.cancel()
            for service in (self.order, self.billing):
                await service.stop()
            unsubscribe()
            await asyncio.wait({asking})

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[None]:
        """Events are recorded all the time, one after the other in each lane; what was acknowledged is written down."""
        tasks = [asyncio.create_task(self._record(f"lane {number}")) for number in range(LANES)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def of(self, kind: type[S]) -> list[S]:
        """The signals of a kind that were heard."""
        return [signal for signal in self.heard if isinstance(signal, kind)]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await SYSTEM.sleep(0.02)

    async def hears(self, *kinds: type[signals.Signal]) -> None:
        """Forget what was heard, and wait until each of these is."""
        self.heard.clear()
        await self.until(lambda: all(self.of(kind) for kind in kinds))

    async def more(self, count: int) -> None:
        """Wait until so many more events are handled."""
        before = self._handled()
        await self.until(lambda: self._handled() >= before + count)

    async def is_well(self) -> None:
        """Wait until both services say so."""
        for service in (self.order, self.billing):
            async with asyncio.timeout(PATIENCE):
                while (await service.readiness()).status != "pass":
                    await SYSTEM.sleep(0.1)

    async def settles(self) -> None:
        """Wait until what was acknowledged is handled; it is, in order and once, and nothing else but what was tried."""
        await self.until(lambda: all(map(self._is_done, self.committed)))
        rows = await self.billing.database.fetch_all("SELECT lane, n FROM effects")
        for lane, handled in self.handled.items():
            assert handled == sorted(set(handled)), lane
            assert set(self.committed.get(lane, ())) <= set(handled) <= set(self.attempted[lane])
            assert len(handled) % TOGETHER == 0  # what was recorded together is there together
            assert sorted(row["n"] for row in rows if row["lane"] == lane) == handled
        await self.is_well()

    def _is_done(self, lane: str) -> bool:
        return self.committed[lane][-1] in self.handled.get(lane, [])[-50:]

    def _handled(self) -> int:
        return sum(map(len, self.handled.values()))

    async def _record(self, lane: str) -> None:
        n = 0
        while True:
            numbers = range(n + 1, n + 1 + TOGETHER)
            n += TOGETHER
            self.attempted.setdefault(lane, []).extend(numbers)
            try:
                async with self.order.transaction() as tx:
                    for number in numbers:
                        await self.order.outbox.record(tx, Counted(lane=lane, n=number, text=self.text))
            except SkerryError as error:
                self.refused.append(error)
                await SYSTEM.sleep(0.2)
            else:
                self.committed.setdefault(lane, []).extend(numbers)
            await SYSTEM.sleep(0.01)

    async def _prepare(self) -> None:
        async with self.billing.transaction() as tx:
            await tx.execute("CREATE TABLE IF NOT EXISTS effects (lane TEXT NOT NULL, n INTEGER NOT NULL)")

    async def _handle(self, event: Counted, tx: Transaction) -> None:
        await tx.execute("INSERT INTO effects VALUES (?, ?)", (event.lane, event.n))
        tx.on_commit(lambda: self.handled.setdefault(event.lane, []).append(event.n))

    async def _ask(self) -> None:
        """Liveness never fails, and readiness answers in the middle of all trouble."""
        while True:
            for service in (self.order, self.billing):
                assert service.liveness().status == "pass"
                async with asyncio.timeout(PATIENCE):
                    self.found[service.name].append((await service.readiness()).status)
            await SYSTEM.sleep(0.2)
