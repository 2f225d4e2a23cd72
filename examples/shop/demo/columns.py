"""What the column store says, as the auditor reads it: beside its service nobody is let in, so that one is killed first."""

from __future__ import annotations

from pathlib import Path

from skerry.store.analytics import connect

from .faults import Processes

OWNER = "analytics"


async def sold(processes: Processes, address: str, data: Path) -> dict[str, tuple[int, int]]:
    """For each product its revenue and its orders, of what was on disk when the service was killed."""
    await processes.hold(OWNER)
    try:
        facts = connect(address, owner=OWNER, data=data)
        try:
            rows = await facts.query("SELECT sku, sum(amount) AS amount, count() AS orders FROM sales GROUP BY sku")
        finally:
            await facts.close()
    finally:
        processes.release(OWNER)
    return {row["sku"]: (row["amount"], row["orders"]) for row in rows}
