"""Keeps the process that decides about ramps: starts it with the first specification that has one, and again when it ends.

While it is away traffic stays as it is: nothing of a request depends on it.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.gateway.model import GatewaySpec
from skerry.gateway.strangler import shares
from skerry.gateway.strangler.applying import applied
from skerry.gateway.strangler.controller import plans

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0
GRACE: Final = 5.0
"""Seconds that it gets to end by itself."""
STATE: Final = Path("var/strangle")
"""The state folder, unless another is named."""
_log = logging.getLogger("skerry.gateway")
Load = Callable[[], GatewaySpec]


class Keeper:
    """Of one gateway. `stop` ends the process; should the gateway be killed, its end of the pipe is closed, which ends it too."""

    def __init__(self, spec: Path, folder: Path, *, clock: Clock = SYSTEM) -> None:
        self._command = (sys.executable, "-m", "skerry.gateway.strangler", "--spec", str(spec), "--state", str(folder))
        self._clock = clock
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._owner = os.getpid()

    def start(self) -> None:
        """Begin to keep it; nothing when that has begun, or in a worker that was forked from the gateway."""
        if self._thread is None and os.getpid() == self._owner:
            self._thread = threading.Thread(target=self._keep, name="skerry-strangler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End it, and wait for its end."""
        if self._thread is None or os.getpid() != self._owner:
            return
        self._ended.set()
        self._thread.join(2 * GRACE)

    def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._ended.is_set():
            began = self._clock.monotonic()
            code = self._live()
            if self._ended.is_set():
                return
            lasted = self._clock.monotonic() - began
            pause = FIRST_PAUSE if lasted > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            _log.warning(
                "the process that decides about ramps ended with %s; it is started again in %.1f s", code, pause
            )
            self._clock.wait(self._ended, pause)

    def _live(self) -> int | None:
        """Have it run until it ends or is to end."""
        try:
            child = subprocess.Popen(  # noqa: S603 - our own module
                self._command,
                stdin=subprocess.PIPE,
                env={**os.environ, "SKERRY_SUPERVISED": "1"},
                start_new_session=True,
            )
        except OSError as error:
            _log.error("the process that decides about ramps cannot be started: %s", error)
            return None
        assert child.stdin is not None
        try:
            while child.poll() is None and not self._clock.wait(self._ended, 0.05):
                pass
            return child.poll()
        finally:
            child.stdin.close()
            child.terminate()  # workers that were forked from this process hold the pipe's end as well
            try:
                child.wait(GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


class Loading:
    """What a gateway serves: its specification with what the ramps are at. Give `load` and `watch` to an engine, and `state`.

    Steps and roll-backs take effect whatever is being done to the specification: one that is wrong just now, or that is not to be
    read again by itself, counts as it was when it was last right.
    """

    def __init__(
        self,
        read: Callable[[], GatewaySpec],
        *,
        folder: Path,
        spec: Path,
        watched: tuple[Path, ...] = (),
        clock: Clock = SYSTEM,
    ) -> None:
        self._read = read
        self._folder = folder
        self._watched = watched
        self._version = -1
        self._last: GatewaySpec | None = None
        self._keeper = Keeper(spec, folder, clock=clock)

    @property
    def watch(self) -> tuple[Path, ...]:
        """The files to look at."""
        return (*self._watched, self._folder / shares.FILE)

    @property
    def state(self) -> Path:
        """Where an engine tells what it counts."""
        return self._folder

    def load(self) -> GatewaySpec:
        """The specification as it is to be served now. Raises `ConfigurationError` as reading it does."""
        now = shares.read(self._folder)
        moved = now.version != self._version and self._last is not None
        try:
            spec = self._last if moved and not self._watched and self._last is not None else self._read()
        except ConfigurationError as error:
            if not moved or self._last is None:
                raise
            _log.error("ramps go on by the specification that was read before: %s", error)
            spec = self._last
        self._last, self._version = spec, now.version
        if plans(spec):
            self._keeper.start()
        return applied(spec, now)

    def close(self) -> None:
        """End the process that decides."""
        self._keeper.stop()


@contextmanager
def served(
    load: Load, first: GatewaySpec, *, spec: Path | None, folder: Path | None, watched: tuple[Path, ...] = ()
) -> Iterator[tuple[Load, tuple[Path, ...], dict[str, Any]]]:
    """What to give an engine: `load`, `watch` and, by name, what else, for a specification whose `first` reading is at hand.

    One in which nothing is strangled at first, or that is no file of ours (`spec` None), gets what it gets anyway: no folder,
    no process. `folder` None is `STATE`.
    """
    if spec is None or not plans(first):
        yield load, watched, {}
        return
    loading = Loading(load, folder=folder or STATE, spec=spec, watched=watched)
    try:
        yield loading.load, loading.watch, {"state": loading.state}
    finally:
        loading.close()
