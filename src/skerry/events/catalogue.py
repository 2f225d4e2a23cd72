"""The projections in a service's database, for an operator: without their code, beside the running service."""

from __future__ import annotations

import asyncio
import builtins
from contextlib import AsyncExitStack
from typing import Final

from skerry.errors import StoreBusy
from skerry.events.generations import SQL, drop, forget_receipts, generations, group_name
from skerry.events.outbox import SQL as EVENTS
from skerry.events.projection import ProjectionStatus
from skerry.store import Database

IN_USE: Final = 5.0
"""Seconds after which a role that was not given up counts as held; a killed holder's lease has run out by then."""


class Projections:
    """Which projections there are, which generation of each is read, and which is being built.

    The running service builds: `rebuild` only asks for it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> list[ProjectionStatus]:
        """All projections in all their versions, by name."""
        return [ProjectionStatus(*row) for row in await self._database.fetch_all(SQL["list"])]

    async def find(self, name: str, version: int | None = None) -> ProjectionStatus | None:
        """A projection in one version, the highest one by default; None when it has not begun yet."""
        found = [each for each in await self.list() if each.name == name and version in {None, each.version}]
        return found[-1] if found else None

    async def rebuild(self, name: str, version: int) -> bool:
        """Have its tables made anew beside those in use; False when that goes on already, or it has not begun yet."""
        async with self._database.transaction() as tx:
            return await tx.execute(SQL["rebuild"], (name, version)) == 1

    async def drop(self, name: str, version: int) -> builtins.list[str]:
        """Drop all tables of a projection in one version, and all that was written down about it; their names.

        For a version that no code reads any more. Code that hosts it once more makes it anew from the start of the log. Raises
        `StoreBusy`, and does nothing, while a process keeps it up to date.
        """
        status = await self.find(name, version)
        found = await generations(self._database, name, version)
        last = max([0, *found, *((status.live, status.building) if status is not None else ())])
        groups = {number: group_name(name, version, number) for number in range(1, last + 1)}
        async with AsyncExitStack() as alone:
            try:
                async with asyncio.timeout(IN_USE):
                    for number in {status.live, status.building} - {0} if status is not None else ():
                        await alone.enter_async_context(self._database.lead(f"events-{groups[number]}"))
            except TimeoutError:
                raise StoreBusy(
                    f"a process of {self._database.owner} keeps {name} {version} up to date: stop those of that release first"
                ) from None
            for group in groups.values():
                while await forget_receipts(self._database, group):
                    pass
            async with self._database.transaction() as tx:
                for number, group in groups.items():
                    await drop(tx, group, found.get(number, ()))
                await tx.execute(SQL["delete"], (name, version))
        return sorted(table for tables in found.values() for table in tables)

    async def progress(self, status: ProjectionStatus) -> float | None:
        """How far the generation being built has come, from 0 to 1, compared with the one that is read; None when unknown."""
        if not status.live or not status.building:
            return None
        read = await self._positions(status, status.live)
        built = await self._positions(status, status.building)
        whole = sum(read.values())
        return sum(min(built.get(source, 0), at) for source, at in read.items()) / whole if whole else None

    async def _positions(self, status: ProjectionStatus, generation: int) -> dict[str, int]:
        group = group_name(status.name, status.version, generation)
        return {row[0]: row[1] for row in await self._database.fetch_all(EVENTS["positions"], (group,))}
