"""The checker itself: it passes what is right, catches what is wrong, says what it has tried, and brings back what it found."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from skerry.errors import DefinitionError, LateAction
from skerry.saga import Barrier, Saga
from skerry.saga import run as runs
from skerry.store import Receipts, SQLiteDatabase
from skerry.testing import check_saga
from skerry.testing.sagas import Budget, Counterexample, FakeBarrier, Outcome, Simulation, _tape
from skerry.testing.sagas._store import MemoryLease

MOVES = {"take": ("ann", "pot", 10), "book": ("pot", "shop", 10), "send": ("shop", "post", 1)}
START = {"ann": 100, "pot": 0, "shop": 0, "post": 0}
DONE = {"ann": 90, "pot": 0, "shop": 9, "post": 1}
ONE_OF_EACH = Budget(crashes=1, faults=1, preemptions=1)


class Bank:
    """Accounts behind a barrier."""

    def __init__(self) -> None:
        self.accounts = dict(START)
        self.barrier = FakeBarrier()

    def move(self, step: str, sign: int) -> None:
        source, target, amount = MOVES[step]
        self.accounts[source] -= sign * amount
        self.accounts[target] += sign * amount

    def do(self, step: str, key: str) -> None:
        self.barrier.act(key, lambda: self.move(step, 1))

    def undo(self, step: str, key: str) -> None:
        self.barrier.undo(key, lambda _: self.move(step, -1))


class NoKey(Bank):
    """Does what it is asked as often as it is asked."""

    def do(self, step: str, key: str) -> None:
        self.move(step, 1)
        self.barrier.act(key, lambda: None)


class NoBarrier(Bank):
    """Knows its keys, but forgets a compensation whose action never came."""

    def undo(self, step: str, key: str) -> None:
        if self.barrier.undo(key, lambda _: self.move(step, -1)):
            return
        self.barrier = FakeBarrier()


def add(saga: Saga, kind: str, bank: Bank, name: str, *, undone: bool = True) -> None:
    """Add a step that moves money, and what moves it back."""

    async def act(ctx, _given) -> None:
        bank.do(name, ctx.key)

    act.__name__ = name
    step = getattr(saga, kind)()(act)
    if undone:

        @step.compensate
        async def undo(ctx, _given, _result) -> None:
            bank.undo(name, ctx.key)


def payment(bank: Bank) -> Saga:
    saga = Saga("payment", input=str)
    add(saga, "step", bank, "take")
    add(saga, "pivot", bank, "book")
    add(saga, "retriable", bank, "send", undone=False)
    return saga


def books(end: Outcome[Any]) -> None:
    wanted = DONE if end.completed else START
    assert end.world.accounts == wanted, f"{end.status.status} with {end.world.accounts}"


def check(world: type[Bank] = Bank, *, budget: Budget = ONE_OF_EACH, replay: str = "") -> Any:
    return check_saga(payment, input="1", world=world, invariant=books, budget=budget, replay=replay)


def test_a_saga_that_is_right_passes_and_meets_every_window() -> None:
    """Everything within the budget is tried, both ends are reached, and each window that there can be is met."""
    report = check()
    assert report.exhaustive
    assert not report.violations
    assert not report.missing_windows
    assert report.windows == {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18}
    assert min(report.completed, report.compensated) > 10


def forgets_the_failing_step(self: Any, steps: dict[str, Any]) -> list[Any]:
    return [step for step in reversed(self.saga.steps) if step.compensation and steps.get(step.name) == "done"]


async def drops_a_failed_compensation(self: Any) -> None:
    self._hurry.clear()
    owed = self._owed(self._steps)
    for step in owed:
        with contextlib.suppress(runs._GaveUp):
            await self._attempts(step, step.compensation, "undo", step.compensation_retry, unknown=True)
        await self._write(step, "undone", None, "compensated" if step is owed[-1] else None, self._reason)


@pytest.mark.parametrize(
    ("where", "name", "defect", "budget"),
    [
        (runs.Run, "_owed", forgets_the_failing_step, ONE_OF_EACH),
        (runs.Run, "_back", drops_a_failed_compensation, Budget(crashes=0, faults=2, preemptions=0)),
        (MemoryLease, "holds", lambda _self: True, ONE_OF_EACH),
    ],
    ids=["failing step not compensated", "compensation failure dropped", "no fence"],
)
def test_a_defect_of_the_engine_is_caught(
    where: Any, name: str, defect: Any, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way in which sagas are known to go wrong is found, and comes back when it is replayed."""
    monkeypatch.setattr(where, name, defect)
    with pytest.raises(Counterexample) as caught:
        check(budget=budget)
    violation = caught.value.violation
    with pytest.raises(Counterexample) as again:
        check(replay=violation.replay)
    assert again.value.violation == violation
    monkeypatch.undo()
    assert not check(replay=violation.replay).violations


