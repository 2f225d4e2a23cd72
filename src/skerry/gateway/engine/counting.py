"""What a worker counts of strangled routes, and the files that tell it: who decides about them is another process."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from skerry.clock import Clock
from skerry.gateway.engine.comparison import Comparer
from skerry.gateway.model import Forward, GatewaySpec, Shadow
from skerry.gateway.strangler import samples, tally
from skerry.gateway.strangler.noise import Noise

BUSY: Final = 0.05
"""Seconds by which the event loop may be late before nothing more is compared for a while."""
_NAME_BYTES: Final = 6
_log = logging.getLogger("skerry.gateway")


class Counting:
    """The sums of one worker. They are counted in its event loop and written by a thread, so that a slow disk stops nobody.

    Nothing is written before a specification is served that shares were applied to. A file that cannot be written is told once
    in the log: whoever decides then sees no data, and holds.
    """

    def __init__(self, folder: Path, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.clock: Clock = clock
        self.tally: tally.Tally = tally.Tally(os.getpid())
        self.name: str = f"{os.getpid()}-{clock.random_bytes(_NAME_BYTES).hex()}"
        self.busy: bool = False
        """Whether there is more to do than time."""
        self.thread: ThreadPoolExecutor = ThreadPoolExecutor(1, "skerry-compare")
        self._comparers: dict[str, Comparer] = {}
        self._loop = loop
        self._samples: dict[str, samples.Samples] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._writer = _Writer(folder, self.name)

    def start(self, spec: GatewaySpec) -> None:
        """Begin with what is served first."""
        self.serves(spec)

    def serves(self, spec: GatewaySpec) -> None:
        """From now on `spec` is served: its version is told at once, for a step counts from when all have confirmed it."""
        if spec.version is None:
            return
        self.tally.version = spec.version
        actions = {route.name: route.action for route in spec.routes if isinstance(route.action, Forward)}
        for route in [*self._comparers]:
            # what was learnt of one ramp does not count in the next: there may be another candidate by then
            if route not in actions or actions[route].strangle is None:
                del self._comparers[route]
        self._writer.start()
        if self._timer is not None:
            self._timer.cancel()
        self._tell()

    def close(self) -> None:
        """Write the last of it, waiting a moment for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._tasks:
            task.cancel()
        self._writer.tally = tally.text(self.tally)
        self._writer.close()
        self.thread.shutdown(wait=False, cancel_futures=True)

    def comparer(self, route: str, shadow: Shadow) -> Comparer:
        """What compares the answers of a route, as long as it is compared by these rules."""
        found = self._comparers.get(route)
        if found is None or found.shadow != shadow:
            found = self._comparers[route] = Comparer(route, shadow, Noise(self.tally.route(route).compared), self)
            if self._samples.pop(route, None) is not None:
                self._writer.samples = None
        return found

    def keep(self, task: asyncio.Task[None]) -> None:
        """Let a comparison end, if there is time for it."""
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a comparison failed", exc_info=task.exception())

    def sampled(self, route: str, kept: samples.Samples) -> None:
        """A route has one more sample."""
        self._samples[route] = kept
        self._writer.samples = None

    def write_ends(self, sums: tally.RouteTally) -> None:
        """An unsafe request is done with; the last one is told at once, for who hands over ownership waits for it."""
        sums.writing -= 1
        if not sums.writing and self._timer is not None:
            self._hand_on()

    def _tell(self) -> None:
        self._hand_on()
        due = self._loop.time() + tally.EVERY
        self._timer = self._loop.call_at(due, self._tell_again, due)

    def _tell_again(self, due: float) -> None:
        self.busy = self._loop.time() - due > BUSY
        self._tell()

    def _hand_on(self) -> None:
        if self._writer.samples is None:
            self._writer.samples = samples.text(self._samples)
        self._writer.tally = tally.text(self.tally)
        self._writer.wake()


class _Writer:
    """A thread that puts files in place when what they say has changed."""

    def __init__(self, folder: Path, name: str) -> None:
        self.tally: str = ""
        self.samples: str | None = ""
        self._folder = folder
        self._name = name
        self._file = tally.File(folder, name)
        self._ended = False
        self._failed = False
        self._wake = threading.Event()
        self._written: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_on, name="skerry-tally", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        if self.tally != self._written.get("tally") or self.samples != self._written.get("samples", ""):
            self._wake.set()

    def close(self) -> None:
        if self._thread is not None:
            self._ended = True
            self._wake.set()
            self._thread.join(1.0)
            self._thread = None

    def _write_on(self) -> None:
        last = False
        while not last:
            self._wake.wait()
            self._wake.clear()
            last = self._ended  # told before what is written now, which so is the last of it
            try:
                self._write()
                self._failed = False
            except OSError as error:
                if not self._failed:
                    _log.error("what strangled routes did cannot be written: %s", error)
                self._failed = True
        self._file.close()

    def _write(self) -> None:
        if (counted := self.tally) and counted != self._written.get("tally"):
            self._file.put(counted)
            self._written["tally"] = counted
        if (kept := self.samples) and kept != self._written.get("samples"):
            samples.put(self._folder, self._name, kept)
            self._written["samples"] = kept
