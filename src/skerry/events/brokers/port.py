"""What skerry asks of a transport, and what a caller may not assume.

A publish that raised may still have taken effect. A message can be delivered more than once, also after it was
acknowledged. Messages of one source arrive in the order that source published them; nothing is promised between sources.
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
    """A message on its way to a group, and where it stands in its source's log."""

    message: Message
    source: str
    position: Position


class Subscription(Protocol):
    """One group's reading of the log. Used by one task at a time."""

    async def fetch(self, limit: int, *, wait: float) -> Sequence[Delivery]:
        """At most `limit` deliveries in order; waits up to `wait` seconds for the first, then returns an empty list.

        Raises `UnknownPosition` when the log was cut or replaced behind the group.
        """
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """The effect of these is committed. A log whose offsets live with the consumer has nothing to do here."""
        ...

    async def lag(self) -> int:
        """How many messages of the subscribed types were published but not fetched."""
        ...

    async def close(self) -> None:
        """Stop and free what is held. Safe to call twice."""
        ...


class Broker(Protocol):
    """One connection to a transport, for one service."""

    durability: Durability

    async def publish(self, batch: Sequence[Message]) -> None:
        """Hand over a batch in order; returns when all of it is safe at `durability`."""
        ...

    async def subscribe(self, group: str, types: Collection[str], positions: Mapping[str, Position]) -> Subscription:
        """Read for `group` the given types, from `positions` (source -> last handled) or from the start."""
        ...

    async def close(self) -> None:
        """Close everything, subscriptions too. Safe to call twice."""
        ...
