"""Asks a process on this machine whether it is ready: the smallest HTTP/1.1 client that does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

READY_PATH = "/health/ready"
Ready = Callable[[str, int], Awaitable[bool]]
"""Says whether the process at a host and port is ready; never raises."""
Who = Callable[[str, int], Awaitable[int | None]]
"""Says which process answers there that it is ready, None when that cannot be told; never raises."""
PROCESS_HEADER = b"skerry-process"
"""In which a supervised service says its process id when it is asked whether it is ready."""
TIMEOUT = 2.0
MAX_HEADERS = 64
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r|\n)")


async def ready(host: str, port: int, *, timeout: float = TIMEOUT) -> bool:  # noqa: ASYNC109 - the limit is the promise here
    """Whether `GET /health/ready` is answered with 200 within `timeout` seconds. Any failure is a no, never an error."""
    try:
        async with asyncio.timeout(timeout):
            return await _status(*await asyncio.open_connection(host, port, limit=4096), f"{host}:{port}") == 200
    except (OSError, EOFError, ValueError):
        return False


async def process_at(host: str, port: int) -> int | None:
    """The id of the process that says at that port that it is ready, within 2 s; None when none does, or none says who it is."""
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port, limit=4096)
            return await _process(reader, writer, f"{host}:{port}")
    except (OSError, EOFError, ValueError):
        return None


async def process_at_socket(path: Path) -> int | None:
    """The same at a unix socket, within 2 s."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _process(*await asyncio.open_unix_connection(path, limit=4096), "localhost")
    except (OSError, EOFError, ValueError):
        return None


async def answers(host: str, port: int) -> bool:
    """Whether anything speaks HTTP there, whatever it says, within 2 s."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _status(*await asyncio.open_connection(host, port, limit=4096), f"{host}:{port}") > 0
    except (OSError, EOFError, ValueError):
        return False


async def ready_at(path: Path) -> bool:
    """The same at a unix socket, within 2 s."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _status(*await asyncio.open_unix_connection(path, limit=4096), "localhost") == 200
    except (OSError, EOFError, ValueError):
        return False


async def _status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> int:
    with _asking(writer, host):
        return await _code(reader)


async def _process(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> int | None:
    with _asking(writer, host):
        if await _code(reader) != 200:
            return None
        for _ in range(MAX_HEADERS):
            name, _, value = (await reader.readline()).strip().partition(b":")
            if name.lower() == PROCESS_HEADER:
                return int(value)
            if not name:
                break
        return None


@contextmanager
def _asking(writer: asyncio.StreamWriter, host: str) -> Iterator[None]:
    request = f"GET {READY_PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: */*\r\n\r\n"
    try:
        writer.write(request.encode())
        yield
    finally:
        # Aborted: nothing of ours is left to send, so there is nothing to wait for.
        writer.transport.abort()


async def _code(reader: asyncio.StreamReader) -> int:
    match = _STATUS.match(await reader.readline())
    return int(match[1]) if match else 0
