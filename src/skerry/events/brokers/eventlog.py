"""The embedded transport: a folder in which each publishing service writes its own segments and others only read.

    events/
      wake/                     datagram sockets of the readers: a hint that something new is there
      order/                    the log of the service "order"
        00000001.db             a segment: an SQLite file, WAL, fully synchronised
        writer.lock             held by the one process that writes

Local disk and one machine only. A reader's positions live in the reader's own database. Offsets only grow and are never
reused: a segment continues where the one before it ended. A lost wake-up costs at most the poll interval.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import zlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from skerry.clock import SYSTEM, Clock
from skerry.errors import EventError, StoreCorrupt, UnknownPosition
from skerry.events.brokers.port import Delivery, Durability, Message, Position
from skerry.events.brokers.wake import Wake
from skerry.store import Queries

SEGMENT_BYTES = 64 * 1024 * 1024
_SQL = Queries("skerry.events", "sql/sqlite/eventlog.sql")


class EventLog:
    """The event log of one service in a shared folder. `publish` writes this service's log; `subscribe` reads all logs."""

    durability: Durability = "flushed"

    def __init__(self, folder: Path, *, source: str, segment_bytes: int = SEGMENT_BYTES, clock: Clock = SYSTEM) -> None:
        self.folder = folder
        self.source = source
        self._writer = _Writer(folder / source, segment_bytes, clock)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{source}-log")
        self._clock = clock
        self.wake = Wake(folder / "wake")
        self._subscriptions: list[_LogSubscription] = []

    async def publish(self, batch: Sequence[Message]) -> None:
        """Append in one transaction. Raises `EventError` while another process writes this service's log."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.append, batch)
        self.wake.ring()

    async def subscribe(
        self, group: str, types: Collection[str], positions: Mapping[str, Position]
    ) -> _LogSubscription:
        """Read all logs in the folder, also those of services that come later."""
        subscription = _LogSubscription(self, group, frozenset(types), positions, self._clock)
        self._subscriptions.append(subscription)
        self.wake.listen(f"{self.source}-{os.getpid()}")
        return subscription

    async def close(self) -> None:
        """Close the writer and every subscription."""
        for subscription in self._subscriptions:
            await subscription.close()
        self._subscriptions.clear()
        self.wake.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.close)
        self._thread.shutdown(wait=False)


class _Writer:
    """Appends to one service's log; all methods run on the log's thread."""

    def __init__(self, folder: Path, segment_bytes: int, clock: Clock) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._path = folder
        self._lock: int | None = None

    def append(self, batch: Sequence[Message]) -> None:
        connection = self._connection or self._open()
        if self._size(connection) > self._segment_bytes:
            connection = self._roll(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(
                _SQL["append"], [(m.id, m.type, m.key, m.body, zlib.crc32(m.body.encode())) for m in batch]
            )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open(self) -> sqlite3.Connection:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            lock = os.open(self._folder / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise EventError(f"another process writes the event log {self._folder.name!r}") from None
            self._lock = lock
        paths = _segments(self._folder)
        path, first, epoch = self._folder / "00000001.db", 1, str(self._clock.uuid())
        for path in paths[-2:]:  # the last one may be empty still: its writer died while beginning it
            if _begun(path):
                first, epoch = self._after(path)
        self._connection = self._connect(path, first=first, epoch=epoch)
        return self._connection

    @staticmethod
    def _after(path: Path) -> tuple[int, str]:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            _, last, epoch = connection.execute(_SQL["span"]).fetchone()
        finally:
            connection.close()
        return last + 1, epoch

    def _roll(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Begin the next segment. Its first offset is fixed before it can be seen, so readers never guess."""
        _, last, epoch = connection.execute(_SQL["span"]).fetchone()
        following = self._folder / f"{int(self._path.stem) + 1:08d}.db"
        connection.close()
        self._connection = None
        self._connection = self._connect(following, first=last + 1, epoch=epoch)
        return self._connection

    def _connect(self, path: Path, *, first: int, epoch: str) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                connection.execute(_SQL["create_log"])
                connection.execute(_SQL["create_meta"])
                connection.execute(_SQL["begin_segment"], (first, epoch))
                connection.execute(_SQL["begin_offsets"], (first - 1,))
            connection.execute("COMMIT")
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise StoreCorrupt(f"{path} is damaged; restore it from a backup")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise StoreCorrupt(f"{path}: {error}") from error
        except BaseException:
            connection.close()
            raise
        self._path = path
        return connection

    @staticmethod
    def _size(connection: sqlite3.Connection) -> int:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        return int(pages * connection.execute("PRAGMA page_size").fetchone()[0])


@dataclass(slots=True)
class _Reader:
    """Where a subscription stands in one source's log."""

    folder: Path
    position: Position | None
    connection: sqlite3.Connection | None = None
    segment: int = 0
    epoch: str = ""

    @property
    def offset(self) -> int:
        return 0 if self.position is None else self.position.offset


