"""Whether the tables for events in a database are those of this release: for whoever looks into it beside the service."""

from __future__ import annotations

import asyncio
from importlib.resources import files

from skerry.events.outbox import SQL
from skerry.store import Database
from skerry.store.migrations import read


async def missing(database: Database) -> list[str]:
    """The files of `Outbox.prepare` that were not applied yet; changes nothing. A database that is ahead misses none."""
    wanted = await asyncio.to_thread(read, files("skerry.events").joinpath("sql/migrations"), database.dialect)
    applied = set[str]()
    if await database.fetch_one(SQL["has_tables"]) is not None:
        applied = {row[0] for row in await database.fetch_all(SQL["applied"])}
    return [each.file for each in wanted if each.version not in applied]
