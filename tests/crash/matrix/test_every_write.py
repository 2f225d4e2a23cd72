"""The crash matrix: at each durable write of the shop, the process is killed before and after it, and the books must agree.

The points are not listed by hand: a round of orders without faults finds them. In each round after that one point of every
service is armed, orders are placed until the processes die there, and once they are back and all is settled the audit must be
exact. Writes that happen only on the first start of a service are reached in a new shop. Crashes bring further points to
light, such as a compensation that finds nothing to undo; each is armed once as well, but whether it comes up again is chance.
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

    def arm(self, points: set[str]) -> None:
        for point in points:
            part = self.points / "arming"
            part.write_text(point)
            part.rename(self.points / f"{service_of(point)}.armed")

    def fired(self, points: set[str]) -> set[str]:
        """Those of the armed points at which a process has died."""
        return {point for point in points if (self.points / f"{service_of(point)}.fired").exists()}

    def disarm(self) -> None:
        for file in [*self.points.glob("*.armed"), *self.points.glob("*.fired")]:
            file.unlink()

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

    async def die_at(self, points: set[str]) -> set[str]:
        """Have processes die at `points`, one of each service; those that were reached. Leaves the shop settled and ready."""
        self.arm(points)
        await self.order_and_settle()
        late = points - self.fired(points)
        if late:  # perhaps a restart, or work after one, leads there
            for point in late:
                self.shop.kill(service_of(point))
            await self.order_and_settle()
        fired = self.fired(points)
        self.disarm()
        await self.ready()
        await settle(self.books, lambda *_: None, 0)
        return fired

    async def ready(self) -> None:
        give_up = SYSTEM.monotonic() + PATIENCE
        while not all(info.ready for info in self.shop.ps()):
            assert SYSTEM.monotonic() < give_up, self.shop.ps()
            await SYSTEM.sleep(0.05)

    def check(self, what: object) -> None:
        found = audit(self.books, self.plans, self.placed, self.prices)
        assert found.ok, (what, found)


def service_of(point: str) -> str:
    return point.partition(":")[0]


def one_of_each(points: set[str]) -> set[str]:
    """One point of every service."""
    return set({service_of(point): point for point in sorted(points)}.values())


async def steady(data: Path) -> tuple[set[str], set[str], set[str]]:
    """Die at every point that a running or restarting shop reaches: those reached, those that a first start has, and those
    that only chance brings up.
    """
    matrix = Matrix(data)
    done: set[str] = set()
    missed: set[str] = set()
    try:
        async with matrix.shop:
            await matrix.order_and_settle()
            matrix.check("no fault")
            certain = matrix.reached()
            while left := matrix.reached() - done - missed:
                armed = one_of_each(left)
                fired = await matrix.die_at(armed)
                matrix.check(fired)
                done |= fired
                missed |= armed - fired
    finally:
        matrix.logs.close()
    return done, missed & certain, missed - certain


async def first_start(data: Path, points: set[str]) -> set[str]:
    """Die at points that only the first start of a service has, and then do business as usual; those that were reached."""
    matrix = Matrix(data)
    matrix.arm(points)
    try:
        async with matrix.shop:
            await matrix.order_and_settle()
            matrix.check(points)
    finally:
        matrix.logs.close()
    return matrix.fired(points)


@pytest.mark.demo
@pytest.mark.timeout(600)
def test_death_at_any_durable_write_costs_nothing(tmp_path: Path) -> None:
    """Whatever write a process dies at: no order is lost, none is half done, no event is lost or handled twice."""
    done, first, by_chance = asyncio.run(steady(tmp_path / "steady"))
    for kind in KINDS:
        assert any(kind in point.split(":")[1].split("+") for point in done), (kind, done)
    left, number = set(first), 0
    while left:
        armed = one_of_each(left)
        reached = asyncio.run(first_start(tmp_path / f"start-{number}", armed))
        assert reached == armed, f"never reached: {armed - reached}"
        left, number = left - armed, number + 1
    print(f"\ndied at {len(done)} points of a working shop and {len(first)} of a first start; not again at {by_chance}")
