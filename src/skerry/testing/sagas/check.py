"""`check_saga`: whether there is any way to leave a saga half done."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from skerry.errors import DefinitionError
from skerry.saga import Saga, SagaStatus
from skerry.testing.sagas import _tape as tapes
from skerry.testing.sagas._execution import Execution, state_of
from skerry.testing.sagas._store import MemoryStore
from skerry.testing.sagas._tape import Budget, Choice, Merged, Seen, Tape
from skerry.testing.sagas._worker import INCIDENTS, Task
from skerry.testing.sagas.windows import applicable
from skerry.testing.virtual_time import Stalled

W = TypeVar("W")

KEY = "simulated"
MANY = 100
"""Executions between two calls of `progress`."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[W]):
    """What became of one execution: the participants, and the saga as it ended."""

    world: W
    status: SagaStatus

    @property
    def completed(self) -> bool:
        """Whether the saga was completed; otherwise it was compensated."""
        return self.status.status == "completed"


@dataclass(frozen=True, slots=True)
class Violation:
    """An execution that breaks a promise. `replay` brings it back: give it to `check_saga` or `skerry simulate`."""

    reason: str
    replay: str
    story: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((self.reason, *(f"  {line}" for line in self.story), f"  replay={self.replay!r}"))


@dataclass(frozen=True, slots=True)
class Report:
    """What was tried. `exhaustive`: every execution within the budget was run, or ended like one that was.

    `completed` and `compensated` are how many came to which end; the others were cut short, for what follows was tried before.
    `windows` are the numbers of the windows that were gone through, `missing_windows` those that this saga has and no
    execution met.
    """

    runs: int
    states: int
    completed: int
    compensated: int
    exhaustive: bool
    windows: frozenset[int]
    missing_windows: frozenset[int]
    violations: tuple[Violation, ...] = ()


class Counterexample(AssertionError):
    """There is a way to leave the saga half done: `violation` says how, `report` what was tried until then."""

    def __init__(self, violation: Violation, report: Report) -> None:
        self.violation = violation
        self.report = report
        super().__init__(str(violation))


@dataclass(frozen=True, slots=True)
class Simulation(Generic[W]):
    """A saga with the world it acts on and what has to hold afterwards; see `check_saga` for what each is."""

    saga: Saga | Callable[[W], Saga]
    input: Any
    world: Callable[[], W]
    invariant: Callable[[Outcome[W]], object]
    local: Collection[str] = ()
    signals: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = field(default=Budget())

    def explore(self, *, progress: Callable[[int, int], object] | None = None) -> Report:
        """Try all, and stop at the first violation, made as short as it gets.

        `progress` is called now and then with the number of executions and of the states that were met.
        """
        self._demand_usable()
        with closing(MemoryStore()) as store:
            return self._explored(store, progress)

    def _explored(self, store: MemoryStore, progress: Callable[[int, int], object] | None) -> Report:
        seen, met = Seen(), _Met()
        for left in self._families():
            given: Sequence[Choice] | None = ()
            while given is not None:
                if met.runs >= self.budget.runs:
                    return self._report(met, seen, exhaustive=False)
                tape = Tape(left, given=given, seen=seen)
                if reason := self._play(store, tape, met):
                    violation = self._shortest(store, tape.incidents, reason)
                    return self._report(met, seen, exhaustive=False, violations=(violation,))
                if progress is not None and met.runs % MANY == 0:
                    progress(met.runs, len(seen))
                given = tape.next()
        return self._report(met, seen, exhaustive=True)

    def replay(self, text: str) -> Report:
        """Only the execution that a violation's `replay` names. Raises `DefinitionError` for a text that names none."""
        self._demand_usable()
        met = _Met()
        with closing(MemoryStore()) as store:
            violation = self._again(store, tapes.read(text, INCIDENTS), met)
        return self._report(met, Seen(), exhaustive=False, violations=() if violation is None else (violation,))

    def _demand_usable(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("a simulation has event loops of its own: call it from a plain function")
        world = self.world()
        try:
            state_of(world)
        except Exception as error:
            raise DefinitionError(
                f"the world {type(world).__name__} cannot be pickled: {error}; what need not be compared can be left out by "
                "its __getstate__"
            ) from error

    def _families(self) -> list[dict[str, int]]:
        """What may go wrong together; the little first, so that what is found is short."""
        budget = self.budget
        most = [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, budget.preemptions), (1, 1, 0), (0, 1, budget.preemptions)]
        most.append((budget.crashes, budget.faults, 0))
        possible = [
            (crashes, faults, preemptions)
            for crashes, faults, preemptions in most
            if crashes <= budget.crashes and faults <= budget.faults
        ]
        return [dict(zip(("crashes", "faults", "preemptions"), each, strict=True)) for each in dict.fromkeys(possible)]

    def _play(self, store: MemoryStore, tape: Tape, met: _Met, story: list[str] | None = None) -> str:
        """One execution; what it breaks, or nothing."""
        store.clear()
        world = self.world()
        saga = self._saga(world)
        execution = Execution(
            world, saga, Task(saga, self.input, KEY, local=self.local, signals=self.signals), store, tape
        )
        reason = ""
        logger = logging.getLogger("skerry.saga")
        was, logger.disabled = logger.disabled, True  # thousands of failures that are meant to happen
        try:
            execution.play(self._judge)
        except Merged:
            pass
        except Stalled as error:
            reason = f"it never ends: {error}"
        except AssertionError as error:
            reason = str(error) or "the invariant does not hold"
        except Exception as error:  # whatever the world, the invariant or the saga raises is a finding
            reason = f"{type(error).__name__}: {error}"
        finally:
            logger.disabled = was
        met.runs += 1
        met.windows |= execution.windows
        met.ends[execution.status.status if execution.status is not None else ""] += 1
        if story is not None:
            story += execution.told()
        return reason[:1000]

    def _judge(self, execution: Execution[W]) -> None:
        assert execution.status is not None
        outcome = Outcome(execution.world, execution.status)
        if self.invariant(outcome) is False:
            raise AssertionError(f"the invariant does not hold for a saga that is {outcome.status.status}")

    def _saga(self, world: W) -> Saga:
        return self.saga if isinstance(self.saga, Saga) else self.saga(world)

    def _again(self, store: MemoryStore, incidents: Mapping[int, str], met: _Met) -> Violation | None:
        tape, story = Tape({}, wanted=incidents), list[str]()
        reason = self._play(store, tape, met, story)
        return Violation(reason, tapes.written(incidents), tuple(story)) if reason else None

    def _shortest(self, store: MemoryStore, incidents: Mapping[int, str], reason: str) -> Violation:
        """With no incident that could be left out."""
        left = dict(incidents)
        for point in sorted(incidents):
            fewer = {other: name for other, name in left.items() if other != point}
            if self._again(store, fewer, _Met()) is not None:
                left = fewer
        found = self._again(store, left, _Met())
        return found or Violation(f"{reason} (which did not come back in a replay)", tapes.written(incidents), ())

    def _report(self, met: _Met, seen: Seen, *, exhaustive: bool, violations: tuple[Violation, ...] = ()) -> Report:
        budget = self.budget
        has = applicable(
            self._saga(self.world()), crashes=budget.crashes, faults=budget.faults, preemptions=budget.preemptions
        )
        return Report(
            runs=met.runs,
            states=len(seen),
            completed=met.ends["completed"],
            compensated=met.ends["compensated"],
            exhaustive=exhaustive,
            windows=frozenset(met.windows),
            missing_windows=frozenset(has - met.windows),
            violations=violations,
        )