@pytest.mark.parametrize("world", [NoKey, NoBarrier])
def test_a_defect_of_a_participant_is_caught(world: type[Bank]) -> None:
    """One that has an effect twice, or lets an action have its effect after its compensation."""
    with pytest.raises(Counterexample, match=r"(completed|compensated) with") as caught:
        check(world)
    assert caught.value.report.runs < 100
    assert len(caught.value.violation.replay.split()) == 1


def test_what_is_found_is_as_short_as_it_gets() -> None:
    """A counterexample holds no incident without which it would be one as well, and says what happens where."""
    with pytest.raises(Counterexample) as caught:
        check(NoKey, budget=Budget())
    violation = caught.value.violation
    (incident,) = violation.replay.split()
    point = int(incident.partition(":")[0])
    assert violation.story[point - 1].startswith(f"{point}. worker 1, ")
    assert violation.replay in str(caught.value)


def ends(monkeypatch: pytest.MonkeyPatch, *, merging: bool) -> tuple[set[Any], frozenset[int], int]:
    """How executions end, which windows they meet, and how many there are."""
    if not merging:
        monkeypatch.setattr(_tape.Seen, "covers", lambda *_: False)
    found: Counter[Any] = Counter()

    def note(end: Outcome[Bank]) -> None:
        steps = tuple(sorted(end.status.steps.items()))
        found[end.status.status, steps, end.status.reason, tuple(end.world.accounts.items())] += 1

    budget = Budget(crashes=1, faults=1, preemptions=0)
    report = check_saga(payment, input="1", world=Bank, invariant=note, budget=budget)
    assert report.exhaustive
    return set(found), report.windows, report.runs


