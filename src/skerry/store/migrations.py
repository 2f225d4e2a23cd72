"""Schema changes from SQL files, each applied once, in the order of their versions, before or after the deploy.

A folder holds files, or a folder for each engine (`sqlite/`, `postgresql/`) that does; `sqlfiles` says how they are called.
A file's changes and the row that records it commit together, so that a process killed in the middle leaves nothing of it. Many
processes may try at the same time. Files for after the deploy are left until somebody asks for them. Only where nothing of a
component was applied yet is everything, in order: nobody can be using its tables.

An applied file must not change. A database that is ahead of the code (the last release beside the new schema) is fine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, TypeVar

from skerry.errors import MigrationError, NoTransaction, StoreBusy, StoreError
from skerry.signals import MigrationApplied, MigrationBegun, MigrationDelayed, MigrationsLeft, emit
from skerry.store.patience import patient
from skerry.store.port import Database, Transaction
from skerry.store.queries import Queries
from skerry.store.sqlfiles import Migration, Phase, read

T = TypeVar("T")

WAIT: Final = 60.0
"""Seconds to wait while another process migrates, and then for the locks that a file needs."""
LOCK_WAIT_MS: Final = 2000
"""How long one try waits for a lock on PostgreSQL. Everybody who comes for that table meanwhile waits behind it."""
PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds between tries, doubled after each: the traffic goes on in between."""

