"""A service of the soak as a process: on its port, with its log, and gone when the run is."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from storming.acting import Acting, no_orphan

from skerry.clock import Clock
from skerry.service import Service
from skerry.service.server import serve
from skerry.settings import Settings, variable_for
from skerry.telemetry.logs import configure_logging

FAILED_START = 3
"""Status of a service whose start fails."""


class OneClock(Clock):
    """A wall clock that keeps pace with the monotonic one, so that a journal's times and a history's can be compared."""

    __slots__ = ("_offset",)

    def __init__(self, offset: float) -> None:
        self._offset = offset

    def now(self) -> float:
        return time.monotonic() + self._offset


class Served(Acting):
    """The settings also say `database`, `port`, `urls` of other services, and the `offset` of the wall clock."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.clock = OneClock(settings["offset"])
        self.own = Settings(data=self.folder, port=settings["port"], drain=5.0)
        os.environ.update({variable_for(name): url for name, url in settings["urls"].items()})
        self._watch: asyncio.Task[None] | None = None

    def run(self, service: Service) -> None:
        """Serve until told to stop. A start fails when the database goes away just then; a supervisor would try again."""
        parent = os.getppid()

        @service.on_start
        async def watch() -> None:
            self._watch = asyncio.create_task(no_orphan(parent))

        configure_logging(service.name, level="error")  # a saga that gives up is no news here
        try:
            serve(service.app, self.own, on_drain=service.drain)
        except SystemExit as ended:
            if ended.code != FAILED_START or os.getppid() != parent:
                raise
            time.sleep(0.1)
            os.execv(sys.executable, [sys.executable, *sys.argv])
