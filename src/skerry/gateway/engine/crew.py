"""Several workers that share the listeners, and the process that keeps them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Final

from skerry.clock import Clock
from skerry.errors import ConfigurationError
from skerry.gateway.model import GatewaySpec
from skerry.service.hosting import bound
from skerry.settings import Settings

TOO_SOON: Final = 1.0
"""Seconds. A worker that lived less long is replaced only after a pause, which doubles up to `LONGEST`."""
LONGEST: Final = 10.0
LOOK_EVERY: Final = 0.1
"""Seconds between two looks after the workers."""
MISCONFIGURED: Final = 2


class Crew:
    """Forks the workers, replaces those that die, hands on the signals. The kernel spreads connections over them."""

    def __init__(self, count: int, run: Callable[[], None], clock: Clock) -> None:
        self._count = count
        self._run = run
        self._clock = clock
        self._born: dict[int, float] = {}
        self._stopping = False
        self._pause = 0.0
        self._lifeline = os.pipe()

    def serve(self, spec: GatewaySpec, settings: Settings, ready: Callable[[Mapping[str, int]], None] | None) -> None:
        """Keep the crew until told to stop. Raises `ConfigurationError` when no worker can begin."""
        places = _places(spec)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        if settings.supervised:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, lambda *_: self._tell(signal.SIGHUP))
        for _ in range(self._count):
            self._start()
        if ready is not None:
            ready({name: place.getsockname()[1] for name, place in places.items()})
        try:
            self._keep(supervised=settings.supervised)
        finally:
            for place in places.values():
                place.close()

    def _start(self) -> None:
        sys.stdout.flush()
        child = os.fork()
        if child:
            self._born[child] = self._clock.monotonic()
            return
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.close(self._lifeline[1])
            os.dup2(self._lifeline[0], 0)  # its end means that the parent is gone
            self._run()
            status = 0
        except ConfigurationError as error:
            print(f"gateway: {error}", file=sys.stderr, flush=True)  # noqa: T201
            status = MISCONFIGURED
        finally:
            os._exit(status)

    def _keep(self, *, supervised: bool) -> None:
        while self._born:
            if supervised and not self._stopping and _at_end():
                self._stop()
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                self._clock.sleep_sync(LOOK_EVERY)
                continue
            born = self._born.pop(child, None)
            if born is None or self._stopping:
                continue
            if os.waitstatus_to_exitcode(status) == MISCONFIGURED and not self._born:
                raise ConfigurationError("no worker could begin")
            self._replace(self._clock.monotonic() - born)

    def _replace(self, lived: float) -> None:
        self._pause = 0.0 if lived > TOO_SOON else min(LONGEST, max(0.1, self._pause * 2))
        if self._pause:
            self._clock.sleep_sync(self._pause)
        if not self._stopping:
            self._start()

    def _stop(self) -> None:
        self._stopping = True
        self._tell(signal.SIGTERM)

    def _tell(self, number: int) -> None:
        for child in list(self._born):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _at_end() -> bool:
    """Whether whoever supervises has let go of standard input."""
    readable, _, _ = select.select([0], [], [], 0)
    return bool(readable) and not os.read(0, 4096)


def _places(spec: GatewaySpec) -> dict[str, socket.socket]:
    """Every listener's address, held so that no worker can find it taken."""
    return {listener.name: bound(listener.address, listener.port) for listener in spec.listeners}
