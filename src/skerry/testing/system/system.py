"""`System`: services in one process, on virtual time, over databases that stay when one of them dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from skerry.client import ServiceClient
from skerry.errors import ConfigurationError, ConnectionLost, Unreachable
from skerry.resilience import Policy
from skerry.service import Service
from skerry.testing.system.faults import Faults
from skerry.testing.system.loading import Source, maker
from skerry.testing.system.log import Events
from skerry.testing.system.loop import outside
from skerry.testing.system.process import Process
from skerry.testing.system.rest import LEFT, disordered, handled_twice, left_over, to_do
from skerry.testing.system.sagas import SagaView
from skerry.testing.system.timeline import Timeline
from skerry.testing.system.wiring import address_of
from skerry.testing.virtual_time import VirtualClock
from skerry.topology import FILE_NAME, load

if TYPE_CHECKING:
    from skerry.testing.system.stage import Stage

T = TypeVar("T")
Sources = Source | Path | Mapping[str, Source] | Sequence[Source]
"""A system file, or services: one, several, or several by their names."""

WITHIN: Final = 600.0
"""Virtual seconds in which a system has to come to rest, unless told otherwise."""
PATIENCE: Final = 60.0
"""Virtual seconds that a call of the test may take."""
FIRST_LOOK, LAST_LOOK = 0.01, 1.0

_SAGAS: Final = "SELECT name, key FROM skerry_sagas ORDER BY started_at, id"
_STEPS: Final = "SELECT step, what, at FROM skerry_saga_log WHERE saga_id = ?"


class NotSettled(AssertionError):
    """A system has not come to rest in the time that it was given. The message says what is left to do."""


class System:
    """A whole system in one process. `skerry_system` makes it; it runs from `start` to the end of the test.

        async def test_an_order_is_fulfilled(skerry_system):
            async with skerry_system("skerry.toml") as system:
                await system.client("order").post("/orders", json=...)
                await system.settled()
                (await system.saga("fulfilment")).assert_completed()

    `services` are the live objects, by name; after a restart there are others. At its end it has to be at rest, without dead
    letters, stuck sagas, events in an outbox, and without an event that was handled twice or before an earlier one of its
    producer and key; a service that was to come back has to be there. Faults that have met nothing count as well, until they are
    cleared, for then the test has not shown what it was to show. `allow` names what may be left: `dead_letters`, `stuck`,
    `unsent`, `unmet`.
    """

    def __init__(self, stage: Stage, sources: Sources, *, allow: Collection[str] = (), root: Path) -> None:
        if unknown := sorted(set(allow) - set(LEFT)):
            raise ValueError(f"allow: {unknown[0]!r} is none of {', '.join(LEFT)}")
        self._stage = stage
        self._allow = frozenset(allow)
        self._processes = [self._process(each) for each in _told(sources, root)]
        self._returning: set[asyncio.Task[None]] = set()
        self._lost: dict[Process, str] = {}
        """Services that were to come back by themselves and did not, and why."""
        self._running = False
        self.events: Events = Events(stage.log, stage.timeline)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.check()
        finally:
            await self.stop()

    @property
    def clock(self) -> VirtualClock:
        """The time of all of it."""
        return self._stage.clock

    @property
    def timeline(self) -> Timeline:
        """What has happened so far."""
        return self._stage.timeline

    @property
    def faults(self) -> Faults:
        """What goes wrong; the same as the fixture `faults`."""
        return self._stage.faults

    @property
    def services(self) -> Mapping[str, Service]:
        """The services as they live, or lived last."""
        return {process.name: process.service for process in self._processes if process.lives}

    def run(self, main: Callable[[System], Awaitable[T]]) -> T:
        """Start, run `main(system)`, check, stop: for a test without `async`. Returns what `main` returns."""

        async def whole() -> T:
            async with self:
                return await main(self)

        return self._stage.run(whole)

    async def start(self) -> None:
        """Start every service, in the order in which they were named. Raises what a start raises; then all are stopped."""
        self._stage.enter(self)
        self._running = True
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        for process in self._processes:
            process.prepare()
        names = [process.name for process in self._processes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigurationError(f"there are two services called {twice[0]!r}")
        for process in self._processes:
            await process.start()

    async def stop(self) -> None:
        """Stop every service in an orderly way, the last one first, and free what those that were killed held."""
        if not self._running:
            return
        self._running = False
        for task in self._returning:
            task.cancel()
        async with AsyncExitStack() as stopping:  # whatever fails on the way
            stopping.callback(self._stage.leave, self)
            stopping.push_async_callback(self._bury)
            for process in self._processes:
                if process.life is not None:
                    stopping.push_async_callback(process.life.stop)

    async def _bury(self) -> None:
        """Free what the dead hold; what they say of it is no part of the story."""
        with self._stage.timeline.paused():
            for life in (life for process in self._processes for life in process.lives):
                if life.frozen or life.tasks:
                    await life.bury()

    def client(self, service: str, *, policy: Policy | None = None) -> ServiceClient:
        """A client for a service, as somebody outside has it: unless a `policy` says otherwise it repeats nothing."""
        self.find_demanded(service)
        policy = policy or Policy(f"test to {service}", total=PATIENCE, clock=self.clock)
        return ServiceClient(service, url=address_of(service), policy=policy, clock=self.clock)

    async def inside(self, service: str, act: Callable[[Service], Awaitable[T]]) -> T:
        """Run `act(service)` as code of a service, which dies with it; what it returns.

        Raises `Unreachable` when the service is down, `ConnectionLost` when it dies before `act` has returned.
        """
        life = self.find_demanded(service).life
        if life is None:
            raise Unreachable(service, "the service is down")
        done: list[T] = []

        async def acting() -> None:
            done.append(await act(life.service))

        await life.run(None, acting)
        if not done:
            raise ConnectionLost(service, "the service was killed before it was done")
        return done[0]

    async def advance(self, seconds: float) -> None:
        """Let time pass. Everything that is due happens, in its order."""
        await self.clock.sleep(seconds)

    async def settled(self, *, within: float = WITHIN) -> None:
        """Let time pass until nobody has anything left to do by himself.

        Calls are answered, outboxes empty, events handled, sagas ended. What waits for somebody else, or for a time it was given
        (a saga for a signal, a delayed event, a dead letter), is at rest: `advance` goes there. Services that are down are not
        waited for, unless they are to come back. Raises `NotSettled` after `within` virtual seconds.
        """
        end = self.clock.monotonic() + within
        pause = FIRST_LOOK
        while left := await self._left():
            if self.clock.monotonic() >= end:
                raise NotSettled(f"not at rest after {within:g} s: {left}\n\ntimeline:\n{self.timeline.text()}")
            await self.clock.sleep(pause)
            pause = min(LAST_LOOK, pause * 1.5)

    async def saga(self, name: str, key: str = "") -> SagaView:
        """The saga of that name and key; without a key there has to be one only. Raises `AssertionError` when it is not so."""
        found = await self._sagas(name, key)
        if len(found) != 1:
            of = f" with the key {key}" if key else ""
            raise AssertionError(f"there are {len(found)} sagas {name}{of}\n\ntimeline:\n{self.timeline.text()}")
        return found[0]

    async def sagas(self, name: str = "") -> list[SagaView]:
        """All sagas of all services that are up, in the order of their start; with `name` those of that name."""
        return await self._sagas(name, "")

    async def _sagas(self, name: str, key: str) -> list[SagaView]:
        found: list[SagaView] = []
        for process in self._processes:
            if process.life is None or process.service._engine is None:
                continue
            database = process.service.database
            for row in await database.fetch_all(_SAGAS):
                if name not in {"", row["name"]} or key not in {"", row["key"]}:
                    continue
                status = await process.service.sagas.find(row["name"], row["key"])
                if status is not None:
                    log = [tuple(entry) for entry in await database.fetch_all(_STEPS, (status.id,))]
                    found.append(SagaView(status, log, self.timeline))
        return found

    async def check(self) -> None:
        """Come to rest, then fail if anything is left that must not be."""
        await self.settled()
        left = [each for process in self._processes for each in await left_over(process, self._allow)]
        left += [f"{process.name} did not come back: {why}" for process, why in self._lost.items()]
        left += handled_twice(self.timeline)
        if "unmet" not in self._allow:
            left += [f"the fault `{each}` has met nothing" for each in self.faults.unmet()]
            left += [each for process in self._processes if (each := process.unreached())]
        if "dead_letters" not in self._allow:  # one that is tried again later may come after those behind it
            left += disordered(self.timeline, self._stage.log.published)
        if left:
            raise AssertionError("at the end " + "; ".join(left) + f"\n\ntimeline:\n{self.timeline.text()}")

    # --- for the stage and the faults

    def find(self, name: str) -> Process | None:
        """The process of a service."""
        return next((process for process in self._processes if process.name == name), None)

    def find_demanded(self, name: str) -> Process:
        """The process of a service. Raises `ValueError` for one that is not there, naming those that are."""
        process = self.find(name)
        if process is None:
            known = ", ".join(each.name for each in self._processes)
            raise ValueError(f"there is no service {name!r} in this system; there are {known}")
        return process

    def disarm(self) -> None:
        """Nobody dies at a crash point any more."""
        for process in self._processes:
            process.disarm()

    async def restart(self, name: str) -> None:
        """See `Faults.restart`."""
        process = self.find_demanded(name)
        if process.life is not None:
            process.kill()
        await process.start()
        self._lost.pop(process, None)

    def _restart_later(self, process: Process, seconds: float) -> None:
        """Whoever asks for it: a service that dies of a crash point does so in its own context."""

        async def back() -> None:
            await self.clock.sleep(seconds)
            if process.life is not None:
                return
            try:
                await process.start()
            except Exception as error:  # there is nobody to raise it to: the check at the end tells it
                self._lost[process] = f"{type(error).__name__}: {error}"[:300]
                self.timeline.note(f"a restart failed: {self._lost[process]}")
            else:
                self._lost.pop(process, None)

        task = asyncio.get_running_loop().create_task(back(), context=outside())
        self._returning.add(task)
        task.add_done_callback(self._returning.discard, context=outside())

    async def _left(self) -> str:
        if self._returning:
            return "a service is to come back"
        if self._stage.network.under_way:
            return f"{self._stage.network.under_way} calls are under way"
        for process in self._processes:
            if what := await to_do(process):
                return f"{process.name}: {what}"
        return ""

    def _process(self, told: _Told) -> Process:
        return Process(
            told.name,
            maker(told.source, told.folder),
            folder=self._stage.new_folder(),
            timeline=self.timeline,
            env=told.env,
            restart_later=self._restart_later,
        )


@dataclass(frozen=True, slots=True)
class _Told:
    """What is known of a service before it is made. Without a name it gets that of the service."""

    name: str
    source: Source
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)


def _told(sources: Sources, root: Path) -> list[_Told]:
    if isinstance(sources, str | Path) and (isinstance(sources, Path) or sources.endswith(".toml")):
        path = root / sources
        system = load(path / FILE_NAME if path.is_dir() else path)
        return [_Told(name, spec.app, system.folder, spec.env) for name, spec in system.services.items()]
    if isinstance(sources, Mapping):
        return [_Told(name, source, root) for name, source in sources.items()]
    listed = list(sources) if isinstance(sources, Sequence) and not isinstance(sources, str) else [sources]
    return [_Told(source.name if isinstance(source, Service) else "", source, root) for source in listed]
