import pytest
from redis.asyncio import Redis

from servers.process import free_port
from servers.redis import RedisServer
from skerry.events.brokers import connect
from skerry.events.brokers.redisstreams import RedisBroker
from skerry.testing.brokers import Stage, cases


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def stage(server, namespace, tmp_path):
    options = f"?durability=flushed&namespace={namespace}&timeout=2"

    async def foreign(source, event_type, body):
        async with Redis.from_url(server.url()) as redis:
            await redis.xadd(f"{namespace}/log/{source}", {"type": event_type, "body": body})

    def unreachable(source):
        url = f"redis://:{server.password}@127.0.0.1:{free_port()}/0{options}"
        return connect(url, source=source, data=tmp_path)

    return Stage(
        lambda source: connect(server.url(options), source=source, data=tmp_path),
        server,
        foreign,
        unreachable,
        [server.password],
    )


@pytest.mark.parametrize("case", cases(RedisBroker.features), ids=str)
def test_redis(case, stage):
    """Redis Streams pass the suite, on a server that flushes before it answers."""
    case.run(stage)
