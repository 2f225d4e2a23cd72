"""Backends on raw sockets: they echo what they saw, fail by script, answer with any bytes, and keep all that they received.

`python raw_backends.py NAME` runs one as a process of its own, for those that are to be stopped; it prints its port.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.integration.gateway.strict_reading import Faulty, Seen, take_body, take_head

DELAY = re.compile(r"[?&]delay=([0-9.]+)(ms|s)")
SIZE = re.compile(r"[?&]size=([0-9]+)")


def seconds(text: str) -> float:
    """`300ms` or `1s`."""
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


@dataclass
class Script:
    """The first `failures` requests are answered `answer` after `delay` seconds; the ones after them as ever. `raw` is sent
    instead of any answer, to requests whose path is `raw_path` when that is set; `close` then ends the connection.
    """

    answer: int | str = 500
    failures: int = 0
    delay: float = 0.0
    raw: bytes | None = None
    raw_path: str | None = None
    close: bool = False
    headers: list[tuple[str, str]] = field(default_factory=list)


class Backend:
    """One that can be told how to behave, and asked what it saw."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.open: set[asyncio.Transport] = set()
        self.reset()

    def reset(self, script: Script | None = None) -> None:
        """Forgets all that it saw. Connections stay, and with them what they bring late."""
        self.script = script or Script()
        self.seen: list[Seen] = []
        self.faults: list[str] = []
        self.raw: list[bytearray] = []
        self.heads = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def await_seen(self, number: int, *, patience: float = 5.0) -> list[Seen]:
        """What it saw, once that is so many: a mirror's copy comes when the answer has long been read."""
        end = time.monotonic() + patience
        while len(self.seen) < number and time.monotonic() < end:
            time.sleep(0.005)
        return list(self.seen)


class Answering(asyncio.Protocol):
    """One connection to a backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._buffer = bytearray()
        self._request: Seen | None = None
        self._tunnel = False
        self._turn: asyncio.Queue[Seen] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport
        self._backend.open.add(transport)
        self._record = bytearray()
        self._answers = asyncio.ensure_future(self._answer_in_turn())

    def connection_lost(self, exc: Exception | None) -> None:
        self._backend.open.discard(self._transport)
        self._answers.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        backend = self._backend
        if self._tunnel:
            self._transport.write(data)
            return
        if not any(self._record is each for each in backend.raw):
            self._record = bytearray(self._buffer)
            backend.raw.append(self._record)
        self._record += data
        self._buffer += data
        try:
            self._read()
        except Faulty as fault:
            backend.faults.append(str(fault))
            self._transport.abort()

    def _read(self) -> None:
        while True:
            if self._request is None:
                self._request = take_head(self._buffer)
                if self._request is None:
                    return
                self._backend.heads += 1
                if self._request.value("expect"):
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if not take_body(self._request, self._buffer):
                return
            self._backend.seen.append(self._request)
            self._turn.put_nowait(self._request)
            self._request = None

    async def _answer_in_turn(self) -> None:
        while True:
            seen = await self._turn.get()
            for piece in await self._answer(seen):
                await self._writable.wait()
                self._transport.write(piece)

    async def _answer(self, seen: Seen) -> Iterator[bytes]:
        script = self._backend.script
        if script.raw is not None and script.raw_path in {None, seen.path}:
            self._transport.write(script.raw)
            if script.close:
                self._transport.close()
            return iter(())
        if script.failures > 0:
            script.failures -= 1
            await asyncio.sleep(script.delay)
            if isinstance(script.answer, str):
                self._transport.abort()
                return iter(())
            return iter([_answer(script.answer, [], b'{"scripted": true}')])
        if delay := DELAY.search(seen.target):
            await asyncio.sleep(seconds("".join(delay.groups())))
        if (seen.value("upgrade") or "").lower() == "websocket":
            self._tunnel = True
            return iter([b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"])
        if size := SIZE.search(seen.target):
            return _stream(int(size[1]))
        # the way in which the Gateway API's own echo server is told what headers to answer with
        asked = [part.partition(":")[::2] for part in (seen.value("x-echo-set-header") or "").split(",") if part]
        headers = [*script.headers, *((name.strip(), value.strip()) for name, value in asked)]
        return iter([_answer(200, headers, _echo(self._backend.name, seen), empty=seen.method == "HEAD")])


def _echo(name: str, seen: Seen) -> bytes:
    document = {
        "backend": name,
        "method": seen.method,
        "target": seen.target,
        "headers": seen.headers,
        "body": seen.body[:4096].decode("latin-1"),
        "length": len(seen.body),
    }
    return json.dumps(document).encode()


def _answer(status: int, headers: list[tuple[str, str]], body: bytes, *, empty: bool = False) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if empty else body)


def _stream(size: int) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % size
    piece = b"x" * 65536
    for begin in range(0, size, len(piece)):
        yield piece[: size - begin]


@contextmanager
def serving(*names: str) -> Iterator[dict[str, Backend]]:
    """Backends of these names, in a thread of their own."""
    backends = {name: Backend(name) for name in names}
    loop = asyncio.new_event_loop()

    async def start() -> None:
        for backend in backends.values():
            # the server lives as long as its loop
            server = await loop.create_server(lambda backend=backend: Answering(backend), "127.0.0.1", 0, backlog=1024)
            backend.port = server.sockets[0].getsockname()[1]
            servers.append(server)

    servers: list[asyncio.Server] = []
    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield backends
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for server in servers:
            server.close()
        loop.run_until_complete(_end(backends))
        loop.close()


async def _end(backends: dict[str, Backend]) -> None:
    """Close every connection, those that were accepted this very moment too: a socket that is left behind fails another test."""
    for _ in range(5):
        await asyncio.sleep(0)
    for backend in backends.values():
        for transport in list(backend.open):
            transport.abort()
    await asyncio.sleep(0)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _alone(name: str) -> None:
    backend = Backend(name)
    server = await asyncio.get_running_loop().create_server(lambda: Answering(backend), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_alone(sys.argv[1]))
