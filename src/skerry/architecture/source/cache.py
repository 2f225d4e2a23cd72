"""What was read from a file, kept by its content: a second look at a repository reads only what has changed.

It lies in the user's cache folder and never in the repository. A cache that cannot be opened, is damaged, or is written by
another run at the same moment costs time, not the run.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from skerry.architecture.source.files import MiB
from skerry.clock import SYSTEM

MOST: Final = 256 * MiB
"""Bytes of all that is kept; what was not used for longest goes first."""
_FORMAT: Final = 2
"""Of what is kept; what was written in another one is not found."""
_KEY: Final = 16
_SUM: Final = 8
_WAIT: Final = 2.0
"""Seconds to wait for another run that writes."""
_AT_ONCE: Final = 500
_HOUR: Final = 3600.0
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS kept (key BLOB PRIMARY KEY, content BLOB NOT NULL, size INTEGER NOT NULL, used REAL NOT NULL)
WITHOUT ROWID
"""


def folder() -> Path | None:
    """`$XDG_CACHE_HOME/skerry`, else `~/.cache/skerry`; None where there is no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given and Path(given).is_absolute():
        return Path(given) / "skerry"
    with suppress(RuntimeError):
        return Path.home() / ".cache" / "skerry"
    return None


def version_of(package: Path) -> bytes:
    """What tells one version of a reader from another: its own source and the interpreter's version."""
    state = hashlib.sha256(f"{_FORMAT} {sys.version}".encode())
    for file in sorted(package.rglob("*.py")):
        state.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return state.digest()


class Cache:
    """Contents by key. Every failure of the database is a miss; nothing here raises for one."""

    def __init__(self, path: Path | None, *, version: bytes, most: int = MOST) -> None:
        self._version = version
        self._most = most
        self._path = path
        self._database = _open(path) if path is not None else None

    @property
    def works(self) -> bool:
        """Whether anything can be found at all."""
        return self._database is not None

    def key(self, path: str, content: bytes) -> bytes:
        """For the file `path` with `content`, read by this version."""
        state = hashlib.sha256(self._version)
        state.update(path.encode("utf-8", "surrogateescape") + b"\0")
        state.update(content)
        return state.digest()[:_KEY]

    def take(self, keys: Iterable[bytes]) -> Mapping[bytes, bytes]:
        """What is kept of `keys`; what is damaged is not."""
        found: dict[bytes, bytes] = {}
        wanted = list(keys)
        if self._database is None:
            return found
        try:
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT key, content FROM kept WHERE key IN ({marks})"  # noqa: S608 - question marks only
                for key, content in self._database.execute(query, some):
                    if isinstance(content, bytes) and content[:_SUM] == _sum(content[_SUM:]):
                        found[key] = content[_SUM:]
        except sqlite3.DatabaseError:
            self._forget()
        return found

    def keep(self, contents: Mapping[bytes, bytes], *, used: Iterable[bytes] = ()) -> None:
        """Keep `contents`, and note that `used` were of use; then let go of what is too much."""
        if self._database is None:
            return
        now = SYSTEM.now()
        try:
            with self._database:
                self._database.executemany(
                    "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)",
                    [(key, _sum(content) + content, len(content), now) for key, content in contents.items()],
                )
                self._database.executemany(
                    "UPDATE kept SET used = ? WHERE key = ? AND used < ?", [(now, key, now - _HOUR) for key in used]
                )
                if contents:
                    self._shrink()
        except sqlite3.OperationalError:  # another run writes, or the disk is full: this one keeps nothing
            return
        except sqlite3.DatabaseError:
            self._forget()

    def close(self) -> None:
        """Nothing is kept or taken afterwards."""
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _shrink(self) -> None:
        assert self._database is not None
        (total,) = self._database.execute("SELECT coalesce(sum(size), 0) FROM kept").fetchone()
        if total <= self._most:
            return
        for key, size in self._database.execute("SELECT key, size FROM kept ORDER BY used, key").fetchall():
            self._database.execute("DELETE FROM kept WHERE key = ?", (key,))
            total -= size
            if total <= self._most * 3 // 4:
                return

    def _forget(self) -> None:
        """A damaged file is taken away, so that the next run begins anew."""
        self.close()
        if self._path is not None:
            for suffix in ("", "-wal", "-shm"):
                with suppress(OSError):
                    Path(f"{self._path}{suffix}").unlink()


def _sum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_SUM]


def _open(path: Path) -> sqlite3.Connection | None:
    for _ in range(2):
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))
            database = sqlite3.connect(path, timeout=_WAIT)
        except (OSError, sqlite3.Error):
            return None
        try:
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")
            database.execute(_TABLE)
            return database
        except sqlite3.OperationalError:
            database.close()
            return None
        except sqlite3.DatabaseError:
            database.close()
            with suppress(OSError):
                path.unlink()
    return None