def test_what_is_not_tried_again_would_have_ended_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving out what was tried before changes neither the ends that are reached nor the windows that are met."""
    few = ends(monkeypatch, merging=True)
    all_of_them = ends(monkeypatch, merging=False)
    assert few[:2] == all_of_them[:2]
    assert few[2] < all_of_them[2] / 2


def test_a_report_says_that_it_is_truncated() -> None:
    """When the budget of executions is spent the report is not exhaustive, and names the windows that it has not met."""
    report = check(budget=Budget(runs=5))
    assert (report.runs, report.exhaustive) == (5, False)
    assert report.missing_windows


@pytest.mark.parametrize("text", ["x", "3", "3:", ":crash", "3:bang", "3:lost,4:crash"])
def test_a_replay_that_names_no_execution_is_an_error(text: str) -> None:
    """What is no list of incidents is refused, with what was meant."""
    with pytest.raises(DefinitionError, match="POINT:WHAT"):
        check(replay=text)


def test_an_invariant_may_answer_instead_of_raising() -> None:
    """One that returns False does not hold."""
    with pytest.raises(Counterexample, match="does not hold for a saga that is completed"):
        check_saga(payment, input="1", world=Bank, invariant=lambda _end: False)


def test_a_saga_that_never_ends_is_a_finding() -> None:
    """A step that fails for good behind the point of no return leaves the saga stuck, and that is what is said."""

    class Closed(Bank):
        def do(self, step: str, key: str) -> None:
            if step == "send":
                raise ConnectionError("closed for good")
            super().do(step, key)

    with pytest.raises(Counterexample, match="stuck again and again: send: ConnectionError: closed for good"):
        check(Closed)


def test_worlds_and_places_that_do_not_work_are_errors() -> None:
    """A world that cannot be compared, a budget that is none, and a running event loop are told at once."""

    class Unpicklable(Bank):
        def __init__(self) -> None:
            super().__init__()
            self.hook = lambda: None

    async def inside() -> None:
        check()

    with pytest.raises(DefinitionError, match=r"Unpicklable cannot be pickled.*__getstate__"):
        check(Unpicklable)
    with pytest.raises(DefinitionError, match="-1 crashes"):
        Budget(crashes=-1)
    with pytest.raises(RuntimeError, match="call it from a plain function"):
        asyncio.run(inside())


def test_a_world_may_put_itself_where_the_clients_are() -> None:
    """A world that is a context manager is entered for each execution; steps at the same time, on threads, are checked too."""
    here: list[Ward] = []
    saga = Saga("both", input=str)

    class Ward(Bank):
        def __enter__(self) -> None:
            here.append(self)

        def __exit__(self, *_: object) -> None:
            here.remove(self)

    with saga.parallel():

        @saga.step()
        def take(ctx, _given) -> None:
            here[0].do("take", ctx.key)

        @saga.step()
        async def book(ctx, _given) -> None:
            here[0].do("book", ctx.key)

    @take.compensate
    def untake(ctx, _given, _result) -> None:
        here[0].undo("take", ctx.key)

    @book.compensate
    async def unbook(ctx, _given, _result) -> None:
        here[0].undo("book", ctx.key)

    def both_or_none(end: Outcome[Ward]) -> bool:
        wanted = {**START, "ann": 90, "shop": 10} if end.completed else START
        return end.world.accounts == wanted

    report = check_saga(saga, input="1", world=Ward, invariant=both_or_none, budget=ONE_OF_EACH)
    assert report.exhaustive
    assert not report.missing_windows
    assert not here


def test_a_saga_with_a_deadline_is_checked_in_its_time() -> None:
    """Its deadline may pass between any two attempts; it ends all the same."""

    def hurried(bank: Bank) -> Saga:
        saga = payment(bank)
        saga.deadline = 1.0
        return saga

    budget = Budget(crashes=1, faults=1, preemptions=0)
    report = check_saga(hurried, input="1", world=Bank, invariant=books, budget=budget)
    assert report.exhaustive


def test_a_saga_that_waits_is_sent_its_signals() -> None:
    """Early, twice, or never; a wait of days takes no time, and the window of signals is met."""

    def approved(bank: Bank) -> Saga:
        saga = Saga("approved", input=str)
        add(saga, "step", bank, "take")
        saga.receive("approval", str, timeout=86_400.0)
        saga.sleep("grace", 3600.0)
        add(saga, "retriable", bank, "book", undone=False)
        return saga

    report = check_saga(
        approved, input="1", world=Bank, invariant=taken, signals={"approval": "yes"}, budget=ONE_OF_EACH
    )
    assert report.exhaustive
    assert 15 in report.windows
    assert not report.missing_windows
    assert report.completed
    assert report.compensated


def forward(kind: str) -> Any:
    """A saga of which nothing can be undone, and its first step is of this kind."""

    def make(bank: Bank) -> Saga:
        saga = Saga("forward", input=str)
        add(saga, kind, bank, "take", undone=False)
        add(saga, "retriable", bank, "book", undone=False)
        return saga

    return make


def taken(end: Outcome[Bank]) -> bool:
    return end.world.accounts == ({**START, "ann": 90, "shop": 10} if end.completed else START)


def test_steps_that_are_only_retriable_have_fewer_windows() -> None:
    """A saga that never goes back misses none of the windows that are left, and is always completed."""
    report = Simulation(forward("retriable"), "1", Bank, taken, budget=ONE_OF_EACH).explore()
    assert not report.violations
    assert not report.missing_windows
    assert report.windows.isdisjoint({6, 7, 8, 9, 10})
    assert not report.compensated


def test_a_pivot_without_a_compensation_is_found_out() -> None:
    """A no to one request is believed while another one may be on its way, as the pivot's docstring says; nothing undoes it."""
    report = Simulation(forward("pivot"), "1", Bank, taken, budget=ONE_OF_EACH).explore()
    (violation,) = report.violations
    assert "rejected" in violation.replay


