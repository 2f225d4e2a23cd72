"""What a process that serves asks of the machine: a listening socket that a successor may share, and memory that stays."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from typing import Final

MOST_QUEUED: Final = 4096
"""Connections that wait in the queue of a listening socket, at most."""


def bound(host: str, port: int) -> socket.socket:
    """A bound socket, which does not listen yet; `port` 0 is any free one.

    SO_REUSEPORT lets several processes, and a successor, bind the same address. Raises `OSError` when it cannot be bound, or
    when `host` is not known (`socket.gaierror`).
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def queued(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections in the queue of a listening socket, which would be reset with it; then the socket is closed."""
    with listener:
        listener.setblocking(False)
        for _ in range(MOST_QUEUED):
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            yield connection


def settle_memory(*thresholds: int) -> None:
    """Have the collector look no more at what was made until here: looking through it again and again holds up everything for
    10 ms and more. `thresholds`, if given, are when it looks at what comes after that, as `gc.set_threshold` takes them.
    """
    gc.collect()
    gc.freeze()
    if thresholds:
        gc.set_threshold(*thresholds)
