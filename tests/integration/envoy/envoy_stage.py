"""A real Envoy with a gateway's configuration, and services behind it that tell what they saw."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from skerry.envoy import AdsServer, EnvoyProcess, Resources
from skerry.gateway.envoy import compile as compiled
from skerry.gateway.model import GatewaySpec, Listener, Match, PathMatch, Route

NODE = "test"


@dataclass
class Seen:
    """What a service was asked."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What a client, or a service, is answered."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hang: bool = False
    """A service never answers."""

    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[[Seen], Answer]


class Peer:
    """A service on a real socket. `behaviour` decides what it answers; `seen` is what it was asked; before an
    answer it waits for `pause`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[Seen] = []
        self.pause: Callable[[], Awaitable[Any]] | None = None
        self.behaviour: Behaviour = lambda seen: Answer(body=f"{self.name} {seen.target}".encode())
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Those that hang are let go, so that nothing is left when the loop ends."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                first, headers, body = await _message(reader)
                method, target, _ = first.split(" ")
                seen = Seen(method, target, headers, body)
                self.seen.append(seen)
                if self.pause is not None:
                    await self.pause()
                answer = self.behaviour(seen)
                if answer.hang:
                    await asyncio.Event().wait()
                head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
                body = b"" if method == "HEAD" else answer.body
                length = f"content-length: {len(answer.body)}\r\n"
                writer.write(f"HTTP/1.1 {answer.status} X\r\n{head}{length}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


async def _message(reader: asyncio.StreamReader, *, method: str = "") -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if method == "HEAD" or " 204 " in first or " 304 " in first or " 101 " in first:
        return first, headers, b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return first, headers, body
    return first, headers, await reader.readexactly(int(headers.get("content-length", 0)))


@dataclass
class Stage:
    """What a test holds in its hands."""

    port: int
    peers: Mapping[str, Peer]
    ads: AdsServer
    process: EnvoyProcess
    addresses: Mapping[str, tuple[str, ...]]

    async def ask(
        self, target: str, *, method: str = "GET", body: bytes = b"", host: str = "gateway.test", **headers: str
    ) -> Answer:
        """One request on a connection of its own; `x_y=` is the header x-y."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if body and "transfer-encoding" not in told:
            told["content-length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        head = f"{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{lines}\r\n"
        return await self.raw(head.encode() + body, method=method)

    async def raw(self, request: bytes, *, method: str = "") -> Answer:
        """The first answer to these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            first, headers, body = await _message(reader, method=method)
            return Answer(int(first.split(" ")[1]), headers, body)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def change(self, *routes: Route, **fields: Any) -> None:
        """Have Envoy take another specification for the same listener."""
        spec = specification(*routes, port=self.port, **fields)
        await self.ads.publish(compiled(spec, addresses=self.addresses).resources, node=NODE)


def route(path: str, action: Any, *, kind: str = "prefix", name: str = "", **fields: Any) -> Route:
    """A route for one path."""
    matches = fields.pop("matches", (Match(PathMatch(kind, path)),))  # type: ignore[arg-type]
    return Route(name or path, matches, action, **fields)


def specification(*routes: Route, port: int, **fields: Any) -> GatewaySpec:
    listener = replace(fields.pop("listener", Listener()), port=port)
    return GatewaySpec(listeners=(listener,), routes=routes, **fields)


@asynccontextmanager
async def envoy(resources: Resources) -> AsyncIterator[tuple[AdsServer, EnvoyProcess]]:
    """A real one that has taken `resources`."""
    with tempfile.TemporaryDirectory(prefix="skerry-test-") as name:
        folder = Path(name)
        async with AdsServer(folder / EnvoyProcess.ADS_SOCKET) as ads:
            ads.offer(resources, node=NODE)
            async with EnvoyProcess(folder, node=NODE, drain=1.0) as process:
                await ads.publish(resources, node=NODE)
                yield ads, process


def on_envoy(
    *routes: Route, play: Callable[[Stage], Awaitable[Any]], services: tuple[str, ...] = ("a", "b"), **fields: Any
) -> Any:
    """Run `play` with a gateway of these routes on a real Envoy, and its result."""

    async def main() -> Any:
        async with AsyncExitStack() as stack:
            peers = {name: await _listening(name, stack) for name in services}
            addresses = {name: (peer.url,) for name, peer in peers.items()}
            port = await free_port()
            made = compiled(specification(*routes, port=port, **fields), addresses=addresses)
            ads, process = await stack.enter_async_context(envoy(made.resources))
            return await play(Stage(port, peers, ads, process, addresses))

    return asyncio.run(main())


async def _listening(name: str, stack: AsyncExitStack) -> Peer:
    peer = Peer(name)
    await peer.listen()
    stack.push_async_callback(peer.close)
    return peer


def children(process: int) -> dict[int, str]:
    """The processes that one started, by what they are."""
    found = {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(status[1]) == process:
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


async def free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
