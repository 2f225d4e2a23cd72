"""Every place where a saga's process can die or its database fail, with what can go wrong on the way to a participant."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from sagaworld import DONE, MOVES, START, Outcome, Points, World

FORWARD = ("lost", "nothing", "late", "lost!", "nothing!", "late!", "refused!", "no!")
CHANGED_ITS_MIND = ("lost,no!", "lost,refused!", "late,no!", ",no!")
BACK = ("lost", "nothing", "late", "nothing!", "lost!")
SINGLE = [{f"{step}.do": kind} for step in MOVES for kind in FORWARD + CHANGED_ITS_MIND]
TURNED_BACK: list[dict[str, str]] = [
    {"book.do": "no!", f"{step}.undo": kind} for step in ("take", "add") for kind in BACK
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def check(outcome: Outcome, plan: Mapping[str, str]) -> None:
    """The invariants of every run, whatever happened in it."""
    status = outcome.status
    assert status.status in {"completed", "compensated"}, status
    assert outcome.balances == (DONE if status.status == "completed" else START)
    assert len(outcome.did) == len(set(outcome.did)), "an effect happened twice"
    undone = [what.removesuffix(".undo") for what in outcome.did if what.endswith(".undo")]
    assert undone == [step for step in reversed(MOVES) if step in undone], "undone in another order"
    if "book" in status.results:
        assert not [what for what in outcome.asked if what.endswith(".undo")], "turned back after the pivot"
    if outcome.stuck_once is not None:
        owed = outcome.stuck_once
        assert owed.reason
        assert plan, "stuck although nothing went wrong"
        assert any(kind.endswith("!") for kind in plan.values())


def windows(outcome: Outcome, plan: Mapping[str, str]) -> set[int]:
    """Which of the windows this run went through."""
    where, seen, stuck, status = outcome.where, outcome.seen, outcome.stuck_once, outcome.status.status
    crashed = f"crashed {where}" in seen
    went_through = {
        1: crashed and where.startswith("start:uncommitted"),
        2: crashed and (where.startswith("start:committed") or where == "before take.do"),
        3: crashed and re.fullmatch(r"before \w+\.do", where),
        4: crashed and re.fullmatch(r"after \w+\.do", where),
        5: status == "compensated" and not {"lost!", "late!", "nothing!"}.isdisjoint(plan.values()),
        6: "undone before it was done" in seen,
        7: "late action refused" in seen,
        8: any(name.startswith("rejected") for name in seen),
        9: crashed and status == "compensated" and ".undo" in where,
        10: stuck is not None and stuck.reason.startswith("undoing"),
        11: any(what.startswith("send.") for what in plan),
        12: crashed and where.startswith("journal:") and where == outcome.points[-1],
        18: where and not crashed,
    }
    return {number for number, hit in went_through.items() if hit}


class Explorer:
    """Runs a plan once undisturbed, then with a crash, and a failing commit, at each point it went through."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runs = 0
        self.windows: set[int] = set()

    def run(self, plan: Mapping[str, str], at: int = -1, *, failing: bool = False, **shape: bool) -> list[str]:
        self.runs += 1
        outcome = self.world.run(plan, Points(at, failing=failing), **shape)
        try:
            check(outcome, plan)
        except AssertionError as error:
            error.add_note(f"plan={plan} at={at} ({outcome.where}) {failing=} {shape=} did={outcome.did}")
            raise
        self.windows.update(windows(outcome, plan))
        return outcome.points

    def explore(self, plan: Mapping[str, str], **shape: bool) -> None:
        points = self.run(plan, **shape)
        first = min((points.index(f"before {what}") for what in plan if f"before {what}" in points), default=0)
        for at, name in list(enumerate(points))[first:]:  # before its first fault a run is like the one without any
            self.run(plan, at, **shape)
            if "committed" in name:
                self.run(plan, at, failing=True, **shape)


def test_no_crash_and_no_fault_breaks_a_saga(world: World) -> None:
    """Killed at any point, with any one fault: money is conserved, effects are single, the saga ends; each window is hit."""
    explorer = Explorer(world)
    explorer.explore({})
    for plan in (*SINGLE, *TURNED_BACK):
        explorer.explore(plan)
    assert explorer.windows == {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 18}
    assert explorer.runs > 300


def test_no_crash_and_no_fault_breaks_steps_that_run_at_the_same_time(world: World) -> None:
    """The same for a saga whose first two steps stand side by side: whatever the one does, the other is not forgotten."""
    explorer = Explorer(world)
    explorer.explore({}, parallel=True)
    both = [{"take.do": one, "add.do": other} for one in FORWARD for other in ("", "lost!", "nothing!", "no!")]
    for plan in (*(plan for plan in SINGLE if not {"take.do", "add.do"}.isdisjoint(plan)), *TURNED_BACK, *both):
        explorer.explore(plan, parallel=True)
    assert explorer.windows >= {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 18}
    assert explorer.runs > 300


def test_two_faults_break_no_saga(world: World) -> None:
    """Two faults at once, in any two places, with and without a crash somewhere, leave the same invariants."""
    explorer = Explorer(world)
    chance = random.Random(7)
    spots = {f"{step}.do": FORWARD for step in MOVES} | {f"{step}.undo": BACK for step in ("take", "add", "book")}
    pairs = [
        {one: first, other: second}
        for one, other in itertools.combinations(spots, 2)
        for first in spots[one]
        for second in spots[other]
    ]
    for plan in chance.sample(pairs, 150):
        points = explorer.run(plan)
        explorer.run(plan, chance.randrange(len(points)))


def test_a_pivot_that_cannot_be_undone_never_leaves_half_a_saga(world: World) -> None:
    """When the pivot has no compensation, its unknown outcome makes the saga stuck, and trying again settles it."""
    explorer = Explorer(world)
    for kind in FORWARD:
        explorer.explore({"book.do": kind}, undo_pivot=False)


def test_a_run_is_repeatable(world: World) -> None:
    """The same plan and the same crash give the same run, point by point."""
    plan = {"add.do": "late!", "take.undo": "lost"}
    first = world.run(plan, Points(7))
    again = world.run(plan, Points(7))
    assert (first.points, first.did, first.asked) == (again.points, again.did, again.asked)


def test_the_invariants_are_sharp(tmp_path: Path) -> None:
    """A run that lost money, did something twice or undid in another order does not pass the check."""
    good = World(tmp_path).run({"book.do": "no!"}, Points())
    check(good, {"book.do": "no!"})
    for changes in (
        {"balances": {**START, "ann": 99}},
        {"did": [*good.did, good.did[0]]},
        {"did": ["take.undo", "add.undo"]},
    ):
        with pytest.raises(AssertionError):
            check(Outcome(**{**vars(good), **changes}), {})
