"""What every adapter is: one writer at a time, subscriptions that end with it, an orderly way out."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from skerry.clock import Clock
from skerry.errors import EventError
from skerry.events.brokers.port import Durability, Features, Message, Position
from skerry.events.brokers.tail import Tail


class Adapter(ABC):
    """A broker. What a transport has of its own is in `send`, `open` and `disconnect`."""

    features: Features

    def __init__(self, source: str, *, durability: Durability, clock: Clock) -> None:
        self.source = source
        self.clock = clock
        self.durability: Durability = durability
        self._tails: set[Tail] = set()
        self._publishing = asyncio.Lock()
        self._ended = ""

    @abstractmethod
    async def send(self, batch: Sequence[Message]) -> None:
        """Publish a batch that is not empty; one at a time."""

    @abstractmethod
    async def open(self, group: str, types: frozenset[str], positions: Mapping[str, Position], /) -> Tail:
        """A new subscription, which tells `forget` when it has closed."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Free the connection. Called once, after the subscriptions have closed."""

    async def publish(self, batch: Sequence[Message]) -> None:
        """See `Broker.publish`."""
        self._check()
        if not batch:
            return
        async with self._publishing:
            self._check()
            await self.send(batch)

    async def subscribe(self, group: str, types: Collection[str], positions: Mapping[str, Position]) -> Tail:
        """See `Broker.subscribe`."""
        self._check()
        tail = await self.open(group, frozenset(types), positions)
        self._tails.add(tail)
        return tail

    async def drain(self) -> None:
        """See `Broker.drain`."""
        self._ended = self._ended or "drained"
        for tail in list(self._tails):
            await tail.drain()
        async with self._publishing:
            pass  # whoever published has finished

    async def close(self) -> None:
        """See `Broker.close`."""
        if self._ended == "closed":
            return
        self._ended = "closed"
        for tail in list(self._tails):
            await tail.close()
        await self.disconnect()

    def forget(self, tail: Tail) -> None:
        """A subscription has closed."""
        self._tails.discard(tail)

    @property
    def tails(self) -> Sequence[Tail]:
        """The subscriptions that are open."""
        return list(self._tails)

    def _check(self) -> None:
        if self._ended:
            raise EventError(f"the broker of {self.source!r} is {self._ended}")
