"""Reading JetStream: a short-lived consumer per stream, from the position that was given, asked for part after part.

The next part is asked for when half of the last has come: the server always has something to send and never sends more than
was asked for. There is no durable consumer, so after a crash nothing waits for a redelivery.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from skerry.clock import Clock
from skerry.errors import EventError, UnknownPosition
from skerry.events.brokers import wire
from skerry.events.brokers.jetstream_link import CONSUMER_NOT_FOUND, Link, Refusal
from skerry.events.brokers.names import tokens, word
from skerry.events.brokers.port import Delivery, Position
from skerry.events.brokers.tail import AHEAD, Tail, Track

MSG_ID: Final = "Nats-Msg-Id"
EPOCH: Final = "skerry-epoch"
SOURCE: Final = "skerry-source"
LOOK: Final = 0.5
"""Seconds between looks for streams that are new."""
FIRST_LOOK: Final = 0.1
"""The same while there is none at all."""
PART = AHEAD // 2
PART_BYTES: Final = 8 * 1024 * 1024
EXPIRES: Final = 20.0
"""Seconds for which a part is asked for; then it is asked for again."""
SILENCE: Final = 15.0
"""Seconds without a sign of the server after which reading begins again."""
IDLE: Final = 300.0
"""Seconds after which the server forgets a consumer that asks for nothing."""
_SECOND: Final = 1_000_000_000


class JetStreamTail(Tail):
    """A subscription. `link` gives the connection, a new one after it was lost."""

    def __init__(
        self,
        link: Callable[[], Awaitable[Link]],
        namespace: str,
        group: str,
        types: frozenset[str],
        positions: Mapping[str, Position],
        *,
        clock: Clock,
        on_close: Callable[[Tail], None],
    ) -> None:
        super().__init__(positions, clock=clock, on_close=on_close)
        self.types = types
        self.group = group
        self.bell: asyncio.Event = asyncio.Event()
        self._connect = link
        self._link: Link | None = None
        self._namespace = namespace
        self._readers: dict[str, _Reader] = {}
        self._streams: dict[str, str] = {}
        self._leaving: list[_Reader] = []

    async def look(self) -> None:
        link = await self._linked()
        found: list[str] = []
        for _ in range(1000):  # pages
            page = await link.ask("STREAM.NAMES", {"subject": f"{self._namespace}.>", "offset": len(found)})
            found += page.get("streams") or []
            if len(found) >= int(page.get("total", 0)) or not page.get("streams"):
                break
        prefix = f"{self._namespace}_"
        for stream in found:
            source = word(stream.removeprefix(prefix))
            if stream.startswith(prefix):
                self.tracks.setdefault(source, Track())
                self._streams[source] = stream
        self.look_at: float = self.clock.monotonic() + (LOOK if self.tracks else FIRST_LOOK)

    async def fill(self, wait: float) -> None:
        self.bell.clear()
        link = await self._linked()
        await self._leave()
        for source in self.hungry():
            if source in self._streams:
                await self._reader(link, source).keep_up()
        if wait > 0.0 and not any(self.tracks[source].buffer for source in self.hungry()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, SILENCE)):
                    await self.bell.wait()
            if link.lost:
                raise link.address.unavailable("the connection was lost")

    async def ends(self) -> Mapping[str, Position]:
        await self.look()
        link = await self._linked()
        found = {}
        for source, stream in self._streams.items():
            info = await link.ask(f"STREAM.INFO.{stream}")
            found[source] = Position(int(info["state"]["last_seq"]), epoch(info))
        return found

    async def lag(self) -> int:
        """Counted by the server, for the wanted types."""
        self.check_open()
        await self.until_closed(self.look())
        link = await self._linked()
        total = 0
        for source in self._streams:
            total += await self.until_closed(self._reader(link, source).pending()) + len(self.tracks[source].buffer)
        return total

    def rewound(self, source: str) -> None:
        reader = self._readers.pop(source, None)
        if reader is not None:
            reader.abandon()
            self._leaving.append(reader)

    async def drain(self) -> None:
        await super().drain()
        self.bell.set()

    async def release(self) -> None:
        for source in list(self._readers):
            self.rewound(source)
        await self._leave()

    async def _leave(self) -> None:
        while self._leaving:
            await self._leaving.pop().leave()

    def _reader(self, link: Link, source: str) -> _Reader:
        if source not in self._readers:
            self._readers[source] = _Reader(self, link, source, self._streams[source])
        return self._readers[source]

    async def _linked(self) -> Link:
        link = await self._connect()
        if link is not self._link:
            self._link = link
            self._readers.clear()  # they ended with their connection; what was read stays in the buffers
        return link


class _Reader:
    """One stream, read by one consumer from where its track stands."""

    def __init__(self, tail: JetStreamTail, link: Link, source: str, stream: str) -> None:
        self._tail = tail
        self._link = link
        self._source = source
        self._stream = stream
        self._track = tail.tracks[source]
        self._consumer = ""
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._epoch = ""
        self._asked = 0
        self._count = 0
        self._heard = 0.0
        self._cautious = False
        self._over = False

    async def keep_up(self) -> None:
        """See to it that the server sends; begins again when it fell silent."""
        if self._over or (self._asked > 0 and self._tail.clock.monotonic() - self._heard > SILENCE):
            self._tail.rewound(self._source)
            return
        if not self._consumer:
            await self._begin()
        await self._ask()

    async def pending(self) -> int:
        """How many wanted messages the server has not sent."""
        if not self._consumer:
            await self._begin()
        try:
            info = await self._link.ask(f"CONSUMER.INFO.{self._stream}.{self._consumer}")
        except Refusal as error:
            if error.code != CONSUMER_NOT_FOUND:
                raise
            self._over = True
            return 0
        return int(info["num_pending"])

    def abandon(self) -> None:
        """Take nothing more."""
        self._over = True

    async def leave(self) -> None:
        """Tell the server that nobody reads here any more. Raises nothing: it finds out by itself, only later."""
        if self._subscription is not None and not self._link.lost:
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                async with asyncio.timeout(self._link.address.timeout):
                    await self._subscription.unsubscribe()
                    await self._link.client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._consumer}")

    async def _begin(self) -> None:
        link, tail = self._link, self._tail
        info = await link.ask(f"STREAM.INFO.{self._stream}")
        start = self._checked(info)
        name = f"skerry-{tail.clock.random_bytes(8).hex()}"
        inbox = link.client.new_inbox()
        prefix = self._stream.replace("_", ".", 1)
        config = {
            "name": name,
            "description": f"group {tail.group}"[:200],
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": start,
            "ack_policy": "none",
            "filter_subjects": [f"{prefix}.{tokens(each)}" for each in sorted(tail.types)] or [f"{prefix}._00"],
            "inactive_threshold": int(IDLE * _SECOND),
            "mem_storage": True,
            "num_replicas": 1,
        }
        question = {"stream_name": self._stream, "config": config, "action": "create"}
        await link.ask(f"CONSUMER.CREATE.{self._stream}.{name}", question)
        try:
            self._subscription = await link.client.subscribe(inbox, cb=self._arrived)
        except (NatsError, OSError) as error:
            raise link.address.unavailable(error) from None
        self._inbox, self._consumer, self._epoch = inbox, name, epoch(info)

    def _checked(self, info: Mapping[str, Any]) -> int:
        """Where to begin. Raises `UnknownPosition`."""
        at, state, source = self._track.ahead, info["state"], self._source
        first, last = int(state["first_seq"]), int(state["last_seq"])
        if at is None:
            return max(1, first)
        if at.epoch != epoch(info):
            raise UnknownPosition(f"the log of {source} was replaced: its epoch is not the one consumed before")
        if at.offset > last:
            raise UnknownPosition(f"the log of {source} ends at {last}, before the position {at.offset}")
        if at.offset + 1 < first:
            raise UnknownPosition(f"the log of {source} does not reach back to {at.offset + 1}")
        return at.offset + 1

    async def _ask(self) -> None:
        buffer = self._track.buffer
        if self._asked + len(buffer) > AHEAD - PART or self._over:
            return
        held = sum(len(delivery.message.body) for delivery in buffer)
        if buffer and held > PART_BYTES:
            return
        part = {"batch": PART, "expires": int(EXPIRES * _SECOND), "idle_heartbeat": int(SILENCE / 3 * _SECOND)}
        part |= {"batch": 1} if self._cautious else {"max_bytes": PART_BYTES}
        self._asked += int(part["batch"])
        self._heard = self._tail.clock.monotonic()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        try:
            await self._link.client.publish(subject, json.dumps(part).encode(), reply=self._inbox)
        except (NatsError, OSError) as error:
            raise self._link.address.unavailable(error) from None

    async def _arrived(self, msg: Msg) -> None:
        if self._over:
            return
        self._heard = self._tail.clock.monotonic()
        headers = msg.headers or {}
        if not msg.reply.startswith("$JS.ACK."):
            self._said(headers)
        else:
            words = msg.reply.split(".")
            at = 5 if len(words) == 9 else 7
            sequence, count = int(words[at]), int(words[at + 1])
            if count != self._count + 1:  # one was lost between the server and us
                self._over = True
            else:
                self._count = count
                self._asked -= 1
                self._cautious = False
                self._deliver(msg, headers, sequence)
        self._tail.bell.set()
        if not self._over:
            with contextlib.suppress(EventError):
                await self._ask()

    def _deliver(self, msg: Msg, headers: Mapping[str, str], sequence: int) -> None:
        event_type = word(msg.subject.split(".", 2)[2])
        if MSG_ID in headers and wire.KEY in headers:
            headers = {wire.ID: headers[MSG_ID], wire.KEY: headers[wire.KEY]}
        message = wire.received(msg.data, headers, fallback_id=f"{self._stream}:{sequence}", event_type=event_type)
        self._track.buffer.append(Delivery(message, self._source, Position(sequence, self._epoch)))
        self._track.ahead = self._track.buffer[-1].position

    def _said(self, headers: Mapping[str, str]) -> None:
        """A word of the server: it lives, a part has ended, or the consumer is gone."""
        status = headers.get("Status", "")
        if status == "100":
            return
        if status in {"404", "408", "409"} and "Nats-Pending-Messages" in headers:
            self._asked -= int(headers["Nats-Pending-Messages"])
            self._cautious = status == "409" and int(headers["Nats-Pending-Messages"]) == PART
        else:
            self._over = True


def epoch(info: Mapping[str, Any]) -> str:
    """What tells a stream from one that replaced it: our mark, or when it was created."""
    return str((info["config"].get("metadata") or {}).get(EPOCH) or info["created"])
