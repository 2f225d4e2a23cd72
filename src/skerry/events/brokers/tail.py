"""What reading is, whatever the transport: buffers per source, taken in turns, given back in order, closed while waiting.

An adapter fills the buffers. What it reads ahead is bounded by `AHEAD` deliveries a source.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from skerry.clock import Clock
from skerry.errors import EventError
from skerry.events.brokers.port import Delivery, Position

T = TypeVar("T")
AHEAD = 512


@dataclass(slots=True)
class Track:
    """Where a subscription stands in one source. `position` was handed out, `ahead` was read; None is before the first."""

    position: Position | None = None
    ahead: Position | None = None
    buffer: deque[Delivery] = field(default_factory=deque)
    not_before: float = 0.0

    def rewind(self, position: Position | None) -> None:
        """Forget what was read after a position."""
        self.position = self.ahead = position
        self.buffer.clear()


class Tail(ABC):
    """A subscription. `on_close` is told when it has closed."""

    def __init__(self, positions: Mapping[str, Position], *, clock: Clock, on_close: Callable[[Tail], None]) -> None:
        self.tracks: dict[str, Track] = {source: Track(position, position) for source, position in positions.items()}
        self.clock = clock
        self.draining: bool = False
        self.trouble: str = ""
        self.look_at: float = float("inf")
        """When to look for new sources."""
        self._on_close = on_close
        self._turn = 0
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @abstractmethod
    async def fill(self, wait: float) -> None:
        """Read into the buffers of `hungry` sources; return when something came, or after `wait` seconds."""

    async def look(self) -> None:
        """Look for sources, and say in `look_at` when to look again."""
        self.look_at = float("inf")

    @abstractmethod
    async def ends(self) -> Mapping[str, Position]:
        """The position of the last message of each source there is now."""

    @abstractmethod
    async def lag(self) -> int:
        """See `Subscription.lag`."""

    async def release(self) -> None:  # noqa: B027 - most hold nothing
        """Free what the adapter holds. Called once."""

    def rewound(self, source: str) -> None:  # noqa: B027 - most do not read ahead by themselves
        """A source goes on from another position: stop what still reads ahead of it."""

    async def fetch(self, limit: int, *, wait: float) -> Sequence[Delivery]:
        """See `Subscription.fetch`. Sources take turns, so that a busy one does not starve the others."""
        deadline = self.clock.monotonic() + wait
        while True:
            self.check_open()
            if not self.draining and self.clock.monotonic() >= self.look_at:
                await self.until_closed(self.look())
            found = [] if self.draining else self._take(limit)
            left = deadline - self.clock.monotonic()
            if found or (left <= 0.0 and wait > 0.0):
                return found
            left = max(0.0, min(left, self._pause(), self.look_at - self.clock.monotonic()))
            await self.until_closed(self.clock.sleep(left) if self.draining else self.fill(left))
            if wait <= 0.0:
                self.check_open()
                return [] if self.draining else self._take(limit)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:  # noqa: B027 - a log has nothing to do
        """Nothing to do: the position is committed with the effect, in the consumer's database."""

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        """See `Subscription.nack`."""
        assert delivery.position is not None
        track = self.tracks[delivery.source]
        track.rewind(Position(delivery.position.offset - 1, delivery.position.epoch))
        track.not_before = self.clock.monotonic() + delay
        self.rewound(delivery.source)

    async def seek(self, where: Literal["start", "end"] | Mapping[str, Position]) -> None:
        """See `Subscription.seek`."""
        self.check_open()
        targets: Mapping[str, Position | None]
        if where == "start":
            targets = dict.fromkeys(self.tracks)
        elif where == "end":
            targets = await self.until_closed(self.ends())
        else:
            targets = where
        for source, position in targets.items():
            track = self.tracks.setdefault(source, Track())
            track.rewind(position)
            track.not_before = 0.0
            self.rewound(source)

    async def drain(self) -> None:
        """Hand out nothing more."""
        self.draining = True

    async def close(self) -> None:
        """See `Subscription.close`."""
        if not self._closed.done():
            self._closed.set_result(None)
            self._on_close(self)
            await self.release()

    @property
    def closed(self) -> bool:
        return self._closed.done()

    def check_open(self) -> None:
        """Raises `EventError` once it is closed."""
        if self._closed.done():
            raise EventError("the subscription is closed")

    def hungry(self) -> list[str]:
        """The sources to read from: neither paused nor full."""
        now = self.clock.monotonic()
        return [name for name, track in self.tracks.items() if track.not_before <= now and len(track.buffer) < AHEAD]

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """Put what was read into its source's buffer."""
        for delivery in deliveries:
            track = self.tracks[delivery.source]
            track.buffer.append(delivery)
            track.ahead = delivery.position

    async def until_closed(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it, but no longer than the subscription is open. Raises `EventError` when it was closed meanwhile."""
        task = asyncio.ensure_future(work)
        waiting: list[asyncio.Future[Any]] = [task, self._closed]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})  # and not the task itself, whose end would look like a cancellation of ours
                if not task.cancelled():
                    task.exception()  # nobody asks for it any more
        if not task.cancelled():
            return task.result()
        self.check_open()
        raise EventError("reading was cancelled from within")

    def _take(self, limit: int) -> list[Delivery]:
        now = self.clock.monotonic()
        ready = [track for track in self.tracks.values() if track.buffer and track.not_before <= now]
        if not ready:
            return []
        self._turn += 1
        first = self._turn % len(ready)
        found: list[Delivery] = []
        share = max(1, limit // len(ready))
        for track in [*ready[first:], *ready[:first]] * 2:
            before = len(found)
            while track.buffer and len(found) < min(limit, before + share):
                found.append(track.buffer.popleft())
            if len(found) > before:
                track.position = found[-1].position
        return found

    def _pause(self) -> float:
        """Seconds until a paused source may go on; for ever when none is paused."""
        now = self.clock.monotonic()
        return min((t.not_before - now for t in self.tracks.values() if t.not_before > now), default=float("inf"))
