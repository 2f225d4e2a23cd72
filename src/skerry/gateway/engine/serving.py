"""Serving a specification: one process, or several that share the listeners, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from skerry import signals
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, MissingExtra
from skerry.gateway.engine.crew import Crew
from skerry.gateway.engine.worker import COLLECT, Worker
from skerry.gateway.model import Addresses, GatewaySpec
from skerry.gateway.watching import marks
from skerry.service.hosting import settle_memory
from skerry.settings import Settings

if TYPE_CHECKING:
    from skerry.gateway.discovering import Instances

try:
    import uvloop
except ImportError as _error:
    raise MissingExtra("The gateway", "gateway") from _error

LOOK_EVERY: Final = 0.005
"""Seconds between two looks at the files to watch."""
LOOK_FOR_FILES: Final = 0.2
"""The same as long as there are none; a later specification may bring some."""
MOST_FILES: Final = 65_536
_log = logging.getLogger("skerry.gateway")
Load = Callable[[], GatewaySpec]
Instead = Callable[[], GatewaySpec | None]
Ready = Callable[[Mapping[str, int]], None]


def serve(
    load: Load,
    *,
    addresses: Addresses,
    settings: Settings,
    workers: int = 1,
    watch: Sequence[Path] = (),
    ready: Ready | None = None,
    state: Path | None = None,
    instead: Instead | None = None,
    clock: Clock = SYSTEM,
) -> None:
    """Serve what `load` gives until told to stop; then return.

    SIGTERM stops; so does SIGINT, or, when `settings.supervised`, the end of standard input. SIGHUP loads again, and so does a
    change of one of the files in `watch`; what cannot be loaded is told as a signal, and the old specification stays. What is
    under way may finish for `settings.drain` seconds. With several `workers`, each is a process with limits and breakers of its
    own; one that dies is replaced. `ready` is called once with the port of each listener. Call it in the main thread.

    With a folder `state`, what is strangled is compared and counted there (`skerry.gateway.strangler`), once `load` gives
    specifications that its shares were applied to; without one, all of it stays with the control, uncounted. What `load` gave
    and could not be served is followed by what `instead` gives, if it gives anything.

    Raises `ConfigurationError` when the first load fails or an address cannot be bound.
    """
    files = Files(watch)
    spec = load()
    _allow_many_files()
    if workers > 1:
        crew = Crew(
            workers, lambda: _run(load, addresses, settings, Files(watch), clock, state=state, instead=instead), clock
        )
        crew.serve(spec, settings, ready)
    else:
        _run(load, addresses, settings, files, clock, spec=spec, ready=ready, state=state, instead=instead)


def _allow_many_files() -> None:
    """As many open files as this process may have: a connection is two of them, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < MOST_FILES:
        wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _run(
    load: Load,
    addresses: Addresses,
    settings: Settings,
    files: Files,
    clock: Clock,
    *,
    spec: GatewaySpec | None = None,
    ready: Ready | None = None,
    state: Path | None = None,
    instead: Instead | None = None,
) -> None:
    """One worker: alone with the `spec` that was loaded already, or one of a crew, which stops with its parent."""
    supervised = settings.supervised or spec is None
    source = _Source(load, instead, addresses, clock)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            _serve(source, spec or load(), settings, files, clock, ready=ready, supervised=supervised, state=state)
        )


async def _serve(
    source: _Source,
    spec: GatewaySpec,
    settings: Settings,
    files: Files,
    clock: Clock,
    *,
    ready: Ready | None,
    supervised: bool,
    state: Path | None,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    worker = Worker(*await source.first(spec), state=state, clock=clock)
    try:
        await worker.start()
    except OSError as error:
        places = ", ".join(f"{listener.address}:{listener.port}" for listener in spec.listeners)
        raise ConfigurationError(f"cannot listen on {places}: {error.strerror}") from error
    tasks = [loop.create_task(source.follow(worker)), loop.create_task(files.watch(source.look_again, clock))]
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, source.look_again)
    if supervised:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.add_reader(0, _at_end, loop, stop)
    else:
        loop.add_signal_handler(signal.SIGINT, stop.set)
    settle_memory(*COLLECT)
    if ready is not None:
        ready(worker.ports)
    await stop.wait()
    for task in tasks:
        task.cancel()
    await worker.drain(settings.drain)
    await source.aclose()


