"""What waits in a service's outbox, for whoever watches it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from skerry.clock import SYSTEM, Clock
from skerry.events.outbox import SQL
from skerry.store import Database


@dataclass(frozen=True, slots=True)
class Backlog:
    """Committed events that are not handed over yet: `waiting` may be at once, `delayed` only later.

    `oldest` is for how many seconds the first of those that may be has waited; None when none waits, or when its envelope
    cannot be read.
    """

    waiting: int
    delayed: int
    oldest: float | None


async def backlog(database: Database, *, clock: Clock = SYSTEM) -> Backlog:
    """What waits in the outbox in `database`. A delayed event waits from the time on at which it is due."""
    now = clock.now()
    row = await database.fetch_one(SQL["outbox_backlog"], (now,))
    first = await database.fetch_one(SQL["outbox_oldest"])
    begun = [at for at in (row["due_at"], _recorded(first["body"]) if first else None) if at is not None]
    oldest = max(0.0, now - min(begun)) if begun else None
    return Backlog(row["waiting"], row["delayed"], oldest)


def _recorded(body: str) -> float | None:
    """When the event was recorded: the outbox itself keeps no times."""
    try:
        return datetime.fromisoformat(json.loads(body)["time"]).timestamp()
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
