"""Transports behind one small port: one file each, chosen by URL."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import parse_qsl

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, MissingExtra
from skerry.events.brokers.port import Broker, Delivery, Durability, Features, Message, Position, Subscription

__all__ = ["Broker", "Delivery", "Durability", "Features", "Message", "Position", "Subscription", "connect"]


class _Factory(Protocol):
    def from_url(self, url: str, *, source: str, clock: Clock) -> Broker: ...


_ADAPTERS: Final = {
    "memory": ("memory", "MemoryBroker", ""),
    "nats": ("jetstream", "JetStreamBroker", "nats"),
    "kafka": ("kafka", "KafkaBroker", "kafka"),
    "amqp": ("rabbitmq", "RabbitBroker", "rabbitmq"),
    "amqps": ("rabbitmq", "RabbitBroker", "rabbitmq"),
    "redis": ("redisstreams", "RedisBroker", "redis"),
    "rediss": ("redisstreams", "RedisBroker", "redis"),
}
"""Module, class, and the extra whose driver the module imports."""


def connect(url: str, *, source: str, data: Path, clock: Clock = SYSTEM) -> Broker:
    """The broker behind `url`, for the service `source`. Nothing is asked of it before the first use.

    `sqlite:///FOLDER/[?retention_days=30]` is the embedded event log, `memory:[NAME]` one for tests; `nats:`, `kafka:`,
    `amqp:`, `amqps:`, `redis:` and `rediss:` are servers. Raises `ConfigurationError` for an address or option that is
    wrong, `MissingExtra` when the driver is not installed.
    """
    scheme = url.partition(":")[0]
    if scheme not in _ADAPTERS:
        return _event_log(url, source=source, data=data, clock=clock)
    module, name, extra = _ADAPTERS[scheme]
    try:
        factory: _Factory = getattr(import_module(f"skerry.events.brokers.{module}"), name)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("skerry"):
            raise
        raise MissingExtra(f"a broker at {scheme}:", extra) from error
    return factory.from_url(url, source=source, clock=clock)


def _event_log(url: str, *, source: str, data: Path, clock: Clock) -> Broker:
    from skerry.events.brokers.eventlog import DAY, RETENTION, EventLog
    from skerry.store import resolve

    address, _, query = url.partition("?")
    folder = resolve(address, data)
    if not address.endswith("/"):
        raise ConfigurationError("the address of an event log is a folder and ends with a slash: sqlite:///events/")
    options: dict[str, Callable[[str], float]] = {"retention_days": lambda text: float(text) * DAY}
    retention = RETENTION
    for option, text in parse_qsl(query, keep_blank_values=True):
        if option not in options:
            raise ConfigurationError(
                f"the address of the event log has the option {option!r}; known is: retention_days"
            )
        try:
            retention = options[option](text)
        except ValueError:
            retention = -1.0
        if not 0.0 < retention < float("inf"):
            raise ConfigurationError(f"the event log's option {option} cannot be {text!r}")
    return EventLog(folder, source=source, retention=retention, clock=clock)
