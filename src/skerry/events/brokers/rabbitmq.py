"""RabbitMQ: one topic exchange, and a quorum queue per group, which keeps what the group has not handled.

There are no positions and no past here: a group gets what is published after its queue was first declared, the broker keeps
what is not acknowledged, and after a crash it comes again at once, since its connection is gone. One process of a group is
active at a time; another waits (`x-single-active-consumer`).

A message that is refused waits in this process with all behind it of its source, so the order stays: returned to the queue it
would be overtaken.

Source: RabbitMQ documentation, "Quorum queues", "Single active consumer", "Publisher confirms".
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from yarl import URL

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, EventError
from skerry.events.brokers import wire
from skerry.events.brokers.adapter import Adapter
from skerry.events.brokers.address import COMMON, Address
from skerry.events.brokers.names import tokens
from skerry.events.brokers.port import Delivery, Features, Message, Position
from skerry.events.brokers.rabbitmq_frames import readable_frames
from skerry.events.brokers.tail import Tail, Track
from skerry.events.envelope import STRUCTURED
from skerry.store.patience import cancellable

OPTIONS: Final = {
    "namespace": COMMON["namespace"],
    "timeout": COMMON["timeout"],
    "prefetch": "how many messages are on their way to a group",
}
PREFETCH: Final = 200
TOGETHER: Final = 256
"""How many messages are published before their confirms are waited for."""
UNSENT: Final = 64 * 1024
"""Bytes given to the driver before it waits until the socket takes more; to wait after each message costs a write for each."""
HEARTBEAT: Final = 10
LOOK: Final = 5.0
"""Seconds between questions to a server of which nothing else is asked."""
_LONGEST_KEY: Final = 255
_NEVER: Final = 2**31 - 1
"""Redeliveries after which a queue drops a message: newer servers have a limit of 20, which would lose events."""
_ERRORS: Final = (aiormq.AMQPError, OSError, TimeoutError, RuntimeError)


class RabbitBroker(Adapter):
    """amqp://[USER:PASSWORD@]HOST[:5672][,HOST...][/VHOST][?prefetch=200][&namespace=events][&timeout=5]

    A confirmed message is on the disks of most members of the queue's quorum: `durability` is "flushed". A message that no
    group's queue wants is not kept.
    """

    features: Features = Features(positions=False, replay=False, shared=True)

    def __init__(self, address: Address, *, source: str, clock: Clock = SYSTEM) -> None:
        super().__init__(source, durability="flushed", clock=clock)
        self.address = address
        self.prefetch: int = address.positive("prefetch", PREFETCH)
        if self.prefetch > 65535:
            raise ConfigurationError(f"{address}: the option prefetch cannot be above 65535")
        self.exchange: str = address.namespace
        self._connection: AbstractConnection | None = None
        self._connecting = asyncio.Lock()
        self._publisher: AbstractChannel | None = None

    @classmethod
    def from_url(cls, url: str, *, source: str, clock: Clock = SYSTEM) -> RabbitBroker:
        """The broker behind amqp://... or amqps://..."""
        port = 5671 if url.startswith("amqps:") else 5672
        return cls(Address.parse(url, port=port, allowed=OPTIONS), source=source, clock=clock)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """No longer than the time-out, errors turned into `BrokerUnavailable`."""
        try:
            with cancellable():
                async with asyncio.timeout(self.address.timeout):
                    yield
        except _ERRORS as error:
            if isinstance(error, EventError):
                raise
            raise self.address.unavailable(error) from None

    async def channel(self, *, confirms: bool) -> AbstractChannel:
        """A channel on the connection, which is opened anew when the last has ended."""
        async with self._connecting:
            if self._connection is None or self._connection.is_closed:
                self._publisher = None
                self._connection = await self._connect()
        async with self.asking():
            channel = await self._connection.channel(publisher_confirms=confirms)
            await channel.exchange_declare(exchange=self.exchange, exchange_type="topic", durable=True)
            return channel

    async def _connect(self) -> AbstractConnection:
        address, failure = self.address, self.address.unavailable("no host answers")
        for where in address.hosts:
            host, _, port = where.rpartition(":")
            url = URL.build(
                scheme=address.scheme,
                user=address.user or "guest",
                password=address.password or "guest",
                host=host.strip("[]"),
                port=int(port),
                path="/" + (address.path or "/").replace("/", "%2F"),
                encoded=False,
                query={"heartbeat": str(HEARTBEAT), "name": f"skerry {self.source}"},
            )
            connection = aiormq.Connection(url, transport_factory=readable_frames(address.scheme))
            try:
                async with self.asking():
                    await connection.connect()
                    return connection
            except EventError as error:
                failure = address.unavailable(str(error).removeprefix(f"{address}: "))
        raise failure from None

    async def send(self, batch: Sequence[Message]) -> None:
        """See `Broker.publish`."""
        if self._publisher is None or self._publisher.is_closed:
            self._publisher = await self.channel(confirms=True)
        try:
            for start in range(0, len(batch), TOGETHER):
                async with self.asking():
                    await self._confirmed(self._publisher, batch[start : start + TOGETHER])
        except BaseException:
            channel, self._publisher = self._publisher, None  # what is still under way on it ends here
            await _end(channel, self.address.timeout)
            raise

    async def _confirmed(self, channel: AbstractChannel, part: Sequence[Message]) -> None:
        bodies, unsent = [message.body.encode() for message in part], 0
        under_way: list[asyncio.Future[None]] = []
        for message, body in zip(part, bodies, strict=True):
            unsent += len(body)
            drain = unsent >= UNSENT
            unsent = 0 if drain else unsent
            under_way.append(asyncio.ensure_future(self._publish(channel, message, body, drain=drain)))
        try:
            await asyncio.gather(*under_way)
        except BaseException:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            raise

    async def _publish(self, channel: AbstractChannel, message: Message, body: bytes, *, drain: bool) -> None:
        message_id, headers = (
            wire.quoted(message.id),
            dict[str, Any]({wire.KEY: message.key}),
        )  # the driver takes long for each header
        if len(message_id) > _LONGEST_KEY:
            headers[wire.ID] = message.id
        properties = aiormq.spec.Basic.Properties(
            content_type=STRUCTURED,
            delivery_mode=2,
            message_id=message_id[:_LONGEST_KEY],
            app_id=self.source,
            headers=headers,
        )
        key = routing_key(message.type)
        publish: Any = channel.basic_publish  # whose type leaves out that it need not wait for the socket
        await publish(body, exchange=self.exchange, routing_key=key, properties=properties, wait=drain)

    async def open(self, group: str, types: frozenset[str], _positions: Mapping[str, Position], /) -> Tail:
        """Declare the group's queue, and read it."""
        tail = _RabbitTail(self, group, types)
        try:
            await tail.connect()
        except BaseException:
            await tail.close()
            raise
        return tail

    async def disconnect(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await _end(self._connection, self.address.timeout)


@dataclass(frozen=True, slots=True)
class _Tagged(Delivery):
    """A delivery with what acknowledges it: a tag, good for one channel."""

    tag: int = 0
    channel: int = 0


class _RabbitTail(Tail):
    def __init__(self, broker: RabbitBroker, group: str, types: frozenset[str]) -> None:
        super().__init__({}, clock=broker.clock, on_close=broker.forget)
        self.look_at = broker.clock.monotonic() + LOOK
        self._broker = broker
        self._routed = {routing_key(event_type): event_type for event_type in types}
        self._queue = f"{broker.exchange}.{group}"
        self._channel: AbstractChannel | None = None
        self._number = 0
        self._consumer = ""
        self._bell = asyncio.Event()
        self._open: dict[int, _Tagged] = {}
        """What is not acknowledged, handed out or not, in the order it came."""
        self._unwanted: list[int] = []

    async def connect(self) -> None:
        """Declare and consume. What an earlier channel brought comes again."""
        channel = await self._broker.channel(confirms=False)
        for track in self.tracks.values():
            track.buffer.clear()
        self._open.clear()
        self._unwanted.clear()
        self._number += 1
        self._channel = channel
        channel.closing.add_done_callback(lambda _: self._bell.set())
        arguments: dict[str, Any] = {
            "x-queue-type": "quorum",
            "x-single-active-consumer": True,
            "x-delivery-limit": _NEVER,
        }
        async with self._broker.asking():
            await channel.queue_declare(self._queue, durable=True, arguments=arguments)
            for key in sorted(self._routed):
                await channel.queue_bind(self._queue, self._broker.exchange, routing_key=key)
            await channel.basic_qos(prefetch_count=self._broker.prefetch)
            self._consumer = f"skerry-{self._number}"
            await channel.basic_consume(self._queue, self._arrived, consumer_tag=self._consumer)

    async def look(self) -> None:
        """Ask for a sign of life: a server that fell silent would only be missed after three heartbeats."""
        await self._waiting()
        self.look_at = self.clock.monotonic() + LOOK

    async def fill(self, wait: float) -> None:
        if self._channel is None or self._channel.is_closed:
            await self.connect()
        self._bell.clear()
        if self._unwanted:
            done, self._unwanted = self._unwanted, []
            await self._acknowledge(done)
        if wait > 0.0 and not any(self.tracks[source].buffer for source in self.hungry()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._bell.wait()
            if self._channel is None or self._channel.is_closed:
                raise self._broker.address.unavailable("the connection was lost")

    async def ends(self) -> Mapping[str, Position]:
        raise EventError(f"{self._broker.address}: RabbitMQ keeps no positions")

    async def seek(self, where: Literal["start", "end"] | Mapping[str, Position]) -> None:
        """Raises `EventError`: what was handled is gone."""
        raise EventError(f"{self._broker.address}: RabbitMQ does not keep what was handled: no way to {where!r}")

    async def lag(self) -> int:
        """What waits in the queue or here; what was fetched by a process that died is counted once it is back."""
        self.check_open()
        waiting = await self.until_closed(self._waiting())
        return waiting + sum(len(track.buffer) for track in self.tracks.values())

    async def _waiting(self) -> int:
        if self._channel is None or self._channel.is_closed:
            await self.connect()
        assert self._channel is not None
        async with self._broker.asking():
            found = await self._channel.queue_declare(self._queue, passive=True)
        return int(found.message_count or 0)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the broker. What came on a channel that has ended comes again."""
        tags = [
            d.tag for d in deliveries if isinstance(d, _Tagged) and d.channel == self._number and d.tag in self._open
        ]
        await self._acknowledge(tags)

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        """See `Subscription.nack`."""
        track = self.tracks[delivery.source]
        if not isinstance(delivery, _Tagged) or delivery.channel != self._number or delivery.tag not in self._open:
            return  # it comes again by itself
        waiting = {each.tag for each in track.buffer if isinstance(each, _Tagged)}
        back = [
            each
            for tag, each in self._open.items()
            if tag >= delivery.tag and tag not in waiting and each.source == delivery.source
        ]
        track.buffer.extendleft(reversed(back))
        track.not_before = self.clock.monotonic() + delay

    async def drain(self) -> None:
        """What was not handed out goes back when the subscription closes, all at once, so that nobody overtakes it."""
        await super().drain()
        self._bell.set()

    async def release(self) -> None:
        if self._channel is not None:
            await _end(self._channel, self._broker.address.timeout)

    async def _acknowledge(self, tags: Sequence[int]) -> None:
        """One acknowledgement stands for all up to a tag, when nothing before it is open."""
        channel = self._channel
        if channel is None or channel.is_closed or not tags:
            return
        done = set(tags)
        upto = 0
        for tag in sorted({*self._open, *self._unwanted, *done}):
            if tag not in done:
                break
            upto = tag
        async with self._broker.asking():
            if upto:
                await channel.basic_ack(upto, multiple=True)
            for tag in sorted(done):
                if tag > upto:
                    await channel.basic_ack(tag)
        for tag in done:
            self._open.pop(tag, None)

    async def _arrived(self, message: DeliveredMessage) -> None:
        deliver: Any = message.delivery
        tag, properties = deliver.delivery_tag, message.header.properties
        if message.channel is not self._channel or tag is None or self.closed:
            return
        headers = {
            name: wire.quoted(value) for name, value in (properties.headers or {}).items() if isinstance(value, str)
        }
        if wire.KEY in headers:
            headers.setdefault(wire.ID, str(properties.message_id or ""))
        event_type = self._routed.get(deliver.routing_key or "", "")
        if not event_type:
            self._unwanted.append(tag)
        else:
            source = str(properties.app_id or "?")
            fallback = str(properties.message_id or _named_by(message.body))
            known = wire.received(message.body, headers, fallback_id=fallback, event_type=event_type)
            delivery = _Tagged(known, source, None, tag, self._number)
            self._open[tag] = delivery
            self.tracks.setdefault(source, Track()).buffer.append(delivery)
        self._bell.set()


def _named_by(body: bytes) -> str:
    """An id for a message of others that has none: the same when it comes again."""
    return f"unnamed-{hashlib.sha256(body).hexdigest()[:32]}"


@lru_cache(1024)
def routing_key(event_type: str) -> str:
    """What a message of this type is routed by: words without a meaning of their own, at most 255 bytes."""
    key = tokens(event_type)
    return key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest()


async def _end(what: AbstractChannel | AbstractConnection, timeout: float) -> None:  # noqa: ASYNC109 - one of ours
    """Close it. Raises nothing."""
    with contextlib.suppress(*_ERRORS):
        async with asyncio.timeout(timeout):
            await what.close()
