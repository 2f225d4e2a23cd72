"""Schema changes from SQL files, each applied once, in order, in a transaction of its own.

A folder holds `NNNN_name.sql`, or a folder for each engine (`sqlite/`, `postgresql/`) that does. skerry's own files say in
their names whether old code still works beside the new schema (`NNNN_pre_name.sql`) or no longer does
(`NNNN_post_name.sql`). All new files are applied at start. A file that was applied
must not change; a database that is ahead of the code (the last release beside the new schema) is fine.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

from skerry.errors import MigrationError, NoTransaction, StoreError
from skerry.signals import MigrationApplied, emit
from skerry.store.patience import patient
from skerry.store.port import Database
from skerry.store.queries import Dialect, Queries

_NAME = re.compile(r"([0-9]{4})_([a-z0-9_]+)\.sql")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
SQL = Queries("skerry.store", "sql/migrations.sql")
_LOCK = "skerry_migrations"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its four-digit version, its statements and the checksum of its text."""

    version: str
    file: str
    statements: tuple[str, ...]
    checksum: str


async def migrate(database: Database, component: str, folder: Path | Traversable) -> list[str]:
    """Bring the tables of `component` up to date; the versions that were applied now.

    Raises `MigrationError` naming the file when a statement fails (that file is rolled back), when an applied file was
    changed, or when two files share a version.
    """
    wanted = await asyncio.to_thread(read, folder, database.dialect)
    with patient():
        return await _apply(database, component, wanted)


async def _apply(database: Database, component: str, wanted: Sequence[Migration]) -> list[str]:
    applied: list[str] = []
    async with database.transaction() as tx:
        await tx.lock(_LOCK)
        await tx.execute(SQL["create"])
    for migration in wanted:
        async with database.transaction() as tx:
            await tx.lock(_LOCK)  # several processes of a service start at the same time
            row = await tx.fetch_one(SQL["find"], (component, migration.version))
            if row is not None:
                if row["checksum"] != migration.checksum:
                    raise MigrationError(f"{migration.file} was changed after it was applied; add a new file instead")
                continue
            try:
                for statement in migration.statements:
                    await tx.execute(statement)
            except Exception as error:
                if isinstance(error, StoreError) and not isinstance(error, NoTransaction):
                    raise  # trouble with the database, not with the file
                raise MigrationError(f"{migration.file}: {error}") from error
            now = database.clock.now()
            await tx.execute(SQL["insert"], (component, migration.version, migration.checksum, now))
        applied.append(migration.version)
        emit(MigrationApplied(component=component, version=migration.version))
    return applied


def read(folder: Path | Traversable, dialect: Dialect = "sqlite") -> list[Migration]:
    """The migrations in `folder` for one engine, in order of their versions."""
    if (own := folder.joinpath(dialect)).is_dir():
        folder = own
    if not folder.is_dir():
        raise MigrationError(f"there is no folder {folder}")
    found: dict[str, Migration] = {}
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        match = _NAME.fullmatch(file.name)
        if match is None:
            if file.name.endswith(".sql"):
                raise MigrationError(f"{file.name}: migrations are called NNNN_name.sql")
            continue
        version = match[1]
        if version in found:
            raise MigrationError(f"{file.name} and {found[version].file} have the same version")
        text = file.read_text("utf-8")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        # PostgreSQL takes a whole file at once, and has quotes of its own
        statements = tuple(_statements(text, file.name)) if dialect == "sqlite" else (text,)
        found[version] = Migration(version, file.name, statements, checksum)
    if not found:
        raise MigrationError(f"no migrations in {folder}")
    return list(found.values())


def _statements(text: str, source: str) -> list[str]:
    """Cut at the semicolons that end a statement: not those in strings, comments and trigger bodies."""
    statements: list[str] = []
    pending = ""
    *pieces, rest = text.split(";")
    for piece in pieces:
        pending += piece + ";"
        if sqlite3.complete_statement(pending):
            statements.append(pending.strip())
            pending = ""
    if _COMMENT.sub("", pending + rest).strip():
        raise MigrationError(f"{source}: the last statement does not end with a semicolon")
    return statements
