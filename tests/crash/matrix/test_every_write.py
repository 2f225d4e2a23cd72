"""The crash matrix: at each durable write of the shop, the process is killed before and after it, and the books must agree.

The points are not listed by hand: a first round of orders finds them. Each is then armed in the running shop, more orders
are placed until the process dies there, and once it is back and all is settled the audit must be exact. Writes that happen
only on the first start of a service are reached in a shop that starts anew.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from skerry.clock import SYSTEM
from skerry.deploy import LogFiles, Supervisor
from skerry.topology import load

ROOT = Path(__file__).parents[3]
SHOP = ROOT / "examples" / "shop"
SHIM = Path(__file__).parent / "shim"
sys.path.insert(0, str(SHOP))

from demo.audit import audit  # noqa: E402
from demo.books import Books  # noqa: E402
from demo.load import Customers  # noqa: E402
from demo.mix import Plan, needed, plan  # noqa: E402
from demo.run import settle  # noqa: E402

ORDERS, RATE = 20, 60.0
PATIENCE = 15.0
KINDS = ("skerry_saga_log", "skerry_sagas", "skerry_outbox", "skerry_positions", "skerry_receipts", "log")
"""Journal, outbox and relay, inbox, barrier, event log: each has to be among the points."""


class Matrix:
    """A shop whose processes die where they are told to, and everything that was ever ordered from it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.points = data / "points"
        self.points.mkdir(parents=True)
        self.system = load(SHOP / "skerry.toml")
        self.books = Books(self.system, data)
        self.plans: list[Plan] = []
        self.placed: dict[str, str] = {}
        self.prices: dict[str, int] = {}
        environ = {**os.environ, "PYTHONPATH": str(SHIM), "CRASH_POINTS": str(self.points)}
        self.logs = LogFiles(data / "logs")
        self.shop = Supervisor(self.system, data=data, output=self.logs, environ=environ)

    def reached(self) -> set[str]:
        return set((self.points / "reached").read_text().splitlines())

    def arm(self, point: str) -> None:
        part = self.points / "arming"
        part.write_text(point)
        part.rename(self.points / "armed")

    def fired(self) -> bool:
        fired = self.points / "fired"
        if not fired.exists():
            return False
        fired.unlink()
        return True

    async def order_and_settle(self) -> None:
        """One round of customers; then nothing may be open."""
        async with Customers(self.shop.url) as customers:
            self.prices = self.prices or await customers.catalogue()
            plans = plan(ORDERS, seed=len(self.plans), skus=sorted(self.prices))
            self.plans += plans
            await customers.restock(needed(plans))
            await customers.place_all(plans, rate=RATE, placed=lambda _: None)
            self.placed |= customers.placed
        await settle(self.books, lambda *_: None, ORDERS)

    async def die_at(self, point: str) -> bool:
        """Kill the process at `point`, by orders or else by a restart; whether it was reached. Leaves the shop ready."""
        self.arm(point)
        await self.order_and_settle()
        fired = self.fired()
        if not fired:
            self.shop.kill(point.partition(":")[0])
            give_up = SYSTEM.monotonic() + 3.0
            while not (fired := self.fired()) and SYSTEM.monotonic() < give_up:
                await SYSTEM.sleep(0.05)
        (self.points / "armed").unlink(missing_ok=True)
        await self.ready()
        return fired

    async def ready(self) -> None:
        give_up = SYSTEM.monotonic() + PATIENCE
        while not all(info.ready for info in self.shop.ps()):
            assert SYSTEM.monotonic() < give_up, self.shop.ps()
            await SYSTEM.sleep(0.05)

    def check(self, point: str) -> None:
        found = audit(self.books, self.plans, self.placed, self.prices)
        assert found.ok, (point, found)


async def steady(data: Path) -> tuple[set[str], set[str]]:
    """Die at every point that a running or restarting shop reaches; all points, and those that were not reached."""
    matrix = Matrix(data)
    missed: set[str] = set()
    try:
        async with matrix.shop:
            await matrix.order_and_settle()
            matrix.check("no fault")
            points = matrix.reached()
            for point in sorted(points):
                if await matrix.die_at(point):
                    await settle(matrix.books, lambda *_: None, 0)
                    matrix.check(point)
                else:
                    missed.add(point)
    finally:
        matrix.logs.close()
    return points, missed


async def first_start(data: Path, point: str) -> bool:
    """Die at a point that only the first start of a service has, and then do business as usual."""
    matrix = Matrix(data)
    matrix.arm(point)
    try:
        async with matrix.shop:
            await matrix.order_and_settle()
            fired = matrix.fired()
            matrix.check(point)
    finally:
        matrix.logs.close()
    return fired


@pytest.mark.demo
@pytest.mark.timeout(600)
def test_death_at_any_durable_write_costs_nothing(tmp_path: Path) -> None:
    """Whatever write a process dies at: no order is lost, none is half done, no event is lost or handled twice."""
    points, missed = asyncio.run(steady(tmp_path / "steady"))
    for kind in KINDS:
        assert any(kind in point.split(":")[1].split("+") for point in points), (kind, points)
    for number, point in enumerate(sorted(missed)):
        assert asyncio.run(first_start(tmp_path / f"start-{number}", point)), f"{point} was never reached"
    print(f"\n{len(points)} crash points, {len(missed)} of them on a first start")