SQL = Queries("skerry.store", "sql/migrations.sql")
_LOCK = "skerry_migrations"
_NEW = "new"
"""Stands as a version while the first files of a component are being applied."""
_IN_A_TRANSACTION = "25001"


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one component: what it is called in the database, and the folder of its files."""

    component: str
    folder: Path | Traversable


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """The files of a component, and what of them was applied when: `applied` maps versions to checksum and time.

    `is_new`: nobody can be using its tables yet.
    """

    component: str
    files: tuple[Migration, ...]
    applied: Mapping[str, tuple[str, float]]
    is_new: bool

    @classmethod
    def of(cls, component: str, files: Iterable[Migration], rows: Iterable[Any]) -> SchemaStatus:
        """From the rows of a database; none when it has none."""
        found = {row["version"]: (row["checksum"], row["applied_at"]) for row in rows}
        begun = found.pop(_NEW, None) is not None
        return cls(component, tuple(files), found, begun or not found)

    def pending(self, phase: Phase) -> list[Migration]:
        """The files of a phase that were not applied yet."""
        return [each for each in self.files if each.version not in self.applied and each.phase == phase]

    def due(self, *, after: bool) -> list[Migration]:
        """What is to be applied now, in its order: with `after`, or to a new component, everything."""
        everything = after or self.is_new
        return [
            each for each in self.files if each.version not in self.applied and (everything or each.phase == "before")
        ]

    def changed(self) -> list[Migration]:
        """The files that are not what was applied."""
        return [each for each in self.files if self.applied.get(each.version, (each.checksum,))[0] != each.checksum]

    def demand_unchanged(self) -> None:
        """Raise `MigrationError` when an applied file was changed."""
        for each in self.changed():
            raise MigrationError(f"{each.file} was changed after it was applied; add a new file instead")


async def migrate(
    database: Database, component: str, folder: Path | Traversable, *, after: bool = False, wait: float = WAIT
) -> list[str]:
    """Bring the tables of `component` up to date; the versions that were applied now.

    Files for after the deploy stay unless `after` says that no process of the release before runs any more.

    Raises `MigrationError` naming the file when a statement fails (that file is rolled back), when an applied file was
    changed, or when two files share a version; `StoreBusy` when another process migrates for longer than `wait` seconds, or
    somebody keeps a file from the locks it needs for so long.
    """
    files = await asyncio.to_thread(read, folder, database.dialect)
    seen = await _look(database, component, files)
    seen.demand_unchanged()
    applied: list[str] = []
    if seen.is_new or seen.due(after=after):
        async with _alone(database, wait):
            applied = await _apply_all(database, component, files, after=after, wait=wait)
    if not after and not seen.is_new and (left := seen.pending("after")):
        emit(MigrationsLeft(component=component, count=len(left)))
    return applied


async def schema_status(database: Database, component: str, folder: Path | Traversable) -> SchemaStatus:
    """What of a component was applied; changes nothing. Raises `MigrationError` when its files cannot be read."""
    return await _look(database, component, await asyncio.to_thread(read, folder, database.dialect))


async def demand_schema(database: Database, component: str, folder: Path | Traversable) -> None:
    """Raise `MigrationError` when a file that this code needs was not applied, or was changed; change nothing."""
    seen = await schema_status(database, component, folder)
    seen.demand_unchanged()
    for each in seen.due(after=False):
        raise MigrationError(
            f"{each.file} of {component} was not applied to the database of {database.owner}, and SKERRY_MIGRATE is `never`: "
            f"run `skerry db migrate {database.owner}` first"
        )


async def _look(database: Database, component: str, files: Iterable[Migration]) -> SchemaStatus:
    has_table = await database.fetch_one(SQL["has_table"]) is not None
    return SchemaStatus.of(
        component, files, await database.fetch_all(SQL["applied"], (component,)) if has_table else ()
    )


@asynccontextmanager
async def _alone(database: Database, wait: float) -> AsyncIterator[None]:
    """Nobody else migrates meanwhile. Whoever waits has no transaction open, which an index made concurrently would wait for."""
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(wait):
                await stack.enter_async_context(database.lead("migrations"))
        except TimeoutError:
            raise StoreBusy(
                f"another process has migrated the database of {database.owner} for more than {wait:g} s; try again later"
            ) from None
        yield


async def _apply_all(
    database: Database, component: str, files: Sequence[Migration], *, after: bool, wait: float
) -> list[str]:
    seen = await _look(database, component, files)  # others may have been here
    seen.demand_unchanged()
    due = seen.due(after=after)
    steps = [_Step(database, component, each, ends=each is due[-1], left=_left(seen, due, each)) for each in due]
    if seen.is_new:
        await _patiently(
            database, component, [*due, *files][0], wait, lambda: _mark(database, component, new=bool(due))
        )
    applied: list[str] = []
    for step in steps:
        emit(MigrationBegun(component=component, version=step.migration.version, file=step.migration.file))
        if await _patiently(database, component, step.migration, wait, step.apply):
            applied.append(step.migration.version)
            emit(MigrationApplied(component=component, version=step.migration.version))
    return applied


def _left(seen: SchemaStatus, due: Sequence[Migration], migration: Migration) -> str:
    """The first file before `migration` that is left for after the deploy."""
    left = [each.file for each in seen.pending("after") if each not in due and each.version < migration.version]
    return left[0] if left else ""


async def _mark(database: Database, component: str, *, new: bool) -> None:
    """Write down whether the first files of a component are still to come, for whoever goes on after a crash."""
    async with database.transaction() as tx:
        await _hold(tx)
        await tx.execute(SQL["create"])
        if not new:
            await tx.execute(SQL["forget"], (component, _NEW))
        elif not await tx.fetch_all(SQL["applied"], (component,)):
            await tx.execute(SQL["insert"], (component, _NEW, "", database.clock.now()))


async def _hold(tx: Transaction) -> None:
    """Be the only transaction that migrates, and wait for no lock longer than one try may."""
    if tx.dialect == "postgresql":
        await tx.fetch_all(SQL["patience"], (str(LOCK_WAIT_MS),))
    await tx.lock(_LOCK)


async def _patiently(
    database: Database, component: str, migration: Migration, wait: float, work: Callable[[], Awaitable[T]]
) -> T:
    """Try until it has the locks it needs."""
    clock = database.clock
    end, pause = clock.monotonic() + wait, PAUSE
    while True:
        try:
            return await work()
        except StoreBusy as error:
            left = end - clock.monotonic()
            if left <= 0:
                raise StoreBusy(
                    f"{migration.file} waited {wait:g} s for its locks on the database of {database.owner}; "
                    "nothing of it was applied. A long transaction may have them: try again when it is over"
                ) from error
            pause = min(pause, left)
            emit(MigrationDelayed(component=component, version=migration.version, delay=pause))
            await clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class _Step:
    """One file for one database. `ends`: with it a component is no longer new; `left`: what was left out before it."""

    database: Database
    component: str
    migration: Migration
    ends: bool
    left: str

    async def apply(self) -> bool:
        """Apply and record it; False when somebody else has."""
        with patient():
            return await (self._apply_outside() if self.migration.alone else self._apply_inside())

    async def _apply_inside(self) -> bool:
        async with self.database.transaction() as tx:
            await _hold(tx)
            if await self._is_applied(tx):
                return False
            await self._run(lambda: self._all(tx))
        return True

    async def _all(self, tx: Transaction) -> None:
        for statement in self.migration.statements:
            await tx.execute(statement)
        await self._record(tx)

    async def _apply_outside(self) -> bool:
        if await self.database.fetch_all(SQL["find"], (self.component, self.migration.version)):
            return False
        await self._demand_whole_index()
        await self._run(lambda: self.database.fetch_all(*self.migration.statements))
        async with self.database.transaction() as tx:
            await _hold(tx)
            if not await self._is_applied(tx):
                await self._record(tx)
        return True

    async def _is_applied(self, tx: Transaction) -> bool:
        return await tx.fetch_one(SQL["find"], (self.component, self.migration.version)) is not None

    async def _record(self, tx: Transaction) -> None:
        row = (self.component, self.migration.version, self.migration.checksum, self.database.clock.now())
        await tx.execute(SQL["insert"], row)
        if self.ends:
            await tx.execute(SQL["forget"], (self.component, _NEW))

    async def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except Exception as error:
            if isinstance(error, StoreError) and not isinstance(error, NoTransaction):
                raise  # trouble with the database, not with the file
            what = str(error).partition("\n")[0]  # further lines may hold rows
            if getattr(error, "sqlstate", "") == _IN_A_TRANSACTION:
                what += "; put the line `-- skerry: no transaction` at its top"
            if self.left:
                what += f"; {self.left} was left for after the deploy: if this builds on it, `skerry db migrate --after` first"
            raise MigrationError(f"{self.migration.file}: {what}") from error

    async def _demand_whole_index(self) -> None:
        """PostgreSQL leaves an index that it could not finish: no query uses it, and IF NOT EXISTS is content with it."""
        if not (name := self.migration.index):
            return
        row = await self.database.fetch_one(SQL["index_state"], (name,))
        if row is None or row["is_valid"]:
            return
        remedy = f"drop it (DROP INDEX CONCURRENTLY {name}), and migrate again"
        if row["builder"] is not None:
            remedy = f"the process {row['builder']} of the server is still at it: wait for it, and migrate again"
        raise MigrationError(
            f"{self.migration.file}: the index {name} is INVALID, for its making was interrupted; {remedy}"
        )
