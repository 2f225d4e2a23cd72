"""A whole service at work under a detector of blocking calls: the event loop never waits for a disk, a file or a lock."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from blockbuster import BlockBuster, BlockingError, blockbuster_ctx
from fastapi import FastAPI

from skerry import DomainEvent, Saga, Service, ServiceClient, StepContext, Transaction
from skerry.settings import Settings

ALLOWED: dict[str, tuple[str, str]] = {}


class Arrived(DomainEvent, type="arrived", version=1, key="sku"):
    sku: str


def service(name: str, data: Path) -> Service:
    url = f"sqlite:///{name}.db"
    return Service(name, app=FastAPI(), database=url, events="sqlite:///events/", settings=Settings(data=data))


async def work(data: Path) -> list[str]:
    """Requests, transactions, events, a saga, health checks, start and stop."""
    one, other = service("one", data), service("other", data)
    seen: list[str] = []
    saga = Saga("trip", version=1, input=dict)

    @saga.step()
    async def go(ctx: StepContext, order: dict[str, Any]) -> str:
        return ctx.key

    @saga.retriable()
    async def arrive(ctx: StepContext, order: dict[str, Any]) -> None:
        async with one.transaction() as tx:
            await one.outbox.record(tx, Arrived(sku=order["sku"]))

    @other.on(Arrived)
    async def handle(event: Arrived, tx: Transaction) -> None:
        await tx.fetch_all("SELECT 1")
        seen.append(event.sku)

    one.add(saga)
    await one.start()
    await other.start()
    for number in range(20):
        status = await one.sagas.run(saga, {"sku": str(number)}, key=str(number))
        assert status.status == "completed"
    transport = httpx2.ASGITransport(app=one.app)
    async with ServiceClient("one", url="http://one", transport=transport) as client:
        assert (await client.get("/health/ready")).status == 200
        assert (await client.get("/nothing")).status == 404
    async with asyncio.timeout(30):
        while len(seen) < 20:
            await asyncio.sleep(0.01)
    await one.stop()
    await other.stop()
    return seen


def test_the_detector_works() -> None:
    """The detector raises when the event loop is blocked, so that the other test can fail."""

    async def block() -> None:
        import time

        time.sleep(0.001)

    with blockbuster_ctx(), pytest.raises(BlockingError):
        asyncio.run(block())


def test_nothing_blocks_the_event_loop(tmp_path: Path) -> None:
    """A service under work makes no blocking call in its event loop."""
    with blockbuster_ctx() as detector:
        assert isinstance(detector, BlockBuster)
        assert asyncio.run(work(tmp_path)) == [str(number) for number in range(20)]
