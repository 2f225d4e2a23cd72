"""The event log of a system in one process, and what a test asks of it.

The log is nobody's: it stays when a service is killed, as the one on disk and a broker's server do. It does not leave out what
is published again, so a relay that died between publishing and deleting its row does what it may do: repeat itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from skerry.clock import Clock
from skerry.errors import BrokerUnavailable
from skerry.events import DomainEvent
from skerry.events.brokers import Durability, Features, Message
from skerry.events.brokers.memory import Memory, MemoryBroker
from skerry.testing.system.faults import Faults
from skerry.testing.system.loop import LIFE, never
from skerry.testing.system.names import is_event, told
from skerry.testing.system.timeline import Timeline

SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it stands in the log, published by `source` at a virtual second."""

    type: str
    key: str
    id: str
    source: str
    at: float
    data: Mapping[str, Any] = field(repr=False)


class Log:
    """What all services have published, in one order."""

    def __init__(self, faults: Faults, clock: Clock) -> None:
        self.memory: Memory = Memory(clock=clock)
        self.published: list[Event] = []
        self._faults = faults
        self._clock = clock

    def clear(self) -> None:
        """Begin anew."""
        self.memory.logs.clear()
        self.published.clear()

    def broker(self, source: str) -> SystemBroker:
        """The log as a service sees it."""
        return SystemBroker(self, source=source, clock=self._clock)

    async def publish(self, source: str, batch: Sequence[Message]) -> None:
        """Take a batch, as far as the faults let it come."""
        struck = self._faults.of_batch(source, [message.type for message in batch])
        if seconds := struck.get("delay", 0.0):
            await self._clock.sleep(seconds)
        if "drop" in struck:
            raise BrokerUnavailable("the batch was dropped on its way, as the test ordered")
        for message in [*batch, *batch] if "duplicate" in struck else batch:
            self._append(source, message)
        self.memory.ring()
        if "lost_reply" in struck:
            raise BrokerUnavailable("the acknowledgement was lost, as the test ordered")

    def _append(self, source: str, message: Message) -> None:
        self.memory.logs.setdefault(source, []).append(message)
        data = json.loads(message.body).get("data") or {}
        self.published.append(Event(message.type, message.key, message.id, source, self._clock.monotonic(), data))


class SystemBroker(MemoryBroker):
    """One service's connection to the log. It outlives the service, so what it has acknowledged counts as flushed."""

    features: Features = Features(atomic=True)

    def __init__(self, log: Log, *, source: str, clock: Clock) -> None:
        super().__init__(log.memory, source=source, clock=clock)
        self.durability: Durability = "flushed"
        self._log = log

    async def send(self, batch: Sequence[Message]) -> None:
        """Append, unless the service dies before."""
        life = LIFE.get()
        what = ", ".join(sorted({message.type for message in batch}))
        if life is not None and life.reached(f"before publishing {what}"):
            await never()
        await self._log.publish(self.source, batch)
        if life is not None and life.reached(f"after publishing {what}"):
            await never()


class Events:
    """The events of a system, for a test to look at. An event is named by its type, its class, or its class's name.

    One that stands in the log twice, because its relay repeated it or a fault did, is one event here: `copies` counts them.
    """

    def __init__(self, log: Log, timeline: Timeline) -> None:
        self._log = log
        self._timeline = timeline

    def all(self, *, key: str = "") -> list[Event]:
        """Every event once, in the order of its first publication; with `key` those of that key."""
        first = {event.id: event for event in reversed(self._log.published)}
        return [event for event in self._log.published if first[event.id] is event and key in {"", event.key}]

    def of_type(self, event: str | type[DomainEvent], *, key: str = "") -> list[Event]:
        """The events of one type."""
        return [each for each in self.all(key=key) if is_event(each.type, event)]

    def copies(self, event: Event) -> int:
        """How often it stands in the log."""
        return sum(each.id == event.id for each in self._log.published)

    def assert_once(self, event: str | type[DomainEvent], *, key: str = "") -> Event:
        """There is exactly one such event; it is returned."""
        found = self.of_type(event, key=key)
        if len(found) != 1:
            of = f" of the key {key}" if key else ""
            self._fail(f"{told(event)} was published {len(found)} times{of}, not once")
        return found[0]

    def assert_none(self, event: str | type[DomainEvent], *, key: str = "") -> None:
        """There is no such event."""
        found = self.of_type(event, key=key)
        if found:
            self._fail(f"{found[0].type} was published {len(found)} times, and should not have been")

    def assert_order(self, *events: str | type[DomainEvent], key: str) -> None:
        """The events of a key are these, in this order. A producer's own order is kept; between producers it may vary."""
        found = self.all(key=key)
        same = len(found) == len(events) and all(
            is_event(each.type, wanted) for each, wanted in zip(found, events, strict=True)
        )
        if not same:
            self._fail(
                f"the events of {key} are {[each.type for each in found]}, not {[told(each) for each in events]}"
            )

    def _fail(self, what: str) -> None:
        last = "\n".join(
            f"{event.at:10.3f}  {event.source:<14} {event.type} {event.key}" for event in self._log.published[-SHOWN:]
        )
        raise AssertionError(f"{what}\n\nevents:\n{last or '(none)'}\n\ntimeline:\n{self._timeline.text()}")
