"""The service that is stopped again and again; see `test_drain`."""

from __future__ import annotations

from typing import Any

from skerry import DomainEvent, Service, Transaction

service = Service("billing", database="sqlite:///billing.db", events="sqlite:///events/")


class Counted(DomainEvent, type="faults.counted", version=1, key="lane"):
    lane: str
    n: int


@service.on(Counted)
async def handle(event: Counted, tx: Transaction) -> Any:
    """One row for each call that was committed."""
    await tx.execute("CREATE TABLE IF NOT EXISTS calls (lane TEXT NOT NULL, n INTEGER NOT NULL)")
    await tx.execute("INSERT INTO calls VALUES (?, ?)", (event.lane, event.n))
