import aiormq
import pytest

from servers.process import free_port
from servers.rabbitmq import RabbitServer
from skerry.clock import SYSTEM
from skerry.events.brokers import connect
from skerry.events.brokers.rabbitmq import RabbitBroker, routing_key
from skerry.testing.brokers import Stage, cases

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with RabbitServer(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


class Settled:
    """The server, killed no sooner than it has written down which queues there are.

    RabbitMQ 3.10 writes the name of a new quorum queue to disk a moment after it said that the queue is declared. Killed in
    between, it comes back with a queue that finds no leader.
    """

    def __init__(self, server, queue):
        self._server = server
        self._queue = queue.encode()

    def _noted(self):
        return any(self._queue in path.read_bytes() for path in self._server.folder.rglob("quorum/*/names.dets"))

    def kill(self):
        deadline = SYSTEM.monotonic() + 30.0
        while not self._noted() and SYSTEM.monotonic() < deadline:
            SYSTEM.sleep_sync(0.05)
        self._server.kill()

    def start(self):
        self._server.start()


@pytest.fixture
def stage(server, namespace, tmp_path):
    options = f"?namespace={namespace}&timeout=5"

    async def foreign(source, event_type, body):
        connection = await aiormq.connect(server.url())
        channel = await connection.channel()
        await channel.basic_publish(body, exchange=namespace, routing_key=routing_key(event_type))
        await connection.close()

    def unreachable(source):
        url = f"amqp://skerry:{server.password}@127.0.0.1:{free_port()}/{options}"
        return connect(url, source=source, data=tmp_path)

    return Stage(
        lambda source: connect(server.url(options), source=source, data=tmp_path),
        Settled(server, f"{namespace}.g"),
        foreign,
        unreachable,
        [server.password],
    )


@pytest.mark.parametrize("case", cases(RabbitBroker.features), ids=str)
def test_rabbitmq(case, stage):
    """Quorum queues of RabbitMQ pass the suite."""
    case.run(stage)
