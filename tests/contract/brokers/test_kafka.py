import asyncio
from dataclasses import replace

import pytest
from confluent_kafka import Producer

from servers.kafka import KafkaServer
from servers.process import free_port
from skerry.events.brokers.kafka import KafkaBroker
from skerry.testing.brokers import Stage, cases

FEATURES = replace(KafkaBroker.features, survives_kill=False)
"""The server of these tests keeps everything in memory."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


class Forgetful(KafkaBroker):
    features = FEATURES


@pytest.fixture
def stage(server, namespace):
    options = f"?namespace={namespace}&timeout=2"

    def publish(source, event_type, body):
        producer = Producer({"bootstrap.servers": f"127.0.0.1:{server.port}", "message.max.bytes": 4 * 1024 * 1024})
        producer.produce(f"{namespace}.{source}", value=body, headers=[("ce_type", event_type.encode())])
        assert producer.flush(20) == 0

    async def foreign(source, event_type, body):
        await asyncio.to_thread(publish, source, event_type, body)

    return Stage(
        lambda source: Forgetful.from_url(server.url(options), source=source),
        server,
        foreign,
        lambda source: Forgetful.from_url(f"kafka://127.0.0.1:{free_port()}?timeout=1", source=source),
    )


@pytest.mark.parametrize("case", cases(FEATURES), ids=str)
def test_kafka(case, stage):
    """The adapter for Kafka passes the suite, on a broker in memory that speaks the protocol."""
    case.run(stage)
