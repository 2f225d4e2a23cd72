"""The embedded engine behind Envoy, for what Envoy has no form for: aggregates, and of strangled routes the comparison of answers
and writes that wait. It is a process of its own.

Envoy keeps TLS, limits and rates; it sends those requests here, over the loopback. Tokens are looked at again, for who else runs
on this machine may come in here as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import socket
import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from skerry.clock import SYSTEM, Clock
from skerry.errors import EnvoyError
from skerry.gateway.envoy import strangling
from skerry.gateway.envoy.strangling import is_strangled
from skerry.gateway.model import Aggregate, Forward, GatewaySpec, Listener, Match, PathMatch, Respond, Route

_log = logging.getLogger("skerry.gateway")

FILE = "behind.pickle"
_HOST = "127.0.0.1"
_POLL, _STARTING, _GRACE = 0.005, 20.0, 2.0
_WHICH = "/.skerry-behind"
"""Where it says which specification it serves."""
_MOST_ANSWER = 4096
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the process is told."""

    spec: GatewaySpec
    addresses: Mapping[str, tuple[str, ...]]
    drain: float
    state: Path | None


def part(spec: GatewaySpec, *, port: int, which: str = "", before: GatewaySpec | None = None) -> GatewaySpec:
    """Of a specification, what the embedded engine serves behind Envoy, at `port` of the loopback; `which` is what it answers to
    who asks which one it serves.

    Routes that only `before` had are there, too, with what they refer to: requests for them may be on their way.
    """
    routes = tuple(found for route in spec.routes if (found := _route(route)) is not None)
    services, providers = spec.services, spec.providers
    if before is not None:
        known = {_is_for(route) for route in routes}
        left = tuple(found for route in before.routes if (found := _route(route)) and _is_for(found) not in known)
        routes += left
        if left:
            named = {service.name for service in services}
            services += tuple(service for service in before.services if service.name not in named)
            named = {provider.name for provider in providers}
            providers += tuple(provider for provider in before.providers if provider.name not in named)
    answer = Route("behind", (Match(PathMatch("exact", _WHICH)),), Respond(200, which))
    return replace(
        spec,
        name=f"{spec.name[:50]}-behind",
        listeners=(Listener("behind-envoy", _HOST, port),),
        services=services,
        providers=providers,
        routes=(answer, *routes),
        trusted_hops=spec.trusted_hops + 1,
        access_log=None,
        first_wins=True,
    )


def _route(route: Route) -> Route | None:
    """As it is there; None where Envoy does all of it."""
    if is_strangled(route.action):
        route = strangling.behind(route, route.action)
    elif not isinstance(route.action, Aggregate):
        return None
    return replace(route, listeners=(), rate=None, cors=None, compress=False)


def _is_for(route: Route) -> Hashable:
    """What tells whether it takes the same requests as another."""
    return route.matches, route.hostnames


def _all_for(spec: GatewaySpec) -> set[Hashable]:
    return {_is_for(route) for route in spec.routes if _route(route) is not None}


def _holds(spec: GatewaySpec) -> bool:
    return any(isinstance(route.action, Forward) and route.action.hold > 0 for route in spec.routes)


class Behind:
    """Keeps that process: starts it with the first specification that needs it, and again when it ends."""

    def __init__(
        self,
        folder: Path,
        *,
        addresses: Mapping[str, tuple[str, ...]],
        drain: float,
        state: Path | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._file = folder / FILE
        self._addresses = addresses
        self._drain = drain
        self._state = state
        self._which = 0
        self.down: bool = False
        """Whether it ended by itself and is not there again yet."""
        self.changed: asyncio.Event = asyncio.Event()
        """Set when `down` is another."""
        self._served: GatewaySpec | None = None
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = False
        # Held, so that the port stays ours while nobody listens.
        self._held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind((_HOST, 0))
        self.port: int = self._held.getsockname()[1]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{_HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id, None while there is none."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def serve(self, spec: GatewaySpec) -> None:
        """Have it serve its part of `spec`; returns when it answers all that Envoy may be told to send it. Raises `EnvoyError`
        when it does not within 20 s.
        """
        before, self._which = self._served, self._which + 1
        told = part(spec, port=self.port, which=str(self._which), before=before)
        content = pickle.dumps(Told(told, dict(self._addresses), self._drain, self._state))
        beside = self._file.with_suffix(".new")
        beside.write_bytes(content)
        beside.replace(self._file)
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="keep the embedded engine")
        if before is not None and _all_for(spec) <= _all_for(before) and not _holds(spec):
            # No other requests than before come here: those that do meanwhile are answered as before.
            self._served = spec
            return
        try:
            async with asyncio.timeout(_STARTING):
                while not await self._answers():
                    await self._clock.sleep(_POLL)
        except TimeoutError:
            raise EnvoyError(f"the embedded engine behind Envoy did not answer within {_STARTING:g} s") from None
        self._served = spec

    async def stop(self) -> None:
        """Let what is under way end, and end it."""
        self._stopping = True
        if self._task is not None:
            if self._child is not None and self._child.returncode is None:
                self._child.terminate()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._drain + _GRACE):
                        await self._child.wait()
            self._task.cancel()
            await asyncio.wait({self._task})
        self._held.close()

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping:
            began = self._clock.monotonic()
            code = await self._live()
            if self._stopping:
                return
            pause = (
                _FIRST_PAUSE if self._clock.monotonic() - began > 2 * _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)
            )
            _log.warning("the embedded engine behind Envoy ended with %s; it is started again", code)
            self._is_down(True)
            await self._clock.sleep(pause)

    async def _live(self) -> int:
        command = (sys.executable, "-m", "skerry.gateway.envoy", str(self._file))
        child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, start_new_session=True)
        self._child = child
        looking = asyncio.create_task(self._look(), name="look for the embedded engine") if self.down else None
        try:
            return await child.wait()
        finally:
            if looking is not None:
                looking.cancel()
                await asyncio.wait({looking})
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()

    async def _look(self) -> None:
        while not await self._answers():
            await self._clock.sleep(_POLL * 4)
        self._is_down(False)

    def _is_down(self, down: bool) -> None:
        if down != self.down:
            self.down = down
            self.changed.set()

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(_HOST, self.port)
        except OSError:
            return False
        try:
            writer.write(f"GET {_WHICH} HTTP/1.1\r\nhost: behind\r\nconnection: close\r\n\r\n".encode())
            _, _, body = (await reader.read(_MOST_ANSWER)).partition(b"\r\n\r\n")
            return body == str(self._which).encode()
        except OSError:
            return False
        finally:
            writer.close()
