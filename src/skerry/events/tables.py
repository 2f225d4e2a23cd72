"""Whether the tables for events in a database are those of this release: for whoever looks into it beside the service."""

from __future__ import annotations

from skerry.events.outbox import Outbox
from skerry.store import Database, schema_status


async def missing(database: Database) -> list[str]:
    """The files of `Outbox.prepare` that were not applied yet; changes nothing. A database that is ahead misses none, and those
    for after the deploy may wait.
    """
    seen = await schema_status(database, Outbox.schema.component, Outbox.schema.folder)
    return [each.file for each in seen.due(after=False)]
