"""Reserving ports: each supervised process keeps one port across restarts, and nobody else can take it meanwhile."""

from __future__ import annotations

import errno
import socket
import sys

from skerry.clock import Clock
from skerry.errors import ConfigurationError

HOST = "127.0.0.1"
LOWEST, HIGHEST = 10240, 32767
"""Below the range Linux gives to outgoing connections, so that none of those can sit on a port of ours."""


def reserve_free(clock: Clock) -> socket.socket:
    """Reserve some free port of the loopback address; close the socket to give it back.

    The socket is bound but does not listen: while the child is down, connections are refused. The child must bind with
    SO_REUSEPORT. Raises `ConfigurationError` when every port is taken.
    """
    count = HIGHEST - LOWEST + 1
    start = int(clock.random() * count)
    for step in range(count):
        reserved = _reserve(LOWEST + (start + step) % count)
        if reserved is not None:
            return reserved
    raise ConfigurationError(f"no port from {LOWEST} to {HIGHEST} is free on {HOST}")


def reserve(port: int, *, instead: str = "--port") -> socket.socket:
    """Reserve this port, as `reserve_free` does. Raises `ConfigurationError` when it is in use or not allowed.

    `instead` is where another one is chosen.
    """
    # The second try is for a port on which only closed connections linger, as after a restart.
    reserved = _reserve(port) or _reserve(port, lingering=True)
    if reserved is None:
        raise ConfigurationError(
            f"port {port} on {HOST} is in use: stop what uses it, or choose another with {instead}"
        )
    return reserved


def lend(reserved: socket.socket) -> None:
    """Let a server that binds with SO_REUSEADDR, as servers do, have the reserved port; for those that are not skerry's.

    Elsewhere than on Linux the reservation ends with it.
    """
    if sys.platform == "linux":
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    else:
        reserved.close()


def _reserve(port: int, *, lingering: bool = False) -> socket.socket | None:
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if lingering:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((HOST, port))
        # Only now: bound without it, the port was ours alone, so two supervisors cannot reserve the same one.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        reserved.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise ConfigurationError(f"port {port} on {HOST} cannot be used: {error.strerror}") from None
    return reserved
