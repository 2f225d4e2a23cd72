import nats
import pytest

from servers.nats import NatsServer
from servers.process import free_port
from skerry.events.brokers import connect
from skerry.events.brokers.jetstream import JetStreamBroker
from skerry.events.brokers.names import tokens
from skerry.testing.brokers import Stage, cases


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def stage(server, namespace, tmp_path):
    options = f"?durability=flushed&namespace={namespace}&timeout=2"

    async def foreign(source, event_type, body):
        client = await nats.connect(server.url())
        await client.jetstream().publish(f"{namespace}.{source}.{tokens(event_type)}", body)
        await client.close()

    def unreachable(source):
        url = f"nats://skerry:{server.password}@127.0.0.1:{free_port()}{options}"
        return connect(url, source=source, data=tmp_path)

    return Stage(
        lambda source: connect(server.url(options), source=source, data=tmp_path),
        server,
        foreign,
        unreachable,
        [server.password],
    )


@pytest.mark.parametrize("case", cases(JetStreamBroker.features), ids=str)
def test_nats(case, stage):
    """JetStream passes the suite, on a server that flushes each write."""
    case.run(stage)