class _LogSubscription:
    def __init__(
        self,
        log: EventLog,
        group: str,
        types: frozenset[str],
        positions: Mapping[str, Position],
        clock: Clock,
    ) -> None:
        self._log = log
        self._types = types
        self._clock = clock
        self._readers = {s: _Reader(log.folder / s, position) for s, position in positions.items()}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{group}-tail")
        self._closed = False

    async def fetch(self, limit: int, *, wait: float) -> Sequence[Delivery]:
        """See `Subscription.fetch`. Sources take turns, so that a busy one does not starve the others."""
        loop = asyncio.get_running_loop()
        rings = self._log.wake.rings  # counted before reading, so that a ring in between is not missed
        found = await loop.run_in_executor(self._thread, self._read, limit)
        if not found and wait > 0:
            await self._log.wake.wait(wait, after=rings)
            found = await loop.run_in_executor(self._thread, self._read, limit)
        return found

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Nothing to do: the position is committed with the effect, in the consumer's database."""

    async def lag(self) -> int:
        """See `Subscription.lag`; counts over all sources."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._count)

    async def close(self) -> None:
        """Close the readers. Safe to call twice."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=False)

    def _close(self) -> None:
        for reader in self._readers.values():
            if reader.connection is not None:
                reader.connection.close()
                reader.connection = None

    def _discover(self) -> None:
        if self._log.folder.is_dir():
            for entry in os.scandir(self._log.folder):
                if entry.is_dir() and entry.name != "wake" and entry.name not in self._readers:
                    self._readers[entry.name] = _Reader(self._log.folder / entry.name, None)

    def _read(self, limit: int) -> list[Delivery]:
        self._discover()
        share = max(1, limit // max(1, len(self._readers)))
        found: list[Delivery] = []
        for source, reader in self._readers.items():
            found += self._read_source(source, reader, share)
        return found

    def _read_source(self, source: str, reader: _Reader, limit: int) -> list[Delivery]:
        while self._attach(source, reader):
            assert reader.connection is not None
            # whether a next segment exists is looked up BEFORE reading: what is read afterwards is then all there is
            following = reader.folder / f"{reader.segment + 1:08d}.db"
            sealed = following.exists()
            rows = reader.connection.execute(_SQL["read"], (reader.offset, limit)).fetchall()
            if rows:
                reader.position = Position(rows[-1][0], reader.epoch)
                wanted = [self._delivery(source, reader.epoch, row) for row in rows if row[2] in self._types]
                if wanted:
                    return wanted
                continue
            if not sealed or not _begun(following):
                return []
            reader.connection.close()
            reader.connection, reader.segment = None, reader.segment + 1
        return []

    def _delivery(self, source: str, epoch: str, row: tuple[int, str, str, str, str, int]) -> Delivery:
        offset, identifier, event_type, key, body, checksum = row
        if zlib.crc32(body.encode()) != checksum:
            raise StoreCorrupt(f"the log of {source}: the event at {offset} does not match its checksum")
        return Delivery(Message(identifier, event_type, key, body), source, Position(offset, epoch))

    def _attach(self, source: str, reader: _Reader) -> bool:
        """Open the segment the reader needs next; False while there is none."""
        if reader.connection is not None:
            return True
        paths = {int(path.stem): path for path in _segments(reader.folder)}
        for number in [reader.segment] if reader.segment else sorted(paths, reverse=True):
            if number not in paths or not _begun(paths[number]):
                continue
            connection = sqlite3.connect(
                f"file:{paths[number]}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            first, last, epoch = connection.execute(_SQL["span"]).fetchone()
            if reader.position is not None and epoch != reader.position.epoch:
                connection.close()
                raise UnknownPosition(f"the log of {source} was replaced: its epoch is not the one consumed before")
            if reader.offset + 1 >= first:
                if reader.offset > last and not reader.segment:
                    connection.close()
                    raise UnknownPosition(f"the log of {source} ends at {last}, before the position {reader.offset}")
                reader.connection, reader.segment, reader.epoch = connection, number, epoch
                return True
            connection.close()
        if paths and 1 not in paths and not reader.segment:
            raise UnknownPosition(f"the log of {source} does not reach back to {reader.offset + 1}")
        return False

    def _count(self) -> int:
        self._discover()
        total = 0
        marks = ",".join("?" * len(self._types))
        for reader in self._readers.values():
            for path in _segments(reader.folder):
                if not _begun(path):
                    continue
                connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
                try:
                    sql = f"SELECT count(*) FROM log WHERE position > ? AND type IN ({marks})"  # noqa: S608 - marks only
                    total += connection.execute(sql, (reader.offset, *sorted(self._types))).fetchone()[0]
                finally:
                    connection.close()
        return total


def _segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.db") if path.stem.isdigit()) if folder.is_dir() else []


def _begun(path: Path) -> bool:
    """Whether a segment is ready to be read: its writer may still be creating it."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return False
    try:
        return bool(connection.execute("SELECT count(*) FROM meta").fetchone()[0])
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
