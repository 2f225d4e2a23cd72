"""One service of a system: its lives, one after the other, over a folder that stays."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from pathlib import Path
from typing import Any, Final

from skerry.errors import ConfigurationError
from skerry.service import Service
from skerry.testing.system import loop as loops
from skerry.testing.system.grpc import take_over
from skerry.testing.system.timeline import Timeline
from skerry.testing.system.wiring import environment

TURNS: Final = 400
"""Of the loop, for what is left of a life to come to its end when the test is over."""
PATIENCE: Final = 100
"""Turns before what is left is cancelled once more: a second cancellation would break off the closing itself."""


class Life:
    """A service between its start and its end. It is the `Life` of the loop."""

    def __init__(self, process: Process, number: int) -> None:
        self.process = process
        self.number = number
        self.frozen: bool = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.waiting: list[asyncio.Future[Any]] = []
        self.kept: list[loops.Step] = []
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.context: Context = Context()
        self.context.run(loops.LIFE.set, self)
        self.service: Service
        self._stopping = asyncio.Event()
        self._told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure = ""
        self._main: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return self.process.name if self.number == 1 else f"{self.process.name}#{self.number}"

    def reached(self, what: str) -> bool:
        """See `loop.Life`."""
        return self.process.reached(self, what)

    def make(self) -> None:
        """Make the service, in its own environment."""
        with environment(self.process.environment(self.number)):
            self.service = self.context.run(self.process.make)
        self.process.name = self.process.name or self.service.name
        take_over(self.service)

    async def start(self) -> None:
        """Run the application's lifespan up to its start. Raises what the start raises."""
        self._main = asyncio.get_running_loop().create_task(self._live(), context=self.context.copy())
        await asyncio.wait({self._main, self._told, self.gone}, return_when=asyncio.FIRST_COMPLETED)
        if self._main.done():
            self._main.result()
        if self._failure:
            raise ConfigurationError(f"the service {self.process.name!r} did not start: {self._failure}")

    async def stop(self) -> None:
        """The orderly way: drain, hand over the outbox, close."""
        self._stopping.set()
        if self._main is not None:
            await asyncio.wait({self._main, self.gone}, return_when=asyncio.FIRST_COMPLETED)
        if self._main is not None and self._main.done():
            self._main.result()

    def end(self) -> None:
        """The other way: nothing of it runs any more."""
        self.frozen = True
        if not self.gone.done():
            self.gone.set_result(None)

    async def bury(self) -> None:
        """Free what a life that was killed holds. Its code is cancelled, over a folder that nobody reads any more."""
        self.frozen = False
        for waiting in self.waiting:
            if not waiting.done():
                waiting.set_exception(ConnectionError("the service was killed"))
        for context, callback, args in self.kept:
            asyncio.get_running_loop().call_soon(callback, *args, context=context)
        for turn in range(TURNS):
            if not self.tasks:
                break
            for task in list(self.tasks) if turn % PATIENCE == 0 else ():
                task.cancel()
            await asyncio.sleep(float(turn > TURNS // 2))  # noqa: TID251 - mostly a turn of the loop, without time
        closing = asyncio.get_running_loop().create_task(self.service.close(), context=self.context.copy())
        with contextlib.suppress(Exception):  # it was killed: what it says of that is of no interest
            await closing

    async def serve(self, caller: loops.Life | None, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, unless this life or that of the caller ends meanwhile."""
        aborted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def sent(message: Any) -> None:
            if not aborted.done():
                await send(message)

        scope["skerry.abort"] = lambda: None if aborted.done() else aborted.set_result(None)
        await self.run(caller, lambda: self.service.app(scope, receive, sent), aborted)

    async def run(
        self, caller: loops.Life | None, act: Callable[[], Awaitable[Any]], *until: asyncio.Future[None]
    ) -> Any:
        """Do something in this life for somebody else; None when either ended before it was done."""

        async def acting() -> Any:
            return await act()

        task = asyncio.get_running_loop().create_task(acting(), context=self.context.copy())
        ends = {self.gone, *until}
        if caller is not None:
            ends.add(caller.gone)
        try:
            await asyncio.wait({task, *ends}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            if not task.done():
                task.cancel()

    async def _live(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        asked: list[str] = ["lifespan.startup", "lifespan.shutdown"]

        async def receive() -> dict[str, Any]:
            if len(asked) == 1:
                await self._stopping.wait()
            return {"type": asked.pop(0)}

        async def send(message: Mapping[str, Any]) -> None:
            if message["type"].endswith(".failed"):
                self._failure = str(message.get("message", "")) or message["type"]
            if not self._told.done():
                self._told.set_result(None)

        await self.service.app(scope, receive, send)


class Process:
    """A service by its name, whether it lives or not."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Service],
        *,
        folder: Path,
        timeline: Timeline,
        env: Mapping[str, str],
        restart_later: Callable[[Process, float], None],
    ) -> None:
        self.name = name
        self.make = make
        self.life: Life | None = None
        self.lives: list[Life] = []
        self.passed: int = 0
        """Crash points that it has passed."""
        self._folder = folder
        self._file = f"{name or 'service'}.db"  # the same in every life, also of one that gets its name when it is made
        self._timeline = timeline
        self._env = dict(env)
        self._dies_at: tuple[int, float | None] | None = None
        self._counting = False
        self._restart_later = restart_later

    @property
    def service(self) -> Service:
        """The service as it lives, or lived last. After a restart it is another object."""
        return self.lives[-1].service

    def environment(self, number: int) -> dict[str, str]:
        """What its process would find in the environment."""
        return {
            **self._env,
            "SKERRY_DATA": str(self._folder / str(number)),
            "SKERRY_DATABASE": f"sqlite:///{self._file}",
        }

    def prepare(self) -> Life:
        """A new life over what the last one has left: files as they are, locks and open transactions gone."""
        number = len(self.lives) + 1
        before, now = self._folder / str(number - 1), self._folder / str(number)
        if before.is_dir():
            shutil.copytree(before, now, ignore=shutil.ignore_patterns("*.lock", "*-shm"))
        else:
            now.mkdir(parents=True)
        life = Life(self, number)
        life.make()
        self.lives.append(life)
        return life

    async def start(self) -> None:
        """Begin the life that is prepared, else another one; until it has started or is killed. Raises what its start raises."""
        life = self.lives[-1] if self.lives and not self.lives[-1].frozen else self.prepare()
        self.life = life
        try:
            await life.start()
        except BaseException:
            if self.life is life:
                self.life = None
            life.end()
            raise
        if self.life is life:  # not killed while it started
            self._counting = True

    def kill(self, at: int | None = None, restart_after: float | None = None) -> None:
        """See `Faults.kill`."""
        if at is not None:
            if at < 1:
                raise ValueError(f"{self.name}: crash points are counted from 1, not from {at}")
            self._dies_at = (self.passed + at, restart_after)
            return
        self._die("killed", restart_after)

    def disarm(self) -> None:
        """It dies at no crash point any more."""
        self._dies_at = None

    def unreached(self) -> str:
        """What to say of a crash point at which it was to die and did not; empty when there is none."""
        left = 0 if self._dies_at is None else self._dies_at[0] - self.passed
        return f"{self.name} was to die at a crash point that is {left} further than it came" if left else ""

    def reached(self, life: Life, what: str) -> bool:
        """See `loop.Life`."""
        if life is not self.life or life.frozen or not self._counting:
            return False
        self.passed += 1
        if self._dies_at is None or self.passed != self._dies_at[0]:
            return False
        restart_after = self._dies_at[1]
        self._dies_at = None
        self._die(f"killed {what}", restart_after)
        return True

    def _die(self, how: str, restart_after: float | None) -> None:
        life, self.life, self._counting = self.life, None, False
        if life is not None:
            life.end()
            self._timeline.note(how, service=str(life))
        if restart_after is not None:
            self._restart_later(self, restart_after)
