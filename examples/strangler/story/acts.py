"""The acts: a wrong extraction is found, a right one goes all the way, and writes change hands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import FAULTS, choose, injected
from skerry.clock import SYSTEM

from .ramps import Ramps
from .shopping import REPRICED, Customers

WRONG_WITHIN, RIGHT_WITHIN = 100.0, 140.0
"""Seconds in which a wrong extraction has to be found, and a right one has to arrive."""
ROUTES = {"catalogue": "products", "orders": "orders"}
PRICES = (13900, 13500)
"""What is set before and after the prices are handed over."""


@dataclass(slots=True)
class Act:
    """What happened in one of them. `wrong` is what was not as it had to be."""

    name: str
    seconds: float = 0.0
    end: str = ""
    reason: str = ""
    paths: list[str] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    failed: int = 0
    injected: int = 0
    """Of those that failed, so many got an answer that was spoilt on purpose."""
    spoilt: int = 0
    """Answers that were spoilt on purpose, whoever got them: a customer, the comparison, or the gateway."""
    effective: float | None = None
    """Seconds until the last decision was in effect at every gateway."""
    wrong: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Stage:
    """What the acts are played on."""

    customers: Customers
    ramps: Ramps
    data: Path
    tell: Callable[[str], None]
    acts: list[Act] = field(default_factory=list)

    async def wrong_extraction(self, name: str) -> None:
        """Start a ramp to a service that has the fault `name`. It has to go back by itself, and nobody else may be hurt."""
        fault = FAULTS[name]
        choose(self.data, fault.service, name)
        told = await self._ramp(Act(f"{fault.service}: {fault.says}"), fault.service, WRONG_WITHIN)
        act = self.acts[-1]
        if told["state"] != "rolled_back" or told["decisions"][-1]["by"] == "person":
            act.wrong.append(f"it ended {told['state']}")
        if fault.names and not any(fault.names in path for path in act.paths):
            act.wrong.append(f"no path with {fault.names!r} is named")
        choose(self.data, fault.service, "")

    async def right_extraction(self, service: str) -> None:
        """Start a ramp to a service that is right. It has to go to 100 %, without one failure."""
        told = await self._ramp(Act(f"{service}: mended"), service, RIGHT_WITHIN)
        if told["state"] != "done" or told["percent"] != 100:
            self.acts[-1].wrong.append(f"it ended {told['state']} at {told['percent']:g} %: {self.acts[-1].reason}")

    async def prices_change_hands(self) -> None:
        """A price is set at the monolith, the writes are handed over, and the next one is set at the catalogue."""
        async with self._act("catalogue: its writes are handed over") as act:
            await self.customers.set_price(PRICES[0])
            await self.ramps.hand_over("products")
            await self.customers.set_price(PRICES[1])
            act.end = "catalogue owns the prices"

    async def orders_change_hands(self) -> None:
        """Handed over, back while nothing was written, and over again while customers go on ordering."""
        customers = self.customers
        async with self._act("orders: their writes are handed over, back, and over again") as act:
            rate, customers.orders = customers.orders, 0.0
            await customers.quiet()
            await self.ramps.hand_over("orders")
            if not await self.ramps.hand_back("orders"):
                act.wrong.append("it was not handed back, though nothing was written")
            customers.orders = rate
            await SYSTEM.sleep(1.0)
            await self.ramps.hand_over("orders")
            await customers.order(REPRICED)
            for placed in customers.placed[:10]:
                await customers.ask_again(placed)
            before = len(customers.placed)
            while len(customers.placed) < before + 10:
                await SYSTEM.sleep(0.1)
            if await self.ramps.hand_back("orders"):
                act.wrong.append("it was handed back, though something was written")
            act.end = "orders owns the orders"

    async def _ramp(self, act: Act, service: str, within: float) -> dict[str, Any]:
        route = ROUTES[service]
        async with self._act(act.name, act):
            await self.ramps.start(route)
            told = await self.ramps.ended(route, within=within, tell=self.tell)
            last = told["decisions"][-1]
            act.end, act.reason, act.decisions = told["state"], last["reason"], told["decisions"]
            act.effective = None if last["effective"] is None else round(last["effective"] - last["at"], 3)
            act.paths = [each["path"] for each in told["mismatches"] if each["pairs"] > each["noise"]]
            await self.ramps.page(route, self.data / f"{len(self.acts)}-{route}.html")
        return told

    def _act(self, name: str, act: Act | None = None) -> _Counted:
        self.tell(name)
        self.acts.append(act or Act(name))
        return _Counted(self, self.acts[-1])


class _Counted:
    """Counts what customers saw during an act. Each failure has to be one that a service was made to give."""

    def __init__(self, stage: Stage, act: Act) -> None:
        self._stage = stage
        self._act = act
        self._begin = SYSTEM.monotonic()
        counts = stage.customers.counts
        self._before = counts.requests, len(counts.failed), len(self._spoilt())

    async def __aenter__(self) -> Act:
        return self._act

    async def __aexit__(self, *_: object) -> None:
        counts, act = self._stage.customers.counts, self._act
        await SYSTEM.sleep(0.3)  # what was under way at the end of it belongs to it
        spoilt = self._spoilt()
        failed = counts.failed[self._before[1] :]
        own = [told for request, told in failed if request not in spoilt]
        act.seconds = round(SYSTEM.monotonic() - self._begin, 1)
        act.requests, act.failed = counts.requests - self._before[0], len(failed)
        act.injected, act.spoilt = len(failed) - len(own), len(spoilt) - self._before[2]
        act.wrong += own[:10]

    def _spoilt(self) -> list[str]:
        """The requests whose answers were spoilt so far, one as often as it was."""
        return [request for service in ROUTES for request, _ in injected(self._stage.data, service)]
