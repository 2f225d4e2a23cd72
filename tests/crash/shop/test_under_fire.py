"""The shop with every process being killed at random, audited from its own books afterwards."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from skerry.clock import SYSTEM
from skerry.deploy import LogFiles, Supervisor
from skerry.topology import load

SHOP = Path(__file__).parents[3] / "examples" / "shop"
sys.path.insert(0, str(SHOP))

from demo.audit import audit  # noqa: E402
from demo.books import Books  # noqa: E402
from demo.columns import sold  # noqa: E402
from demo.load import Customers  # noqa: E402
from demo.mix import needed, plan  # noqa: E402
from demo.run import settle  # noqa: E402

ORDERS, RATE, KILLS = 120, 10.0, 10


async def under_fire(folder: Path, seed: int, analytics: str | None) -> tuple[object, list[str]]:
    dice = random.Random(seed)
    killed: list[str] = []
    system = load(SHOP / "skerry.toml")
    logs = LogFiles(folder / "logs")
    env = {"analytics": {"SKERRY_ANALYTICS": analytics}} if analytics else {}
    async with Supervisor(system, data=folder, output=logs, env=env) as shop:
        books = Books(system, folder)
        async with Customers(shop.url) as customers:
            prices = await customers.catalogue()
            plans = plan(ORDERS, seed=seed, skus=sorted(prices))
            await customers.restock(needed(plans))

            async def fire() -> None:
                while True:
                    await SYSTEM.sleep(dice.uniform(0.2, 1.2))
                    while (
                        sum(not info.ready for info in shop.ps()) > 2
                    ):  # how fast they come back is the machine's business
                        await SYSTEM.sleep(0.05)
                    victim = dice.choice([info for info in shop.ps() if info.pid])
                    os.kill(victim.pid, signal.SIGKILL)
                    killed.append(victim.name)

            firing = asyncio.create_task(fire())
            await customers.place_all(plans, rate=RATE, placed=lambda _: None)
            while len(killed) < KILLS and not firing.done():
                await SYSTEM.sleep(0.1)
            firing.cancel()
            await settle(books, lambda *_: None, ORDERS)
            facts = await sold(shop, analytics, folder) if analytics else None
            result = audit(books, plans, customers.placed, prices, facts)
    logs.close()
    return result, killed


@pytest.mark.demo
@pytest.mark.parametrize(("seed", "analytics"), [(11, None), (12, "chdb:///analytics/")])
def test_random_kills_cost_nothing(seed: int, analytics: str | None, tmp_path: Path) -> None:
    """Whichever processes are killed, and whenever: all orders come out as planned, and all books agree."""
    found, killed = asyncio.run(under_fire(tmp_path, seed, analytics))
    assert found.ok, (found, killed)
    assert len(killed) >= KILLS, killed
