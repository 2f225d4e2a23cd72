"""The transport over the network: connections that aiohttp keeps, in HTTP/1.1, and its errors in skerry's words."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from skerry.client.headers import Headers
from skerry.client.transport import Request, Response
from skerry.errors import (
    BulkheadFull,
    CallError,
    ConfigurationError,
    ConnectionLost,
    ReplyTooLarge,
    Unreachable,
    Untrusted,
)
from skerry.signals import CallRefused, emit

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace

CONNECT_TIMEOUT = 1.0
"""Seconds to make a connection, with its TLS handshake, or to wait for a free one. The call's own limits apply all the same."""
NEXT_ADDRESS_AFTER = 0.25
"""Seconds after which the next address of a name is tried beside the one that does not answer (RFC 8305)."""
MAX_CONNECTIONS = 256
IDLE_EXPIRY = 4.0
"""Seconds. Less than the five after which servers commonly close an idle connection, so that we do so first."""
MAX_HEADER, MAX_HEADERS, MAX_HEAD = 8190, 128, 64 * 1024
"""Of a reply: bytes of one header, their number, and bytes of them all."""
_LARGE_BODY = 2**20
IDEMPOTENT = frozenset(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
"""Methods that may be repeated without harm (RFC 9110, section 9.2.2)."""


class HttpTransport:
    """Keeps connections to services and sends requests over them.

    A name with several addresses is tried at the next one when the first refuses or stays silent. A connection that was idle may
    have been closed by its server in the moment it is used: then, and only then, an idempotent request is sent once more, over
    another. `tls` replaces the default trust, for a private authority or a client's certificate; one that does not verify is
    refused with `ConfigurationError`. It belongs to one event
    loop at a time, that of its latest call; while that one runs, a call from another is a `ConfigurationError`.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        if tls is not None and not (tls.verify_mode == ssl.CERT_REQUIRED and tls.check_hostname):
            raise ConfigurationError("tls: a context that does not verify certificates and names is not used")
        self._tls: ssl.SSLContext | bool = tls or True
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, request: Request) -> Response:
        """See `Transport`."""
        body: Any = request.body or None
        unmade: list[Exception] = []
        if isinstance(body, bytes):
            if len(body) > _LARGE_BODY:
                body = io.BytesIO(body)  # sent in pieces, with a rest for the event loop in between
        elif body is not None:
            body = _noted(body, unmade)
        session, loop = self._session, asyncio.get_running_loop()
        if session is None or self._loop is not loop:
            session = await self._session_of(loop)
        url = URL(request.url, encoded=True)
        headers, name = request.headers, None
        if request.host:
            headers, name = [*headers, ("host", request.host)], urlsplit(f"//{request.host}").hostname
        try:
            answer = await session.request(
                request.method,
                url,
                headers=None if body is None else headers,  # by them it finds how to frame a body
                data=body,
                allow_redirects=False,
                server_hostname=name,
                middlewares=(_Sending(headers if body is None else []),),
            )
        except _NoneFree as error:  # of our own making, so it must not tell against the service
            emit(CallRefused(policy=request.service, reason=BulkheadFull.reason))
            raise BulkheadFull(
                f"{request.service}: all {MAX_CONNECTIONS} connections of this client are in use; nothing was sent"
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if unmade:  # no fault of the service, so no kind of error that tells against it
                raise CallError(request.service, "its body could not be made, so the request broke off") from unmade[0]
            told = _told(request.service, error)
            connector = session.connector
            if isinstance(told, Unreachable) and isinstance(connector, aiohttp.TCPConnector) and url.host and url.port:
                connector.clear_dns_cache(url.host, url.port)  # the name may have other addresses by now
            raise told from error
        return _NetworkResponse(request.service, answer)

    async def aclose(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _session_of(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        if self._loop is not None and self._loop is not loop and self._loop.is_running():
            raise ConfigurationError("a client belongs to one event loop at a time: make one for each thread's loop")
        old, session = self._session, _session(self._tls)
        self._loop, self._session = loop, session
        if old is not None:
            await old.close()  # connections of a loop that is over are over too
        return session


class _NetworkResponse(Response):
    __slots__ = ("_answer", "_service")

    def __init__(self, service: str, answer: aiohttp.ClientResponse) -> None:
        raw = answer.raw_headers
        if len(raw) * MAX_HEADER > MAX_HEAD and sum(len(name) + len(value) for name, value in raw) > MAX_HEAD:
            answer.close()
            raise ReplyTooLarge(service, f"the headers of the reply are over {MAX_HEAD} bytes")
        super().__init__(answer.status, headers=Headers.decoded(raw))
        self._service = service
        self._answer = answer

    async def read(self) -> bytes:
        content = self._answer.content
        if content.at_eof() and content.exception() is None:
            return b""  # as it is after the only piece that most bodies have
        try:
            return await content.readany()
        except (aiohttp.ClientError, OSError, RuntimeError) as error:  # the last when the connection was closed here
            raise _told(self._service, error) from error

    def close(self) -> None:
        if not self._answer.closed:  # it is once its body is at its end, and its connection back in the pool
            self._answer.close()


class _Dialled(aiohttp.ClientRequest):
    """Knows whether it went over a connection that had been used before."""

    reused = True


class _Connector(aiohttp.TCPConnector):
    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> ResponseHandler:
        if isinstance(req, _Dialled):
            req.reused = False
        return await super()._create_connection(req, traces, timeout)


class _Sending:
    """How aiohttp sends one request: with its headers put in at once, which takes a tenth of what it does one by one, and again
    where that is right. By itself aiohttp would send again on new connections too: a hidden second attempt.
    """

    __slots__ = ("_headers",)

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        self._headers = headers

    async def __call__(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        request.headers.update(self._headers)
        try:
            return await send(request)
        except aiohttp.ConnectionTimeoutError as error:
            if isinstance(request, _Dialled) and request.reused:
                raise _NoneFree from error
            raise
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            stale = isinstance(request, _Dialled) and request.reused and request.method in IDEMPOTENT
            if not stale or (request.body and request.body.consumed):
                raise _Broken from error
        try:
            return await send(request)
        except (
            aiohttp.ServerConnectionError,
            aiohttp.ClientOSError,
        ) as error:  # no connection too: the first may have arrived
            raise _Broken from error


class _NoneFree(Exception):
    """Every connection was in use for as long as a call waits for one."""


class _Broken(aiohttp.ClientError):
    """A connection broke. Not of the kinds on which aiohttp sends again."""


async def _noted(pieces: AsyncIterable[bytes], unmade: list[Exception]) -> AsyncIterator[bytes]:
    """The same pieces; `unmade` is told what making them failed of, for aiohttp calls that a lost connection."""
    try:
        async for piece in pieces:
            yield piece
    except Exception as error:
        unmade.append(error)
        raise


def _session(tls: ssl.SSLContext | bool) -> aiohttp.ClientSession:
    connector = _Connector(
        ssl=tls, limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_EXPIRY, happy_eyeballs_delay=NEXT_ADDRESS_AFTER
    )
    return aiohttp.ClientSession(
        connector=connector,
        request_class=_Dialled,
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
        max_headers=MAX_HEADERS,
    )


def _told(service: str, error: Exception) -> CallError:
    """The same in skerry's words: what the callee can have seen of the request decides which."""
    kind = type(error.__cause__ if isinstance(error, _Broken) else error).__name__
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or kind
        return Untrusted(service, f"its certificate does not hold ({reason}); nothing was sent")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Unreachable(service, f"no connection could be made ({kind})")
    if isinstance(error, ValueError):
        return CallError(service, "the request is not valid HTTP; check its address and its headers")
    if isinstance(error, aiohttp.ClientResponseError):
        return ConnectionLost(service, "the head of the reply is no valid HTTP, or larger than is taken")
    return ConnectionLost(service, f"no whole reply came back ({kind})")
