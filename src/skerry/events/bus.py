"""`EventBus`: handlers on one side, the broker on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, DurabilityTooLow
from skerry.events.brokers import Broker
from skerry.events.consumer import Consumer
from skerry.events.event import DomainEvent
from skerry.events.inbox import EventHandler, Inbox, Registration
from skerry.events.outbox import Outbox, message
from skerry.events.parking import DeadLetter
from skerry.events.telling import sending
from skerry.resilience import Retry

H = TypeVar("H", bound=EventHandler)

HANDLER_RETRY = Retry(8, base=0.2, cap=30.0)
"""Eight attempts within roughly a minute, then a dead letter."""
LONGEST_LINGER = 60.0


class EventBus:
    """Publishes the events of one service and runs its handlers.

    Raises `DurabilityTooLow` when the broker acknowledges before the data is on disk, unless `accept_process` says that this
    is fine, as it is in a test.
    """

    def __init__(self, broker: Broker, *, source: str, accept_process: bool = False, clock: Clock = SYSTEM) -> None:
        if broker.durability == "process" and not accept_process:
            raise DurabilityTooLow(f"the broker of {source} loses acknowledged events when it stops")
        self.broker = broker
        self.consumers: dict[str, Consumer] = {}
        self._source = source
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def on(
        self,
        event: type[DomainEvent],
        *,
        inbox: Inbox,
        group: str | None = None,
        retry: Retry = HANDLER_RETRY,
        on_poison: DeadLetter = DeadLetter(),  # noqa: B008 - frozen
        timeout: float = 30.0,
        batch: int = 1,
        linger: float = 0.0,
        gaps: float = 0.0,
    ) -> Callable[[H], H]:
        """Register `async def handler(event, tx)` for an event class.

        All handlers of one group share a position and a database, and `retry` and `on_poison` are those of its first
        handler. Whatever a handler raises is tried again: of `retry` the attempts and delays count, not `on` and `budget`.
        Per key the order is kept, also across the event classes of a group. `timeout` is in seconds.
        With a `batch` above 1 it is `async def handler(events, tx)`: a list of at most so many events that wait together, in
        their order; when it fails, it is called again with one event at a time. Fewer wait `linger` seconds, at most 60, for
        more: for effects that are dear, such as an insert into a column store.

        `gaps`, that of the group's first handler, is for how many seconds an event waits for one of a lower number of its key
        that has not come. It is for a group that handles all types of its keys, where the broker, or who else publishes, may let
        events be overtaken; after that time it goes on without. Such a group handles one event in a transaction.

        Raises `ConfigurationError` for a second handler of the same class in a group, another database than that of the
        group, and after `start`.
        """
        name = group or self._source
        if not 0.0 <= linger <= LONGEST_LINGER or (linger and batch <= 1):
            raise ConfigurationError(
                f"the handler of {event.event_type}: linger is at most {LONGEST_LINGER:g} s, and needs a batch above 1"
            )

        def register(handler: H) -> H:
            if self._tasks:
                raise ConfigurationError(
                    f"the handler of {event.event_type} comes too late: events are handled already"
                )
            consumer = self.consumers.get(name)
            if consumer is not None and consumer.database is not inbox.database:
                raise ConfigurationError(f"the group {name!r} keeps its position in another database")
            if consumer is None:
                consumer = Consumer(
                    name, self.broker, inbox, retry=retry, on_poison=on_poison, clock=self._clock, gaps=gaps
                )
                self.consumers[name] = consumer
            if event.event_type in consumer.registrations:
                raise ConfigurationError(f"the group {name!r} has a handler for {event.event_type} already")
            consumer.registrations[event.event_type] = Registration(event, handler, timeout, batch, linger)
            return handler

        return register

    async def publish(self, *events: DomainEvent) -> None:
        """Publish at once, outside any transaction: for facts without local state. Else use the outbox."""
        outbox = Outbox(self._source, clock=self._clock)
        messages = [message(outbox.seal(event)) for event in events]
        with sending(messages, clock=self._clock):
            await self.broker.publish(messages)

    def start(self) -> None:
        """Begin to handle events."""
        for name, consumer in self.consumers.items():
            self._tasks[name] = asyncio.create_task(consumer.run(), name=f"events:{name}")

    async def stop(self, *, within: float) -> None:
        """Let each group finish the event in hand, at most `within` seconds, and end."""
        await asyncio.gather(*(self.consumers[name].stop(task, within=within) for name, task in self._tasks.items()))
        self._tasks.clear()
