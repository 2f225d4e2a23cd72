"""Migration files: what their names say, and what they say at their top.

    0004_orders_note.sql         before the deploy: the code that runs now works on, beside the new schema
    0004_pre_orders_note.sql     the same, said aloud
    0005_post_orders_memo.sql    after it, once no process of the release before runs any more

A line `-- skerry: no transaction` has PostgreSQL run the one statement of a file outside any transaction, for what it allows
only there, such as CREATE INDEX CONCURRENTLY.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, Literal

from skerry.errors import MigrationError
from skerry.store.breaking import breaking
from skerry.store.queries import Dialect

Phase = Literal["before", "after"]

_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NOT_SQL: Final = re.compile(r"(--[^\n]*|/\*.*?\*/)|'(?:[^']|'')*'|\$(\w*)\$.*?\$\2\$", re.DOTALL)
_NAME: Final = re.compile(r"([0-9]{4})_([a-z0-9_]+)\.sql")
_ALONE: Final = re.compile(r"^--\s*skerry:\s*no transaction\s*$", re.MULTILINE)
_ENDS: Final = re.compile(r"(BEGIN|START TRANSACTION|COMMIT|ROLLBACK|ABORT)( WORK| TRANSACTION)?", re.IGNORECASE)
_INDEX: Final = re.compile(
    r"^\s*(CREATE(?:\s+UNIQUE)?|DROP)\s+INDEX\s+CONCURRENTLY\s+(?:(IF(?:\s+NOT)?\s+EXISTS)\s+)?(\"[^\"]+\"|\w+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its four-digit version, its statements and the checksum of its text.

    `phase`: whether it is meant for before or after the deploy. `alone`: its statement runs outside any transaction, and
    `index` is what that one makes concurrently, as it is written there; empty when it makes none. `breaks`: what older code
    may not survive, see `breaking`.
    """

    version: str
    file: str
    statements: tuple[str, ...] = field(repr=False)
    checksum: str
    phase: Phase = "before"
    alone: bool = False
    index: str = ""
    breaks: tuple[str, ...] = ()


def read(folder: Path | Traversable, dialect: Dialect = "sqlite") -> list[Migration]:
    """The migrations in `folder` for one engine, in order of their versions. Raises `MigrationError`."""
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
        found[version] = _migration(version, file.name, file.read_text("utf-8"), dialect)
    if not found:
        raise MigrationError(f"no migrations in {folder}")
    return list(found.values())


def _migration(version: str, name: str, text: str, dialect: Dialect) -> Migration:
    alone = _ALONE.search(text) is not None
    # PostgreSQL takes a whole file at once, and has quotes of its own
    statements = tuple(_statements(text, name)) if dialect == "sqlite" else (text,)
    plain = _bare(text)
    for each in map(_bare, statements) if dialect == "sqlite" else plain.split(";"):
        if _ENDS.fullmatch(word := each.strip("; \n\t")):
            raise MigrationError(f"{name}: a file is one transaction, which ends by itself; take {word} away")
    return Migration(
        version,
        name,
        statements,
        checksum=hashlib.sha256(text.encode()).hexdigest(),
        phase="after" if name.startswith(f"{version}_post_") else "before",
        alone=alone,
        index=_index_of(plain, name, dialect) if alone else "",
        breaks=breaking(text, plain),
    )


def _index_of(plain: str, source: str, dialect: Dialect) -> str:
    """What a file without a transaction makes concurrently. It must be repeatable: a crash may come before it is recorded."""
    if dialect == "sqlite":
        raise MigrationError(f"{source}: SQLite runs every file in a transaction; take the line `no transaction` away")
    if len([each for each in plain.split(";") if each.strip()]) != 1:
        raise MigrationError(
            f"{source}: without a transaction a file has one statement, for a crash may come after each"
        )
    match = _INDEX.match(plain)
    if match is None:
        return ""
    verb, condition, name = match.groups()
    drops = verb.upper() == "DROP"
    wanted = "IF EXISTS" if drops else "IF NOT EXISTS"  # or the file could not be run again after a crash
    if " ".join((condition or "").upper().split()) != wanted:
        raise MigrationError(f"{source}: without a transaction it may have to run again, so it has to say {wanted}")
    return "" if drops else str(name)


def _bare(text: str) -> str:
    """SQL without comments and without what stands in strings."""
    return _NOT_SQL.sub(lambda match: " " if match[1] else "''", text)


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
