"""The stage of one test: its loop, its time, its network, its event log. Nothing of it is left when the test is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from skerry.testing.system.faults import Faults
from skerry.testing.system.grpc import channel
from skerry.testing.system.loading import imports_kept
from skerry.testing.system.log import Log
from skerry.testing.system.loop import SystemLoop
from skerry.testing.system.network import Network
from skerry.testing.system.process import Process
from skerry.testing.system.system import Sources, System
from skerry.testing.system.timeline import Timeline
from skerry.testing.system.wiring import wired
from skerry.testing.virtual_time import VirtualClock

T = TypeVar("T")
FAULTS_SEED = 0x5EED


class Stage:
    """Used as a context manager. `seed` decides every draw, `folder` holds the databases, `root` is where files are sought."""

    def __init__(self, *, seed: int, folder: Path, root: Path) -> None:
        self.seed = seed
        self._folder = folder
        self._root = root.absolute()
        self._folders = 0
        self._back = ExitStack()
        self._systems: list[System] = []
        self._running: System | None = None
        self._last: System | None = None

    def __enter__(self) -> Self:
        self._runner = self._back.enter_context(asyncio.Runner(loop_factory=SystemLoop))
        loop = self._runner.get_loop()
        assert isinstance(loop, SystemLoop)
        self.clock: VirtualClock = VirtualClock(loop, seed=self.seed)
        self.timeline: Timeline = Timeline(self.clock)
        # draws of their own, so that what services draw does not decide which calls are struck
        chance = VirtualClock(loop, seed=self.seed ^ FAULTS_SEED)
        self.faults: Faults = Faults(chance, self.timeline, lambda: self._running)
        self.log: Log = Log(self.faults, self.clock)
        self.network: Network = Network(self._find, self.faults, self.clock)
        self._back.enter_context(imports_kept())
        self._back.enter_context(
            wired(
                self.clock,
                data=self._folder / "made-by-the-test",
                transport=self.network,
                broker=self.log.broker,
                channel=lambda service, **options: channel(self.network, service, **options),
            )
        )
        self._back.callback(self.timeline.end)
        self.timeline.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._back:
            if self._running is not None:
                self.run(self._running.stop)

    def system(self, sources: Sources, *, allow: Collection[str] = ()) -> System:
        """A system that is not started."""
        return System(self, sources, allow=allow, root=self._root)

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine function on this stage's loop."""

        async def running() -> T:
            return await main()

        return self._runner.run(running())

    async def finish(self) -> None:
        """Check and stop what a test has started and left running."""
        if self._running is not None:
            await self._running.check()
            await self._running.stop()

    # --- for the system

    def enter(self, system: System) -> None:
        """A system starts: at most one runs at a time, for names are found in it. Each begins with an empty log."""
        if self._running is not None:
            raise RuntimeError("another system runs already in this test: stop that one first")
        if system is not self._last:  # another system has other databases, and would read all of it again
            self.log.clear()
        self._running = self._last = system

    def leave(self, system: System) -> None:
        """A system has stopped."""
        if self._running is system:
            self._running = None

    def new_folder(self) -> Path:
        """A folder for the data of one service."""
        self._folders += 1
        return self._folder / f"service-{self._folders}"

    def _find(self, name: str) -> Process | None:
        return None if self._running is None else self._running.find(name)
