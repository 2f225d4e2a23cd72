"""A name server on loopback that answers as told: enough of DNS (RFC 1035) over UDP for a resolver to believe it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

A, AAAA, SRV = 1, 28, 33
NO_SUCH_NAME, FAILURE = 3, 2
Record = tuple[int, int, bytes]
"""Type, TTL in seconds, data."""


def address(text: str, *, ttl: int = 1) -> Record:
    """An A or AAAA record."""
    parsed = ip_address(text)
    return (A if parsed.version == 4 else AAAA), ttl, parsed.packed


def service(target: str, port: int, *, priority: int = 0, weight: int = 0, ttl: int = 1) -> Record:
    """An SRV record (RFC 2782)."""
    return SRV, ttl, struct.pack("!HHH", priority, weight, port) + encoded(target)


def encoded(name: str) -> bytes:
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """`zone`: records by name, or a code to answer with; `asked`: every question. A name that is not in it does not exist."""

    zone: dict[str, list[Record] | int] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    where: str = ""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        name, end = _name(data)
        (kind,) = struct.unpack_from("!H", data, end)
        question = data[12 : end + 4]
        self.asked.append((name, kind))
        found = self.zone.get(name, NO_SUCH_NAME)
        code = found if isinstance(found, int) else 0
        records = [] if isinstance(found, int) else [record for record in found if record[0] == kind]
        head = data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        answers = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", k, 1, ttl, len(rest)) + rest for k, ttl, rest in records)
        self._transport.sendto(head + question + answers, addr)


def _name(data: bytes) -> tuple[str, int]:
    labels, at = [], 12
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels).lower(), at + 1


@asynccontextmanager
async def name_server(**zone: list[Record] | int) -> AsyncIterator[NameServer]:
    """A name server on a free port of loopback; in the names of `zone` two underscores stand for a dot."""
    server = NameServer({name.replace("__", "."): records for name, records in zone.items()})
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    server.where = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    try:
        yield server
    finally:
        transport.close()
