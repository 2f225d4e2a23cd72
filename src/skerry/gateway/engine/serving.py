"""Serving a specification: one process, or several that share the listeners, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from skerry import signals
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, MissingExtra
from skerry.gateway.engine.crew import Crew
from skerry.gateway.engine.worker import Worker, settle_memory
from skerry.gateway.model import Addresses, GatewaySpec
from skerry.settings import Settings

try:
    import uvloop
except ImportError as _error:
    raise MissingExtra("The gateway", "gateway") from _error

LOOK_EVERY: Final = 0.02
"""Seconds between two looks at the files to watch."""
MOST_FILES: Final = 65_536
Load = Callable[[], GatewaySpec]
Ready = Callable[[Mapping[str, int]], None]


def serve(
    load: Load,
    *,
    addresses: Addresses,
    settings: Settings,
    workers: int = 1,
    watch: Sequence[Path] = (),
    ready: Ready | None = None,
    clock: Clock = SYSTEM,
) -> None:
    """Serve what `load` gives until told to stop; then return.

    SIGTERM stops; so does SIGINT, or, when `settings.supervised`, the end of standard input. SIGHUP loads again, and so does a
    change of one of the files in `watch`; what cannot be loaded is told as a signal, and the old specification stays. What is
    under way may finish for `settings.drain` seconds. With several `workers`, each is a process with limits and breakers of its
    own; one that dies is replaced. `ready` is called once with the port of each listener. Call it in the main thread.

    Raises `ConfigurationError` when the first load fails or an address cannot be bound.
    """
    spec = load()
    _allow_many_files()
    if workers > 1:
        crew = Crew(workers, lambda: _run(load, load(), addresses, settings, watch, None, clock, crewed=True), clock)
        crew.serve(spec, settings, ready)
    else:
        _run(load, spec, addresses, settings, watch, ready, clock, crewed=False)


def _allow_many_files() -> None:
    """As many open files as this process may have: a connection is two of them, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < MOST_FILES:
        wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _run(
    load: Load,
    spec: GatewaySpec,
    addresses: Addresses,
    settings: Settings,
    watch: Sequence[Path],
    ready: Ready | None,
    clock: Clock,
    *,
    crewed: bool,
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            _serve(load, spec, addresses, settings, watch, ready, clock, supervised=settings.supervised or crewed)
        )


async def _serve(
    load: Load,
    spec: GatewaySpec,
    addresses: Addresses,
    settings: Settings,
    watch: Sequence[Path],
    ready: Ready | None,
    clock: Clock,
    *,
    supervised: bool,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    worker = Worker(spec, addresses, clock=clock)
    try:
        await worker.start()
    except OSError as error:
        places = ", ".join(f"{listener.address}:{listener.port}" for listener in spec.listeners)
        raise ConfigurationError(f"cannot listen on {places}: {error.strerror}") from error

    def reload() -> None:
        try:
            worker.reload(load())
        except ConfigurationError as error:
            told = signals.GatewayReloaded(service=spec.name, routes=len(worker.runtime.spec.routes), error=str(error))
            signals.emit(told)
            print(f"gateway: not reloaded: {error}", file=sys.stderr, flush=True)  # noqa: T201

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    if supervised:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.add_reader(0, _at_end, loop, stop)
    else:
        loop.add_signal_handler(signal.SIGINT, stop.set)
    watcher = loop.create_task(_look(watch, reload, clock)) if watch else None
    settle_memory()
    if ready is not None:
        ready(worker.ports)
    await stop.wait()
    if watcher is not None:
        watcher.cancel()
    await worker.drain(settings.drain)


def _at_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Whoever supervises holds the other end of standard input: its end means stop."""
    with contextlib.suppress(OSError):
        if os.read(0, 4096):
            return
    loop.remove_reader(0)
    stop.set()


async def _look(paths: Sequence[Path], changed: Callable[[], None], clock: Clock) -> None:
    seen = [_mark(path) for path in paths]
    while True:
        await clock.sleep(LOOK_EVERY)
        now = [_mark(path) for path in paths]
        if now != seen:
            seen = now
            changed()


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino
