"""Calls to a server that is stopping."""

from __future__ import annotations

from typing import Any

import httpx2

from skerry.clock import SYSTEM
from skerry.service.server import LINGER


async def post(client: httpx2.AsyncClient, path: str) -> httpx2.Response | None:
    """The reply, or None when there is no connection to be had any more.

    A stopping server waits `LINGER` seconds for the request on a new connection. Where the machine kept this process from sending
    it for longer than that, a lost connection is as good as none.
    """
    times: dict[str, float] = {}

    async def trace(event: str, _info: dict[str, Any]) -> None:
        times[event] = SYSTEM.monotonic()

    try:
        return await client.post(path, extensions={"trace": trace})
    except httpx2.ConnectError:
        return None
    except httpx2.TransportError:
        begun = times.get("connection.connect_tcp.started")
        sent = times.get("http11.send_request_body.complete", SYSTEM.monotonic())
        if begun is None or sent - begun <= LINGER:
            raise
        return None
