"""A service behind gRPC that does what a test says. Bodies are plain bytes, so there is no .proto file.

Run as a program it serves the same on a given port, for tests that kill it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

Behaviour = Callable[[bytes, Any], Awaitable[bytes]]
OWN = 10.0
"""Seconds of a test's own policy: enough for any machine."""


@dataclass
class Peer:
    """What was asked of it, and how its calls ended."""

    url: str = ""
    server: Any = None
    metadata: list[dict[str, str]] = field(default_factory=list)
    remaining: list[float | None] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


def one(channel: grpc.aio.Channel, name: str = "Do") -> Any:
    return channel.unary_unary(f"/peer.Peer/{name}")


def many(channel: grpc.aio.Channel) -> Any:
    return channel.unary_stream("/peer.Peer/List")


def upload(channel: grpc.aio.Channel) -> Any:
    return channel.stream_unary("/peer.Peer/Add")


def talk(channel: grpc.aio.Channel) -> Any:
    return channel.stream_stream("/peer.Peer/Talk")


async def echo(request: bytes, _call: Any) -> bytes:
    return request


async def hang(_request: bytes, _call: Any) -> bytes:
    await asyncio.Event().wait()
    return b""


def fails(code: grpc.StatusCode, details: str = "", **trailing: str) -> Behaviour:
    async def act(_request: bytes, call: Any) -> bytes:
        pairs = tuple((name.replace("_", "-"), value) for name, value in trailing.items())
        await call.abort(code, details, pairs)
        return b""

    return act


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other; the last one from then on."""
    left = list(behaviours)

    async def act(request: bytes, call: Any) -> bytes:
        return await (left.pop(0) if len(left) > 1 else left[0])(request, call)

    return act


def _handlers(peer: Peer, behaviour: Behaviour) -> grpc.GenericRpcHandler:
    async def do(request: bytes, call: Any) -> bytes:
        peer.metadata.append(dict(call.invocation_metadata() or ()))
        peer.remaining.append(call.time_remaining())
        try:
            return await behaviour(request, call)
        except asyncio.CancelledError:
            peer.cancelled.set()
            raise

    async def listing(request: bytes, call: Any) -> AsyncIterator[bytes]:
        peer.remaining.append(call.time_remaining())
        yield b"first"
        yield await do(request, call)

    async def add(requests: AsyncIterator[bytes], call: Any) -> bytes:
        return await do(b"".join([each async for each in requests]), call)

    async def talking(requests: AsyncIterator[bytes], call: Any) -> AsyncIterator[bytes]:
        async for each in requests:
            yield await do(each, call)

    methods = {
        "Do": grpc.unary_unary_rpc_method_handler(do),
        "Look": grpc.unary_unary_rpc_method_handler(do),
        "List": grpc.unary_stream_rpc_method_handler(listing),
        "Add": grpc.stream_unary_rpc_method_handler(add),
        "Talk": grpc.stream_stream_rpc_method_handler(talking),
    }
    return grpc.method_handlers_generic_handler("peer.Peer", methods)


@asynccontextmanager
async def serving(
    behaviour: Behaviour = echo,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: grpc.ServerCredentials | None = None,
) -> AsyncIterator[Peer]:
    peer = Peer()
    peer.server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    )
    peer.server.add_generic_rpc_handlers([_handlers(peer, behaviour)])
    if tls is None:
        peer.url = f"http://{host}:{peer.server.add_insecure_port(f'{host}:{port}')}"
    else:
        peer.url = f"https://localhost:{peer.server.add_secure_port(f'localhost:{port}', tls)}"
    await peer.server.start()
    try:
        yield peer
    finally:
        await peer.server.stop(0)


async def _main(port: int) -> None:
    async with serving(in_turn(echo), port=port) as peer:
        sys.stdout.write("up\n")
        sys.stdout.flush()
        await peer.server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
