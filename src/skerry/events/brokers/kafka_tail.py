"""Reading Kafka: every partition of every source from the position that was given, on a thread of its own.

Partitions are assigned, never joined for. A source's name in deliveries and positions is SERVICE/PARTITION.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from typing import Any, Final, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka import Message as Record
from confluent_kafka.admin import AdminClient

from skerry.errors import UnknownPosition
from skerry.events.brokers import wire
from skerry.events.brokers.kafka import LARGEST, KafkaBroker
from skerry.events.brokers.names import word
from skerry.events.brokers.port import Delivery, Position
from skerry.events.brokers.tail import Tail, Track
from skerry.signals import MessagePassedOver, emit

T = TypeVar("T")
LOOK: Final = 1.0
"""Seconds between looks for topics that are new."""
FIRST_LOOK: Final = 0.1
"""The same while there is none at all."""
PART: Final = 256
SLICE: Final = 0.1
"""The longest a call of the driver waits for messages, so that closing need not wait for long."""
_READ_AHEAD_KBYTES: Final = 16 * 1024
_READ_HEADERS: Final = methodcaller("headers")


class KafkaTail(Tail):
    """A subscription. Only its thread touches the consumer and what it has read."""

    def __init__(
        self, broker: KafkaBroker, group: str, types: frozenset[str], positions: Mapping[str, Position]
    ) -> None:
        super().__init__(positions, clock=broker.clock, on_close=broker.forget)
        self._broker = broker
        self._types = types
        self._group = group
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{group}-kafka")
        self._consumer: Consumer | None = None
        self._admin: AdminClient | None = None
        self._down: KafkaError | None = None
        self._known: dict[str, tuple[str, int, str]] = {}
        """Topic, partition and epoch of each source."""
        self._assigned: set[str] = set()
        self._stale: set[str] = set()
        self._unproven: dict[str, int] = {}
        """Where reading began, until the broker has said where the partition ends."""
        self._records: deque[Record] = deque()

    async def look(self) -> None:
        for source, found in (await self._run(self._partitions)).items():
            self.tracks.setdefault(source, Track())
            if source in self._known and self._known[source] != found:
                self._stale.add(source)
            self._known[source] = found
        self.look_at: float = self.clock.monotonic() + (LOOK if self.tracks else FIRST_LOOK)

    async def fill(self, wait: float) -> None:
        ahead = {source: self.tracks[source].ahead for source in self.hungry() if source in self._known}
        await self._run(lambda: self._poll(ahead, min(wait, SLICE)))
        names = {(topic, partition): source for source, (topic, partition, _) in self._known.items()}
        while self._records:
            record = self._records.popleft()
            source = names.get((str(record.topic()), int(record.partition() or 0)))
            if source is not None and source not in self._stale:
                self._read(source, record)

    async def ends(self) -> Mapping[str, Position]:
        await self.look()
        known = dict(self._known)
        highs = await self._run(lambda: {source: self._watermarks(source)[1] for source in known})
        return {source: Position(high - 1, known[source][2]) for source, high in highs.items()}

    async def lag(self) -> int:
        """All types are counted, and what transactions of other programs leave in a partition."""
        self.check_open()
        await self.until_closed(self.fill(SLICE))
        total = 0
        for source, end in (await self.until_closed(self.ends())).items():
            track = self.tracks[source]
            total += end.offset - (-1 if track.ahead is None else track.ahead.offset) + len(track.buffer)
        return total

    def rewound(self, source: str) -> None:
        self._stale.add(source)

    async def release(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    async def _run(self, function: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function)
        except KafkaException as error:
            raise self._broker.address.unavailable(str(error.args[0])) from None

    def _open(self) -> Consumer:
        if self._consumer is None:
            self._down = None
            self._consumer = Consumer(
                {
                    **self._broker.settings,
                    "group.id": f"{self._broker.address.namespace}.{self._group}",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "error",
                    "allow.auto.create.topics": False,
                    "isolation.level": "read_committed",
                    "fetch.wait.max.ms": 100,
                    "fetch.message.max.bytes": LARGEST,
                    "queued.max.messages.kbytes": _READ_AHEAD_KBYTES,
                    "error_cb": self._failed,
                }
            )
        return self._consumer

    def _failed(self, error: KafkaError) -> None:
        if error.code() in {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION}:
            self._down = error

    def _drop(self) -> None:
        consumer, self._consumer, self._admin = self._consumer, None, None
        self._assigned.clear()
        self._unproven.clear()
        self._records.clear()
        if consumer is not None:
            consumer.close()

    def _partitions(self) -> dict[str, tuple[str, int, str]]:
        """What topics there are, by source."""
        timeout = self._broker.address.timeout
        prefix = f"{self._broker.address.namespace}."
        try:
            topics = self._open().list_topics(timeout=timeout).topics
        except KafkaException:
            self._drop()
            raise
        ours = [name for name, topic in topics.items() if name.startswith(prefix) and topic.error is None]
        if not ours:
            return {}
        self._admin = self._admin or AdminClient(self._broker.settings)
        asked = self._admin.describe_topics(TopicCollection(ours), request_timeout=timeout)
        epochs = {name: str(future.result(timeout).topic_id) for name, future in asked.items()}
        return {
            f"{word(name.removeprefix(prefix))}/{partition}": (name, partition, epochs[name])
            for name in ours
            for partition in topics[name].partitions
        }

    def _watermarks(self, source: str) -> tuple[int, int]:
        topic, partition, _ = self._known[source]
        found = self._open().get_watermark_offsets(
            TopicPartition(topic, partition), timeout=self._broker.address.timeout
        )
        if found is None:
            raise self._broker.address.unavailable("no answer about the ends of a partition")
        return int(found[0]), max(int(found[1]), self._fetched_end(source) if source in self._assigned else 0)

    def _poll(self, ahead: Mapping[str, Position | None], wait: float) -> None:
        consumer = self._open()
        for source in list(self._stale):
            if source in self._assigned:
                topic, partition, _ = self._known[source]
                consumer.incremental_unassign([TopicPartition(topic, partition)])
                self._assigned.discard(source)
                self._unproven.pop(source, None)
        stale = {self._known[source][:2] for source in self._stale if source in self._known}
        kept = [record for record in self._records if (record.topic(), record.partition()) not in stale]
        self._records = deque(kept)
        self._stale.clear()
        for source, at in ahead.items():
            if source not in self._assigned:
                self._assign(consumer, source, at)
        first = consumer.poll(wait)
        if first is not None:
            rest: list[Record] = consumer.consume(PART - 1, timeout=0.0)
            for record in [first, *rest]:
                self._accept(record)
        self._prove()
        if first is None and self._down is not None:
            down = self._down
            self._drop()
            raise KafkaException(down)

    def _accept(self, record: Record) -> None:
        error = record.error()
        if error is None:
            self._records.append(record)
        elif error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
            self._drop()
            raise UnknownPosition(f"{record.topic()}/{record.partition()} does not reach back to where it was read")
        elif error.code() != KafkaError._PARTITION_EOF:
            self._drop()
            raise KafkaException(error)

    def _assign(self, consumer: Consumer, source: str, at: Position | None) -> None:
        """Begin to read a partition. Raises `UnknownPosition`."""
        topic, partition, epoch = self._known[source]
        if at is not None and at.epoch != epoch:
            raise UnknownPosition(f"the log of {source} was replaced: its epoch is not the one consumed before")
        start = OFFSET_BEGINNING if at is None else at.offset + 1  # one before the beginning is refused by the broker
        consumer.incremental_assign([TopicPartition(topic, partition, start)])
        self._assigned.add(source)
        if at is not None:
            self._unproven[source] = start

    def _prove(self) -> None:
        """Raises `UnknownPosition` when a partition ends before where its reading began: a broker may not say so."""
        for source, start in list(self._unproven.items()):
            high = self._fetched_end(source)
            if high >= 0:
                del self._unproven[source]
            if 0 <= high < start:
                self._drop()
                raise UnknownPosition(f"the log of {source} ends at {high - 1}, before the position {start - 1}")

    def _fetched_end(self, source: str) -> int:
        """The end of a partition as the last answer to a fetch had it; negative while there was none."""
        topic, partition, _ = self._known[source]
        found = self._open().get_watermark_offsets(TopicPartition(topic, partition), cached=True)
        return -1 if found is None else int(found[1])

    def _read(self, source: str, record: Record) -> None:
        position = Position(int(record.offset() or 0), self._known[source][2])
        headers = _headers(record)
        event_type = wire.unquoted(headers.get(wire.TYPE) or headers.get("ce_type", ""))
        body: Any = record.value() or b""
        fallback = f"{source}:{position.offset}"
        message = wire.received(body, headers, fallback_id=fallback, event_type=event_type)
        if message.type in self._types:
            self.add([Delivery(message, source, position)])
        elif not message.type:
            emit(MessagePassedOver(group=self._group, source=source, place=f"{record.topic()} {position.offset}"))
        self.tracks[source].ahead = position


def _headers(record: Record) -> dict[str, str]:
    """The headers; none when the name of one is no text.

    The driver then returns tuples with a hole, which end the process when they are read, and leaves its error pending. Called
    in this way, and not from byte code, Python finds the error in any case.
    """
    try:
        found: Any = _READ_HEADERS(record) or []
    except SystemError:
        return {}
    return {name: _text(value) for name, value in found}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
