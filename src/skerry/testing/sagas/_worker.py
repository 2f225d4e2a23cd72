"""One process of a simulation: an engine on a loop of its own, which can be killed, or stopped and woken, at any point.

While its loop does not run, nothing in it happens; that is how a stopped process behaves. Between its points it is the real
engine on the real journal.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from contextvars import Context
from typing import Any, Final, Literal, Protocol

from skerry.errors import ConnectionLost, DefinitionError, NotNow, Rejected, SkerryError, UnknownSaga, Unreachable
from skerry.saga import Engine, Saga, Sagas, SagaStatus
from skerry.saga.definition import Child
from skerry.saga.step import Step, StepFunction, Wait
from skerry.testing.sagas._store import MemoryDatabase, MemoryStore
from skerry.testing.virtual_time import Stalled, VirtualClock, VirtualLoop

Fate = Literal["ended", "crash", "pause"]

ATTEMPTS: Final = 2
"""Attempts of each action, whatever its policy: a third one meets nothing that the second does not."""
RESTS: Final = 6
"""So often a saga is stuck in one execution, at most, before it is taken to be stuck for good."""
TURNS: Final = 2_000
"""Turns of a worker's loop before it is taken to spin for ever."""

LONG_ENOUGH: Final = 5.0
"""Seconds that a step waits at most, whatever its time is: all that is under way is over long before."""

CRASH, PAUSE, FAULT = "crashes", "preemptions", "faults"
HALT: Final = "halt"
"""What a point answers when the execution does not have to go on."""
_FINAL: Final = {"crash", "pause", HALT}
_STOPS: Final = {"crash": CRASH, "pause": PAUSE}
_LOST: Final = {"nothing": FAULT, "lost": FAULT, "twice": FAULT, "nothing!": FAULT, "lost!": FAULT}
DO: Final = {**_STOPS, **_LOST, "late": FAULT, "late!": FAULT, "refused!": FAULT, "cancel": FAULT}
DECIDE: Final = {**DO, "rejected": FAULT}
UNDO: Final = {**_STOPS, **_LOST, "cancel": FAULT}
LOCAL: Final = UNDO
"""Of a step in the service's own database: nobody refuses it, and it is not under way anywhere."""
AFTER: Final = _STOPS
COMMIT: Final = {**_STOPS, "fails": FAULT, "unclear": FAULT}
LAST_COMMIT: Final = {**COMMIT, "crash after": CRASH}
"""After another commit there is a point at which to crash anyway."""
SENT_AT_LAST: Final = {**_STOPS, "early": FAULT, "sent twice": FAULT}
SENT: Final = {**SENT_AT_LAST, "never": FAULT}
RESTART: Final = {"other steps": FAULT}
INCIDENTS: Final[Mapping[str, str]] = {
    "crash": "the worker is killed here",
    "crash after": "the worker is killed right after this commit",
    "pause": "the worker is stopped here; another one takes over, and this one goes on when that has ended",
    "nothing": "the request is lost on its way",
    "nothing!": "this request and those after it are lost on their way, until a person sees to it",
    "lost": "it takes effect, and the reply is lost",
    "lost!": "it takes effect, and the reply is lost; so for all that follow, until a person sees to it",
    "late": "no reply; the request arrives when all is over",
    "late!": "no reply, now and in later attempts; the requests arrive when all is over",
    "twice": "the request arrives twice",
    "refused!": "surely not done: nobody can be reached, now and later",
    "rejected": "the participant says no",
    "cancel": "somebody cancels the saga here",
    "fails": "the commit fails",
    "unclear": "the commit succeeds, and the worker is told that it failed",
    "early": "the signal comes before the saga has begun",
    "sent twice": "the signal comes before the saga has begun, and again when it waits for it",
    "never": "the signal never comes",
    "other steps": "the new worker has other steps under the same version, until a person sees to it",
}


