"""NATS JetStream: a stream per publishing source, of which that source's relay is the only writer.

A server from 2.12 on takes a batch whole or not at all, and flushes it once. For an older one it is published without waiting
in between, each message expecting sequence and id of the one before: one that fails fails all behind it. Either way nothing is
reordered, and a writer that was overtaken is refused. After an unclear failure the next batch is published one by one, and the
server's window of ids (`Nats-Msg-Id`, two minutes) keeps duplicates out.

Source: NATS documentation, "JetStream headers", and its design record 50, "JetStream batch publishing". The server checks the
id before the expected sequence.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, DurabilityTooLow, EventError
from skerry.events.brokers import wire
from skerry.events.brokers.adapter import Adapter
from skerry.events.brokers.address import COMMON, Address
from skerry.events.brokers.jetstream_link import (
    NAME_IN_USE,
    STREAM_NOT_FOUND,
    WRONG_SEQUENCE,
    Link,
    Outgoing,
    Refusal,
)
from skerry.events.brokers.jetstream_tail import EPOCH, MSG_ID, SOURCE, JetStreamTail
from skerry.events.brokers.names import token, tokens
from skerry.events.brokers.port import Features, Message, Position
from skerry.events.brokers.tail import Tail
from skerry.events.envelope import STRUCTURED

OPTIONS: Final = {**COMMON, "replicas": "copies of each stream"}
EXPECTED: Final = "Nats-Expected-Last-Sequence"
ATOMIC: Final = "allow_atomic"
WORTH_A_BATCH: Final = 8
"""Messages: an atomic batch costs as many flushes as a few of them."""
TOGETHER, TOGETHER_BYTES = 256, 4 * 1024 * 1024
"""How much is under way at once."""
REPLICATED: Final = 3


class JetStreamBroker(Adapter):
    """nats://[USER:PASSWORD@]HOST[:4222][,HOST...][?durability=flushed][&replicas=3][&namespace=events][&timeout=5]

    A server flushes every two minutes unless it runs with `sync_interval: always`, which it does not tell: for it,
    `durability=flushed` is the operator's word. That a stream is on disk, and `replicated`, is checked.
    """

    features: Features = Features(fenced=True, deduplicates=True)

    def __init__(self, address: Address, *, source: str, clock: Clock = SYSTEM) -> None:
        self.replicas: int = address.positive("replicas", 1)
        durability = address.durability
        if durability == "replicated" and self.replicas < REPLICATED:
            raise ConfigurationError(f"{address}: durability=replicated needs replicas={REPLICATED} at least")
        if durability == "process" and self.replicas >= REPLICATED:
            durability = "replicated"
        super().__init__(source, durability=durability, clock=clock)
        self.address = address
        self.stream: str = f"{address.namespace}_{token(source)}"
        self.subject: str = f"{address.namespace}.{token(source)}"
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._last: int | None = None
        self._atomic = False

    @classmethod
    def from_url(cls, url: str, *, source: str, clock: Clock = SYSTEM) -> JetStreamBroker:
        """The broker behind nats://..."""
        address = Address.parse(url, port=4222, allowed=OPTIONS)
        if address.path:
            raise ConfigurationError(
                f"{address}: the address of NATS has no path; several systems take ?namespace=NAME"
            )
        return cls(address, source=source, clock=clock)

    async def link(self) -> Link:
        """The connection; a new one when the last has ended. Raises `BrokerUnavailable`."""
        async with self._connecting:
            if self._link is None or self._link.lost:
                if self._link is not None:
                    await self._link.close()
                link = Link(self.address, self._lost)
                await link.open(f"skerry {self.source}")
                self._link, self._last = link, None
            return self._link

    def _lost(self) -> None:
        self._last = None
        for tail in self.tails:
            if isinstance(tail, JetStreamTail):
                tail.bell.set()

    async def send(self, batch: Sequence[Message]) -> None:
        """See `Broker.publish`."""
        link = await self.link()
        last, self._last = self._last, None
        try:
            if last is None:
                last = await self._recover(link, batch)
            else:
                for part in _parts(batch):
                    last = await self._chain(link, part, last)
        except Refusal as error:
            if error.code in WRONG_SEQUENCE:
                raise EventError(f"{self.address}: somebody else has written to {self.stream} meanwhile") from error
            raise
        self._last = last

    async def _recover(self, link: Link, batch: Sequence[Message]) -> int:
        """Publish the batch one by one, of which the server leaves out what it has; the sequence of the last.

        That the last one is there says nothing of those before it: an outbox may show a lower id after a higher one.
        """
        last, known = await self._end(link)
        for message in batch:
            if message.id != known:
                last = await self._chain(link, [message], last)
        return last

    async def _chain(self, link: Link, part: Sequence[Message], last: int) -> int:
        if self._atomic and len(part) >= WORTH_A_BATCH:
            try:
                sequence, duplicate = await link.send(self._atomically(part, last))
            except Refusal as error:
                if error.code in WRONG_SEQUENCE:
                    raise
                return await self._recover(link, part)  # nothing was taken, as when one of them is there already
        else:
            befores = ["", *(message.id for message in part)]
            sequence, duplicate = await link.send(
                [self._outgoing(message, last + n, befores[n]) for n, message in enumerate(part)]
            )
        if duplicate and len(part) == 1:
            return last
        if sequence != last + len(part):
            raise EventError(f"{self.address}: {self.stream} is at {sequence} instead of {last + len(part)}")
        return sequence

    def _atomically(self, part: Sequence[Message], last: int) -> list[Outgoing]:
        """The part as one atomic batch, which the server flushes once and not for each message."""
        batch, found = self.clock.random_bytes(12).hex(), list[Outgoing]()
        for number, message in enumerate(part, 1):
            subject, headers, body = self._outgoing(message, last, "")
            if number > 1:
                del headers[EXPECTED]
            headers |= {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            found.append((subject, headers, body))
        found[-1][1]["Nats-Batch-Commit"] = "1"
        return found

    def _outgoing(self, message: Message, last: int, before: str) -> Outgoing:
        headers = {
            wire.CONTENT_TYPE: STRUCTURED,
            MSG_ID: wire.quoted(message.id),
            wire.KEY: wire.quoted(message.key),
            EXPECTED: str(last),
        }
        if before:  # or else a message of others would stand for the one before, and this one be taken
            headers["Nats-Expected-Last-Msg-Id"] = wire.quoted(before)
        return f"{self.subject}.{tokens(message.type)}", headers, message.body.encode()

    async def _end(self, link: Link) -> tuple[int, str]:
        """The stream's last sequence, and the id of the message there. Creates the stream when it is not there."""
        try:
            info = await link.ask(f"STREAM.INFO.{self.stream}")
        except Refusal as error:
            if error.code != STREAM_NOT_FOUND:
                raise
            info = await self._create(link)
        self._check_promise(info["config"])
        # a server that does not flush takes longer for a batch than for its messages
        self._atomic = self.durability != "process" and await self._may_be_atomic(link, info["config"])
        last = int(info["state"]["last_seq"])
        if not last or not info["state"]["messages"]:
            return last, ""
        found = await link.ask(f"STREAM.MSG.GET.{self.stream}", {"seq": last})
        lines = base64.b64decode(found["message"].get("hdrs", "")).decode(errors="replace").splitlines()
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        return last, wire.unquoted(headers.get(MSG_ID, ""))

    async def _create(self, link: Link) -> dict[str, Any]:
        config = {
            "name": self.stream,
            "subjects": [f"{self.subject}.>"],
            "storage": "file",
            "retention": "limits",
            "num_replicas": self.replicas,
            "metadata": {EPOCH: str(self.clock.uuid()), SOURCE: self.source},
            ATOMIC: True,
        }
        try:
            return await link.ask(f"STREAM.CREATE.{self.stream}", config)
        except Refusal as error:
            if error.code != NAME_IN_USE:  # somebody else was quicker
                raise
            return await link.ask(f"STREAM.INFO.{self.stream}")

    async def _may_be_atomic(self, link: Link, config: Mapping[str, Any]) -> bool:
        """Whether the stream takes atomic batches; one that was made before there were any is asked to."""
        if not config.get(ATOMIC):
            with contextlib.suppress(Refusal):
                config = (await link.ask(f"STREAM.UPDATE.{self.stream}", {**config, ATOMIC: True}))["config"]
        return bool(config.get(ATOMIC))

    def _check_promise(self, config: Mapping[str, Any]) -> None:
        if self.durability != "process" and config.get("storage") != "file":
            raise DurabilityTooLow(f"{self.address}: the stream {self.stream} is not kept on disk")
        if self.durability == "replicated" and config.get("num_replicas", 1) < REPLICATED:
            raise DurabilityTooLow(f"{self.address}: the stream {self.stream} has fewer than {REPLICATED} copies")

    async def open(self, group: str, types: frozenset[str], positions: Mapping[str, Position], /) -> Tail:
        """Read the streams of all sources in the namespace."""
        tail = JetStreamTail(
            self.link, self.address.namespace, group, types, positions, clock=self.clock, on_close=self.forget
        )
        try:
            await tail.look()
        except BaseException:
            await tail.close()
            raise
        return tail

    async def disconnect(self) -> None:
        """Close the connection."""
        if self._link is not None:
            await self._link.close()


def _parts(batch: Sequence[Message]) -> list[list[Message]]:
    parts: list[list[Message]] = [[]]
    size = 0
    for message in batch:
        if len(parts[-1]) >= TOGETHER or (size + len(message.body) > TOGETHER_BYTES and parts[-1]):
            parts.append([])
            size = 0
        parts[-1].append(message)
        size += len(message.body)
    return parts
