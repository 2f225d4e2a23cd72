"""The control socket of a running system: one JSON object a line, one reply for each.

Requests are `{"op": "ps"}`, `{"op": "stop"}` and `{"op": "hold" | "release" | "kill", "name": NAME}`; of a mesh also
`{"op": "mesh"}`, `{"op": "renew", "name": NAME or ""}` and `{"op": "replace-authority"}`. Replies are
`{"ok": true, ...}` or `{"ok": false, "error": TEXT}`. Whoever can open the socket may do all of it: its folder is private.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from skerry.errors import DeployError, SkerryError

MAX_REQUEST = 4096
MAX_REPLY = 4 * 1024 * 1024
MAX_CONNECTIONS = 32
IDLE_TIMEOUT = 30.0

Handle = Callable[[str, str], Awaitable[dict[str, Any]]]
"""Gets the operation and the name (empty when not given); returns the rest of the reply, or raises a `SkerryError`."""


class ControlServer:
    """Answers control requests on a unix socket until it is closed."""

    def __init__(self, path: Path, handle: Handle) -> None:
        self._path = path
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_REQUEST)

    async def close(self) -> None:
        """End every conversation and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        self._tasks.add(task)
        try:
            while len(self._tasks) <= MAX_CONNECTIONS and (reply := await self._answer(reader)):
                writer.write(json.dumps(reply).encode() + b"\n")
                async with asyncio.timeout(IDLE_TIMEOUT):
                    await writer.drain()
        except (OSError, asyncio.CancelledError):  # the other side went away, or we close; neither is worth a word
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(IDLE_TIMEOUT):
                line = await reader.readline()
        except ValueError:
            return {"ok": False, "error": f"the request is longer than {MAX_REQUEST} bytes"}
        if not line.endswith(b"\n"):
            return None
        try:
            request = json.loads(line)
            op, name = request["op"], request.get("name", "")
            if not isinstance(op, str) or not isinstance(name, str):
                raise TypeError
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return {"ok": False, "error": 'the request is not a JSON object like {"op": "ps"}'}
        try:
            return {"ok": True, **await self._handle(op, name)}
        except SkerryError as error:
            return {"ok": False, "error": str(error)}


def ask(path: Path, op: str, name: str = "", *, timeout: float = 30.0) -> dict[str, Any]:
    """Send one request to the control socket at `path` and return its reply. Blocks for up to `timeout` seconds.

    Raises `DeployError` with what the supervisor answered, or when it is gone.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps({"op": op, "name": name}).encode() + b"\n")
            with connection.makefile("rb") as replies:
                reply = json.loads(replies.readline(MAX_REPLY))
        except (OSError, ValueError) as error:
            raise DeployError(f"the running system does not answer: {error}") from None
    if reply.get("ok") is not True:
        raise DeployError(str(reply.get("error", "the running system gave no reason")))
    return dict(reply)
