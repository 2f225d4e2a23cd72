"""The smallest ASGI application these services need: POST a JSON object to a path, get one back."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from skerry.service import Problem

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What came beside the body. `drop` breaks the connection, so that the reply is lost."""

    key: str
    attempt: int
    drop: Callable[[], None]


Handler = Callable[[Body, Request], Awaitable[Any]]


class Routes:
    """Paths and their handlers."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def post(self, path: str) -> Callable[[Handler], Handler]:
        """Register a handler."""

        def register(handler: Handler) -> Handler:
            self._handlers[path] = handler
            return handler

        return register

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            for _ in range(2):  # startup, shutdown
                await send({"type": f"{(await receive())['type']}.complete"})
            return
        handler = self._handlers.get(scope["path"])
        if handler is None:
            raise Problem(404, "not_found", "There is nothing here.")
        content = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "gone", "Nobody reads this.")
            content += message.get("body", b"")
            more = message.get("more_body", False)
        headers = dict(scope["headers"])
        request = Request(
            headers.get(b"idempotency-key", b"").decode(),
            int(headers.get(b"x-attempt", b"1")),
            scope.get("skerry.abort", lambda: None),
        )
        answer = json.dumps(await handler(json.loads(content or b"{}"), request)).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": answer})
