"""Redis Streams: a stream per publishing source, read from the position that the consumer keeps.

A batch is appended by one script, whole or not at all, numbered 1, 2, 3: a writer that was overtaken does not know the last
number and is refused, and one that is new leaves out what is among the last entries already. Without `max_length` a stream
keeps everything, and Redis keeps it in memory.

Source: Redis documentation, "Redis Streams" and "Scripting with Lua".
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, DurabilityTooLow, EventError, UnknownPosition
from skerry.events.brokers import wire
from skerry.events.brokers.adapter import Adapter
from skerry.events.brokers.address import COMMON, Address
from skerry.events.brokers.port import Delivery, Features, Message, Position
from skerry.events.brokers.tail import Tail, Track
from skerry.signals import MessagePassedOver, emit

OPTIONS: Final = {**COMMON, "max_length": "how many events a source keeps about"}
LOOK: Final = 0.5
"""Seconds between looks for sources that are new, or replaced."""
FIRST_LOOK: Final = 0.1
"""The same while there is none at all."""
PART, PART_BYTES = 256, 8 * 1024 * 1024
BATCH_BYTES: Final = 16 * 1024 * 1024
"""A batch larger than this is appended in parts."""
_TIME_BITS, _SEQUENCE_BITS = 43, 20


class RedisBroker(Adapter):
    """redis://[[USER]:PASSWORD@]HOST[:6379][/DB][?durability=flushed][&max_length=N][&namespace=events][&timeout=5]

    `durability=flushed` is checked where the server allows the question: it needs `appendonly yes` and `appendfsync always`.
    """

    features: Features = Features(atomic=True, fenced=True, deduplicates=True, exact_lag=False)

    def __init__(self, address: Address, *, source: str, clock: Clock = SYSTEM) -> None:
        if address.durability == "replicated":
            raise ConfigurationError(f"{address}: Redis acknowledges before its replicas have it")
        if len(address.hosts) != 1 or not (address.path or "0").isdigit():
            raise ConfigurationError(f"{address}: give one host, and the number of a database")
        super().__init__(source, durability=address.durability, clock=clock)
        self.address = address
        self._max_length = address.positive("max_length", 0) if "max_length" in address.options else ""
        self._script = files("skerry.events.brokers").joinpath("publish.lua").read_text("utf-8")
        host, _, port = address.hosts[0].rpartition(":")
        self.redis: Any = Redis(
            host=host.strip("[]"),
            port=int(port),
            db=int(address.path or 0),
            username=address.user or None,
            password=address.password or None,
            ssl=address.scheme == "rediss",
            protocol=2,
            socket_timeout=address.timeout,
            socket_connect_timeout=address.timeout,
            retry=Retry(NoBackoff(), 0),
            client_name=f"skerry-{source}",
        )
        self._last: int | str = ""
        self._checked = False

    @classmethod
    def from_url(cls, url: str, *, source: str, clock: Clock = SYSTEM) -> RedisBroker:
        """The broker behind redis://... or rediss://..."""
        return cls(Address.parse(url, port=6379, allowed=OPTIONS), source=source, clock=clock)

    def name(self, what: str, source: str = "") -> str:
        """The name of a key."""
        return f"{self.address.namespace}/{what}" + (f"/{source}" if source else "")

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Redis]:
        """The client, its errors turned into `BrokerUnavailable`."""
        try:
            yield self.redis
        except (RedisError, OSError, TimeoutError) as error:
            if isinstance(error, EventError):
                raise
            raise self.address.unavailable(error) from None

    async def send(self, batch: Sequence[Message]) -> None:
        """See `Broker.publish`."""
        async with self.asking() as redis:
            if not self._checked:
                await self._check_promise(redis)
                await redis.sadd(self.name("sources"), self.source)
                self._checked = True
            for part in _parts(batch):
                await self._append(redis, part)

    async def _append(self, redis: Redis, part: Sequence[Message]) -> None:
        known, self._last = self._last, ""
        values: list[Any] = [known, str(self.clock.uuid()), self._max_length]
        for message in part:
            values += [" ".join(map(wire.quoted, (message.id, message.type, message.key))), message.body]
        keys = [self.name("log", self.source), self.name("epoch", self.source)]
        done, last = await redis.eval(self._script, len(keys), *keys, *values)
        if not done:
            raise EventError(f"{self.address}: somebody else has written to the log of {self.source} meanwhile")
        self._last = int(last)

    async def _check_promise(self, redis: Redis) -> None:
        if self.durability == "process":
            return
        with contextlib.suppress(ResponseError):  # not allowed to ask: the operator's word counts
            found = await redis.config_get("append*")
            settings = {str(_text(name)): _text(value) for name, value in found.items()}
            if settings.get("appendonly") != "yes" or settings.get("appendfsync") != "always":
                raise DurabilityTooLow(
                    f"{self.address}: durability=flushed needs appendonly yes and appendfsync always, but they are "
                    f"{settings.get('appendonly')} and {settings.get('appendfsync')}"
                )

    async def open(self, group: str, types: frozenset[str], positions: Mapping[str, Position], /) -> Tail:
        """Read the streams of all sources in the namespace."""
        tail = _RedisTail(self, group, types, positions)
        try:
            await tail.look()
        except UnknownPosition:
            tail.look_at = 0.0  # the first fetch says so
        except BaseException:
            await tail.close()
            raise
        return tail

    async def disconnect(self) -> None:
        """Close the connections."""
        with contextlib.suppress(RedisError, OSError):
            await self.redis.aclose()


