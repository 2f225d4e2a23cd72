"""The network of a system in one process: calls go from service to service, and meet the faults that a test has ordered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from skerry.client import AsgiTransport, Request, Response
from skerry.clock import Clock
from skerry.errors import ConnectionLost, ReplyTooLarge, Unreachable
from skerry.testing.system.faults import Faults, Kind
from skerry.testing.system.loop import LIFE, Life, never, outside
from skerry.testing.system.wiring import DOMAIN

if TYPE_CHECKING:
    from skerry.testing.system.process import Process

PIECES: Final = 100_000
"""Of a reply that has to be read to its end before it can be lost or repeated."""


class Network:
    """The `Transport` of all clients. Finds services by their names; `find` gives None for one that is not of the system."""

    def __init__(self, find: Callable[[str], Process | None], faults: Faults, clock: Clock) -> None:
        self._find = find
        self._faults = faults
        self._clock = clock
        self._calls: list[Life | None] = []

    @property
    def under_way(self) -> int:
        """Calls that have not been answered, of callers that live."""
        return sum(caller is None or not caller.frozen for caller in self._calls)

    @contextmanager
    def call_of(self, caller: Life | None) -> Iterator[None]:
        """A call is under way in the block."""
        self._calls.append(caller)
        try:
            yield
        finally:
            self._calls.remove(caller)

    def process(self, service: str, url: str) -> Process:
        """Who answers at an address. Raises `Unreachable`."""
        host = urlsplit(url).hostname or ""
        process = self._find(host.removesuffix(f".{DOMAIN}"))
        if process is None:
            raise Unreachable(service, f"no service of this system answers at {host}; a test has no network")
        return process

    async def send(self, request: Request) -> Response:
        """Carry a request to its service, as far as the faults let it come. See `Transport`."""
        process = self.process(request.service, request.url)
        route = f"{request.method} {urlsplit(request.url).path or '/'}"
        caller = LIFE.get()
        if caller is not None and caller.reached(f"before {route} to {process.name}"):
            await never()
        with self.call_of(caller):
            response = await self._carried(process, request, route)
        if caller is not None and caller.reached(f"after {route} to {process.name}"):
            await never()
        return response

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def _carried(self, process: Process, request: Request, route: str) -> Response:
        struck = self.struck(process, route)
        await self.held_up(struck)
        response = await self._answered(process, request)
        if not struck.keys() & {"duplicate", "lost_reply"}:
            return response
        whole = Response(response.status, headers=response.headers, body=await _read(request.service, response))
        if "duplicate" in struck and request.replayable:
            again = await self._answered(process, request)
            await _read(request.service, again)
        if "lost_reply" in struck:
            raise ConnectionLost(request.service, "the reply was lost, as the test ordered")
        return whole

    def struck(self, process: Process, route: str) -> Mapping[Kind, float]:
        """What goes wrong with this call."""
        return self._faults.of_call(process.name, route)

    async def held_up(self, struck: Mapping[Kind, float]) -> None:
        """What goes wrong on the way there: it takes longer, or does not end."""
        if seconds := struck.get("delay", 0.0):
            await self._clock.sleep(seconds)
        if "drop" in struck:
            await never()

    async def _answered(self, process: Process, request: Request) -> Response:
        life = process.life
        if life is None:
            raise Unreachable(request.service, "no connection could be made: the service is down")
        caller = LIFE.get()
        transport = AsgiTransport(lambda scope, receive, send: life.serve(caller, scope, receive, send))
        # neither the caller's nor the callee's: it goes on when either dies, and tells the other
        sending = asyncio.get_running_loop().create_task(transport.send(request), context=outside())
        return await sending


async def _read(service: str, response: Response) -> bytes:
    pieces: list[bytes] = []
    try:
        while piece := await response.read():
            pieces.append(piece)
            if len(pieces) > PIECES:
                raise ReplyTooLarge(
                    service, f"the reply has over {PIECES} pieces, too many for it to be lost or repeated"
                )
    finally:
        response.close()
    return b"".join(pieces)
