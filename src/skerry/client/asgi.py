"""The transport without a network: requests go to an ASGI application in this process, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextvars import Context
from typing import Any
from urllib.parse import unquote, urlsplit

from skerry.client.headers import Headers
from skerry.client.transport import Request, Response
from skerry.errors import ConnectionLost

Message = MutableMapping[str, Any]
App = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]
AHEAD = 8
"""Messages the application may be ahead of the reader; then it waits, as a socket would make it."""


class AsgiTransport:
    """Calls an ASGI application as a server would: in a task and a context of its own, cancelled when the caller leaves.

    What the application raises is a lost connection to the caller, who finds it as the error's cause. The lifespan is not run.

        async with ServiceClient("stock", url="http://stock", transport=AsgiTransport(service.app)) as stock: ...
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def send(self, request: Request) -> Response:
        """See `Transport`."""
        exchange = _Exchange(self._app, request)
        try:
            start = await exchange.message()
        except BaseException:
            exchange.close()
            raise
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", ())]
        exchange.status = start["status"]
        exchange.headers = Headers(headers)
        return exchange

    async def aclose(self) -> None:
        """There is nothing to close."""


class _Exchange(Response):
    """One request in the application's hands, and its reply."""

    __slots__ = ("_disconnected", "_ended", "_messages", "_pieces", "_request", "_sent", "_task")

    def __init__(self, app: App, request: Request) -> None:
        super().__init__(0)
        self._request = request
        self._pieces = _pieces(request)
        self._sent = False
        self._ended = False
        self._disconnected = asyncio.Event()
        self._messages: asyncio.Queue[Message] = asyncio.Queue(AHEAD)
        running = self._run(app)
        self._task = asyncio.get_running_loop().create_task(running, context=Context())

    async def message(self) -> Message:
        """What the application sends next. Raises `ConnectionLost` when it has ended without."""
        getting = asyncio.ensure_future(self._messages.get())
        try:
            await asyncio.wait({getting, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
        finally:
            getting.cancel()
        error = None if self._task.cancelled() else self._task.exception()
        raise ConnectionLost(self._request.service, "the application gave no whole reply") from error

    async def read(self) -> bytes:
        while not self._ended:  # bounded by the application's messages
            message = await self.message()
            self._ended = not message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            if piece and self._request.method != "HEAD":
                return piece
        self._disconnected.set()
        return b""

    def close(self) -> None:
        self._disconnected.set()
        if not self._ended:
            self._task.cancel()

    async def _run(self, app: App) -> None:
        await app(_scope(self._request), self._receive, self._messages.put)

    async def _receive(self) -> Message:
        if self._sent:
            await self._disconnected.wait()
            return {"type": "http.disconnect"}
        piece = await anext(self._pieces, b"")
        self._sent = not piece
        return {"type": "http.request", "body": piece, "more_body": not self._sent}


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    if isinstance(request.body, bytes):
        if request.body:
            yield request.body
        return
    async for piece in request.body:
        if piece:
            yield piece


def _scope(request: Request) -> Message:
    url = urlsplit(request.url)
    headers = [("host", request.host or url.netloc), *request.headers]
    if isinstance(request.body, bytes) and (request.body or request.method in {"POST", "PUT", "PATCH"}):
        headers.append(("content-length", str(len(request.body))))
    path = url.path or "/"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": url.query.encode("ascii"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "server": (url.hostname, url.port or (443 if url.scheme == "https" else 80)),
        "client": ("127.0.0.1", 1),
    }
