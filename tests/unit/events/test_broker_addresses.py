"""Addresses of brokers: what is taken, what is refused, and that a password is never shown."""

import asyncio
import builtins
import sys

import pytest

from skerry.errors import BrokerUnavailable, ConfigurationError, DurabilityTooLow, MissingExtra
from skerry.events import EventBus
from skerry.events.brokers import Message, connect
from skerry.events.brokers.address import COMMON, Address

SECRET = "p%40ss/w"
URLS = {
    "nats": "nats://me:p%2540ss%2Fw@host",
    "kafka": "kafka://me:p%2540ss%2Fw@host",
    "redis": "redis://me:p%2540ss%2Fw@host",
    "rediss": "rediss://me:p%2540ss%2Fw@host",
    "amqp": "amqp://me:p%2540ss%2Fw@host",
    "amqps": "amqps://me:p%2540ss%2Fw@host",
}


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_connecting_asks_for_nothing(url, tmp_path):
    """A broker is made without asking its server, and closes without ever having reached one."""
    asyncio.run(connect(url, source="order", data=tmp_path).close())


@pytest.mark.parametrize(
    "query",
    ["?unknown=1", "?namespace=a.b", "?namespace=", "?timeout=0", "?timeout=x", "?timeout=1&timeout=2", "#x"],
)
@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_a_wrong_option_is_refused(url, query, tmp_path):
    """An option that is not known, stands twice or cannot be read is a ConfigurationError that shows no password."""
    with pytest.raises(ConfigurationError) as caught:
        connect(url + query, source="order", data=tmp_path)
    assert SECRET not in str(caught.value)
    assert "p%2540ss%2Fw" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "nats://",
        "nats://host:port",
        "nats://host:0",
        "nats://[::1",
        "nats://host?durability=forever",
        "nats://host?durability=replicated",
        "nats://host?replicas=0",
        "redis://host?durability=replicated",
        "redis://one,two",
        "redis://host/name",
        "redis://host?max_length=0",
        "kafka://host/path",
        "nats://host/path",
        "kafka://host?mechanism=NONE",
        "kafka://host?tls=yes",
        "amqp://host?prefetch=0",
        "amqp://host?prefetch=65536",
        "amqp://host?durability=flushed",
        "memory:a/b",
        "sqlite:///events/?retention_days=0",
        "sqlite:///events/?retention_days=never",
        "sqlite:///events/?unknown=1",
        "pigeon://host",
    ],
)
def test_a_wrong_address_is_refused(url, tmp_path):
    """What cannot be the address of a broker is refused when it is made, not when it is used."""
    with pytest.raises(ConfigurationError):
        connect(url, source="order", data=tmp_path)


@pytest.mark.parametrize(
    ("url", "durability"),
    [
        ("sqlite:///events/", "flushed"),
        ("memory:", "process"),
        ("nats://host", "process"),
        ("nats://host?durability=flushed", "flushed"),
        ("nats://host?replicas=3", "replicated"),
        ("kafka://host", "process"),
        ("kafka://host?durability=replicated", "replicated"),
        ("redis://host", "process"),
        ("redis://host?durability=flushed", "flushed"),
        ("amqp://host", "flushed"),
    ],
)
def test_a_bus_refuses_what_the_address_does_not_promise(url, durability, tmp_path):
    """Durability is known from the address alone; a bus takes less than flushed only when told to."""
    broker = connect(url, source="order", data=tmp_path)
    assert broker.durability == durability
    if durability == "process":
        with pytest.raises(DurabilityTooLow):
            EventBus(broker, source="order")
    EventBus(broker, source="order", accept_process=True)
    asyncio.run(broker.close())


def test_an_address_is_read_in_parts():
    """Several hosts, IPv6, a user and a password with odd signs, a path and options."""
    address = Address.parse("nats://m%40e:p%2540ss%2Fw@one:1,[::1]:2,three/a%2Fb?timeout=2", port=9, allowed=COMMON)
    assert address.hosts == ("one:1", "[::1]:2", "three:9")
    assert (address.user, address.password, address.path, address.timeout) == ("m@e", SECRET, "a/b", 2.0)
    assert str(address) == "nats://one:1,[::1]:2,three:9"
    assert SECRET not in repr(address)


def test_an_error_does_not_show_the_password():
    """What a driver says is passed on without the password, whether it is percent-encoded or not."""
    address = Address.parse(URLS["nats"], port=4222, allowed=COMMON)
    error = address.unavailable(OSError("cannot log in with p%40ss/w or p%2540ss%2Fw"))
    assert isinstance(error, BrokerUnavailable)
    assert str(error) == "nats://host:4222: OSError: cannot log in with *** or ***"


@pytest.mark.parametrize(
    ("scheme", "driver", "extra"),
    [
        ("nats", "nats", "nats"),
        ("kafka", "confluent_kafka", "kafka"),
        ("amqp", "aiormq", "rabbitmq"),
        ("redis", "redis", "redis"),
    ],
)
def test_a_missing_driver_names_the_extra(scheme, driver, extra, tmp_path, monkeypatch):
    """Without the driver the error says what to install."""
    real = builtins.__import__

    def absent(name, *arguments, **more):
        if name.partition(".")[0] == driver:
            raise ModuleNotFoundError(f"No module named {driver!r}", name=driver)
        return real(name, *arguments, **more)

    for name in [
        name for name in sys.modules if name.partition(".")[0] == driver or name.startswith("skerry.events.brokers.")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtra) as caught:
        connect(f"{scheme}://host", source="order", data=tmp_path)
    assert caught.value.extra == extra


def test_a_name_in_memory_is_shared(tmp_path):
    """Services of one process that say the same name see each other's events; another name, or none, is another log."""

    async def main():
        order, billing = (connect("memory:shop", source=name, data=tmp_path) for name in ("order", "billing"))
        others = [connect(url, source="other", data=tmp_path) for url in ("memory:", "memory:another")]
        await order.publish([Message("1", "t", "k", "{}")])
        subscription = await billing.subscribe("g", {"t"}, {})
        assert [delivery.source for delivery in await subscription.fetch(10, wait=0.0)] == ["order"]
        for other in others:
            assert not await (await other.subscribe("g", {"t"}, {})).fetch(10, wait=0.0)
        for broker in (order, billing, *others):
            await broker.close()

    asyncio.run(main())
