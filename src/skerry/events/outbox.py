"""The transactional outbox: an event is recorded in the transaction that made it true.

Either both the state and the event are committed or neither is, so the database and the log can never disagree. The relay
moves committed events to the broker afterwards, in the order they were recorded.

Source: "Transactional outbox" and "Polling publisher", microservices.io.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import ClassVar, Final

from skerry.clock import SYSTEM, Clock
from skerry.context import current
from skerry.errors import OutboxFull
from skerry.events.brokers import Message
from skerry.events.envelope import Envelope
from skerry.events.event import DomainEvent
from skerry.events.telling import created
from skerry.signals import OutboxChanged, emit
from skerry.store import Database, Dialect, Queries, Schema, Tx, adapt, adapt_sync, migrate
from skerry.store.tx import Parameters
from skerry.telemetry.spans import wanted

SQL = Queries("skerry.events", "sql/events.sql")

MAX_WAITING: Final = 1_000_000
"""Events of roughly 1 KiB: an hour without a broker at 300 a second."""
ROOM: Final = 0.9
"""A full outbox takes events again once it is filled to this share."""

Later = Callable[[str, Parameters], None]

cause: ContextVar[str] = ContextVar("skerry_cause", default="")
"""The id of the event being handled, so that what is recorded meanwhile says what led to it."""


@dataclass(frozen=True, slots=True)
class Token:
    """Names what one `record` recorded: the service, the id of the last event, and the id and type of each."""

    source: str
    event_id: str
    events: tuple[tuple[str, str], ...] = ()


class Outbox:
    """The outbox of the service `source`, in its own database.

    It buffers what the broker does not take, up to `limit` events, roughly: the relay looks once a second. Then `record`
    raises `OutboxFull`, so that the disk is not what ends first. Delayed events do not count.
    """

    schema: ClassVar[Schema] = Schema("skerry.events", files("skerry.events").joinpath("sql/migrations"))

    def __init__(self, source: str, *, limit: int = MAX_WAITING, clock: Clock = SYSTEM) -> None:
        self.source = source
        self.limit = limit
        self.full: bool = False
        self._clock = clock
        self._wake: Callable[[], None] = _nobody
        self._loop: asyncio.AbstractEventLoop | None = None

    @staticmethod
    async def prepare(database: Database) -> None:
        """Create the tables of outbox, inbox and dead letters in `database`."""
        await migrate(database, Outbox.schema.component, Outbox.schema.folder)

    def on_record(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each commit that recorded something; the relay uses it."""
        self._wake = wake

    def heard_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Where `wake` may be called: `record_sync` can come from any thread."""
        self._loop = loop

    async def record(self, tx: object, *events: DomainEvent, delay: float = 0.0) -> Token:
        """Record `events` in the caller's open transaction; the token of the last one.

        Writers of one key wait for each other, so that the order of its events is that of the commits. With a `delay`, in
        seconds, the events are handed over no sooner, and outside that order. Never opens or ends a transaction. Raises
        `NoTransaction` when `tx` has none open, `InvalidEvent` when an event is too large or not plain JSON, `OutboxFull`.
        """
        self._demand_room()
        adapted: Tx = adapt(tx)
        messages = [message(self.seal(event)) for event in events]  # all of them, before the first is written
        later: Later | None = getattr(adapted, "later", None)
        for each in messages:
            for statement, parameters in self._writes(each, adapted.dialect, delay):
                if later is None:
                    await adapted.execute(statement, parameters)
                else:  # a transaction of ours: with its commit, which costs no way to the server and back
                    later(statement, parameters)
        adapted.on_commit(self._wake)
        return self._token(messages)

    def record_sync(self, tx: object, *events: DomainEvent, delay: float = 0.0) -> Token:
        """The same from synchronous code, on any thread. Where the driver tells of commits the relay of this process wakes up,
        else it sees the events at its next look.
        """
        self._demand_room()
        adapted = adapt_sync(tx)
        messages = [message(self.seal(event)) for event in events]
        for each in messages:
            for statement, parameters in self._writes(each, adapted.dialect, delay):
                adapted.execute(statement, parameters)
        adapted.on_commit(self._wake_from_any_thread)
        return self._token(messages)

    def _wake_from_any_thread(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed: nobody relays here any more
                self._loop.call_soon_threadsafe(self._wake)

    def _token(self, messages: list[Message]) -> Token:
        last = messages[-1].id if messages else ""
        return Token(self.source, last, tuple((each.id, each.type) for each in messages))

    def _writes(self, each: Message, dialect: Dialect, delay: float) -> Iterator[tuple[str, Parameters]]:
        if delay > 0:
            yield SQL["outbox_delay"], (each.id, each.type, each.key, each.body, self._clock.now() + delay)
            return
        if dialect == "sqlite":
            yield SQL["outbox_next"], (each.key,)
        yield SQL["outbox_insert"], (each.id, each.type, each.key, each.body)

    async def measure(self, database: Database) -> None:
        """Find out whether there is room; the relay asks for it."""
        bound = int(self.limit * ROOM) if self.full else self.limit
        waiting = await self._counted(database, bound)
        if self.full != (waiting >= bound):
            self.full = not self.full
            emit(OutboxChanged(service=self.source, full=self.full, waiting=waiting))

    async def _counted(self, database: Database, bound: int) -> int:
        """How many wait; below `bound` it may be more than there are."""
        waiting = int((await database.fetch_one(SQL["outbox_most"]))[0])
        if waiting >= bound:
            waiting = int((await database.fetch_one(SQL["outbox_counted"], (self.limit,)))[0])
        return waiting

    def _demand_room(self) -> None:
        if self.full:
            raise OutboxFull(
                f"{self.limit} events in the outbox of {self.source} wait for the broker: nothing more is recorded"
            )

    async def waiting(self, database: Database) -> int:
        """How many committed events the relay has not handed over yet."""
        return int((await database.fetch_one(SQL["outbox_count"]))[0])

    def seal(self, event: DomainEvent) -> Envelope:
        """Put an event into an envelope of its own: a fresh id, this service as source, the current trace."""
        id_ = self._clock.uuid_text()
        return Envelope(
            id=id_,
            source=self.source,
            type=event.event_type,
            time=_rfc3339(self._clock.now()),
            key=event.key,
            version=event.event_version,
            data=event.model_dump(mode="json"),
            traceparent=created(id_, event.event_type, clock=self._clock) if wanted() else current().traceparent,
            causation=cause.get(),
        )


def message(envelope: Envelope) -> Message:
    """The envelope as a transport carries it."""
    return Message(envelope.id, envelope.type, envelope.key, envelope.to_json())


def _rfc3339(now: float) -> str:
    return f"{_second(int(now))}.{int(now % 1 * 1000):03d}Z"


@lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _nobody() -> None:
    """Nobody waits yet."""
