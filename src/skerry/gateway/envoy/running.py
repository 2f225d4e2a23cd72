"""Runs a gateway on Envoy: compiles, starts, watches, and gives Envoy what changed. No request passes through this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from skerry.clock import SYSTEM, Clock
from skerry.envoy import AdsServer, EnvoyProcess
from skerry.errors import ConfigurationError, ConfigurationRefused, EnvoyError
from skerry.gateway.discovering import Instances
from skerry.gateway.envoy.behind import Behind
from skerry.gateway.envoy.compiler import Compiled, compile_spec
from skerry.gateway.envoy.counting import HISTOGRAMS, Counting
from skerry.gateway.envoy.memory import Memory
from skerry.gateway.envoy.strangling import uncompared
from skerry.gateway.model import GatewaySpec, Listener
from skerry.gateway.watching import Mark, marks
from skerry.service.hosting import settle_memory
from skerry.settings import Settings
from skerry.signals import GatewayReloaded, emit

_log = logging.getLogger("skerry.gateway")

WATCH = 0.005
"""Seconds between two looks at the watched files."""
_STARTING = 30.0
_TAKING = 10.0
_LOOK = 0.2
"""Seconds between two looks at Envoy where there are no files to watch."""
_COLLECT = (50_000, 20, 50)
"""When the collector looks: a specification is made of many small values at once, and with Python's own thresholds half of the
time for a new one goes into looking through what was there before.
"""
LINGER = 0.3
"""Seconds between "not ready" and the end of listening, as services have."""
_OWN_NAMES = {"dns+http": "http", "dns+https": "https"}
"""Names that Envoy asks for by itself, every five seconds."""
_NODE = "skerry-gateway"

Load = Callable[[], GatewaySpec]
Instead = Callable[[], GatewaySpec | None]
Ready = Callable[[Mapping[str, int]], None]


def serve(
    load: Load,
    *,
    addresses: Mapping[str, tuple[str, ...]],
    settings: Settings,
    watch: Sequence[Path] = (),
    ready: Ready | None = None,
    state: Path | None = None,
    instead: Instead | None = None,
    clock: Clock = SYSTEM,
) -> None:
    """Serve the gateway that `load` gives, on Envoy, until SIGTERM, SIGINT or, when supervised, the end of standard input.

    When one of the files `watch` changes, and on SIGHUP, `load` is asked again; what it gives is served once Envoy has taken it.
    A specification that is not in order, or that Envoy does not take, is told in the log and changes nothing. At the end,
    requests under way get `settings.drain` seconds. `ready` is called once with the port of each listener.

    With a folder `state`, what is strangled is compared and counted there (`skerry.gateway.strangler`), as the other engine does;
    the process behind has a tally of its own. What `load` gave and Envoy does not take is followed by what `instead` gives, if it
    gives anything.

    Raises `ConfigurationError` when the first one is not in order, `MissingExtra` without the extra `envoy`, `EnvoyError` when
    Envoy does not start or ends again and again.
    """
    with asyncio.Runner() as runner:
        runner.run(_Run(load, instead, addresses, settings, watch, ready, state, clock).run())


class _Run:
    def __init__(
        self,
        load: Load,
        instead: Instead | None,
        addresses: Mapping[str, tuple[str, ...]],
        settings: Settings,
        watch: Sequence[Path],
        ready: Ready | None,
        state: Path | None,
        clock: Clock,
    ) -> None:
        self._load = load
        self._instead = instead
        self._addresses = addresses
        self._settings = settings
        self._watch = watch
        self._ready = ready
        self._state = state
        self._clock = clock
        self._stop = asyncio.Event()
        self._again = asyncio.Event()
        self._ports: dict[str, socket.socket] = {}
        self._told: tuple[str, ...] = ()
        self._read_of: tuple[Mark, ...] = ()
        self._moved = asyncio.Event()
        self._instances = Instances(self._moved.set, own=_OWN_NAMES, tls=False, clock=clock)
        self._memory = Memory()
        self._behind: Behind
        self._counting: Counting | None = None

    async def run(self) -> None:
        with tempfile.TemporaryDirectory(prefix="skerry-envoy-") as name, contextlib.ExitStack() as held:
            held.callback(self._close)
            folder = Path(name)
            self._behind = Behind(
                folder, addresses=self._addresses, drain=self._settings.drain, state=self._state, clock=self._clock
            )
            try:
                await self._serve(folder)
            finally:
                await self._behind.stop()
                await self._instances.aclose()

    async def _serve(self, folder: Path) -> None:
        spec = self._read()
        compiled = await self._compile(spec)
        self._on_signals()
        if compiled.behind:
            await self._behind.serve(spec)
        async with AdsServer(folder / EnvoyProcess.ADS_SOCKET) as ads:
            ads.offer(compiled.resources, node=_NODE)
            process = EnvoyProcess(
                folder,
                node=_NODE,
                workers=_cores(),
                drain=self._settings.drain,
                histograms=HISTOGRAMS if self._state is not None else None,
                clock=self._clock,
            )
            await process.start()
            counts = self._count(process)
            try:
                await self._publish(ads, spec, compiled, within=_STARTING)  # a port may be somebody else's
                self._announce(spec, compiled)
                settle_memory(*_COLLECT)
                spec = await self._until_stopped(ads, process, spec)
                await self._say_goodbye(ads, spec)
            finally:
                if counts is not None:
                    counts.cancel()
                    await asyncio.wait({counts})
                await process.stop()

    def _count(self, process: EnvoyProcess) -> asyncio.Task[None] | None:
        if self._state is None:
            return None
        self._counting = Counting(self._state, process.admin, life=lambda: process.pid, clock=self._clock)
        return asyncio.create_task(self._counting.run(), name="count for the strangler")

    async def _publish(self, ads: AdsServer, spec: GatewaySpec, compiled: Compiled, *, within: float = _TAKING) -> None:
        """Returns when Envoy has taken it, and that is what is told then."""
        if self._counting is not None:
            self._counting.follow(compiled.counted)
        await ads.publish(compiled.resources, node=_NODE, within=within)
        if self._counting is not None:
            self._counting.serves(spec.version, compiled.counted)

    def _close(self) -> None:
        for held in self._ports.values():
            held.close()

    def _announce(self, spec: GatewaySpec, compiled: Compiled) -> None:
        for listener in spec.listeners:
            where = f"{listener.address}:{listener.port}"
            _log.info("the gateway listens on %s (%s), with Envoy as its engine", where, listener.name)
        self._tell(compiled)
        if self._ready is not None:
            self._ready({listener.name: listener.port for listener in spec.listeners})

    def _tell(self, compiled: Compiled) -> None:
        if compiled.differences != self._told:
            self._told = compiled.differences
            for text in compiled.differences:
                _log.info("on Envoy, %s", text)

    async def _until_stopped(self, ads: AdsServer, process: EnvoyProcess, spec: GatewaySpec) -> GatewaySpec:
        """Give Envoy every change until it is time to stop; returns what is served then."""
        while not self._stop.is_set():
            if process.failed.is_set():
                raise EnvoyError(f"Envoy ended again and again. Its last words: {process.last_words()}")
            if marks(self._watch) != self._read_of or self._again.is_set():
                self._again.clear()
                spec = await self._change(ads, spec)
            elif self._moved.is_set() or self._behind.changed.is_set():
                await self._move(ads, spec)
            await self._pause()
        return spec

    async def _change(self, ads: AdsServer, before: GatewaySpec) -> GatewaySpec:
        loaded = False
        try:
            spec = self._read()
            loaded = True
            compiled = await self._give(ads, spec)
        except (ConfigurationError, ConfigurationRefused) as error:
            emit(GatewayReloaded(service=before.name, routes=len(before.routes), error=str(error)))
            return await self._give_instead(ads, before) if loaded else before
        except EnvoyError as error:  # it may be on its way up again
            _log.warning("the new specification is given to Envoy once more: %s", error)
            self._again.set()
            return before
        except Exception as error:  # what `load` does is not ours, and the gateway serves on
            _log.exception("a specification could not be loaded")
            emit(GatewayReloaded(service=before.name, routes=len(before.routes), error=type(error).__name__))
            return before
        emit(GatewayReloaded(service=spec.name, routes=len(spec.routes)))
        self._tell(compiled)
        return spec

    async def _give(self, ads: AdsServer, spec: GatewaySpec) -> Compiled:
        compiled = await self._compile(spec)
        if compiled.behind:
            await self._behind.serve(spec)
        await self._publish(ads, spec, compiled)
        return compiled

    async def _give_instead(self, ads: AdsServer, before: GatewaySpec) -> GatewaySpec:
        """What a ramp is at now is served by the rules that Envoy has taken, though it does not take the present ones."""
        other = self._instead() if self._instead is not None else None
        if other is None:
            return before
        spec = self._with_ports(other)
        try:
            await self._give(ads, spec)
        except (ConfigurationError, ConfigurationRefused) as error:
            _log.error("ramps stay where they are: %s", error)
            return before
        except EnvoyError as error:  # it may be on its way up again
            _log.warning("ramps are given to Envoy once more: %s", error)
            self._moved.set()
        emit(GatewayReloaded(service=spec.name, routes=len(spec.routes)))
        return spec

    async def _move(self, ads: AdsServer, spec: GatewaySpec) -> None:
        """The instances of a service are others, or the engine behind is away or back; the rules are the same."""
        try:
            await self._publish(ads, spec, await self._compile(spec))
        except (ConfigurationError, ConfigurationRefused) as error:
            _log.error("the gateway goes on with the instances that it knew: %s", error)
        except EnvoyError as error:  # it may be on its way up again
            _log.warning("the instances that are known now are given to Envoy once more: %s", error)
            self._moved.set()

    async def _say_goodbye(self, ads: AdsServer, spec: GatewaySpec) -> None:
        """Readiness says no first, for as long as whoever asks it needs to look elsewhere."""
        with contextlib.suppress(ConfigurationError, EnvoyError):
            compiled = await self._compile(spec, draining=True)
            await ads.publish(compiled.resources, node=_NODE, within=min(1.0, self._settings.drain))
            await self._clock.sleep(min(LINGER, self._settings.drain))

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH if self._watch else _LOOK):
                await self._stop.wait()

    def _read(self) -> GatewaySpec:
        """What is to be served, with a port for each listener that takes any: the same one as long as this runs."""
        self._read_of = marks(self._watch)  # before it is read: what changes meanwhile is read again
        return self._with_ports(self._load())

    def _with_ports(self, spec: GatewaySpec) -> GatewaySpec:
        return replace(spec, listeners=tuple(self._with_port(listener) for listener in spec.listeners))

    def _with_port(self, listener: Listener) -> Listener:
        if listener.port:
            return listener
        key = f"{listener.name} {listener.address}"
        if key not in self._ports:
            # Held, so that it is still ours when Envoy is started again; who listens beside it gets all connections.
            held = socket.socket(socket.AF_INET6 if ":" in listener.address else socket.AF_INET, socket.SOCK_STREAM)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((listener.address, 0))
            self._ports[key] = held
        return replace(listener, port=self._ports[key].getsockname()[1])

    async def _compile(self, spec: GatewaySpec, *, draining: bool = False) -> Compiled:
        plain, addresses = await self._instances.resolved(spec, self._addresses)
        self._moved.clear()
        self._behind.changed.clear()
        if self._behind.down:  # nothing is sent there that can do without
            plain = uncompared(plain)
        return compile_spec(plain, addresses=addresses, behind=self._behind.url, draining=draining, memory=self._memory)

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._again.set)
        if self._settings.supervised:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            threading.Thread(target=self._read_to_end, args=(loop,), name="skerry-stdin", daemon=True).start()
        else:
            loop.add_signal_handler(signal.SIGINT, self._stop.set)

    def _read_to_end(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(self._stop.set)


def _cores() -> int:
    """Those that this process may use; Envoy has a thread for each."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
