"""The one border to the HTTP library: a request goes out, a whole bounded reply or one of skerry's errors comes back."""

from __future__ import annotations

import contextlib
import ssl

import httpx2

from skerry.client.reply import Reply
from skerry.errors import CallError, ConnectionLost, ReplyTooLarge, Unreachable

CONNECT_TIMEOUT = 1.0
"""Seconds to make a connection, or to wait for a free one. The policy's limits apply to the whole all the same."""
MAX_CONNECTIONS = 256
MAX_IDLE_CONNECTIONS = 64
IDLE_EXPIRY = 4.0
"""Seconds. Less than the five after which servers commonly close an idle connection, so that we do so first."""

_DECODED = frozenset(["gzip", "deflate", "identity", ""])
"""Codings that are taken off here; with any other the body stays as it came, and the header with it."""
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class HttpBorder:
    """Sends requests for one service over a pool of connections.

    It follows no redirects, keeps no cookies, knows no proxies and holds no more than `max_reply` bytes of a body.
    """

    def __init__(
        self, service: str, *, max_reply: int, secure: bool, transport: httpx2.AsyncBaseTransport | None
    ) -> None:
        self._service = service
        self._max_reply = max_reply
        self._transport = transport or _pool(secure=secure)

    async def send(self, request: httpx2.Request) -> Reply:
        """One request, one reply. Raises `Unreachable`, `ConnectionLost` or `ReplyTooLarge`."""
        request.extensions["timeout"] = {"connect": CONNECT_TIMEOUT, "pool": CONNECT_TIMEOUT}
        try:
            response = await self._transport.handle_async_request(request)
            try:
                body = await self._read(response)
            finally:
                await response.aclose()
        except _NEVER_SENT as error:
            raise Unreachable(self._service, f"no connection could be made ({type(error).__name__})") from error
        except httpx2.LocalProtocolError as error:
            raise CallError(self._service, "the request is not valid HTTP; check its headers") from error
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise ConnectionLost(self._service, f"no whole reply came back ({type(error).__name__})") from error
        return Reply(self._service, response.status_code, _of_the_body(response.headers), body)

    async def _read(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        # A decoded piece is at most 1 MiB, so a bomb is seen before it fills the memory.
        encoding = response.headers.get("content-encoding", "")
        pieces = response.aiter_bytes() if encoding in _DECODED else response.aiter_raw()
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                body += piece
                if len(body) > self._max_reply:
                    raise ReplyTooLarge(self._service, f"the reply is over {self._max_reply} bytes; see max_reply")
        return bytes(body)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


def _pool(*, secure: bool) -> httpx2.AsyncHTTPTransport:
    limits = httpx2.Limits(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_IDLE_CONNECTIONS, keepalive_expiry=IDLE_EXPIRY
    )
    # Loading certificates takes 30 ms. Where no connection is secure a context that trusts nobody will do.
    verify = True if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx2.AsyncHTTPTransport(trust_env=False, limits=limits, verify=verify)


def _of_the_body(headers: httpx2.Headers) -> httpx2.Headers:
    """The headers without those that describe the encoded body, once it is decoded."""
    if headers.get("content-encoding") not in _DECODED:
        return headers
    kept = headers.copy()
    del kept["content-encoding"]
    kept.pop("content-length", None)
    return kept
