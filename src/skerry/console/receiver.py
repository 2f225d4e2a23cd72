"""OTLP over HTTP: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`, the last of which is taken and thrown away.

Bounded: a body by its size, its unpacked size and the time it takes to come, requests by how many are read at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from skerry.console.heard import Unreadable
from skerry.console.otlp import JSON, MAX_BODY, PROTOBUF, records, spans, unpacked
from skerry.console.picture import Picture

AT_ONCE: Final = 8
"""Requests that are read at the same time; further ones are told to come again."""
PATIENCE: Final = 10.0
"""Seconds in which a body has to come."""
_LARGE: Final = 128 * 1024
"""Bytes from which on a body is read in a thread, so that pages stay responsive meanwhile."""


class Receiver:
    """Takes what services send; answers by the book, so that a sender knows whether to come again."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._reading = 0

    async def traces(self, request: Request) -> Response:
        """Take spans."""
        return await self._take(request, spans, self._picture.add_spans)

    async def logs(self, request: Request) -> Response:
        """Take log records."""
        return await self._take(request, records, self._picture.add_records)

    async def metrics(self, request: Request) -> Response:
        """Read the body and forget it: what numbers there are is worked out from spans."""
        return await self._take(request, lambda _body, _kind: [], lambda _found: None)

    async def _take(
        self, request: Request, parse: Callable[[bytes, str], list[Any]], keep: Callable[[list[Any]], None]
    ) -> Response:
        if self._reading >= AT_ONCE:
            return Response("too much comes at once", status_code=503, headers={"retry-after": "1"})
        self._reading += 1
        try:
            kind = request.headers.get("content-type", "")
            encoding = request.headers.get("content-encoding", "").strip().lower()
            body = await body_of(request, most=MAX_BODY, patience=PATIENCE)

            def read() -> list[Any]:
                return parse(unpacked(body, encoding), kind)

            keep(await asyncio.to_thread(read) if len(body) > _LARGE or encoding else read())
        except Unreadable as error:
            return Response(f"{error}\n", status_code=error.status, media_type="text/plain")
        finally:
            self._reading -= 1
        # an empty message in either encoding: everything was taken
        if kind.startswith(JSON):
            return Response(b"{}", media_type=JSON)
        return Response(b"", media_type=PROTOBUF)


async def body_of(request: Request, *, most: int, patience: float) -> bytes:
    """The body of a request. Raises `Unreadable`: 413 when it is larger, 408 when it does not come, 400 when it breaks off."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(patience):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise Unreadable(413, f"the body has more than {most} bytes")
                parts.append(part)
    except TimeoutError:
        raise Unreadable(408, f"the body has not come within {patience:g} s") from None
    except ClientDisconnect:
        raise Unreadable(400, "the body broke off") from None
    return b"".join(parts)
