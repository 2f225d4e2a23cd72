"""Serving the console in a process: where it may listen, its limits, and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Collection, Generator
from typing import Final

from skerry.clock import SYSTEM, Clock
from skerry.console.app import Console
from skerry.console.sources import Sources
from skerry.errors import ConfigurationError, MissingExtra

try:
    import uvicorn
except ImportError as _error:
    raise MissingExtra("The console", "console") from _error

MAX_CONNECTIONS: Final = 256
KEEP_ALIVE: Final = 75
"""Seconds that an idle connection is kept: exporters that have nothing to send should not find theirs closed."""
DRAIN: Final = 3
"""Seconds in which what is under way may finish."""
TOKEN_BYTES: Final = 24


def new_token(*, clock: Clock = SYSTEM) -> str:
    """A fresh token: 48 characters that nobody can guess."""
    return clock.random_bytes(TOKEN_BYTES).hex()


def serve(
    sources: Sources,
    *,
    token: str,
    host: str = "127.0.0.1",
    port: int = 0,
    auth: bool = False,
    hosts: Collection[str] = (),
    on_ready: Callable[[str], None] | None = None,
    clock: Clock = SYSTEM,
) -> None:
    """Serve the console until SIGTERM or SIGINT; then return. Call it in the main thread.

    It listens on an address of this machine's own. Another one is reachable from elsewhere, in plain HTTP: it is taken only with
    `auth`, by which who calls says that the token is handed on with care and that something in front speaks TLS. `hosts` are the
    names by which it is called there; it answers to no others. With port 0 a free one is found. `on_ready` gets the address
    without the token, as soon as connections are taken.

    Raises `ConfigurationError` when the address is not allowed or cannot be bound.
    """
    if not auth and not _is_loopback(host):
        raise ConfigurationError(
            f"the console does not listen on {host}, where others could reach it: use 127.0.0.1, or say that you want it by auth"
        )
    console = Console(sources, token=token, clock=clock, hosts=hosts if _is_loopback(host) else (host, *hosts))
    with contextlib.closing(_listen(host, port)) as listener:
        asyncio.run(_serve(console, listener, on_ready))


async def _serve(console: Console, listener: socket.socket, on_ready: Callable[[str], None] | None) -> None:
    config = uvicorn.Config(
        console.app,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=DRAIN,
    )
    server = _Server(config, on_ready=lambda: None if on_ready is None else on_ready(address_of(listener)))

    def stop() -> None:
        console.close()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await server.serve(sockets=[listener])
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, which would raise the signal again when all is over."""

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()


def address_of(listener: socket.socket) -> str:
    """`http://127.0.0.1:4242`."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"the console cannot listen on {host}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"the console cannot listen on {host}:{port}: {error.strerror}") from error
    return listener