class _Met:
    """What executions came to so far."""

    def __init__(self) -> None:
        self.runs = 0
        self.windows: set[int] = set()
        self.ends: Counter[str] = Counter()


def check_saga(
    saga: Saga | Callable[[W], Saga],
    *,
    input: Any,  # noqa: A002 - the saga's own word
    world: Callable[[], W],
    invariant: Callable[[Outcome[W]], object],
    local: Collection[str] = (),
    signals: Mapping[str, Any] | None = None,
    budget: Budget | None = None,
    replay: str = "",
) -> Report:
    """Try every way in which `saga` can be left half done; raise `Counterexample` at the first that does.

    The real engine runs, on virtual time, with its real journal on SQLite in memory. At each request to a participant and at
    each commit the process can die, requests and replies are lost, come late or twice or are refused, commits fail or cannot
    be told from failed ones, somebody cancels, another release takes over, another worker does. `budget` bounds how much of
    this comes together.

    `world` makes the participants anew for each execution: an object that holds all their state, for what follows from a
    state is tried once, and states are compared by pickling it. One that cannot be pickled is an error; what need not be
    compared can be left out by its `__getstate__`. When it is a context manager it is entered for the execution, for instance
    to put itself where the saga's clients are. `saga` may be a function of the world instead.

    `invariant` is asked when the saga has ended and all that was late has arrived; it raises AssertionError, or returns False,
    when the participants do not agree with how it ended. That it ends, that nothing that is done stays undone, and that
    nothing is undone behind the pivot is checked anyway. A stuck saga is told to go on, once what kept it has healed.

    `signals` are what the saga is sent while it waits, by the names that its steps receive; each may come early, twice, or never
    where the step has a time-out. `local` are steps that work in the service's own database: nobody refuses them, and they do
    not arrive late.

    Every action is tried twice at most, whatever its retry policy. With `replay` only that execution is run. Not for use
    inside a running event loop. Source: stateless search by choices, as in Godefroid, "Model checking for programming
    languages using VeriSoft" (1997), with preemptions bounded as in Musuvathi and Qadeer, "Iterative context bounding" (2007).

        def test_money_is_never_lost():
            report = check_saga(transfer, input={"amount": 10}, world=Bank, invariant=lambda end: end.world.total() == 100)
            assert report.exhaustive and not report.missing_windows
    """
    simulation = Simulation(saga, input, world, invariant, local, signals or {}, budget or Budget())
    report = simulation.replay(replay) if replay else simulation.explore()
    if report.violations:
        raise Counterexample(report.violations[0], report)
    return report
