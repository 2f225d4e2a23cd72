"""E-mail, SMS and push: written with what they tell of, sent after it is true.

Messages are rendered to files. A file is whole or absent, and writing it again changes nothing, so what a crash kept between
the file and its mark in the table is sent again, and nobody gets two.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from skerry.store import Transaction

from .host import service

MOST = 100
folder = service.settings.data / "notification"
log = logging.getLogger(__name__)
one_at_a_time = asyncio.Lock()
"""Two requests that send the same message at once would get in each other's way."""


async def remember(tx: Transaction, channel: str, order_id: str, text: str) -> None:
    """A message that is to be sent once the transaction stands."""
    await tx.execute("INSERT INTO messages VALUES (?, ?, ?, 0)", (channel, order_id, text))


@service.on_start
async def deliver() -> None:
    """Send what is not sent yet, a hundred at most. A channel that is in trouble keeps its messages for the next time."""
    async with one_at_a_time:
        await _deliver()


async def _deliver() -> None:
    rows = await service.database.fetch_all(
        "SELECT channel, order_id, text FROM messages WHERE sent = 0 ORDER BY order_id LIMIT ?", (MOST,)
    )
    for row in rows:
        file = folder / row["channel"] / f"{row['order_id']}.txt"
        try:
            await asyncio.to_thread(_write, file, row["text"])
        except OSError as error:
            log.warning("A message could not be sent: %s", error)
            continue
        async with service.transaction() as tx:
            await tx.execute(
                "UPDATE messages SET sent = 1 WHERE channel = ? AND order_id = ?", (row["channel"], row["order_id"])
            )


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with part.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.rename(file)
