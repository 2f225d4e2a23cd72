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
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, EventError, SkerryError, StoreCorrupt, StoreError, UnknownPosition
from skerry.events.brokers.port import Delivery, Durability, Features, Message, Position
from skerry.events.brokers.segments import (
    SQL,
    Line,
    Waiting,
    Writer,
    begun,
    checksum,
    first_kept,
    mapped,
    read_only,
    segment,
    segments,
    word,
)
from skerry.events.brokers.wake import Wake
from skerry.events.brokers.wire import readable
from skerry.store.lane import Lane
from skerry.store.thread import OneThread

T = TypeVar("T")

SEGMENT_BYTES = 64 * 1024 * 1024
DAY = 86400.0
RETENTION = 30 * DAY
"""Seconds for which an event is kept at least: as long as the receipts of what was handled."""
AGAIN = 1.0
"""Seconds until a log that cannot be read is tried again, while others go on."""
_WAKE = "wake"
_NEVER = -1
"""What no count of rings is."""
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class EventLog:
    """The event log of one service in a shared folder. `publish` writes this service's log; `subscribe` reads all logs."""

    durability: Durability = "flushed"
    features: Features = Features(atomic=True, fenced=True, deduplicates=True)

    def __init__(
        self,
        folder: Path,
        *,
        source: str,
        segment_bytes: int = SEGMENT_BYTES,
        retention: float = RETENTION,
        clock: Clock = SYSTEM,
    ) -> None:
        if source == _WAKE or not _SOURCE.fullmatch(source):
            raise ConfigurationError(
                f"{source!r} cannot be the name of a log: it names a folder, and {_WAKE!r} is taken"
            )
        self.folder = folder
        self.source = source
        self.clock = clock
        self.wake: Wake = Wake(folder / _WAKE)
        self._writer = Writer(folder / source, segment_bytes, retention, clock)
        self._line = Line(self._writer)
        self._thread = OneThread(f"{source}-log")
        self._subscriptions: set[LogSubscription] = set()
        self._ended = ""

    async def publish(self, batch: Sequence[Message]) -> None:
        """Append in one transaction, which batches that wait together share. Raises `EventError` while another process writes."""
        self._check_open()
        if not batch:
            return
        waiting = self._line.put(batch)
        try:
            await self._thread.run(self._append, waiting)
        except asyncio.CancelledError:
            self._line.leave(waiting)
            raise
        if not self.wake.hears:
            self.wake.stir()

    async def subscribe(self, group: str, types: Collection[str], positions: Mapping[str, Position]) -> LogSubscription:
        """Read all logs in the folder, also those of services that come later."""
        self._check_open()
        subscription = LogSubscription(self, group, frozenset(types), positions)
        self._subscriptions.add(subscription)
        await self.wake.listen(f"{self.source}-{os.getpid()}")
        return subscription

    async def drain(self) -> None:
        """See `Broker.drain`."""
        self._ended = self._ended or "drained"
        for subscription in self._subscriptions:
            subscription.draining = True
        await self.wake.ring()
        if self._ended == "drained":
            await self._thread.run(int)  # behind what is being written

    async def close(self) -> None:
        """Close the writer and every subscription."""
        if self._ended == "closed":
            return
        self._ended = "closed"
        for subscription in list(self._subscriptions):
            await subscription.close()
        await self.wake.close()
        await self._thread.run(self._writer.close)
        self._thread.close()

    def forget(self, subscription: LogSubscription) -> None:
        """A subscription has closed."""
        self._subscriptions.discard(subscription)

    def _append(self, waiting: Waiting) -> None:
        if self._line.write(waiting):
            self.wake.ring_others(self._writer.word)

    def _check_open(self) -> None:
        if self._ended:
            raise EventError(f"the event log of {self.source!r} is {self._ended}")


@dataclass(slots=True)
class _Reader:
    """Where a subscription stands in one source's log."""

    source: str
    folder: Path
    position: Position | None
    connection: sqlite3.Connection | None = None
    segment: int = 0
    path: Path = Path()
    word: bytes = b""
    following: Path = Path()
    epoch: str = ""
    not_before: float = 0.0
    trouble: SkerryError | None = None
    again_at: float = 0.0

    @property
    def offset(self) -> int:
        return 0 if self.position is None else self.position.offset

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def rewind(self, position: Position | None, *, not_before: float = 0.0) -> None:
        self.close()
        self.segment, self.position, self.not_before = 0, position, not_before


