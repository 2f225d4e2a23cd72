"""Kafka: a topic per publishing source, whose partitions keep the order of their keys.

Published idempotently and acknowledged by all replicas in sync; a key goes to the partition that Java's client would choose.
Read without joining a group: from the positions that the consumer keeps, so there is no rebalancing and nothing to commit.
The driver's calls block, so they run on threads of their own.

Source: Apache Kafka documentation, "Message delivery semantics"; librdkafka, "Idempotent producer".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, DurabilityTooLow
from skerry.events.brokers import wire
from skerry.events.brokers.adapter import Adapter
from skerry.events.brokers.address import COMMON, Address
from skerry.events.brokers.names import token
from skerry.events.brokers.port import Features, Message, Position
from skerry.events.brokers.tail import Tail

T = TypeVar("T")
OPTIONS: Final = {
    **COMMON,
    "partitions": "partitions of a new topic",
    "replication": "copies of a new topic's partitions",
    "retention_days": "how long a new topic keeps events",
    "tls": "1 for an encrypted connection",
    "mechanism": "how user and password are given: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
}
MECHANISMS: Final = {name: name for name in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")}
LARGEST: Final = 4 * 1024 * 1024
DAY_MS: Final = 86_400_000


class KafkaBroker(Adapter):
    """kafka://[USER:PASSWORD@]HOST[:9092][,HOST...][?durability=replicated][&partitions=4][&replication=1][&...]

    Kafka writes to disk in its own time: without replicas an acknowledged event can be lost with the machine, so the
    durability is "process" unless the address says otherwise. `replicated` is checked: three copies, two in sync.
    `flushed` is the operator's word.
    """

    features: Features = Features(shared=True, order="key", exact_lag=False)

    def __init__(self, address: Address, *, source: str, clock: Clock = SYSTEM) -> None:
        self.partitions: int = address.positive("partitions", 4)
        self.replication: int = address.positive("replication", 3 if address.durability == "replicated" else 1)
        self._retention = address.positive("retention_days", 30)
        super().__init__(source, durability=address.durability, clock=clock)
        self.address = address
        self.topic: str = f"{address.namespace}.{token(source)}"
        self.settings: dict[str, Any] = _settings(address, source)
        self._thread: ThreadPoolExecutor | None = None
        self._producer: Producer | None = None

    @classmethod
    def from_url(cls, url: str, *, source: str, clock: Clock = SYSTEM) -> KafkaBroker:
        """The broker behind kafka://..."""
        return cls(Address.parse(url, port=9092, allowed=OPTIONS), source=source, clock=clock)

    async def send(self, batch: Sequence[Message]) -> None:
        """See `Broker.publish`."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{self.source}-kafka")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._send, list(batch))

    def _send(self, batch: Sequence[Message]) -> None:
        failures: list[KafkaError] = []

        def answered(error: KafkaError | None, _: object) -> None:
            if error is not None:
                failures.append(error)

        try:
            producer = self._producer or self._begin()
            for message in batch:
                headers = [(name, value.encode()) for name, value in wire.headers(message).items()]
                self._produce(producer, message, headers, answered)
            left = producer.flush(self.address.timeout)
        except (KafkaException, BufferError) as error:
            self._forget()
            raise self.address.unavailable(error) from None
        if left or failures:
            self._forget()  # what is still under way must not come behind what is published next
            raise self.address.unavailable(str(failures[0]) if failures else "no answer to what was published")

    def _produce(self, producer: Producer, message: Message, headers: Any, answered: Callable[..., None]) -> None:
        for _ in range(1000):  # the queue of the driver is bounded
            try:
                producer.produce(
                    self.topic,
                    key=message.key.encode(),
                    value=message.body.encode(),
                    headers=headers,
                    on_delivery=answered,
                )
                return
            except BufferError:
                producer.poll(self.address.timeout / 100)
        raise BufferError("the driver's queue stays full")

    def _begin(self) -> Producer:
        self._prepare_topic()
        milliseconds = int(self.address.timeout * 1000)
        self._producer = Producer(
            {
                **self.settings,
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "linger.ms": 1,
                "message.max.bytes": LARGEST,
                "message.timeout.ms": milliseconds,
                "request.timeout.ms": milliseconds,
            }
        )
        return self._producer

    def _forget(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(0.1)

    def _prepare_topic(self) -> None:
        """Create the topic when it is not there, and check what was promised."""
        admin, timeout = AdminClient(self.settings), self.address.timeout
        found = admin.list_topics(timeout=timeout).topics.get(self.topic)
        if found is None or found.error is not None:
            config = {"max.message.bytes": str(LARGEST), "retention.ms": str(self._retention * DAY_MS)}
            topic = NewTopic(self.topic, self.partitions, self.replication, config=config)
            try:
                admin.create_topics([topic], operation_timeout=timeout, request_timeout=timeout)[self.topic].result(
                    timeout
                )
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        if self.durability != "replicated":
            return
        partitions = admin.list_topics(self.topic, timeout=timeout).topics[self.topic].partitions.values()
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.topic)
        settings = admin.describe_configs([resource], request_timeout=timeout)[resource].result(timeout)
        in_sync = int(settings["min.insync.replicas"].value)
        if in_sync < 2 or any(len(partition.replicas) < 3 for partition in partitions):
            raise DurabilityTooLow(f"{self.address}: {self.topic} needs three copies and min.insync.replicas=2")

    async def open(self, group: str, types: frozenset[str], positions: Mapping[str, Position], /) -> Tail:
        """Read the topics of all sources in the namespace."""
        from skerry.events.brokers.kafka_tail import KafkaTail

        tail = KafkaTail(self, group, types, positions)
        try:
            await tail.look()
        except BaseException:
            await tail.close()
            raise
        return tail

    async def disconnect(self) -> None:
        """Close the producer; what was not acknowledged is given up."""
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._forget)
            self._thread.shutdown(wait=False)


def _settings(address: Address, source: str) -> dict[str, Any]:
    tls = address.option("tls", "0", {"0": "0", "1": "1"}.__getitem__) == "1"
    mechanism = address.option("mechanism", "PLAIN", MECHANISMS.__getitem__)
    if address.path:
        raise ConfigurationError(f"{address}: the address of Kafka has no path")
    settings: dict[str, Any] = {
        "bootstrap.servers": ",".join(address.hosts),
        "client.id": f"skerry-{source}",
        "socket.timeout.ms": max(1000, int(address.timeout * 1000)),
        "socket.connection.setup.timeout.ms": max(1000, int(address.timeout * 1000)),
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
        "log_level": 0,
        "error_cb": _ignore,
        "security.protocol": ("SASL_" if address.user else "") + ("SSL" if tls else "PLAINTEXT"),
    }
    if address.user:
        settings |= {"sasl.mechanism": mechanism, "sasl.username": address.user, "sasl.password": address.password}
    return settings


def _ignore(_: object) -> None:
    """What goes wrong is seen where it matters: by what was asked for."""
