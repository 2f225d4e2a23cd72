"""One service of the chain as a process, `python -m benchmarks.overload.node ours|naive a|b|c`; the environment has its port."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import uvicorn

from benchmarks.overload.load import HTTP_WORK, HTTP_WORKERS, PATIENCE
from benchmarks.overload.policies import calling
from skerry import Service, ServiceClient
from skerry.resilience import AdaptiveLimit
from skerry.service.server import serve
from skerry.settings import Settings

Work = Callable[[], Awaitable[int]]


class App:
    """Plain ASGI: `/work` works, `/seen` tells how many requests there were before anybody judged them."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.seen = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                await send({"type": f"{(await receive())['type']}.complete"})
            return
        if scope["path"] == "/seen":
            await reply(send, 200, json.dumps(self.seen).encode())
        else:
            await reply(send, await self.work(), b"{}")


def counted(app: App, inner: Any) -> Any:
    """`inner` before `app`, each request counted before either sees it."""

    async def count(scope: Any, receive: Any, send: Any) -> None:
        app.seen += scope["type"] == "http" and scope["path"] == "/work"
        await (app if scope.get("path") == "/seen" else inner)(scope, receive, send)

    return count


async def reply(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def bottleneck() -> Work:
    """What C does: first come, first served, and what has begun is done to its end."""
    workers = asyncio.Semaphore(HTTP_WORKERS)
    running: set[asyncio.Task[None]] = set()

    async def work() -> int:
        async with workers:
            task = asyncio.create_task(asyncio.sleep(HTTP_WORK))
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.shield(task)
        return 200

    return work


def naive(callee: str) -> Work:
    """Three attempts of a second each, as soon as one has failed."""
    client = httpx2.AsyncClient(timeout=PATIENCE, limits=httpx2.Limits(max_connections=None))
    url = os.environ[f"SKERRY_URL_{callee.upper()}"] + "/work"

    async def work() -> int:
        for _ in range(3):
            try:
                response = await client.get(url)
            except httpx2.HTTPError:
                continue
            if response.status_code == 200:
                return 200
        return 502

    return work


def main() -> None:
    who, name = sys.argv[1:]
    settings = Settings.from_environ()
    callee = {"a": "b", "b": "c"}.get(name)
    if who == "naive":
        app = App(bottleneck() if callee is None else naive(callee))
        uvicorn.run(
            counted(app, app), port=settings.port, log_config=None, access_log=False, loop="uvloop", http="httptools"
        )
        return
    if callee is None:
        app = App(bottleneck())
    else:
        client = ServiceClient(callee, policy=calling(callee))

        async def work() -> int:
            (await client.get("/work")).raise_for_status()
            return 200

        app = App(work)
    service = Service(name, app=app, limit=AdaptiveLimit(by="delay", name=name), timeout=PATIENCE)
    serve(counted(app, service.app), settings, on_drain=service.drain)


if __name__ == "__main__":
    main()
