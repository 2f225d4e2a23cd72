"""A whole service at work under a detector of blocking calls: the event loop never waits for a file, a socket or a lock, and of
SQLite only statements run there that are quicker than the way to a thread.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster, BlockingError, blockbuster_ctx
from fastapi import FastAPI

from skerry import DomainEvent, Saga, Service, ServiceClient, StepContext, Transaction
from skerry.client import AsgiTransport
from skerry.settings import Settings
from skerry.signals import Signal, subscribe


class Arrived(DomainEvent, type="arrived", version=1, key="sku"):
    sku: str


def service(name: str, data: Path) -> Service:
    url = f"sqlite:///{name}.db"
    return Service(name, app=FastAPI(), database=url, events="sqlite:///events/", settings=Settings(data=data))


def assemble(data: Path) -> tuple[Service, Service, Saga, list[str]]:
    """Two services: a saga in the one tells the other."""
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
    return one, other, saga, seen


async def work(one: Service, other: Service, saga: Saga, seen: list[str]) -> None:
    """Requests, transactions, events, a saga, health checks, start and stop."""
    await one.start()
    await other.start()
    for number in range(20):
        status = await one.sagas.run(saga, {"sku": str(number)}, key=str(number))
        assert status.status == "completed"
    transport = AsgiTransport(one.app)
    async with ServiceClient("one", url="http://one", transport=transport) as client:
        assert (await client.get("/health/ready")).status == 200
        assert (await client.get("/nothing")).status == 404
    async with asyncio.timeout(30):
        while len(seen) < 20:
            await asyncio.sleep(0.01)
    await one.stop()
    await other.stop()


def test_the_detector_works() -> None:
    """The detector raises when the event loop is blocked, so that the other test can fail."""

    async def block() -> None:
        import time

        time.sleep(0.001)

    with blockbuster_ctx(), pytest.raises(BlockingError):
        asyncio.run(block())


def test_nothing_blocks_the_event_loop(tmp_path: Path) -> None:
    """A service under work makes no blocking call in its event loop."""
    one, other, saga, seen = assemble(tmp_path)
    signals: list[Signal] = []
    with blockbuster_ctx() as detector:
        assert isinstance(detector, BlockBuster)
        for name, function in detector.functions.items():
            if name.startswith("sqlite3."):
                function.can_block_in("skerry/store/lane.py", "here")  # what was always quick
                function.can_block_in("skerry/store/sqlite.py", "_begins_at_once")  # or not at all: it never waits
        unsubscribe = subscribe(signals.append)
        asyncio.run(work(one, other, saga, seen))
        unsubscribe()
    assert not [told for told in signals if "Blocking" in repr(told)]  # what is tried again would hide it
    assert seen == [str(number) for number in range(20)]
