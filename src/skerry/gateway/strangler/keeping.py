"""Keeps the process that decides about ramps: starts it with the first specification that has one, and again when it ends.

While it is away traffic stays as it is: nothing of a request depends on it.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.gateway.model import GatewaySpec
from skerry.gateway.strangler import shares
from skerry.gateway.strangler.applying import applied, plans

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0
GRACE: Final = 5.0
"""Seconds that it gets to end by itself."""
STATE: Final = Path("var/strangle")
"""The state folder, unless another is named."""
_log = logging.getLogger("skerry.gateway")
Load = Callable[[], GatewaySpec]


class Keeper:
    """Of one gateway. `stop` ends the process; should the gateway be killed, its end of the pipe is closed, which ends it too.

    Whoever finds a route that is strangled calls `start`: the gateway's own process or, where only that was forked, a worker.
    """

    def __init__(self, spec: Path, folder: Path, *, clock: Clock = SYSTEM) -> None:
        self._command = (sys.executable, "-m", "skerry.gateway.strangler", "--spec", str(spec), "--state", str(folder))
        self._clock = clock
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._owner = os.getpid()
        self._started = False
        self._asked, self._ask = os.pipe()

    def wait(self) -> None:
        """Be ready to begin. Called in the gateway's own process, before any worker is forked from it."""
        self._thread = threading.Thread(target=self._keep, name="skerry-strangler", daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Begin to keep it; nothing when that has begun."""
        if not self._started:
            self._started = True
            os.write(self._ask, b"!")  # once from each process, so it is never full

    def stop(self) -> None:
        """End it, and wait for its end."""
        if self._thread is None or os.getpid() != self._owner:
            return
        self._ended.set()
        self.start()
        self._thread.join(2 * GRACE)
        self._thread = None
        os.close(self._asked)
        os.close(self._ask)

    def _keep(self) -> None:
        os.read(self._asked, 1)
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

    Steps and roll-backs take effect whatever is being done to the specification: one that is wrong just now, that an engine does
    not take (`instead`), or that is not to be read again by itself, counts as it was when it was last right.
    """

    def __init__(
        self,
        read: Callable[[], GatewaySpec],
        *,
        folder: Path,
        spec: Path,
        first: GatewaySpec,
        watched: tuple[Path, ...] = (),
        clock: Clock = SYSTEM,
    ) -> None:
        self._read = read
        self._folder = folder
        self._clock = clock
        self._read_by_itself = bool(watched)
        self._version = -1
        self._last: GatewaySpec | None = None
        self._served: tuple[GatewaySpec | None, int] = (None, -1)
        self._keeper = Keeper(spec, folder, clock=clock)
        self._keeper.wait()
        self.watch: list[Path] = [*watched]
        """The files to look at: that of the shares is among them from the first specification on that strangles a route."""
        if plans(first):
            self._begin()

    @property
    def state(self) -> Path:
        """Where an engine tells what it counts."""
        return self._folder

    def load(self) -> GatewaySpec:
        """The specification as it is to be served now. Raises `ConfigurationError` as reading it does."""
        self._served = self._last, self._version  # no `instead` was asked for since: an engine has taken it
        now = shares.read(self._folder)
        moved = now.version != self._version and self._last is not None
        try:
            spec = self._last if moved and not self._read_by_itself and self._last is not None else self._read()
        except ConfigurationError as error:
            if not moved or self._last is None:
                raise
            _log.error("ramps go on by the specification that was read before: %s", error)
            spec = self._last
        if plans(spec) and self._begin():
            now = shares.read(self._folder)
        self._last, self._version = spec, now.version
        return applied(spec, now)

    def instead(self) -> GatewaySpec | None:
        """When an engine could not serve what `load` gave: the specification that it took before, with what the ramps are at now;
        None when that is what it serves, or when nobody can tell what they are at.
        """
        spec, version = self._last, self._version = self._served
        try:
            now = shares.read(self._folder)
        except ConfigurationError as error:
            _log.error("ramps stay where they are: %s", error)
            return None
        self._version = now.version
        return None if spec is None or now.version == version else applied(spec, now)

    def _begin(self) -> bool:
        """With the first route that is strangled; whether it is that."""
        self._keeper.start()
        file = self._folder / shares.FILE
        if file in self.watch:
            return False
        self._restore()
        self.watch.append(file)
        return True

    def _restore(self) -> None:
        """Have the file of shares say what was decided last, before anything is served by it: it may be an older one, or gone,
        after a crash.
        """
        from skerry.gateway.strangler.ramps import FILE, Ramps  # its database is for gateways that strangle something

        if not (self._folder / FILE).exists():
            return
        try:
            with Ramps(self._folder, clock=self._clock) as ramps:
                ramps.publish()
        except ConfigurationError as error:
            _log.error("ramps are served as they were told last: %s", error)

    def close(self) -> None:
        """End the process that decides."""
        self._keeper.stop()


@contextmanager
def served(
    load: Load, first: GatewaySpec, *, spec: Path | None, folder: Path | None, watched: tuple[Path, ...] = ()
) -> Iterator[tuple[Load, Sequence[Path], dict[str, Any]]]:
    """What to give an engine: `load`, `watch` and, by name, what else, for a specification whose `first` reading is at hand.

    As long as no route is strangled there is no folder and no process; both come with the first reading that has one. What is
    no file of ours (`spec` None) never has. `folder` None is `STATE`.
    """
    if spec is None:
        yield load, watched, {}
        return
    loading = Loading(load, folder=folder or STATE, spec=spec, first=first, watched=watched)
    try:
        yield loading.load, loading.watch, {"state": loading.state, "instead": loading.instead}
    finally:
        loading.close()