async def told_by_a_database(words: tuple[str, ...], path: Any) -> list[Any]:
    """What the real barrier answers, and how often there was an effect in the end."""
    barrier, effects, said = Barrier(), 0, list[Any]()
    database = SQLiteDatabase(path, owner="bank")
    await database.open()
    await Receipts.prepare(database)

    async def change() -> int:
        nonlocal effects
        effects += 1
        return effects

    async def back(_answer: Any) -> None:
        nonlocal effects
        effects -= 1

    for word in words:
        with noting_the_late(said):
            async with database.transaction() as tx:
                key = f"1:take:{word}"
                said.append(await (barrier.act(tx, key, change) if word == "do" else barrier.undo(tx, key, back)))
    await database.close()
    return [*said, effects]


def told_by_the_fake(words: tuple[str, ...]) -> list[Any]:
    barrier, effects, said = FakeBarrier(), [0], list[Any]()

    def change(by: int) -> int:
        effects[0] += by
        return effects[0]

    for word in words:
        key = f"1:take:{word}"
        with noting_the_late(said):
            said.append(
                barrier.act(key, lambda: change(1)) if word == "do" else barrier.undo(key, lambda _: change(-1))
            )
    return [*said, effects[0]]


@contextlib.contextmanager
def noting_the_late(said: list[Any]) -> Iterator[None]:
    try:
        yield
    except LateAction:
        said.append("late")


@pytest.mark.parametrize(
    "words",
    [("do", "do", "undo", "undo", "do"), ("undo", "do", "undo"), ("do", "undo", "do", "do"), ("undo", "undo")],
    ids=" ".join,
)
def test_the_barrier_in_memory_is_like_the_one_in_a_database(words: tuple[str, ...], tmp_path: Any) -> None:
    """Both answer the same to each sequence of an action and its compensation."""
    assert asyncio.run(told_by_a_database(words, tmp_path / "bank.db")) == told_by_the_fake(words)


def with_child(bank: Bank) -> Saga:
    """The money is taken by a saga of its own, which turns back with its parent though it had completed."""
    inner = Saga("taking", input=str)
    add(inner, "step", bank, "take")
    saga = Saga("payment", input=str)
    saga.child("taken", inner, lambda _ctx, given: given)
    add(saga, "pivot", bank, "book")
    add(saga, "retriable", bank, "send", undone=False)
    return saga


def test_children_are_checked_with_their_parents() -> None:
    """Every point of a child is one at which its parent's process can die, too; both end in the same way."""
    report = check_saga(with_child, input="1", world=Bank, invariant=books, budget=ONE_OF_EACH)
    assert report.exhaustive
    assert not report.missing_windows
    assert min(report.completed, report.compensated) > 10


def test_a_child_that_is_left_behind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that turns back without it leaves the money where it is."""

    async def forgets(self: Any, step: Any) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(runs.Run, "_take_back", forgets)
    with pytest.raises(Counterexample, match="its child taking is"):
        check_saga(with_child, input="1", world=Bank, invariant=lambda _end: None, budget=ONE_OF_EACH)


def test_steps_of_parent_and_child_are_told_apart() -> None:
    """By their names."""

    def twice(bank: Bank) -> Saga:
        saga = with_child(bank)
        add(saga.steps[0].saga, "step", bank, "book")
        return saga

    with pytest.raises(DefinitionError, match="book"):
        check_saga(twice, input="1", world=Bank, invariant=books)


def test_a_saga_that_cannot_be_made_leaves_the_log_as_it_was() -> None:
    """What the engine logs is only left out while an execution runs."""

    def none(_bank: Bank) -> Saga:
        raise RuntimeError("no saga")

    with pytest.raises(RuntimeError, match="no saga"):
        check_saga(none, input="1", world=Bank, invariant=books)
    assert not logging.getLogger("skerry.saga").disabled


def with_child_that_decides(bank: Bank) -> Saga:
    """The child is the pivot: once it has completed its parent goes on, whoever cancels."""
    inner = Saga("paying", input=str)
    add(inner, "step", bank, "take")
    add(inner, "pivot", bank, "book")
    saga = Saga("payment", input=str)
    saga.child("paid", inner, lambda _ctx, given: given)
    add(saga, "retriable", bank, "send", undone=False)
    return saga


def test_a_child_that_decides_is_never_taken_back_behind_its_pivot() -> None:
    """A cancel that comes while it completes is too late; before, both turn back."""
    report = check_saga(with_child_that_decides, input="1", world=Bank, invariant=books, budget=ONE_OF_EACH)
    assert report.exhaustive
    assert not report.missing_windows
    assert min(report.completed, report.compensated) > 10
