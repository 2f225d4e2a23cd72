"""E-mail, SMS and push, driven by events only: nobody calls this service, so nobody waits for it.

Messages are rendered to files, one per channel and order. A file is whole or absent, and writing it again changes nothing,
so an event that is handled again after a crash sends nothing twice.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from skerry.service import Service
from skerry.store import Transaction

from .models import OrderCancelled, OrderConfirmed, ParcelDispatched

service = Service(
    "notification",
    database="sqlite:///notification.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "migrations",
)
folder = service.settings.data / "notification"


@service.on(OrderConfirmed)
async def confirmed(event: OrderConfirmed, tx: Transaction) -> None:
    """One e-mail per confirmed order."""
    total = f"{event.amount // 100}.{event.amount % 100:02d} {event.currency}"
    text = f"To: {event.customer_id}\nSubject: Your order {event.order_id}\n\nThank you. We took {total}.\n"
    await _send(tx, "email", event.order_id, text)


@service.on(OrderCancelled)
async def cancelled(event: OrderCancelled, tx: Transaction) -> None:
    """One SMS per cancelled order."""
    await _send(
        tx, "sms", event.order_id, f"{event.customer_id}: order {event.order_id} is cancelled, nothing was taken."
    )


@service.on(ParcelDispatched)
async def dispatched(event: ParcelDispatched, tx: Transaction) -> None:
    """One push message per parcel."""
    await _send(tx, "push", event.order_id, f"{event.customer_id}: parcel {event.parcel_id} is on its way.")


async def _send(tx: Transaction, channel: str, order_id: str, text: str) -> None:
    file = folder / channel / f"{order_id}.txt"
    await asyncio.to_thread(_write, file, text)
    await tx.execute("INSERT INTO sent VALUES (?, ?, ?)", (channel, order_id, file.name))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with part.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.rename(file)
