"""Serving one ASGI application in one process: the socket, the limits on what a peer may send, and stopping without loss.

Stopping goes: readiness off, then a short time in which new requests are still answered but every connection is told to
close, then the listening socket closes, then what is under way finishes within `Settings.drain`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, cast

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, MissingExtra
from skerry.service.hosting import bound, queued, settle_memory
from skerry.settings import Settings

try:
    import uvicorn
    import uvloop
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError as _error:
    raise MissingExtra("Serving HTTP", "service") from _error

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers together."""
HEAD_TIMEOUT = 10.0
"""Seconds a peer may take to send them."""
MAX_CONNECTIONS = 4096
"""Beyond this many open connections, requests are answered 503 at once."""
KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than callers and gateways keep theirs, for who closes first may do so just as a
request comes. uvicorn's five are what httpx has as well, and less than most proxies."""
LINGER = 0.3
"""Seconds between "not ready" and closing the listening socket, so that callers holding a connection learn of it; and again
from there to closing connections on which no request has come."""


def serve(
    app: ASGIApp, settings: Settings, *, on_drain: Callable[[], None] | None = None, clock: Clock = SYSTEM
) -> None:
    """Serve `app` on `settings.host` and `settings.port`, or on `settings.socket`, until told to stop; then return.

    SIGTERM stops; so does SIGINT, or, when `settings.supervised`, the end of standard input (SIGINT is then ignored: the
    supervisor decides). `on_drain` is called once, in the event loop, when stopping begins: make readiness fail there.
    What is under way may finish for `settings.drain` seconds and is then cancelled. Call it in the main thread.

    The application must speak ASGI's lifespan protocol; when its start-up fails the process exits with status 3. Raises
    `ConfigurationError` when the address cannot be bound.

        serve(service.app, Settings.from_environ(), on_drain=service.drain)
    """
    listener = _listen_at(settings.socket) if settings.socket else _listen(settings.host, settings.port)
    farewell = _Farewell(app, says_who=settings.supervised)
    config = uvicorn.Config(
        farewell,
        http=_BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=max(1, math.ceil(settings.drain)),
    )

    def drain() -> None:
        farewell.leaving = True
        if on_drain is not None:
            on_drain()

    with contextlib.closing(listener), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(_Server(config), listener, drain, supervised=settings.supervised, clock=clock))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return bound(host, port)
    except socket.gaierror as error:
        raise ConfigurationError(f"cannot listen on {host}: {error.strerror}; set SKERRY_HOST") from error
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {error.strerror}; set SKERRY_HOST and SKERRY_PORT"
        raise ConfigurationError(message) from error


def _listen_at(path: str) -> socket.socket:
    """A bound unix socket; one that an earlier process has left there is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(path).unlink(missing_ok=True)
        listener.bind(path)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {path}: {error.strerror or error}; set SKERRY_SOCKET") from error
    return listener


async def _serve(
    server: _Server, listener: socket.socket, drain: Callable[[], None], *, supervised: bool, clock: Clock
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if supervised:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _watch_standard_input(loop, stop)
    else:
        loop.add_signal_handler(signal.SIGINT, stop.set)

    async def stop_server() -> None:
        await stop.wait()
        drain()
        await clock.sleep(LINGER)
        server.should_exit = True

    stopper = asyncio.create_task(stop_server())
    try:
        await server.serve(sockets=[listener])
    finally:
        stopper.cancel()


def _watch_standard_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """A thread, because an event loop can wait for a pipe but not for every kind of file."""

    def read_to_end() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=read_to_end, name="skerry-stdin", daemon=True).start()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again after a clean stop, and the exit status would tell of a kill.
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        settle_memory()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Closing a listening socket resets the connections in its queue, so they are taken out of it first.
        spares = [listener.dup() for listener in sockets or ()]
        for server in self.servers:
            server.close()
        for connection in [connection for spare in spares for connection in queued(spare)]:
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().connect_accepted_socket(self._new_protocol, connection)
        await super().shutdown(sockets)

    def _new_protocol(self) -> asyncio.Protocol:
        return _BoundedProtocol(self.config, self.server_state, self.lifespan.state)


class _Farewell:
    """Tells the peer of every reply to close its connection, once `leaving` is set.

    With `says_who`, readiness tells the process id: a supervisor that starts a successor at the same port has to know who it is
    that answers.
    """

    def __init__(self, app: ASGIApp, *, says_who: bool = False) -> None:
        self._app = app
        self._says_who = says_who
        self.leaving = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_farewell(message: Message) -> None:
            if self.leaving and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            if self._says_who and message["type"] == "http.response.start" and scope["path"] == "/health/ready":
                message["headers"] = [*message.get("headers", ()), (b"skerry-process", b"%d" % os.getpid())]
            await send(message)

        await self._app(scope, receive, send_farewell if scope["type"] == "http" else send)


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a limit on the size of a request's head and on the time it may take to arrive.

    uvicorn has neither: one header that never ends would fill the memory, one that never arrives would hold a connection.
    It also refuses heads that the parser accepts and that are not HTTP/1.1 as RFC 9112 has it.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_size = 0
        self._head_complete = False
        self._head_timer: asyncio.TimerHandle | None = self.loop.call_later(HEAD_TIMEOUT, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._head_complete:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD and not self.transport.is_closing():
                self.send_400_response("Request head too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_size = 0
        self._head_complete = False
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self._head_is_late)

    def on_headers_complete(self) -> None:
        self._head_complete = True
        self._stop_head_timer()
        self._check_head()
        super().on_headers_complete()
        cast("Scope", self.scope)["skerry.abort"] = self.transport.abort  # for an application that plays a broken one

    def shutdown(self) -> None:
        # A peer that has just connected, or takes up an idle connection, may have a request on its way.
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LINGER, super().shutdown)
        else:
            super().shutdown()

    def _check_head(self) -> None:
        """Refuse what the parser lets pass and another parser could read differently. A ValueError becomes a 400 reply."""
        version = self.parser.get_http_version()
        names = [name for name, _ in self.headers]
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD:
            raise ValueError("head too large")
        if version not in {"1.0", "1.1"}:
            raise ValueError("unknown version")
        if names.count(b"host") > 1 or (version == "1.1" and b"host" not in names):
            raise ValueError("not exactly one host")
        if version == "1.0" and b"transfer-encoding" in names:
            raise ValueError("chunks in HTTP/1.0")

    def _head_is_late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
