"""A gateway on a real socket, with peers behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import httpx2
from patience import LOOP_TIME, run_patiently
from peers import Behaviour, Peer, listening, refusing_url

from skerry.gateway import reading
from skerry.gateway.engine import Worker


@dataclass
class Stage:
    """What a test holds in its hands."""

    client: httpx2.AsyncClient
    gateway: Worker
    peers: Mapping[str, Peer]
    port: int

    async def raw(self, request: bytes) -> bytes:
        """Send these bytes on a connection of their own, and read until it is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer


def on_stage(spec: str, behaviours: Mapping[str, Behaviour | None], play: Callable[[Stage], Awaitable[Any]]) -> Any:
    """Run `play` with a gateway of that spec; each service behind it behaves as told, None: nobody listens there."""

    async def main() -> Any:
        async with AsyncExitStack() as stack:
            peers = {
                name: await stack.enter_async_context(listening(behaviour))
                for name, behaviour in behaviours.items()
                if behaviour is not None
            }
            urls = {name: peers[name].url if name in peers else refusing_url() for name in behaviours}
            read = reading.parse(spec)
            own = replace(read, listeners=(replace(read.listeners[0], port=0),))
            gateway = Worker(own, reading.places(urls), clock=LOOP_TIME)
            await gateway.start()
            stack.push_async_callback(gateway.drain, 1.0)
            port = gateway.ports[own.listeners[0].name]
            client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30.0)
            await stack.enter_async_context(client)
            return await play(Stage(client, gateway, peers, port))

    return run_patiently(main())