class LogSubscription:
    """One group's reading of all logs in a folder."""

    def __init__(self, log: EventLog, group: str, types: frozenset[str], positions: Mapping[str, Position]) -> None:
        self._log = log
        self._types = types
        self._readers = {source: _Reader(source, log.folder / source, at) for source, at in positions.items()}
        self._lane = Lane(f"{group}-tail", clock=log.clock)
        self._closed = False
        self._clock = log.clock
        self._rest = False  # whether the last reading may have left something
        self._ended_at = _NEVER  # the count of rings at which all there was had been read
        self._looked_at = _NEVER  # the same of the last look for logs and segments that are new
        self.draining = False

    async def fetch(self, limit: int, *, wait: float) -> Sequence[Delivery]:
        """See `Subscription.fetch`. Sources take turns, so that a busy one does not starve the others.

        A fetch that is cancelled has fetched nothing: the next one returns the same events.
        """
        wake, found = self._log.wake, list[Delivery]()
        rings = wake.rings  # counted before reading, so that a ring in between is not missed
        if wait <= 0 or rings != self._ended_at or (self._may_be_new() and await self._run(self._is_new)):
            found = await self._run(lambda: self._read(limit))
        self._looked_at = rings
        if not found and wait > 0:
            await wake.wait(min(wait, self._pause()), after=rings)
            rings = wake.rings
            found = await self._run(lambda: self._read_known(limit, files=False), "read")
            found = found or await self._run(lambda: self._read(limit))
        for delivery in found:
            self._readers[delivery.source].position = delivery.position
        self._ended_at = rings if wake.hears and not self._rest else _NEVER
        return found

    @property
    def trouble(self) -> str:
        """See `Subscription`: one damaged log does not stop the reading of the others."""
        found = [reader.trouble for reader in self._readers.values() if reader.trouble is not None]
        return "; ".join(f"{type(error).__name__}: {error}" for error in found)

    def _pause(self) -> float:
        now = self._clock.monotonic()
        return min((r.not_before - now for r in self._readers.values() if r.not_before > now), default=float("inf"))

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        """See `Subscription.nack`."""
        assert delivery.position is not None
        before = Position(delivery.position.offset - 1, delivery.position.epoch)
        not_before = self._clock.monotonic() + delay
        await self._run(lambda: self._readers[delivery.source].rewind(before, not_before=not_before))

    async def seek(self, where: Literal["start", "end"] | Mapping[str, Position]) -> None:
        """See `Subscription.seek`."""
        await self._run(lambda: self._seek(where))

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Nothing to do: the position is committed with the effect, in the consumer's database."""

    async def lag(self) -> int:
        """See `Subscription.lag`; counts over all sources."""
        return await self._run(self._count)

    async def close(self) -> None:
        """Close the readers. Safe to call twice, and while another task fetches: that one then raises `EventError`."""
        if not self._closed:
            self._closed = True
            self._log.forget(self)
            self._log.wake.stir()
            await self._lane.there(self._close)
            self._lane.close()

    async def _run(self, function: Callable[[], T], call: str = "") -> T:
        if self._closed:
            raise EventError("the subscription is closed")
        return await (self._lane.run(call, function) if call else self._lane.there(function))

    def _close(self) -> None:
        for reader in self._readers.values():
            reader.close()

    def _may_be_new(self) -> bool:
        """Whether a ring since the last look told of something else than open segments, or did not say of what."""
        told = {reader.word for reader in self._readers.values() if reader.connection is not None}
        heard = {each for each, ring in self._log.wake.heard.items() if ring > self._looked_at}
        return len(told) < len(self._readers) or not heard <= told

    def _is_new(self) -> bool:
        """Whether a log or a segment has come that was not there when all was read: its ring may have been heard before."""
        known = len(self._readers)
        with mapped(self._log.folder):
            self._discover()
        readers = self._readers.values()
        return len(readers) > known or any(each.connection is None or each.following.exists() for each in readers)

    def _discover(self) -> None:
        with suppress(FileNotFoundError):
            for entry in os.scandir(self._log.folder):
                if entry.name not in self._readers and entry.name != _WAKE and entry.is_dir():
                    self._readers[entry.name] = _Reader(entry.name, self._log.folder / entry.name, None)

    def _read(self, limit: int) -> list[Delivery]:
        with mapped(self._log.folder):
            self._discover()
        return self._read_known(limit, files=True)

    def _read_known(self, limit: int, *, files: bool) -> list[Delivery]:
        """`_read` without a look for new logs, which takes as long as the reading.

        Without `files` it only asks SQLite for what is in open segments, which may be done in the event loop.
        """
        share = max(1, limit // max(1, len(self._readers)))
        found: list[Delivery] = []
        now = self._clock.monotonic()
        self._rest = self.draining
        for reader in self._readers.values():
            ready = reader.not_before <= now and (files or reader.connection is not None)
            if len(found) < limit and ready and not self.draining:
                found += self._read_alone(reader, min(share, limit - len(found)), now, files=files)
            else:
                self._rest = True
        readers = self._readers.values()
        if files and readers and all(reader.trouble is not None for reader in readers):
            self._give_up()
        return found

    def _read_alone(self, reader: _Reader, limit: int, now: float, *, files: bool) -> list[Delivery]:
        """What a source has; nothing while it is in trouble, of which the others know nothing."""
        if reader.again_at > now:
            self._rest = True
            return []
        reader.trouble, found = None, []
        try:
            with mapped(reader.folder):
                found = self._read_source(reader, limit, files=files)
        except (EventError, StoreError) as error:
            reader.close()
            reader.trouble, reader.again_at, self._rest = error, now + AGAIN, True
        return found

    def _give_up(self) -> None:
        """Nothing can be read: the caller is told, and all is tried at the next fetch."""
        for reader in self._readers.values():
            reader.again_at = 0.0
        raise next(reader.trouble for reader in self._readers.values() if reader.trouble is not None)

    def _read_source(self, reader: _Reader, limit: int, *, files: bool) -> list[Delivery]:
        while not self._closed and (self._attach(reader) if files else reader.connection is not None):
            assert reader.connection is not None
            sealed = False
            with mapped(reader.path):
                rows = reader.connection.execute(SQL["read"], (reader.offset, limit)).fetchall()
                if not rows and files and reader.following.exists():  # what is read now is all there is
                    sealed = True
                    rows = reader.connection.execute(SQL["read"], (reader.offset, limit)).fetchall()
            if rows:
                self._rest = self._rest or len(rows) == limit
                found = self._deliveries(reader, rows)
                if found:
                    return found
                reader.position = Position(rows[-1][0], reader.epoch)
            elif not files:
                return []
            elif sealed and begun(reader.following):
                reader.close()
                reader.segment += 1
            elif first_kept(reader.folder) > reader.segment + 1:  # what follows was deleted under a slow reader
                reader.close()
                reader.segment = 0
            else:
                return []
        return []

    def _deliveries(
        self, reader: _Reader, rows: Sequence[tuple[int, bytes, bytes, bytes, bytes, int]]
    ) -> list[Delivery]:
        """The rows of the wanted types; a damaged row ends them, and raises `StoreCorrupt` when it comes first."""
        found: list[Delivery] = []
        for offset, identifier, event_type, key, body, expected in rows:
            if checksum(identifier, event_type, key, body) != expected:
                if found:
                    self._rest = True
                    break
                raise StoreCorrupt(
                    f"{reader.path}: the event at {offset} does not match its checksum. Restore it from a backup"
                )
            name = _text(event_type)
            if name in self._types:
                message = Message(_text(identifier), name, _text(key), readable(body))
                found.append(Delivery(message, reader.source, Position(offset, reader.epoch)))
        return found

    def _seek(self, where: Literal["start", "end"] | Mapping[str, Position]) -> None:
        with mapped(self._log.folder):
            self._discover()
            for reader in list(self._readers.values()) if isinstance(where, str) else []:
                reader.rewind(_last(reader.folder) if where == "end" else None)
        for source, position in where.items() if not isinstance(where, str) else []:
            self._readers.setdefault(source, _Reader(source, self._log.folder / source, None)).rewind(position)

    def _attach(self, reader: _Reader) -> bool:
        """Open the segment the reader needs next; False while there is none."""
        if reader.connection is not None:
            return True
        paths = {int(path.stem): path for path in segments(reader.folder)}
        for number in [reader.segment] if reader.segment else sorted(paths, reverse=True):
            if number not in paths or not begun(paths[number]):
                continue
            reader.connection = read_only(paths[number])
            try:
                with mapped(paths[number]):
                    fits = self._fits(reader)
            except BaseException:
                reader.close()
                raise
            if fits:
                reader.segment = number
                reader.path, reader.word = paths[number], word(paths[number])
                reader.following = segment(reader.folder, number + 1)
                return True
            reader.close()
        kept = first_kept(reader.folder)
        if reader.position is None and kept in paths and not reader.segment:
            reader.segment = kept  # a new group missed nothing that was kept for it
            return self._attach(reader)
        if paths and 1 not in paths and not reader.segment:
            raise UnknownPosition(f"the log of {reader.source} does not reach back to {reader.offset + 1}")
        return False

    @staticmethod
    def _fits(reader: _Reader) -> bool:
        """Whether the segment just opened holds what follows the reader's position."""
        assert reader.connection is not None
        first, last, reader.epoch = reader.connection.execute(SQL["span"]).fetchone()
        source, offset = reader.source, reader.offset
        if reader.position is not None and reader.epoch != reader.position.epoch:
            raise UnknownPosition(f"the log of {source} was replaced: its epoch is not the one consumed before")
        if offset + 1 >= first and offset > last and not reader.segment:
            raise UnknownPosition(f"the log of {source} ends at {last}, before the position {offset}")
        return bool(offset + 1 >= first) or (reader.position is None and reader.segment > 0)

    def _count(self) -> int:
        marks = ",".join("?" * len(self._types))
        sql = f"SELECT count(*) FROM log WHERE position > ? AND type IN ({marks})"  # noqa: S608 - marks only
        total = 0
        with mapped(self._log.folder):
            self._discover()
            for reader in self._readers.values():
                for path in filter(begun, segments(reader.folder)):
                    with closing(read_only(path)) as connection:
                        total += connection.execute(sql, (reader.offset, *sorted(self._types))).fetchone()[0]
        return total


def _text(column: bytes) -> str:
    return str(column, "utf-8", "replace")


def _last(folder: Path) -> Position | None:
    """The position of the last event in a log."""
    for path in reversed(segments(folder)):
        if begun(path):
            with closing(read_only(path)) as connection:
                _, last, epoch = connection.execute(SQL["span"]).fetchone()
            return Position(last, epoch) if last else None
    return None
