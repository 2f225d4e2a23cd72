"""The tables of projections as they stand in a database: what they are called, found by their names, and dropped.

A generation is one making of a projection's tables. It has a consumer group of its own, and so positions, receipts and parked
events of its own, which go with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from skerry.store import Database, Queries, Tx

SQL = Queries("skerry.events", "sql/projections.sql")

FORGET: Final = 1000
"""Receipts deleted in one transaction: others wait for the database too."""


def table_name(name: str, version: int, generation: int, table: str) -> str:
    """What a table of a projection is called in the database."""
    return f"{name}_{version}_{generation}_{table}"


def group_name(name: str, version: int, generation: int) -> str:
    """The consumer group that fills a generation."""
    return f"projection:{name}:{version}:{generation}"


async def generations(database: Database, name: str, version: int) -> Mapping[int, Sequence[str]]:
    """The generations of a projection that have tables, and the names of these."""
    prefix = f"{name}_{version}_"
    pattern = re.compile(re.escape(prefix) + r"(\d+)_[a-z][a-z0-9_]*")
    found: dict[int, list[str]] = {}
    for row in await database.fetch_all(SQL["tables"], (prefix,)):
        if (match := pattern.fullmatch(row[0])) is not None:
            found.setdefault(int(match[1]), []).append(row[0])
    return found


async def forget_receipts(database: Database, group: str) -> bool:
    """Delete some receipts of a group; False when there are no more.

    A group that began anew and found them would leave out what it has to show.
    """
    async with database.transaction() as tx:
        return await tx.execute(SQL["forget_receipts"], (f"inbox:{group}", FORGET)) == FORGET


async def drop(tx: Tx, group: str, tables: Sequence[str]) -> None:
    """Drop the tables of one generation and what its group has written down, but for its receipts."""
    for what in ("forget_positions", "forget_parked", "forget_running", "forget_suspects"):
        await tx.execute(SQL[what], (group,))
    for table in tables:
        await tx.execute(f"DROP TABLE IF EXISTS {table}")
