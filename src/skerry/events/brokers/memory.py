"""A log in this process's memory, for tests: everything is gone with the process.

`memory:` is a log of its own for each `connect`; `memory:NAME` is one for all of this process that say the same name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary, WeakValueDictionary

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, UnknownPosition
from skerry.events.brokers.adapter import Adapter
from skerry.events.brokers.port import Delivery, Features, Message, Position
from skerry.events.brokers.tail import AHEAD, Tail, Track


class Memory:
    """The logs by source, shared by the brokers that say the same name."""

    def __init__(self, *, clock: Clock = SYSTEM) -> None:
        self.epoch: str = str(clock.uuid())
        self.logs: dict[str, list[Message]] = {}
        self.known: dict[str, set[str]] = {}
        self.readers: WeakKeyDictionary[_MemoryTail, None] = WeakKeyDictionary()
        """In the order in which they came, so that a run can be repeated."""

    def ring(self) -> None:
        """Wake who waits for events."""
        for reader in list(self.readers):
            reader.bell.set()


_NAMED: WeakValueDictionary[str, Memory] = WeakValueDictionary()
"""What gives a name its meaning within a process. A log is gone when the last broker that uses it is."""


class MemoryBroker(Adapter):
    """Brokers of one `Memory` see each other's events."""

    features: Features = Features(atomic=True, deduplicates=True, shared=True, survives_kill=False)

    def __init__(self, memory: Memory, *, source: str, clock: Clock = SYSTEM) -> None:
        super().__init__(source, durability="process", clock=clock)
        self.memory = memory

    @classmethod
    def from_url(cls, url: str, *, source: str, clock: Clock = SYSTEM) -> MemoryBroker:
        """The broker behind memory: or memory:NAME."""
        name = url.removeprefix("memory:")
        if name and not name.replace("-", "").replace("_", "").isalnum():
            raise ConfigurationError("the address of a log in memory is memory: or memory:NAME")
        memory = _NAMED.get(name) if name else None
        if memory is None:
            memory = Memory(clock=clock)
            if name:
                _NAMED[name] = memory
        return cls(memory, source=source, clock=clock)

    async def send(self, batch: Sequence[Message]) -> None:
        """Append; what is there already is left out."""
        log = self.memory.logs.setdefault(self.source, [])
        known = self.memory.known.setdefault(self.source, set())
        for message in batch:
            if message.id not in known:
                known.add(message.id)
                log.append(message)
        self.memory.ring()

    async def open(self, _group: str, types: frozenset[str], positions: Mapping[str, Position]) -> Tail:
        """Read all sources, also those that come later."""
        return _MemoryTail(self, types, positions)

    async def disconnect(self) -> None:
        """The log stays with the others that use it."""


class _MemoryTail(Tail):
    def __init__(self, broker: MemoryBroker, types: frozenset[str], positions: Mapping[str, Position]) -> None:
        super().__init__(positions, clock=broker.clock, on_close=broker.forget)
        self._memory = broker.memory
        self._types = types
        self.bell = asyncio.Event()
        self._memory.readers[self] = None

    async def fill(self, wait: float) -> None:
        self.bell.clear()
        for source in self._memory.logs:
            self.tracks.setdefault(source, Track())
        if any([self._read(source) for source in self.hungry()]) or wait <= 0.0:  # noqa: C419 - each is read
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self.bell.wait()

    async def drain(self) -> None:
        await super().drain()
        self.bell.set()

    async def ends(self) -> Mapping[str, Position]:
        return {source: Position(len(log), self._memory.epoch) for source, log in self._memory.logs.items()}

    async def lag(self) -> int:
        self.check_open()
        handed = {source: _offset(track.position) for source, track in self.tracks.items()}
        logs = self._memory.logs.items()
        return sum(message.type in self._types for source, log in logs for message in log[handed.get(source, 0) :])

    def _read(self, source: str) -> bool:
        track, log, epoch = self.tracks[source], self._memory.logs.get(source, []), self._memory.epoch
        start = _offset(track.ahead)
        if track.ahead is not None and track.ahead.epoch != epoch:
            raise UnknownPosition(f"the log of {source} was replaced: its epoch is not the one consumed before")
        if start > len(log):
            raise UnknownPosition(f"the log of {source} ends at {len(log)}, before the position {start}")
        part = list(enumerate(log[start : start + AHEAD], start + 1))
        self.add(Delivery(message, source, Position(n, epoch)) for n, message in part if message.type in self._types)
        if part:
            track.ahead = Position(part[-1][0], epoch)
        return bool(track.buffer)


def _offset(position: Position | None) -> int:
    return 0 if position is None else position.offset
