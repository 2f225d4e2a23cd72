"""What skerry asks of a transport, and what a caller may not assume.

A publish that raised may still have taken effect. A message can be delivered more than once, also after it was
acknowledged. Messages of one source arrive in the order that source published them, where `Features.order` says "key" only
those of one key; nothing is promised between sources. A source has one writer at a time, where `Features.shared` says so one
for each key.

No broker is asked for anything before the first publish or subscribe. One that cannot be reached raises
`BrokerUnavailable`, and the next call tries again. What it is only found out then to promise less than `durability` says
raises `DurabilityTooLow`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Durability = Literal["flushed", "replicated", "process"]
"""What an acknowledged publish survives: power loss, the loss of a node, or only the end of our own process."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a transport carries. `body` is the envelope's JSON; the rest is what a transport may route by."""

    id: str
    type: str
    key: str
    body: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far a group has come in the log of one source. `epoch` tells a log from one that replaced it."""

    offset: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way to a group, and where it stands in its source's log.

    `position` is None where the broker itself keeps what a group has handled. `source` names what has an order of its own,
    a service or a partition of its topic.
    """

    message: Message
    source: str
    position: Position | None


@dataclass(frozen=True, slots=True)
class Features:
    """What an adapter promises beyond the port's core. `skerry.testing.brokers` holds it to its word.

    `positions`: a group begins where its `positions` say, and a log that was cut or replaced raises `UnknownPosition`; else
    the broker keeps what a group has handled. `replay`: handled messages stay, so `seek` goes back and a group that comes
    late sees what was published before it. `atomic`: a batch is there whole or not at all. `fenced`: a writer that slept
    cannot write behind one that took over. `deduplicates`: a batch that is published again, its fate unclear, is there once.
    `shared`: several processes publish for one source at the same time, each its own keys, and do not hinder one another.
    `order`: what keeps its order, a whole "source" or a "key" of it. `exact_lag`: `lag` counts wanted types only.
    `survives_kill`: what was acknowledged is there when the broker was killed. `max_body`: the largest body, in bytes.
    """

    positions: bool = True
    replay: bool = True
    atomic: bool = False
    fenced: bool = False
    deduplicates: bool = False
    shared: bool = False
    order: Literal["source", "key"] = "source"
    exact_lag: bool = True
    survives_kill: bool = True
    max_body: int = 1024 * 1024


class Subscription(Protocol):
    """One group's reading of the log. Used by one task at a time; `close` may come from another.

    `trouble` says which sources cannot be read while the others go on, and why; empty when there is none. An adapter that
    cannot go on without them raises from `fetch` instead.
    """

    @property
    def trouble(self) -> str:
        """See the class."""
        ...

    async def fetch(self, limit: int, *, wait: float) -> Sequence[Delivery]:
        """At most `limit` deliveries in order; waits up to `wait` seconds for the first, then returns an empty list.

        A fetch that is cancelled has fetched nothing: the next one returns the same. After the broker's `drain` it returns
        an empty list. Raises `UnknownPosition` when the log was cut or replaced behind the group, `BrokerUnavailable`,
        and `EventError` once the subscription is closed, also when that happens meanwhile.
        """
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """The effect of these is committed. A log whose offsets live with the consumer has nothing to do here."""
        ...

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        """Not handled: it comes again, and with it all that was fetched after it from its source and not acknowledged.

        Nothing of its source is fetched before `delay` seconds have passed, so the order stays. Other sources go on. A log
        whose offsets live with the consumer repeats what was acknowledged, too.
        """
        ...

    async def seek(self, where: Literal["start", "end"] | Mapping[str, Position]) -> None:
        """Go on from the oldest message there is, from the end, or after the given positions; other sources stay.

        A source that is first seen later is read from its start. Raises `EventError` where `Features.replay` is false.
        """
        ...

    async def lag(self) -> int:
        """How many messages of the subscribed types were published but not fetched. See `Features.exact_lag`."""
        ...

    async def close(self) -> None:
        """Stop and free what is held; what was fetched and not acknowledged comes again. Safe to call twice."""
        ...


class Broker(Protocol):
    """One connection to a transport, for one service.

    `durability` is what the address promises, known without asking. Where the broker can tell, the promise is checked at the
    first use.
    """

    @property
    def durability(self) -> Durability:
        """What an acknowledged publish survives."""
        ...

    @property
    def features(self) -> Features:
        """What this adapter promises beyond the core."""
        ...

    async def publish(self, batch: Sequence[Message]) -> None:
        """Hand over a batch in order; returns when all of it is safe at `durability`.

        Raises `BrokerUnavailable`, `DurabilityTooLow`, and `EventError` when another writer took over, or after `drain`.
        """
        ...

    async def subscribe(self, group: str, types: Collection[str], positions: Mapping[str, Position]) -> Subscription:
        """Read for `group` the given types, from `positions` (source -> last handled) or from the start.

        A group is exclusive: the caller sees to it that one process at a time reads for it.
        """
        ...

    async def drain(self) -> None:
        """Take and hand out nothing more; returns when what is being published is safe.

        What was fetched can still be acknowledged; the rest goes back to the broker with `close`.
        """
        ...

    async def close(self) -> None:
        """Close everything, subscriptions too. Safe to call twice."""
        ...
