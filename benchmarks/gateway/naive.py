"""The gateway that many would write: FastAPI, one httpx client, three attempts, a counter for a breaker.

Runs with the upstream's port and its own as arguments.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import fastapi
import httpx
import uvicorn

from benchmarks.gateway.configurations import ROUTES

BASE = f"http://127.0.0.1:{sys.argv[1]}" if len(sys.argv) > 1 else ""


class State:
    failures = 0
    open_until = 0.0
    client: httpx.AsyncClient


@asynccontextmanager
async def lifespan(_app: fastapi.FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=BASE, timeout=2.0, limits=httpx.Limits(max_connections=128)) as State.client:
        yield


app = fastapi.FastAPI(lifespan=lifespan)


async def forward(request: fastapi.Request) -> fastapi.Response:
    if State.open_until > time.monotonic():
        return fastapi.Response(status_code=503)
    headers = {name: value for name, value in request.headers.items() if name not in {"host", "connection"}}
    body = await request.body()
    for _ in range(3):
        try:
            reply = await State.client.request(request.method, request.url.path, headers=headers, content=body)
        except httpx.HTTPError:
            continue
        if reply.status_code < 500:
            State.failures = 0
            return fastapi.Response(reply.content, reply.status_code, media_type=reply.headers.get("content-type"))
    State.failures += 1
    if State.failures >= 5:
        State.open_until = time.monotonic() + 5
    return fastapi.Response(status_code=502)


for number in range(ROUTES):
    app.add_api_route(f"/route-{number}/{{rest:path}}", forward, methods=["GET", "POST"])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="info")
