"""One execution of a saga in a simulated world: workers come and go until it has ended, and then the books are compared."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
from contextvars import Context
from typing import Any, Generic, TypeVar

from skerry.saga import Saga, SagaStatus
from skerry.saga.definition import Child
from skerry.saga.journal import SQL, read
from skerry.saga.step import Step, Wait
from skerry.testing.sagas._store import MemoryStore, MemoryTransaction
from skerry.testing.sagas._tape import Merged, Tape
from skerry.testing.sagas._worker import HALT, INCIDENTS, RESTART, Task, Worker
from skerry.testing.sagas.windows import met
from skerry.testing.virtual_time import run_virtual

W = TypeVar("W")
T = TypeVar("T")

LIVES = 20
"""Workers of one execution, at most; far more than any budget leads to."""


class Execution(Generic[W]):
    """Plays one tape. `windows` are those it went through, `story` what happened where something did."""

    def __init__(self, world: W, saga: Saga, task: Task, store: MemoryStore, tape: Tape) -> None:
        self.world = world
        self.saga = saga
        self.windows: set[int] = set()
        self.lasting: dict[str, str] = {}
        self.fates: dict[str, str] = {}
        self.points: list[tuple[int, str]] = []
        self.status: SagaStatus | None = None
        self._task = task
        self._store = store
        self._tape = tape
        self._late: list[tuple[Step, Callable[[], Any]]] = []
        self._did: Counter[str] = Counter()
        self._undone: set[str] = set()
        self._working: list[Worker] = []
        self._gone: list[Worker] = []
        self._broken: list[str] = []
        self._now = 0.0
        self._timed = any(each.deadline is not None for each in (saga, *saga.family())) or any(
            isinstance(step, Wait) for step in saga.every_step()
        )

    def play(self, invariant: Callable[[Execution[W]], None]) -> None:
        """Run until the saga has ended, deliver what is late, and compare.

        Raises `Merged` when all that follows was tried before, `AssertionError` or what the program raised otherwise.
        """
        with ExitStack() as stack:
            stack.callback(self._bury)
            if hasattr(self.world, "__enter__"):
                stack.enter_context(self.world)  # type: ignore[arg-type] # it has the method
            self._live()
            self._deliver()
            self._compare()
            invariant(self)

    def choose(self, worker: Worker, where: str, options: Mapping[str, str]) -> str:
        """See `World`."""
        if worker.halts:
            return HALT
        self.points.append((worker.number, where))
        worker.place = where
        try:
            what = self._tape.choose(options, self._state, lambda option: self._leads_to(worker, where, option))
        except (Merged, Exception) as error:  # not for the engine to handle as if a participant had raised it
            worker.abandon(error)
            return HALT
        if what:
            self._meets(where, what)
        return what

    def did(self, step: Step) -> None:
        """See `World`."""
        self._did[step.name] += 1

    def has_done(self, step: Step) -> bool:
        """See `World`."""
        return bool(self._did[step.name])

    def undoes(self, worker: Worker, step: Step) -> None:
        """See `World`."""
        if not self._did[step.name]:
            self.windows.add(6)
        self._undone.add(step.name)
        done = [pivot for pivot in _pivots(self.saga, step.name) if self._is_done(pivot)]
        if done and worker.leads:
            self._broken.append(f"{step.name} is undone although the pivot {done[0]} is done")

    def delay(self, step: Step, call: Callable[[], Any]) -> None:
        """See `World`."""
        self._late.append((step, call))

    def told(self) -> list[str]:
        """What happened, point by point, up to the last incident and a few beyond."""
        last = max(self._tape.incidents, default=0)
        lines = []
        for number, (worker, where) in enumerate(self.points[: last + 5], 1):
            what = self._tape.incidents.get(number)
            lines.append(f"{number}. worker {worker + 1}, {where}" + (f": {INCIDENTS[what]}" if what else ""))
        return lines

    def _live(self) -> None:
        """Workers come and go until the saga has ended in the eyes of all that are left."""
        self._begin()
        while self._working:
            worker = self._working[-1]
            fate = worker.run()
            self._now = max(self._now, worker.loop.time())
            if fate == "pause":
                worker.leave()
                self._begin()
                continue
            self._working.pop()
            self._gone.append(worker)
            worker.leave()
            if fate == "crash":
                worker.alive = False
                self._begin()
            elif worker.other_steps:
                assert worker.status is not None
                assert worker.status.status in {"stuck", "completed", "compensated"}, worker.status.status
                self._begin(mended=True)
            else:
                assert worker.status is not None
                self.status = worker.status

    def _begin(self, *, mended: bool = False) -> None:
        number = len(self._working) + len(self._gone)
        assert number < LIVES, f"{LIVES} workers have not brought it to its end"
        status = self._read() if number else None
        other = False
        if status is not None and not status.ended:
            self.windows.add(14)  # whoever starts it again does not know that it is started
            if not mended and not self._working and self._gone:
                other = bool(self._restarts())
        worker = Worker(number, self._task, self, self._store, now=self._now, other_steps=other)
        self._working.append(worker)

    def _restarts(self) -> str:
        """What is different with the next worker."""
        self.points.append((len(self._gone), "begins"))
        what = self._tape.choose(RESTART, lambda: ("restart", self._remains()))
        if what:
            self.windows.add(17)
        return what

    def _bury(self) -> None:
        for worker in (*self._working, *self._gone):
            worker.bury()

    def _read(self) -> SagaStatus | None:
        """The saga as the journal has it."""
        looking = MemoryTransaction(self._store.connection)
        return _at_once(read(looking, SQL["by_key"], self.saga.name, self._task.key))

    def _deliver(self) -> None:
        """What was under way arrives."""
        for step, call in self._late:
            if step.name in self._undone:
                self.windows.add(7)
            Context().run(run_virtual, lambda _clock, call=call: _arrives(call))  # nobody's deadline counts any more

    def _compare(self) -> None:
        """What holds for every saga, whatever it is about."""
        assert not self._broken, self._broken[0]
        status = self._read()
        assert status is not None, "the start was acknowledged, and there is no saga"
        assert status.status in {"completed", "compensated"}, f"it ended as {status.status}: {status.reason}"
        assert self.status is not None
        assert status.status == self.status.status, f"it was {self.status.status}, and became {status.status}"
        if status.status == "completed":
            left = [step.name for step in self.saga.steps if status.steps.get(step.name) != "done"]
            assert not left, f"it is completed without {', '.join(left)}"
        else:
            owed = [
                step.name
                for step in self.saga.steps
                if step.undoable and status.steps.get(step.name) in {"done", "unknown"}
            ]
            assert not owed, f"it is compensated, and {', '.join(owed)} not undone"
        for name, became in self._store.connection.execute("SELECT name, status FROM skerry_sagas WHERE parent <> ''"):
            assert became == status.status, f"it is {status.status}, and its child {name} is {became}"
        self.status = status

    def _meets(self, where: str, what: str) -> None:
        self.windows |= met(self.saga, where, what, turns_back=self._turns_back())

    def _turns_back(self) -> bool:
        found = self._store.connection.execute("SELECT count(*) FROM skerry_sagas WHERE status = 'compensating'")
        return bool(found.fetchone()[0])

    def _is_done(self, name: str) -> bool:
        found = self._store.connection.execute(
            "SELECT count(*) FROM skerry_saga_log WHERE step = ? AND what = 'done'", (name,)
        )
        return bool(found.fetchone()[0])

    def _state(self) -> object:
        """All that what follows can depend on."""
        return [worker.state() for worker in self._working], self._remains()

    def _remains(self) -> object:
        """What is left when all workers are gone."""
        late = [step.name for step, _ in self._late]
        return (
            self._store.state(),
            state_of(self.world),
            late,
            sorted(self.lasting.items()),
            sorted(self.fates.items()),
            self._time(),
        )

    def _time(self) -> float:
        """It counts only where something happens at a time."""
        return (
            round(max((worker.loop.time() for worker in self._working), default=self._now), 3) if self._timed else 0.0
        )

    def _leads_to(self, worker: Worker, where: str, option: str) -> object:
        """The state behind an option, where it is known before."""
        others = [other.state() for other in self._working if other is not worker]
        if option not in {"crash", "fails"}:
            return None
        self._meets(where, option)  # it does, whether it is tried here or was elsewhere
        mind = (worker.other_steps, worker.rests) if option == "fails" else ()
        return option, others, mind, self._remains()


def _pivots(saga: Saga, step: str) -> list[str]:
    """Behind which the step is not undone: that of its saga, and of those that this is a step of."""
    own = [other.name for other in saga.steps if other.kind == "pivot"]
    if any(other.name == step for other in saga.steps):
        return own
    inner = next(
        other
        for other in saga.steps
        if isinstance(other, Child) and any(s.name == step for s in other.saga.every_step())
    )
    # a child that is the pivot is done when its own is
    return _pivots(inner.saga, step) + [pivot for pivot in own if pivot != inner.name]


def state_of(world: object) -> bytes:
    """All that a world holds."""
    return pickle.dumps(world.__getstate__(), 5)


async def _arrives(call: Callable[[], Any]) -> None:
    """Let a request arrive that was under way; what it is answered is heard by nobody."""
    with suppress(Exception):
        await call()


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of what never waits."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise RuntimeError("it waits")
