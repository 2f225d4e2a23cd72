"""The embedded engine behind Envoy, for the routes that Envoy has no form for: aggregates. It is a process of its own.

Envoy keeps TLS, limits and rates; it sends those routes here, over the loopback. Tokens are looked at again, for who else runs on
this machine may come in here as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from skerry.clock import SYSTEM, Clock
from skerry.errors import EnvoyError
from skerry.gateway.model import Aggregate, GatewaySpec, Listener

_log = logging.getLogger("skerry.gateway")

FILE = "aggregates.pickle"
_HOST = "127.0.0.1"
_POLL, _STARTING, _GRACE = 0.02, 20.0, 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


def part(spec: GatewaySpec, *, port: int) -> GatewaySpec:
    """Of a specification, what the embedded engine serves behind Envoy, at `port` of the loopback."""
    routes = tuple(
        replace(route, listeners=(), rate=None, cors=None, compress=False)
        for route in spec.routes
        if isinstance(route.action, Aggregate)
    )
    return replace(
        spec,
        name=f"{spec.name[:50]}-aggregates",
        listeners=(Listener("behind-envoy", _HOST, port),),
        routes=routes,
        trusted_hops=spec.trusted_hops + 1,
        access_log=None,
        first_wins=True,
    )


class Behind:
    """Keeps that process: starts it with the first specification that needs it, and again when it ends."""

    def __init__(
        self, folder: Path, *, addresses: Mapping[str, tuple[str, ...]], drain: float, clock: Clock = SYSTEM
    ) -> None:
        self._file = folder / FILE
        self._addresses = addresses
        self._drain = drain
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
        """Have it serve the aggregates of `spec`; returns when it answers. Raises `EnvoyError` when it does not within 20 s."""
        content = pickle.dumps((part(spec, port=self.port), dict(self._addresses), self._drain))
        beside = self._file.with_suffix(".new")
        beside.write_bytes(content)
        beside.replace(self._file)
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="keep the embedded engine")
        try:
            async with asyncio.timeout(_STARTING):
                while not await self._answers():
                    await self._clock.sleep(_POLL)
        except TimeoutError:
            raise EnvoyError(f"the embedded engine, for aggregates, did not answer within {_STARTING:g} s") from None

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
            await self._clock.sleep(pause)

    async def _live(self) -> int:
        command = (sys.executable, "-m", "skerry.gateway.envoy", str(self._file))
        child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, start_new_session=True)
        self._child = child
        try:
            return await child.wait()
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(_HOST, self.port)
        except OSError:
            return False
        try:
            writer.write(b"GET /health/ready HTTP/1.1\r\nhost: behind\r\nconnection: close\r\n\r\n")
            return b" 200 " in await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()
