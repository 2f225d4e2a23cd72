"""A gateway on a real socket, with peers behind it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from patience import LOOP_TIME, run_patiently
from peers import Behaviour, Peer, listening, refusing_url

from skerry.gateway import Gateway, GatewaySpec
from skerry.service.server import _BoundedProtocol


@dataclass
class Stage:
    """What a test holds in its hands."""

    client: httpx2.AsyncClient
    gateway: Gateway
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
            gateway = Gateway(GatewaySpec.parse(spec), urls=urls, clock=LOOP_TIME)
            port = await stack.enter_async_context(_serving(gateway))
            client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30.0)
            await stack.enter_async_context(client)
            return await play(Stage(client, gateway, peers, port))

    return run_patiently(main())


@asynccontextmanager
async def _serving(app: Any) -> AsyncIterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, http=_BoundedProtocol, ws="none", lifespan="on", log_config=None, access_log=False, proxy_headers=False
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.001)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving
