import itertools
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import pytest  # noqa: E402

from servers.nats import NatsServer  # noqa: E402
from servers.postgresql import PostgresServer  # noqa: E402
from servers.rabbitmq import RabbitServer  # noqa: E402
from servers.redis import RedisServer  # noqa: E402

SERVERS = {"nats": NatsServer, "redis": RedisServer, "rabbitmq": RabbitServer}
DURABILITY = {"nats": "durability=flushed&", "redis": "durability=flushed&", "rabbitmq": ""}
_numbers = itertools.count(1)


@pytest.fixture
def small_disk(tmp_path):
    """Makes file systems of a few MiB, which takes root."""
    mounted = []

    def make(name, *, mib, within=tmp_path):
        folder = within / name
        folder.mkdir()
        options = f"size={mib}m,mode=0777"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def brokers(tmp_path_factory):
    """The servers of brokers by their kind, started when first asked for; what is stopped is to be resumed."""
    started = {}

    def get(kind):
        if kind not in started:
            started[kind] = SERVERS[kind](tmp_path_factory.mktemp(kind)).start()
        return started[kind]

    yield get
    for server in started.values():
        server.close()


@pytest.fixture
def address_at():
    """The address of a server that flushes, with names that no other test uses."""
    namespace = f"t{uuid4().hex[:12]}"

    def get(kind, server, *, timeout=5):
        return server.url(f"?{DURABILITY[kind]}namespace={namespace}&timeout={timeout}")

    return get


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    with PostgresServer(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture
def databases(postgres):
    """New, empty databases for the two services, with a short limit for statements."""
    number = next(_numbers)
    return {name: f"{postgres.own_database(f'{name}{number}')}?timeout=2" for name in ("order", "billing")}
