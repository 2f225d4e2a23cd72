"""One request and its answer: reading a bounded body, noticing that the client left, sending what was decided."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TypeVar

from skerry.service.problem import Answer, Problem
from skerry.service.server import Receive, Scope, Send

T = TypeVar("T")

DISCARD_TIME = 1.0
"""Seconds for which the rest of a refused body is read and thrown away: closing at once would reset the connection, and a
client still sending would lose the answer."""
_CLOSE = [(b"connection", b"close")]


class ClientGone(Exception):
    """The client closed its connection: nobody is left to answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request, its body read. `headers` are those to send on; `query` is without its question mark."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


async def read_body(scope: Scope, receive: Receive, *, limit: int, within: float) -> bytes:
    """The whole body. Raises `Problem` 413 as soon as it is known to exceed `limit` bytes, 408 after `within` seconds."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(within):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body += message.get("body", b"")
                if len(body) > limit:
                    raise _too_large(limit)
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise Problem(408, "body_too_slow", "The request's body did not arrive in time.", headers=_CLOSE) from error
    return bytes(body)


async def unless_gone(receive: Receive, work: Coroutine[object, object, T]) -> T:
    """What `work` returns. When the client leaves first, `work` is cancelled and `ClientGone` raised."""
    worker = asyncio.create_task(work)
    watcher = asyncio.create_task(_wait_for_disconnect(receive))
    try:
        await asyncio.wait({worker, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if worker.done():
            return worker.result()
        raise ClientGone
    finally:
        worker.cancel()
        watcher.cancel()
        await asyncio.gather(worker, watcher, return_exceptions=True)


async def send_answer(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Send it whole. After `connection: close` in it, what the client still sends is thrown away for a moment."""
    headers = list(answer.headers)
    head = scope["method"] == "HEAD"
    if answer.status not in {204, 304} and not any(name == b"content-length" for name, _ in headers):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    closing = (b"connection", b"close") in headers
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body, "more_body": closing})
    if closing:
        await _discard_body(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _discard_body(receive: Receive) -> None:
    try:
        async with asyncio.timeout(DISCARD_TIME):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        pass


def _too_large(limit: int) -> Problem:
    return Problem(413, "body_too_large", f"The request's body is larger than {limit} bytes.", headers=_CLOSE)