class World(Protocol):
    """What a worker sees of the execution it is part of."""

    lasting: dict[str, str]
    fates: dict[str, str]
    """What becomes of the signals that are sent to the saga."""

    def choose(self, worker: Worker, where: str, options: Mapping[str, str]) -> str:
        """What happens at a point."""
        ...

    def did(self, step: Step) -> None:
        """A request for a step has taken effect, or would have, had it not before."""
        ...

    def has_done(self, step: Step) -> bool:
        """Whether a request for a step has taken effect."""
        ...

    def undoes(self, worker: Worker, step: Step) -> None:
        """A compensation reaches the participant."""
        ...

    def delay(self, step: Step, call: Callable[[], Any]) -> None:
        """A request is under way, and arrives when all is over."""
        ...


class Task:
    """What every worker is there for: a saga, of which each action is tried a few times only."""

    def __init__(
        self,
        saga: Saga,
        value: Any,
        key: str,
        *,
        local: Collection[str],
        signals: Mapping[str, Any],
    ) -> None:
        self.local = frozenset(local)
        self.signals = dict(signals)
        names = Counter(step.name for step in saga.every_step())
        if twice := [name for name, times in names.items() if times > 1]:
            raise DefinitionError(
                f"to be told apart, the steps of {saga.name!r} and its children need other names: {twice}"
            )
        self.saga = _short(saga)
        self.input = value
        self.key = key