class _RedisTail(Tail):
    def __init__(
        self, broker: RedisBroker, group: str, types: frozenset[str], positions: Mapping[str, Position]
    ) -> None:
        super().__init__(positions, clock=broker.clock, on_close=broker.forget)
        self._broker = broker
        self._group = group
        self._types = types
        self._epochs: dict[str, str] = {}
        self._count = 16

    async def look(self) -> None:
        async with self._asking() as redis:
            sources = sorted(_text(name) for name in await redis.smembers(self._broker.name("sources")))
            epochs = await redis.mget([self._broker.name("epoch", source) for source in sources]) if sources else []
        for source, epoch in zip(sources, epochs, strict=True):
            self.tracks.setdefault(source, Track())
            if source in self._epochs and self._epochs[source] != _text(epoch):
                del self._epochs[source]
                raise UnknownPosition(f"the log of {source} was replaced: its epoch is not the one consumed before")
            if source not in self._epochs and epoch is not None:
                await self._attach(source, _text(epoch))
        self.look_at = self.clock.monotonic() + (LOOK if self.tracks else FIRST_LOOK)

    async def fill(self, wait: float) -> None:
        if not self._epochs:
            await self.look()
        starts: dict[Any, Any] = {
            self._broker.name("log", source): _identifier(self.tracks[source].ahead)
            for source in self.hungry()
            if source in self._epochs
        }
        if not starts:
            await self.clock.sleep(wait)
            return
        block = int(min(wait, self._broker.address.timeout / 2) * 1000)
        async with self._asking() as redis:
            found: Any = await redis.xread(starts, count=self._count, block=block or None)
        size = entries = 0
        for name, items in found:
            source = _text(name).removeprefix(self._broker.name("log") + "/")
            for identifier, fields in items:
                size += self._read(source, _text(identifier), fields)
                entries += 1
        if entries:
            self._count = max(1, min(PART, self._count * 2, PART_BYTES * entries // max(1, size)))

    async def ends(self) -> Mapping[str, Position]:
        self.look_at = 0.0
        await self.look()
        found = {}
        for source, epoch in self._epochs.items():
            async with self._asking() as redis:
                info = await redis.xinfo_stream(self._broker.name("log", source))
            found[source] = Position(_offset(_text(info["last-generated-id"])), epoch)
        return found

    async def lag(self) -> int:
        """All types are counted, for a stream does not tell them apart; entries of other programs are miscounted."""
        self.check_open()
        total = 0
        for source, end in (await self.until_closed(self.ends())).items():
            track = self.tracks[source]
            ahead = 0 if track.ahead is None else track.ahead.offset
            total += (end.offset >> _SEQUENCE_BITS) - (ahead >> _SEQUENCE_BITS) + len(track.buffer)
        return total

    async def _attach(self, source: str, epoch: str) -> None:
        """Begin to read a source. Raises `UnknownPosition`."""
        at = self.tracks[source].ahead
        if at is not None:
            async with self._asking() as redis:
                info = await redis.xinfo_stream(self._broker.name("log", source))
            last = _offset(_text(info["last-generated-id"]))
            first = _offset(_text(info["first-entry"][0])) if info["first-entry"] else last + 1
            if at.epoch != epoch:
                raise UnknownPosition(f"the log of {source} was replaced: its epoch is not the one consumed before")
            if at.offset > last:
                raise UnknownPosition(f"the log of {source} ends at {last}, before the position {at.offset}")
            if first > at.offset and first > at.offset + (1 << _SEQUENCE_BITS):
                raise UnknownPosition(f"the log of {source} does not reach back to the position {at.offset}")
        self._epochs[source] = epoch

    def rewound(self, source: str) -> None:
        self._epochs.pop(source, None)
        self.look_at = 0.0

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Redis]:
        try:
            async with self._broker.asking() as redis:
                yield redis
        except EventError:
            self._epochs.clear()  # a server that comes back may have lost the end of its log
            raise

    def _read(self, source: str, identifier: str, fields: Mapping[bytes, bytes]) -> int:
        position = Position(_offset(identifier), self._epochs[source])
        event_type, headers = _head(fields)
        body = fields.get(b"body", b"")
        if event_type in self._types or not event_type:
            message = wire.received(body, headers, fallback_id=f"{source}:{identifier}", event_type=event_type)
            if message.type in self._types:
                self.add([Delivery(message, source, position)])
            elif not message.type:
                emit(MessagePassedOver(group=self._group, source=source, place=identifier))
        self.tracks[source].ahead = position
        return len(body)


def _parts(batch: Sequence[Message]) -> list[list[Message]]:
    parts: list[list[Message]] = [[]]
    size = 0
    for message in batch:
        if parts[-1] and size + len(message.body) > BATCH_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(message)
        size += len(message.body)
    return parts


def _head(fields: Mapping[bytes, bytes]) -> tuple[str, dict[str, str]]:
    """The type of an entry, and its id and key if they are known.

    Ours stand in one field, for a client takes as long for each field as for a whole body.
    """
    ours = _text(fields.get(b"of", b"")).split(" ")
    if len(ours) == 3:
        return wire.unquoted(ours[1]), {wire.ID: ours[0], wire.KEY: ours[2]}
    event_type, headers = _text(fields.get(b"type", b"")), dict[str, str]()
    if b"id" in fields:
        headers = {wire.ID: wire.quoted(_text(fields[b"id"])), wire.KEY: wire.quoted(_text(fields.get(b"key", b"")))}
    return event_type, headers


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _offset(identifier: str) -> int:
    """Raises `EventError` where positions would not be in the order of the entries any more."""
    milliseconds, _, sequence = identifier.partition("-")
    if int(milliseconds) >> _TIME_BITS or int(sequence or 0) >> _SEQUENCE_BITS:
        raise EventError(
            f"a stream has an entry {identifier}, whose number is larger than a position can be: delete it"
        )
    return (int(milliseconds) << _SEQUENCE_BITS) + int(sequence or 0)


def _identifier(position: Position | None) -> str:
    offset = 0 if position is None else max(0, position.offset)
    return f"{offset >> _SEQUENCE_BITS}-{offset & ((1 << _SEQUENCE_BITS) - 1)}"
