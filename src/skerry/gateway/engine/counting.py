"""What a worker counts of strangled routes, and the file that tells it: who decides about them is another process."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path
from typing import Final

from skerry.clock import Clock
from skerry.gateway.model import GatewaySpec
from skerry.gateway.strangler import tally

NAME_BYTES: Final = 6
_log = logging.getLogger("skerry.gateway")


class Counting:
    """The sums of one worker. They are counted in its event loop and written by a thread, so that a slow disk stops nobody.

    Nothing is written before a specification is served that shares were applied to. A file that cannot be written is told once
    in the log: whoever decides then sees no data, and holds.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self.tally: tally.Tally = tally.Tally(os.getpid())
        self.name: str = f"{os.getpid()}-{clock.random_bytes(NAME_BYTES).hex()}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._written = ""
        self._next = ""
        self._wake = threading.Event()
        self._ended = False
        self._failed = False
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop, spec: GatewaySpec) -> None:
        """Begin with what is served first."""
        self._loop = loop
        self.serves(spec)

    def serves(self, spec: GatewaySpec) -> None:
        """From now on `spec` is served: its version is told at once, for a step counts from when all have confirmed it."""
        if spec.version is None or self._loop is None:
            return
        self.tally.version = spec.version
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_on, name="skerry-tally", daemon=True)
            self._thread.start()
        if self._timer is not None:
            self._timer.cancel()
        self._tell()

    def close(self) -> None:
        """Write the last of it, waiting a moment for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._thread is not None:
            self._next = tally.text(self.tally)
            self._ended = True
            self._wake.set()
            self._thread.join(1.0)
            self._thread = None

    def _tell(self) -> None:
        assert self._loop is not None
        self._next = tally.text(self.tally)
        if self._next != self._written:
            self._wake.set()
        self._timer = self._loop.call_later(tally.EVERY, self._tell)

    def _write_on(self) -> None:
        while not self._ended:
            self._wake.wait()
            self._wake.clear()
            content = self._next
            if content == self._written:
                continue
            try:
                tally.put(self._folder, self.name, content)
                self._written, self._failed = content, False
            except OSError as error:
                if not self._failed:
                    _log.error("what strangled routes did cannot be written: %s", error)
                self._failed = True
