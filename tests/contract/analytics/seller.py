"""A service that sells and counts what it sold: `python seller.py FOLDER ADDRESS ORDERS DEATHS`.

It places what is lacking of ORDERS at start, keeps a fact of each, and dies between an insert and the commit of its group's
position, DEATHS times. It ends by itself once all is handled.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import date
from pathlib import Path
from typing import Any

from skerry import DomainEvent, Service
from skerry.settings import Settings
from skerry.store.analytics import FactTable


class Sold(DomainEvent, type="shop.order.sold", key="order"):
    order: str
    amount: int


SALES = FactTable(name="sales", columns={"id": str, "day": date, "amount": int}, key=("id",), order_by=("day",))


def build(folder: Path, address: str) -> Service:
    """The service, without its handler."""
    return Service(
        "seller",
        database="sqlite:///seller.db",
        events="sqlite:///events/",
        analytics=address,
        settings=Settings(data=folder),
    )


async def place(service: Service, orders: int, *, begin: int = 0) -> None:
    """Record so many sales, each in a transaction of its own."""
    for n in range(begin, orders):
        async with service.transaction() as tx:
            await service.outbox.record(tx, Sold(order=f"o-{n}", amount=n))


def keep(service: Service, *, after: Any = None, **options: Any) -> None:
    """Keep a fact of each sale; `after` is called with their number when they are in and not yet committed."""
    service.analytics.declare(SALES)

    @service.on(Sold, group="facts", **{"batch": 250, "linger": 0.2, **options})
    async def handle(events: list[Sold], _tx: Any) -> None:
        rows = [
            {"id": each.envelope.id, "day": date.fromisoformat(each.envelope.time[:10]), "amount": each.amount}
            for each in events
        ]
        await service.analytics.append(SALES, rows)
        if after is not None:
            after(len(rows))


async def handled(service: Service) -> int:
    """How many sales are committed as handled."""
    row = await service.database.fetch_one("SELECT count(*) FROM skerry_receipts WHERE scope = 'inbox:facts'")
    return int(row[0])


async def main(folder: Path, address: str, orders: int, deaths: int) -> None:
    died = len(list(folder.glob("death-*")))

    def die(rows: int) -> None:
        with (folder / "sent").open("a") as sent:
            sent.write(f"{rows}\n")
        if died < deaths:
            (folder / f"death-{died}").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    service = build(folder, address)
    keep(service, after=die)
    await service.start()
    try:
        [placed] = await service.database.fetch_one("SELECT count(*) FROM skerry_sequences")
        await place(service, orders, begin=placed)
        while await handled(service) < orders:
            await asyncio.sleep(0.02)
    finally:
        await service.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
