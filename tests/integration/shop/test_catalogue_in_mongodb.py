"""The shop with its catalogue in MongoDB, all else as it was: the product service's code is the same.

The server speaks MongoDB's protocol but is not MongoDB, see `servers.mongo`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import SHOP

sys.path[:0] = [str(Path(__file__).parents[2]), str(SHOP)]

from demo import run  # noqa: E402
from demo.readers import MongoLedger, Unreadable  # noqa: E402
from servers.mongo import MongoServer  # noqa: E402
from skerry.client import ServiceClient  # noqa: E402
from skerry.deploy import LogFiles, Supervisor  # noqa: E402
from skerry.topology import load  # noqa: E402


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongoServer]:
    with MongoServer(tmp_path / "mongo") as running:
        yield running


@pytest.mark.demo
def test_the_shop_adds_up_with_its_catalogue_in_mongodb(server: MongoServer, tmp_path: Path) -> None:
    """Orders are placed while payment, order, product and the server of its documents are killed; the audit is exact."""
    data, url = tmp_path / "shop", server.url("product")
    logs = LogFiles(data / "logs")
    system = load(SHOP / "skerry.toml")
    shop = Supervisor(system, data=data, output=logs, env={"product": {"SKERRY_DATABASE": url}})

    async def strike() -> None:
        await asyncio.sleep(0.5)
        shop.kill("product")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)

    async def main() -> None:
        async with shop:
            async with ServiceClient("gateway", url=shop.url) as client:
                shown = (await client.get("/api/products")).raise_for_status().json()
                deck = (await client.get("/api/products?category=deck")).raise_for_status().json()
            assert [each["sku"] for each in shown] == sorted(each["sku"] for each in shown)
            assert [each["sku"] for each in deck] == ["BELL-2", "KNIFE-4", "ROPE-10"]
            assert all(each.keys() == {"sku", "name", "price"} for each in shown)
            striking = asyncio.create_task(strike())
            job = {"orders": 20, "seed": 5, "rate": 20.0, "tell": lambda *_: None, "databases": {"product": url}}
            report = await run(shop, system, url=shop.url, data=data, **job)
            await striking
            assert report.audit.ok, report.audit
            assert len(report.faults) == 2

    try:
        asyncio.run(main())
    finally:
        logs.close()
    assert not (data / "product.db").exists()
    server.kill()
    with pytest.raises(Unreadable):
        MongoLedger(f"{url}?serverSelectionTimeoutMS=200").unsent()
