"""The projections in a service's database, for an operator: without their code, beside the running service."""

from __future__ import annotations

from skerry.events.outbox import SQL as EVENTS
from skerry.events.projection import SQL, ProjectionStatus
from skerry.store import Database


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

    async def progress(self, status: ProjectionStatus) -> float | None:
        """How far the generation being built has come, from 0 to 1, compared with the one that is read; None when unknown."""
        if not status.live or not status.building:
            return None
        read = await self._positions(status, status.live)
        built = await self._positions(status, status.building)
        whole = sum(read.values())
        return sum(min(built.get(source, 0), at) for source, at in read.items()) / whole if whole else None

    async def _positions(self, status: ProjectionStatus, generation: int) -> dict[str, int]:
        group = f"projection:{status.name}:{status.version}:{generation}"  # as `Projection.group` says
        return {row[0]: row[1] for row in await self._database.fetch_all(EVENTS["positions"], (group,))}
