"""The outbox where there are no tables: events travel inside the document whose change they tell of, in the same one write.

The relay finds the documents that carry some, hands them to the broker in the order of each document, and takes them out once
the broker has them, by a write that leaves alone what was added meanwhile. Killed in between, it hands them over again: at
least once. Deleted documents leave behind what they still have to tell.

Source: "Transactional outbox", microservices.io, whose outbox is a property of the changed record on NoSQL databases.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, NoReturn, Protocol, TypeVar, cast

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.events.brokers import Broker, Message
from skerry.events.envelope import with_sequence
from skerry.events.event import DomainEvent
from skerry.events.outbox import Outbox, Token, message
from skerry.events.relay import BATCH, Relay
from skerry.events.telling import sending
from skerry.signals import EventsRelayed, emit
from skerry.store import Database, Holding, Lease
from skerry.store.documents import Carrier, Entry

MAX_WAITING: Final = 100_000
"""Events in all documents together. They are counted once a second, which costs the server more than rows do."""


class Unsent(Protocol):
    """The events of one document that are not handed over yet."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """In their order."""
        ...


U = TypeVar("U", bound=Unsent)


class DocumentDatabase(Protocol[U]):
    """What is asked of a database here, beside `lead`, `ring` and `on_ring`, which are as in `Database`."""

    async def unsent(self, limit: int) -> list[U]:
        """At most `limit` events, by document."""
        ...

    async def handed_over(self, unsent: U) -> None:
        """Take out the events that the broker has."""
        ...

    async def waiting(self) -> int:
        """How many events are not handed over yet."""
        ...


class EmbeddedOutbox(Outbox):
    """The outbox of the service `source`, in the documents of its own database.

    Order holds within a document. An event whose key is the document's id has a number that counts within the key, so
    documents of two collections that tell of themselves need different ids; any other event has no number.
    """

    def __init__(
        self, source: str, database: DocumentDatabase[Any], *, limit: int = MAX_WAITING, clock: Clock = SYSTEM
    ) -> None:
        super().__init__(source, limit=limit, clock=clock)
        self._documents = database

    async def record(self, tx: object, *events: DomainEvent, delay: float = 0.0) -> Token:
        """Record `events` with the document that the unit of work `tx` changes; the token of the last one.

        Raises `TypeError` when `tx` is no unit of work of documents, `NoTransaction` when it has ended, `InvalidEvent` when an
        event is too large or not plain JSON, `OutboxFull`, `ConfigurationError` for a `delay`.
        """
        if delay > 0:
            raise ConfigurationError(f"{self.source}: the database is MongoDB, where an event cannot be delayed")
        if not isinstance(tx, Carrier):
            what = type(tx).__name__
            raise TypeError(f"{self.source}: events are recorded in `service.transaction()`, not in a {what}")
        self._demand_room()
        messages = [message(self.seal(event)) for event in events]
        tx.carry([Entry(each.id, each.type, each.key, each.body) for each in messages])
        tx.on_commit(self._wake)
        return self._token(messages)

    def record_sync(self, *_: object, **__: object) -> NoReturn:
        """Refused: documents are changed from asynchronous code."""
        raise ConfigurationError(f"{self.source}: the database is MongoDB: record events with `await record(...)`")

    async def waiting(self, _database: object = None) -> int:
        """How many committed events the relay has not handed over yet."""
        return await self._documents.waiting()

    async def _counted(self, _database: object, _bound: int) -> int:
        return await self._documents.waiting()


class EmbeddedRelay(Relay):
    """Hands the events in the documents of one database to one broker, until stopped. It leads and waits as `Relay` does."""

    def __init__(
        self, database: DocumentDatabase[U], outbox: EmbeddedOutbox, broker: Broker, *, clock: Clock = SYSTEM
    ) -> None:
        # What `Relay` itself asks for is there: `lead`, `ring` and `on_ring`
        super().__init__(cast("Database", database), outbox, broker, clock=clock)
        self._documents: DocumentDatabase[Any] = database

    async def _follow(self) -> None:
        """All of it or nothing: a document is read and written whole."""
        async with self._database.lead("relay") as lease:
            held = _Whole(lease)
            await self._drain(held, partial(self.pass_on, held))

    async def pass_on(self, share: Holding) -> int:
        """Relay one batch; how many events it had. Raises `LeaseLost` when another relay may lead by now."""
        found = await self._documents.unsent(BATCH)
        if not found:
            return 0
        share.check()
        messages = [_message(entry) for unsent in found for entry in unsent.entries]
        with sending(messages, clock=self._clock):
            await self._broker.publish(messages)
        for unsent in found:
            # No fence: the broker has these very events, so whoever leads by now loses nothing when they are taken out
            await self._documents.handed_over(unsent)
        count = sum(len(unsent.entries) for unsent in found)
        emit(EventsRelayed(service=self._outbox.source, count=count))
        return count


class _Whole:
    """A lease as a holding of one part, see `Holding`."""

    parts = (0,)
    whole = True

    def __init__(self, lease: Lease) -> None:
        self.check = lease.check

    async def settle(self) -> None:
        """Nobody else wants a part of it."""


def _message(entry: Entry) -> Message:
    body = with_sequence(entry.body, entry.sequence) if entry.sequence else entry.body
    return Message(entry.id, entry.type, entry.key, body)
