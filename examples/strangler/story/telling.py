"""The whole story: a system is started, the acts are played under load, and the books are read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from faults import FAULTS
from skerry.clock import SYSTEM
from skerry.deploy import LogFiles, Supervisor
from skerry.topology import load

from .acts import PRICES, Act, Stage
from .audit import Books, Line, audit
from .ramps import Ramps
from .shopping import Customers

FOLDER = Path(__file__).parents[1]
LOOKS, READS, ORDERS = 110.0, 15.0, 3.0
"""A second while it is about the catalogue; about the orders the first two change."""
FEW_LOOKS, MANY_READS = 10.0, 110.0
SETTLE = 20.0
USUAL = ("rounding", "flaky")


@dataclass(frozen=True, slots=True)
class Told:
    """How it went."""

    acts: list[Act]
    books: list[Line]
    requests: int
    failed: int
    injected: int
    orders: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether each act went as it had to, each failure was a planted one, and the books are exact."""
        return all(not act.wrong for act in self.acts) and all(line.ok for line in self.books)

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "ok": self.ok,
            "seconds": round(self.seconds, 1),
            "acts": [asdict(act) for act in self.acts],
            "clients": {"requests": self.requests, "failed": self.failed, "injected": self.injected},
            "orders": self.orders,
            "audit": [{"what": line.what, "ok": line.ok, **({} if line.ok else _apart(line))} for line in self.books],
        }


async def tell_all(data: Path, *, engine: str, fault: str | None, seed: int, tell: Callable[[str], None]) -> Told:
    """Play it. A `fault` takes the place of the usual one of its service."""
    begin = SYSTEM.monotonic()
    planted = {FAULTS[name].service: name for name in (*USUAL, *([fault] if fault else []))}
    system = load(FOLDER / "skerry.toml")
    assert system.gateway is not None, "it is in the file"
    system = replace(system, gateway=replace(system.gateway, engine=engine))
    tell("starting the monolith, the two services and the gateway")
    with closing(LogFiles(data / "logs")) as logs:
        async with Supervisor(system, data=data, port=0, output=logs) as supervisor:
            customers = Customers(supervisor.url, seed=seed)
            stage = Stage(customers, Ramps(FOLDER / "gateway.yaml", data / "strangle"), data, tell)
            await customers.begin()
            try:
                await _play(stage, planted)
            finally:
                await customers.end()
            books = Books(data)
            await _settle(books, tell)
            lines = audit(books, customers.placed, PRICES[-1])
    acts, failed = stage.acts, customers.counts.failed
    return Told(
        acts,
        lines,
        customers.counts.requests,
        len(failed),
        sum(act.injected for act in acts),
        len(customers.placed),
        SYSTEM.monotonic() - begin,
    )


async def _play(stage: Stage, planted: dict[str, str]) -> None:
    customers = stage.customers
    customers.looks, customers.reads, customers.orders = LOOKS, READS, ORDERS
    await SYSTEM.sleep(2.0)
    await stage.wrong_extraction(planted["catalogue"])
    await stage.right_extraction("catalogue")
    await stage.prices_change_hands()
    customers.looks, customers.reads = FEW_LOOKS, MANY_READS
    await stage.wrong_extraction(planted["orders"])
    await stage.right_extraction("orders")
    customers.reads = READS
    await stage.orders_change_hands()


async def _settle(books: Books, tell: Callable[[str], None]) -> None:
    """Until everything that was recorded has arrived; not for ever."""
    tell("letting it settle")
    give_up = SYSTEM.monotonic() + SETTLE
    while SYSTEM.monotonic() < give_up and not await asyncio.to_thread(books.settled):
        await SYSTEM.sleep(0.2)


def _apart(line: Line) -> dict[str, Any]:
    """What differs, without what is alike."""
    if isinstance(line.expected, list) and isinstance(line.actual, list):
        missing = [each for each in line.expected if each not in line.actual]
        beyond = [each for each in line.actual if each not in line.expected]
        return {"missing": missing[:10], "beyond": beyond[:10]}
    return {"expected": line.expected, "actual": line.actual}