class _Source:
    """Where the specification and the addresses of services come from, again and again."""

    def __init__(self, load: Load, instead: Instead | None, addresses: Addresses, clock: Clock) -> None:
        self._changed = asyncio.Event()
        self._stale = False
        """Whether the specification itself may be another, not just where services are."""
        self._load = load
        self._instead = instead
        self._addresses = addresses
        self._clock = clock
        self._instances: Instances | None = None
        self._spec: GatewaySpec | None = None

    async def first(self, spec: GatewaySpec) -> tuple[GatewaySpec, Addresses]:
        """`spec` and the addresses of its services, those that are looked for found."""
        found = await self._resolved(spec)
        self._spec = spec
        return found

    async def follow(self, worker: Worker) -> None:
        """Have the worker serve every change, until cancelled. What cannot be served is told, and changes nothing."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            stale, self._stale = self._stale, False
            try:
                spec = self._load() if stale or self._spec is None else self._spec
            except Exception as error:  # what `load` does is not ours, and the gateway serves on
                self._refuse(worker, error)
            else:
                await self._serve(worker, spec, loaded=stale)

    async def _serve(self, worker: Worker, spec: GatewaySpec, *, loaded: bool) -> None:
        try:
            await self._give(worker, spec)
        except Exception as error:  # nothing that is wrong with one specification may keep the next from being served
            self._refuse(worker, error)
            if loaded and self._instead is not None and (other := self._instead()) is not None:
                try:
                    await self._give(worker, other)
                except Exception as still:
                    _log.error("ramps stay where they are", exc_info=still)

    async def _give(self, worker: Worker, spec: GatewaySpec) -> None:
        worker.reload(*await self._resolved(spec))
        self._spec = spec

    def _refuse(self, worker: Worker, error: Exception) -> None:
        told = str(error) if isinstance(error, ConfigurationError) else type(error).__name__
        if not isinstance(error, ConfigurationError):
            _log.error("a specification could not be loaded", exc_info=error)
        now = worker.runtime.spec
        signals.emit(signals.GatewayReloaded(service=now.name, routes=len(now.routes), error=told))
        print(f"gateway: not reloaded: {told}", file=sys.stderr, flush=True)  # noqa: T201

    def look_again(self) -> None:
        """The specification may have changed."""
        self._stale = True
        self._changed.set()

    async def aclose(self) -> None:
        """Look for no more instances."""
        if self._instances is not None:
            await self._instances.aclose()

    async def _resolved(self, spec: GatewaySpec) -> tuple[GatewaySpec, Addresses]:
        if self._instances is None:
            if all(url.startswith(("http://", "https://")) for url in _urls(spec, self._addresses)):
                return spec, self._addresses
            from skerry.gateway.discovering import Instances

            self._instances = Instances(self._changed.set, clock=self._clock)
        return await self._instances.resolved(spec, self._addresses)


def _urls(spec: GatewaySpec, addresses: Addresses) -> list[str]:
    named = [url for service in spec.services for url in service.urls]
    return [*named, *(url for name in spec.called for url in addresses.get(name, ()))]


def _at_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Whoever supervises holds the other end of standard input: its end means stop."""
    with contextlib.suppress(OSError):
        if os.read(0, 4096):
            return
    loop.remove_reader(0)
    stop.set()


class Files:
    """Files to watch, from the moment on at which it is made: a change while they are first read is not overlooked.

    Who made `paths` may add to them.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._seen = marks(self._paths)

    async def watch(self, changed: Callable[[], None], clock: Clock) -> None:
        """Call `changed` whenever one of them has become another, until cancelled."""
        while True:
            now = marks(self._paths)
            if now != self._seen:
                self._seen = now
                changed()
            await clock.sleep(LOOK_EVERY if self._paths else LOOK_FOR_FILES)
