"""Peers on loopback that behave as told: one small function per way of misbehaving."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """Where it listens and what it has received."""

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    connections: int = 0


Behaviour = Callable[[Peer, Reader, Writer], Awaitable[None]]


async def receive(peer: Peer, reader: Reader) -> Received:
    """Read one request; raises IncompleteReadError at the end of the connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    request = Received(method, target, headers, body)
    peer.requests.append(request)
    return request


def reply(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """A whole reply; an underscore in a header's name stands for a dash."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *lines, "", ""]).encode() + body


def answers(*replies: bytes) -> Behaviour:
    """Answer with each of these in turn, over all connections; then with the last for ever."""
    left = list(replies)

    async def behave(peer: Peer, reader: Reader, writer: Writer) -> None:
        while True:
            await receive(peer, reader)
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()

    return behave


def breaks_after(*pieces: bytes, abort: bool = False, then: bytes | None = None) -> Behaviour:
    """Take a request, send these bytes and close; once only, if `then` is what comes afterwards."""

    async def behave(peer: Peer, reader: Reader, writer: Writer) -> None:
        await receive(peer, reader)
        if then is not None and len(peer.requests) > 1:
            writer.write(then)
            return
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if abort:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    return behave


async def blackhole(peer: Peer, reader: Reader, writer: Writer) -> None:
    """Take everything and never answer."""
    await receive(peer, reader)
    await reader.read()


async def drip(peer: Peer, reader: Reader, writer: Writer) -> None:
    """Answer one byte at a time, for ever, never pausing long enough for a time-out per read."""
    await receive(peer, reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """A peer on a port of its own; with a certificate, if it has one."""
    peer = Peer()
    open_tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: Reader, writer: Writer) -> None:
        peer.connections += 1
        task = asyncio.current_task()
        assert task is not None
        open_tasks.add(task)
        try:
            await behaviour(peer, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            open_tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20, ssl=tls)
    peer.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield peer
    finally:
        server.close()
        for task in list(open_tasks):
            task.cancel()
        await asyncio.gather(*open_tasks, return_exceptions=True)
        await asyncio.sleep(0)


def refusing_url() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
