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
PACE = 0.04
"""Seconds between two transactions of a lane: what waits after a fault is not more the quicker the machine is."""
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
        self.handled = 0
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
        enough = self.handled + count
        await self.until(lambda: self.handled >= enough)

    async def is_well(self) -> None:
        """Wait until both services say so."""
        for service in (self.order, self.billing):
            async with asyncio.timeout(PATIENCE):
                while (await service.readiness()).status != "pass":
                    await SYSTEM.sleep(0.1)

    async def settles(self) -> None:
        """Wait until all that was acknowledged has had its effect; it has it in order and once, and nothing else but what was
        tried. What was refused at its commit may have been done all the same, later.
        """
        wanted = {(lane, n) for lane, numbers in self.committed.items() for n in numbers}
        effects: list[tuple[str, int]] = []
        async with asyncio.timeout(PATIENCE):
            while not wanted <= set(effects):
                await SYSTEM.sleep(0.1)
                while not await self._is_quiet():
                    await SYSTEM.sleep(0.1)
                rows = await self.billing.database.fetch_all("SELECT lane, n FROM effects ORDER BY id")
                effects = [(row["lane"], row["n"]) for row in rows]
        assert len(effects) == len(set(effects))
        for lane, committed in self.committed.items():
            numbers = [n for which, n in effects if which == lane]
            assert [n for n in numbers if n in set(committed)] == committed
            assert set(numbers) <= set(self.attempted[lane])
            assert len(numbers) % TOGETHER == 0  # what was recorded together is there together
        await self.is_well()

    async def later(self, delay: float) -> None:
        """Record what is handed over in so many seconds, in a lane of its own."""
        numbers = self.attempted["later"] = list(range(1, 1 + TOGETHER))
        async with self.order.transaction() as tx:
            for n in numbers:
                await self.order.outbox.record(tx, Counted(lane="later", n=n, text=self.text), delay=delay)
        self.committed["later"] = numbers

    async def _is_quiet(self) -> bool:
        """Whether nothing is on its way, of what was refused neither."""
        waiting = await self.order.outbox.waiting(self.order.database)
        return waiting == 0 and await self.billing.bus.consumers["billing"].caught_up()

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
            await SYSTEM.sleep(PACE)

    async def _prepare(self) -> None:
        async with self.billing.transaction() as tx:
            counted = "INTEGER" if tx.dialect == "sqlite" else "BIGINT GENERATED ALWAYS AS IDENTITY"
            await tx.execute(
                f"CREATE TABLE IF NOT EXISTS effects (id {counted} PRIMARY KEY, lane TEXT NOT NULL, n INTEGER NOT NULL)"
            )

    async def _handle(self, event: Counted, tx: Transaction) -> None:
        await tx.execute("INSERT INTO effects (lane, n) VALUES (?, ?)", (event.lane, event.n))
        tx.on_commit(self._count)

    def _count(self) -> None:
        self.handled += 1

    async def _ask(self) -> None:
        """Liveness never fails, and readiness answers in the middle of all trouble."""
        while True:
            for service in (self.order, self.billing):
                assert service.liveness().status == "pass"
                async with asyncio.timeout(PATIENCE):
                    self.found[service.name].append((await service.readiness()).status)
            await SYSTEM.sleep(0.2)
