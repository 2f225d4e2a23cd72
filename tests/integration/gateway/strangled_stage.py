"""A strangled route on a real socket: its control and its candidate behave as told, its shares change as they do in life."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
from patience import LOOP_TIME, run_patiently
from peers import Behaviour, Peer, Reader, Received, Writer, listening, receive, refusing_url, reply

from skerry.gateway import GatewaySpec, reading
from skerry.gateway.engine import Worker
from skerry.gateway.strangler import Share, Shares, applied, tally
from skerry.gateway.strangler.tally import RouteTally

ROUTE = "books"
Answering = Callable[[Received], bytes]


def answering(answer: Answering | Any) -> Behaviour:
    """Answer each request by what it says; anything else than a function is the JSON of every answer."""

    async def behave(peer: Peer, reader: Reader, writer: Writer) -> None:
        while True:
            request = await receive(peer, reader)
            if callable(answer):
                writer.write(answer(request))
            else:
                body = b"" if request.method == "HEAD" else json.dumps(answer).encode()
                writer.write(reply(200, body, content_type="application/json"))
            await writer.drain()

    return behave


def told(value: Any, *, status: int = 200, **headers: str) -> bytes:
    """An answer in JSON."""
    return reply(status, json.dumps(value).encode(), **{"content_type": "application/json", **headers})


@dataclass
class Strangling:
    """What a test holds in its hands."""

    client: httpx2.AsyncClient
    gateway: Worker
    control: Peer
    candidate: Peer
    port: int
    spec: GatewaySpec
    state: Path
    version: int = 0

    def share(self, share: Share) -> None:
        """Have the route be at this share from now on."""
        self.version += 1
        self.gateway.reload(applied(self.spec, Shares(self.version, {ROUTE: share})))

    @property
    def sums(self) -> RouteTally:
        """What was counted so far."""
        assert self.gateway.counting is not None
        return self.gateway.counting.tally.route(ROUTE)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what has to become true; the test fails when it does not."""
        for _ in range(2000):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"it never came: {self.sums}")

    async def compared(self, number: int) -> None:
        """Wait until so many sampled requests have been dealt with."""
        sums = self.sums.compared
        await self.until(lambda: sums.pairs + sums.unread >= number)

    @property
    def comparing(self) -> int:
        """How many comparisons are under way."""
        (route,) = self.gateway.runtime.spec.routes
        strangled = self.gateway.runtime.plans[id(route)].strangled
        assert strangled is not None
        assert strangled.comparer is not None
        return strangled.comparer.active

    @property
    def written(self) -> tally.Tally:
        """What the file says."""
        (found,) = tally.read(self.state).values()
        return found


def strangling(
    folder: Path,
    play: Callable[[Strangling], Awaitable[Any]],
    *,
    control: Any = None,
    candidate: Any = None,
    share: Share | None = None,
    route: dict[str, Any] | None = None,
    **strangle: Any,
) -> Any:
    """Run `play` before a control and a candidate; each is an answer, a function, or a `Behaviour` under `behave`."""
    body = {
        "access_log": False,
        "routes": [
            {
                "name": ROUTE,
                "path": "/",
                "strangle": {"from": "monolith", "to": "catalogue", "steps": [50, 100], **strangle},
                **(route or {}),
            }
        ],
    }

    async def main() -> Any:
        async with AsyncExitStack() as stack:
            peers: dict[str, Peer] = {}
            for name, behaviour in (("monolith", control), ("catalogue", candidate)):
                if behaviour is not REFUSING:
                    own = behaviour.behave if isinstance(behaviour, Raw) else answering(behaviour)
                    peers[name] = await stack.enter_async_context(listening(own))
            urls = {name: peers[name].url if name in peers else refusing_url() for name in ("monolith", "catalogue")}
            read = reading.parse(json.dumps(body))
            spec = replace(read, listeners=(replace(read.listeners[0], port=0),))
            first = applied(spec, Shares(0, {} if share is None else {ROUTE: share}))
            gateway = Worker(first, reading.places(urls), state=folder, clock=LOOP_TIME)
            await gateway.start()
            stack.push_async_callback(gateway.drain, 1.0)
            port = gateway.ports[spec.listeners[0].name]
            client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60.0)
            await stack.enter_async_context(client)
            nobody = Peer()
            both = (peers.get("monolith", nobody), peers.get("catalogue", nobody))
            return await play(Strangling(client, gateway, *both, port, spec, folder))

    return run_patiently(main())


@dataclass(frozen=True)
class Raw:
    """A peer that does more than answer."""

    behave: Behaviour


REFUSING = object()
"""Nobody listens there."""
