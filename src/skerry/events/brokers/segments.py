"""One service's log on disk: numbered SQLite files, written by one process, read by any.

A segment is WAL, fully synchronised, and never changes once the next one exists. Its first offset is fixed before it can be
seen, so readers never guess. All functions block: they run on a thread of the log.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import zlib
from collections import deque
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from urllib.parse import quote

from skerry.clock import Clock
from skerry.errors import EventError, StoreCorrupt
from skerry.events.brokers.port import Message
from skerry.store import Queries
from skerry.store.integrity import demand_whole

TOGETHER = 1000
"""Messages of several batches that are appended in one transaction."""
_KEPT = "first-kept"
_NOT_YET = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_BUSY}
"""It has no tables, or is being opened by its writer."""
SQL = Queries("skerry.events", "sql/sqlite/eventlog.sql")


class Writer:
    """Appends to one service's log."""

    def __init__(self, folder: Path, segment_bytes: int, retention: float, clock: Clock) -> None:
        self._folder = folder
        self._retention = retention
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._path = folder
        self._lock: int | None = None
        self.word: bytes = b""
        """Names the segment that was written to last, for who hears that something is new."""

    def append(self, batch: Sequence[Message]) -> None:
        """Append in one transaction; what the segment holds already is left out.

        Raises `EventError` when the log cannot be written now, `StoreCorrupt` when it is damaged.
        """
        rows = [_row(message) for message in batch]
        with mapped(self._folder):
            try:
                connection = self._connection or self._open()
                if _size(connection) > self._segment_bytes:
                    connection = self._roll(connection)
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(SQL["append"], rows)
                connection.execute("COMMIT")
            except BaseException:
                self._disconnect()  # rolls back; the next batch starts from what is on the disk
                raise

    def close(self) -> None:
        """Close the segment and let another process write."""
        self._disconnect()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._lock = _exclusive(self._folder)
        path, first, epoch = self._folder / "00000001.db", 1, str(self._clock.uuid())
        for path in segments(self._folder)[-2:]:  # the last one may be empty still: its writer died while beginning it
            if begun(path):
                with closing(read_only(path)) as connection:
                    _, last, epoch = connection.execute(SQL["span"]).fetchone()
                first = last + 1
        return self._connect(path, first=first, epoch=epoch)

    def _roll(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        _, last, epoch = connection.execute(SQL["span"]).fetchone()
        self._disconnect()
        connection = self._connect(segment(self._folder, int(self._path.stem) + 1), first=last + 1, epoch=epoch)
        self._forget()
        return connection

    def _forget(self) -> None:
        """Delete the segments that nothing was written to for so long. Which is the first one kept is on the disk before."""
        before = self._clock.now() - self._retention
        paths = segments(self._folder)[:-1]
        old = list(takewhile(lambda path: _written(path) < before, paths))
        if not old:
            return
        draft = self._folder / (_KEPT + ".draft")
        with draft.open("w") as file:
            file.write(str(int(old[-1].stem) + 1))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._folder / _KEPT)
        for path in old:
            for name in (path.name + "-wal", path.name + "-shm", path.name):
                (self._folder / name).unlink(missing_ok=True)

    def _connect(self, path: Path, *, first: int, epoch: str) -> sqlite3.Connection:
        demand_whole(path)
        self._connection = connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._path, self.word = path, word(path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.execute(SQL["create_log"])
            connection.execute(SQL["create_meta"])
            connection.execute(SQL["begin_segment"], (first, epoch))
            connection.execute(SQL["begin_offsets"], (first - 1,))
        connection.execute("COMMIT")
        return connection


@dataclass(eq=False, slots=True)
class Waiting:
    """A batch that is to be appended."""

    batch: Sequence[Message]
    written: bool = False
    left: bool = False


class Line:
    """Batches that wait for the writer. Those that wait together are appended in one transaction, and so share its flush.

    Whoever put a batch in comes to `write` it, in the same order; it then mostly finds that an earlier one has done so.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: deque[Waiting] = deque()  # filled by the event loop, emptied on the thread

    def put(self, batch: Sequence[Message]) -> Waiting:
        """Line up a batch."""
        waiting = Waiting(batch)
        self._waiting.append(waiting)
        return waiting

    def leave(self, waiting: Waiting) -> None:
        """Take a batch out again whose publisher was cancelled, unless it is being written."""
        waiting.left = True
        self._remove(waiting)

    def write(self, first: Waiting) -> bool:
        """Append `first`, and what waits behind it; False when that was done before. Raises what `Writer.append` raises.

        Where they cannot be written together, for what is wrong with any of them, `first` is written alone.
        """
        if first.written:
            return False
        together = self._take(first)
        try:
            self._writer.append([message for each in together for message in each.batch])
        except Exception:
            if len(together) == 1:
                raise
            self._waiting.extendleft(each for each in reversed(together[1:]) if not each.left)
            together = [first]
            self._writer.append(first.batch)
        for each in together:
            each.written = True
        return True

    def _take(self, first: Waiting) -> list[Waiting]:
        self._remove(first)
        found, room = [first], TOGETHER - len(first.batch)
        with suppress(IndexError):  # the line is empty
            while len(self._waiting[0].batch) <= room:
                found.append(self._waiting.popleft())
                room -= len(found[-1].batch)
        return found

    def _remove(self, waiting: Waiting) -> None:
        with suppress(ValueError):
            self._waiting.remove(waiting)


def segment(folder: Path, number: int) -> Path:
    """The path of a segment."""
    return folder / f"{number:08d}.db"


def word(path: Path) -> bytes:
    """What is said of a segment when something is new in it: the source and the file."""
    return f"{path.parent.name}/{path.name}".encode()


def segments(folder: Path) -> list[Path]:
    """The segments in `folder`, oldest first."""
    return sorted(path for path in folder.glob("*.db") if path.stem.isdigit()) if folder.is_dir() else []


def first_kept(folder: Path) -> int:
    """The number of the first segment that was not deleted for its age; 1 while none was."""
    try:
        return int((folder / _KEPT).read_text())
    except FileNotFoundError:
        return 1
    except ValueError:
        raise StoreCorrupt(f"{folder / _KEPT} does not name a segment; restore it from a backup") from None


def begun(path: Path) -> bool:
    """Whether a segment is ready to be read: its writer may still be creating it, or delete it just now."""
    with mapped(path):
        try:
            with closing(read_only(path)) as connection:
                return bool(connection.execute("SELECT count(*) FROM meta").fetchone()[0])
        except sqlite3.OperationalError as error:
            if path.exists() and getattr(error, "sqlite_errorcode", 0) & 0xFF not in _NOT_YET:
                raise
            return False


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that only reads."""
    uri = f"file:{quote(str(path))}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def checksum(*columns: bytes) -> int:
    """Tells a damaged row, which SQLite does not; the type counts too, for a damaged one would pass for uninteresting."""
    return zlib.crc32(b"\0".join(columns))


def _row(m: Message) -> tuple[str, str, str, str, int]:
    expected = checksum(m.id.encode(), m.type.encode(), m.key.encode(), m.body.encode())
    return m.id, m.type, m.key, m.body, expected


class mapped:  # noqa: N801 - reads as a statement: `with mapped(path):`
    """Turn what the disk and SQLite raise about a log, or a file of it, into errors of our own."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise StoreCorrupt(f"the log in {self._path}: {error}. Restore it from a backup") from error
            raise EventError(f"the log in {self._path}: {error}") from error
        if isinstance(error, OSError):
            raise EventError(f"the log in {self._path}: {error.strerror}") from error


def _written(path: Path) -> float:
    """When a segment was last written to. What is in its WAL file counts too, but readers leave empty ones."""
    wal = path.with_name(path.name + "-wal")
    return max(each.stat().st_mtime for each in (path, wal) if each == path or (each.exists() and each.stat().st_size))


def _exclusive(folder: Path) -> int:
    lock = os.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if not isinstance(error, BlockingIOError):
            raise
        raise EventError(f"another process writes the event log {folder.name!r}") from None
    return lock


def _size(connection: sqlite3.Connection) -> int:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    return int(pages * connection.execute("PRAGMA page_size").fetchone()[0])
