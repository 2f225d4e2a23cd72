"""Producers of other programs: each writes with the bare driver, beside our adapter or behind its back."""

from __future__ import annotations

import asyncio
import ctypes
import json
import sqlite3
import zlib
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiormq
import confluent_kafka
from hostile import TYPE
from redis.asyncio import Redis

from servers.kafka import KafkaServer
from servers.nats import NatsServer
from servers.rabbitmq import RabbitServer
from servers.redis import RedisServer
from skerry.events.brokers import Broker, Message
from skerry.events.brokers.names import tokens
from skerry.events.brokers.rabbitmq import routing_key

SOURCE = "order"


class OnNats:
    """Speaks the protocol itself: a driver would not write what is wrong."""

    unattributed = 0
    unique_ids = False

    def __init__(self, server: NatsServer, namespace: str) -> None:
        self._server = server
        self._subject = f"{namespace}.{SOURCE}.{tokens(TYPE)}"

    async def send(self, body: bytes, forged: Mapping[str, bytes]) -> None:
        names = {"id": b"Nats-Msg-Id", "key": b"skerry-key"}
        lines = [names[name] + b": " + value for name, value in forged.items()]
        await self._write(b"".join(line + b"\r\n" for line in [b"NATS/1.0", *lines, b""]) if lines else b"", body)

    async def oddities(self) -> int:
        heads = [
            b"X",
            b"NATS/1.0 \xff\xff\xff odd\r\n\r\n",
            b"NATS/1.0 100 Idle\r\n\r\n",
            b"NATS/1.0\r\n:\r\n\xff: \xff\r\n\r\n",
        ]
        for number, head in enumerate(heads):
            await self._write(head, f"oddity {number}".encode())
        return len(heads)

    async def _write(self, head: bytes, body: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        await reader.readline()
        login = {"user": "skerry", "pass": self._server.password, "headers": True, "verbose": False}
        size = f"{len(head)} {len(head) + len(body)}" if head else f"{len(body)}"
        verb = "HPUB" if head else "PUB"
        start = f"CONNECT {json.dumps(login)}\r\n{verb} {self._subject} {size}\r\n"
        writer.write(start.encode() + head + body + b"\r\nPING\r\n")
        while (line := await reader.readline()) != b"PONG\r\n":
            assert not line.startswith(b"-ERR"), line
        writer.close()
        await writer.wait_closed()


class OnRedis:
    unattributed = 2
    unique_ids = False

    def __init__(self, server: RedisServer, namespace: str) -> None:
        self._server = server
        self._stream = f"{namespace}/log/{SOURCE}"

    async def send(self, body: bytes, forged: Mapping[str, bytes]) -> None:
        await self._add({"type": TYPE, "body": body, **forged})

    async def oddities(self) -> int:
        odd = [
            {"type": TYPE},
            {"type": TYPE, b"\xff": b"\xff"},
            {"type": TYPE, "id": b""},
            {"of": b"\xff\x00 " + TYPE.encode() + b" %zz%ff"},
        ]
        for entry in odd:
            await self._add(entry)
        await self._add({"body": b"of no type"})
        await self._add({"type": b"", "body": b"of no type"})
        return len(odd)

    async def _add(self, entry: Mapping[Any, Any]) -> None:
        async with Redis.from_url(self._server.url()) as redis:
            await redis.xadd(self._stream, dict(entry))


class OnRabbit:
    unattributed = 0
    unique_ids = False

    def __init__(self, server: RabbitServer, namespace: str) -> None:
        self._server = server
        self._exchange = namespace

    async def send(self, body: bytes, forged: Mapping[str, bytes]) -> None:
        await self._publish(body, headers={f"skerry-{name}": _Raw(value) for name, value in forged.items()})

    async def oddities(self) -> int:
        odd: list[dict[str, Any]] = [
            {"app_id": _Raw(b"\xff\xfe")},
            {"message_id": "a\x00b", "app_id": "\x00"},
            {"headers": {_Raw(b"\xff"): 1}},
            {"headers": {"skerry-id": 7, "skerry-key": [1, {"a": None}], "": 1.5}},
            {"headers": {"skerry-type": "another", "skerry-id": "bad type"}},
            {"timestamp": datetime(9999, 1, 1, tzinfo=UTC)},
        ]
        for number, properties in enumerate(odd):
            await self._publish(f"oddity {number}".encode(), **properties)
        return len(odd)

    async def _publish(self, body: bytes, **properties: Any) -> None:
        connection = await aiormq.connect(self._server.url())
        try:
            channel = await connection.channel()
            given = aiormq.spec.Basic.Properties(**properties)
            key = routing_key(TYPE)
            await channel.basic_publish(body, exchange=self._exchange, routing_key=key, properties=given)
        finally:
            await connection.close()


class _Raw(str):
    """A text that is written as the bytes given, whatever they are."""

    __slots__ = ("_raw",)

    def __new__(cls, raw: bytes) -> _Raw:
        made = super().__new__(cls, raw.decode(errors="replace"))
        made._raw = raw
        return made

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self._raw


class OnKafka:
    """Through the C library below the driver, which takes names of headers that are no text."""

    unattributed = 2
    unique_ids = False

    def __init__(self, server: KafkaServer, namespace: str) -> None:
        self._server = server
        self._topic = f"{namespace}.{SOURCE}"

    async def send(self, body: bytes, forged: Mapping[str, bytes]) -> None:
        headers = {f"skerry-{name}".encode(): value for name, value in forged.items()}
        await asyncio.to_thread(self._produce, body, {b"ce_type": TYPE.encode(), **headers})

    async def oddities(self) -> int:
        await asyncio.to_thread(self._produce, None, {b"ce_type": TYPE.encode()})
        await asyncio.to_thread(self._produce, b"\xff", {b"ce_type": TYPE.encode(), b"skerry-id": None})
        await asyncio.to_thread(self._produce, b"of no type", {})
        await asyncio.to_thread(self._produce, b"of no readable type", {b"\xff\xfe": b"x", b"ce_type": TYPE.encode()})
        return 2

    def _produce(self, body: bytes | None, headers: Mapping[bytes, bytes | None]) -> None:
        package = Path(confluent_kafka.__file__).parent.parent
        library = ctypes.CDLL(str(next(package.glob("confluent_kafka.libs/librdkafka-*"))))
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
            getattr(library, name).restype = ctypes.c_void_p
        problem = ctypes.create_string_buffer(512)
        settings = ctypes.c_void_p(library.rd_kafka_conf_new())
        for name, value in {
            "bootstrap.servers": f"127.0.0.1:{self._server.port}",
            "message.max.bytes": "16777216",
        }.items():
            library.rd_kafka_conf_set(settings, name.encode(), value.encode(), problem, 512)
        producer = ctypes.c_void_p(library.rd_kafka_new(0, settings, problem, 512))
        made = ctypes.c_void_p(library.rd_kafka_headers_new(len(headers)))
        for name, value in headers.items():
            library.rd_kafka_header_add(made, name, len(name), value, -1 if value is None else len(value))
        fields = [  # each behind its number in rd_kafka_vtype_t; 0 ends them
            ctypes.c_int(1), ctypes.c_char_p(self._topic.encode()), ctypes.c_int(3), ctypes.c_int32(0),
            ctypes.c_int(4), ctypes.c_char_p(body), ctypes.c_size_t(len(body or b"")),
            ctypes.c_int(7), ctypes.c_int(2), ctypes.c_int(10), made, ctypes.c_int(0),
        ]  # fmt: skip
        assert library.rd_kafka_producev(producer, *fields) == 0
        assert library.rd_kafka_flush(producer, 20_000) == 0
        library.rd_kafka_destroy(producer)


class OnSqlite:
    """Opens the log of a service and writes rows whose checksum is right."""

    unattributed = 0
    unique_ids = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder / SOURCE
        self._count = 0

    async def send(self, body: bytes, forged: Mapping[str, bytes]) -> None:
        self._count += 1
        known = {"id": b"raw %d" % self._count, "key": b"raw %d" % self._count, **forged}
        self._append(known["id"], TYPE.encode(), known["key"], body)

    async def oddities(self) -> int:
        self._append(b"\xff", TYPE.encode(), b"\x00", b"\xff")
        self._append(b"no key", TYPE.encode(), b"", b"{}")
        return 2

    def _append(self, *values: bytes) -> None:
        segment = max(self._folder.glob("*.db"))
        row = (*values, zlib.crc32(b"\0".join(values)))
        with closing(sqlite3.connect(segment)) as log, log:
            log.execute(
                "INSERT INTO log (id, type, key, body, crc) VALUES "
                "(CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), ?)",
                row,
            )


class InMemory:
    """Code of the same process, which calls our adapter itself."""

    unattributed = 0
    unique_ids = True

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._count = 0

    async def send(self, body: bytes, forged: Mapping[str, bytes]) -> None:
        self._count += 1
        known = {"id": b"raw %d" % self._count, "key": b"raw %d" % self._count, **forged}
        texts = [value.decode(errors="surrogateescape") for value in (known["id"], known["key"], body)]
        message = Message(texts[0], TYPE, *texts[1:])
        await self._broker.publish([message])

    async def oddities(self) -> int:
        await self._broker.publish([Message("\ud800", TYPE, "\x00", "\udfff"), Message("no key", TYPE, "", "")])
        return 2