class Worker:
    """An engine at work on one saga. `other_steps`: of a release in which the steps are not the same."""

    def __init__(
        self, number: int, task: Task, world: World, store: MemoryStore, *, now: float, other_steps: bool = False
    ) -> None:
        self.number = number
        self.alive = True
        self.other_steps = other_steps
        self.rests = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self.place = ""
        self.history: dict[str, list[str]] = {}
        self.status: SagaStatus | None = None
        self._world = world
        self._task = task
        self.loop = VirtualLoop(max_iterations=TURNS)
        self.loop.set_exception_handler(lambda *_: None)  # what becomes of the dead is nobody's business
        self.loop.advance(now)
        self.clock = VirtualClock(self.loop, seed=number)
        self._database = MemoryDatabase(store, self, clock=self.clock)
        self._engine = Engine("simulated", self._database, clock=self.clock)
        self._saga = self._instrumented(task.saga)
        self._engine.add(self._saga)
        self._halted: asyncio.Future[Fate] | None = None
        self._woken: asyncio.Future[None] | None = None
        self._main: asyncio.Task[None] | None = None

    def run(self) -> Fate:
        """Go on until the saga has ended, or this worker is killed or stopped. Raises what its program raises."""
        self._halted = self.loop.create_future()
        if self._main is None:
            self._main = self.loop.create_task(self._work(), context=Context())
            self._main.add_done_callback(self._ended)
        elif self._woken is not None:
            self._woken.set_result(None)
        return self.loop.run_until_complete(self._halted)

    def leave(self) -> None:
        """Others may take over."""
        self._database.leave()

    def bury(self) -> None:
        """Take away what is left of it."""
        self.alive = False
        with suppress(Exception):
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=1000.0)) if tasks else None
        self.loop.close()

    def state(self) -> object:
        """What it keeps in mind, and the journal does not."""
        runs = sorted((run.saga.name, run.fresh) for run in self._engine.runs())
        return self.place, runs, self.other_steps, self.rests, sorted(self.history.items())

    @property
    def halts(self) -> bool:
        """Whether it stands still; what was ready to run beside what met its end still reaches its next point."""
        return self._halted is not None and self._halted.done()

    @property
    def leads(self) -> bool:
        """Whether it drives the saga, and nobody else."""
        return self._database.store.leader is self._database

    def abandon(self, why: BaseException) -> None:
        """Let `run` raise this."""
        if self._halted is not None and not self._halted.done():
            self._halted.set_exception(why)

    def meets(self, words: list[str], ends: bool) -> str:
        """See `Process`."""
        if not self.alive:
            return ""
        fate = self._world.choose(self, f"commit {', '.join(words)}", LAST_COMMIT if ends else COMMIT)
        if fate == HALT:
            return fate
        if fate in {"fails", "unclear"}:
            self.history.clear()  # the engine goes on from the journal
        for word in words:
            step = word.partition(" ")[0]
            self.history.pop(f"{step}.do", None)
            self.history.pop(f"{step}.undo", None)
        return fate

    async def halt(self, fate: str) -> None:
        """See `Process`."""
        assert self._halted is not None
        if not self._halted.done():
            self._halted.set_result("pause" if fate == "pause" else "crash")
        if self._woken is None or self._woken.done():
            self._woken = self.loop.create_future()
        await asyncio.shield(self._woken)

    def _ended(self, main: asyncio.Task[None]) -> None:
        assert self._halted is not None
        if self._halted.done():
            return
        if main.cancelled():
            self._halted.cancel()
        elif (error := main.exception()) is not None:
            self._halted.set_exception(error)
        else:
            self._halted.set_result("ended")

    async def _work(self) -> None:
        """Start the saga, as somebody does who does not know whether it is started; see to it when it is stuck."""
        serving = asyncio.create_task(self._engine.serve())
        if any(self._saga.family()):
            self._watching = asyncio.create_task(self._watch())
        for name in self._task.signals:
            await self._send(name)
        status: SagaStatus | None = None
        while status is None:  # bounded by the turns of the loop
            try:
                status = await self._engine.run(self._saga, self._task.input, key=self._task.key)
            except SkerryError as error:
                if not str(error).startswith("simulated"):
                    raise
                await self.clock.sleep(0.1)
        while status.status == "stuck" and not self.other_steps:
            self._sees_to_it(status.reason)
            await self._engine.retry(status.id)
            status = await self._engine.wait(status.id)
        self.status = status
        left = {task for task in (serving, self._watching) if task is not None}
        for task in left:
            task.cancel()
        await asyncio.wait(left)

    def _sees_to_it(self, reason: str) -> None:
        """Somebody mends what keeps the saga from going on."""
        self.rests += 1
        if self.rests > RESTS:
            raise Stalled(f"it is stuck again and again: {reason}")
        self._world.lasting.clear()
        self.history.clear()

    async def _watch(self) -> None:
        """See to children that are stuck, for as long as it takes."""
        sagas = Sagas(self._database, clock=self.clock)
        while not self.other_steps:  # bounded by the turns of the loop
            for line in await sagas.found(statuses=["stuck"]):
                if line.name == self._saga.name:
                    continue
                try:
                    self._sees_to_it(line.reason)
                except Stalled as error:
                    self.abandon(error)
                await self._engine.retry(line.id)
            await self.clock.sleep(1.0)

    async def _send(self, name: str) -> None:
        """Send the saga a signal, or see to it that it is sent; whoever does so does not know what was done before."""
        fates = self._world.fates
        if name not in fates:
            step = next(step for step in self._task.saga.steps if step.name == name)
            patient = isinstance(step, Wait) and step.seconds is None
            fates[name] = self._world.choose(self, f"send {name}", SENT_AT_LAST if patient else SENT)
            if fates[name] in _FINAL:
                await self.halt(fates.pop(name))
                fates.setdefault(name, "")
        if fates[name] in {"early", "sent twice"}:
            await self._tell(name)
        if fates[name] in {"", "sent twice"}:
            task = asyncio.create_task(self._tell_who_waits(name))
            self._sending.add(task)

    async def _tell_who_waits(self, name: str) -> None:
        while True:  # bounded by the turns of the loop
            status = await self._engine.find(self._saga, self._task.key)
            if status is not None and (status.ended or name in status.steps):
                return await self._tell(name)
            await self.clock.sleep(0.1)

    async def _tell(self, name: str) -> None:
        async with self._database.transaction() as tx:
            await self._engine.signal(tx, self._saga, self._task.key, name, self._task.signals[name], id=name)

    def _instrumented(self, saga: Saga) -> Saga:
        """The saga with a point around each of its actions."""
        copied = copy.copy(saga)
        copied.steps = [self._step(step) for step in saga.steps]
        if self.other_steps and saga is self._task.saga:
            kinds = {"retriable": copied.retriable, "pivot": copied.retriable, "step": copied.step}
            kinds[saga.steps[-1].kind]()(_one_more)
        return copied

    def _step(self, step: Step) -> Step:
        copied = copy.copy(step)
        if isinstance(copied, Child):
            copied.saga = self._instrumented(copied.saga)
        copied.action = self._acting(step, step.action)
        if step.compensation is not None:
            copied.compensation = self._undoing(step, step.compensation)
        return copied

    def _acting(self, step: Step, function: StepFunction) -> StepFunction:
        where = f"{step.name}.do"
        options = LOCAL if step.name in self._task.local else DO if step.kind == "retriable" else DECIDE

        async def act(*arguments: Any) -> Any:
            # nothing could undo it, so a no is believed: no participant says it to a key that it has said yes to
            settled = step.compensation is None and self._world.has_done(step)
            fault = await self._meets(where, DO if settled and options is DECIDE else options)
            if fault == "rejected":
                raise Rejected("simulated")
            if fault == "refused":
                raise Unreachable("simulated", "nobody there")
            if fault == "late":
                self._world.delay(step, lambda: function(*arguments))
            if fault in {"nothing", "late"}:
                raise ConnectionLost("simulated", "no reply")
            result = await function(*arguments)
            self._world.did(step)
            return await self._replies(where, fault, result, lambda: function(*arguments))

        return act

    def _undoing(self, step: Step, function: StepFunction) -> StepFunction:
        where = f"{step.name}.undo"

        async def undo(*arguments: Any) -> Any:
            fault = await self._meets(where, UNDO)
            if fault == "nothing":
                raise ConnectionLost("simulated", "no reply")
            self._world.undoes(self, step)
            result = await function(*arguments)
            return await self._replies(where, fault, result, lambda: function(*arguments))

        return undo

    async def _meets(self, where: str, options: Mapping[str, str]) -> str:
        """What happens to a request; returns unless it is the end of this worker."""
        fault = self._world.lasting.get(where, "")
        if not fault and self.alive:
            fault = self._world.choose(self, f"before {where}", options)
        if fault in _FINAL:
            await self.halt(fault)
            fault = ""
        if fault == "cancel":
            await self._cancel()
            fault = ""
        if fault.endswith("!"):
            self._world.lasting[where] = fault
        fault = fault.rstrip("!")
        self.history.setdefault(where, []).append(fault)
        return fault

    async def _replies(self, where: str, fault: str, result: Any, again: Callable[[], Any]) -> Any:
        """What becomes of a request that was answered."""
        if fault == "twice":
            with suppress(SkerryError):
                await again()
        stop = self._world.choose(self, f"after {where}", AFTER) if self.alive else ""
        if stop:
            await self.halt(stop)
        if fault == "lost":
            raise ConnectionLost("simulated", "no reply")
        return result

    async def _cancel(self) -> None:
        status = await self._engine.find(self._saga, self._task.key)
        with suppress(NotNow, UnknownSaga):
            if status is not None:
                await self._engine.cancel(status.id, note="simulated")
        await self.clock.sleep(0.001)  # until the engine has heard of it


def _short(saga: Saga) -> Saga:
    """The saga, with few attempts and short waits."""
    copied = copy.copy(saga)
    copied.steps = [_short_step(step) for step in saga.steps]
    return copied


def _short_step(step: Step) -> Step:
    copied = copy.copy(step)
    if isinstance(copied, Child):
        copied.saga = _short(copied.saga)
    if isinstance(copied, Wait) and copied.seconds is not None:
        copied.seconds = min(copied.seconds, LONG_ENOUGH)
    copied.retry, copied.compensation_retry = copy.copy(step.retry), copy.copy(step.compensation_retry)
    for retry in (copied.retry, copied.compensation_retry):
        retry.attempts = min(retry.attempts, ATTEMPTS)
    return copied


async def _one_more(_ctx: Any, _input: Any) -> None:
    """What another release does besides."""
