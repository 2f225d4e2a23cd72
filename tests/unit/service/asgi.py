"""The server's side of ASGI, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry.service import Service
from skerry.settings import Settings
from skerry.testing import VirtualClock, run_virtual


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def request(
    app: Any,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    chunks: Sequence[bytes] = (b"",),
) -> Answer:
    """One request, its body in these chunks."""
    left = list(chunks)
    sent: list[Any] = []

    async def receive() -> Any:
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()],
    }
    await app(scope, receive, send)
    head = sent[0]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(head["status"], {n.decode(): v.decode() for n, v in head["headers"]}, body)


async def post(app: Any, path: str, content: Any, **headers: str) -> Answer:
    body = json.dumps(content).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await request(app, "POST", path, headers={"content-type": "application/json", **named}, chunks=[body])


class Lifespan:
    """Speaks the lifespan protocol with an application, as a server does."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._to_app: asyncio.Queue[Any] = asyncio.Queue()
        self._from_app: asyncio.Queue[Any] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    async def say(self, what: str) -> str:
        """Tell the application; the type of its answer, or `ended` when it ends without one."""
        if self.task is None:
            self.task = asyncio.create_task(self._app({"type": "lifespan"}, self._to_app.get, self._from_app.put))
        await self._to_app.put({"type": f"lifespan.{what}"})
        answer = asyncio.create_task(self._from_app.get())
        await asyncio.wait({answer, self.task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            return "ended"
        return str(answer.result()["type"])


def settings(path: Path, **options: Any) -> Settings:
    return Settings(data=path, **options)


@asynccontextmanager
async def living(service: Service) -> AsyncIterator[Service]:
    """A service between its start and its stop, as a server starts and stops it."""
    lifespan = Lifespan(service.app)
    assert await lifespan.say("startup") == "lifespan.startup.complete"
    try:
        yield service
    finally:
        assert await lifespan.say("shutdown") == "lifespan.shutdown.complete"
        assert lifespan.task is not None
        await lifespan.task


def play(act: Callable[[VirtualClock], Awaitable[Any]]) -> Any:
    return run_virtual(act)
