"""The short form of the sagas soak; the long one is `python -m tests.crash.sagas`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from soaking.books import Effect, Found, compare, history, opened, take_overs
from soaking.plan import STEPS, STOP_ENGINE, STOP_PARTICIPANT, Order, draw_orders, draw_plan
from soaking.run import Soak
from storming.books import verdicts
from storming.crew import working_in
from storming.report import as_text


@pytest.mark.timeout(420)
@pytest.mark.parametrize(("database", "kills"), [("sqlite", 8), ("postgresql", 10)])
def test_no_kill_leaves_a_saga_half_done(database: str, kills: int, tmp_path: Path) -> None:
    """Whatever is killed or stopped: every saga ends, with each effect once or undone, and all money is there."""
    told: list[str] = []
    result = Soak(sagas=300, kills=kills, database=database, seed=7, folder=tmp_path, stop=5.0, tell=told.append).run()
    print("\n".join(told), as_text(result), sep="\n")
    assert result.ok, as_text(result)
    assert not working_in(tmp_path)


def test_the_plan_comes_from_the_seed() -> None:
    """One seed, one plan, of what is asked for and of what is done to whom; and each kind has its share of the kills."""
    plan = draw_plan(4, sagas=1000, kills=14, servers=["database"])
    assert plan == draw_plan(4, sagas=1000, kills=14, servers=["database"])
    assert plan != draw_plan(5, sagas=1000, kills=14, servers=["database"])
    assert draw_orders(4, 50) == draw_orders(4, 50) != draw_orders(5, 50)
    kinds = [strike.kind for strike in plan]
    assert (kinds.count(STOP_ENGINE), kinds.count(STOP_PARTICIPANT)) == (1, 1)
    assert {kinds.count(kind) for kind in kinds if not kind.startswith("stop")} == {2}


def _order(key: str) -> Order:
    return Order(key=key, source="north", source_account="ann", target="south", target_account="bob", amount=10)


def _good() -> Found:
    """Three sagas that ended as they should: one completed, two turned back, at once and at the pivot."""
    effects: list[Effect] = []

    def wrote(saga: str, kind: str, steps: str) -> None:
        for step in steps.split():
            effects.append(Effect(kind, saga, step, 20.0 + len(effects)))

    wrote("done", "step_effect", "take reserve announce give notify")
    wrote("undone", "step_effect", "take reserve announce give")
    wrote("undone", "comp_effect", "give announce reserve take")
    ends = {"done": ("completed", 50.0), "undone": ("compensated", 50.0), "declined": ("compensated", 50.0)}
    balances = opened()
    balances["north.ann"] -= 10
    balances["south.bob"] += 10
    return Found({key: {f"id of {key}"} for key in ends}, ends, effects, balances)


def _without(saga: str, kind: str, step: str) -> Callable[[Found], Found]:
    def tamper(found: Found) -> Found:
        kept = [each for each in found.effects if (each.saga, each.kind, each.step) != (saga, kind, step)]
        return replace(found, effects=kept)

    return tamper


def _also(saga: str, kind: str, step: str) -> Callable[[Found], Found]:
    return lambda found: replace(found, effects=[*found.effects, Effect(kind, saga, step, 45.0)])


def _ended(saga: str, status: str) -> Callable[[Found], Found]:
    return lambda found: replace(found, ends={**found.ends, saga: (status, 50.0)})


TAMPERED: dict[str, tuple[Callable[[Found], Found], set[str], bool]] = {
    "untouched": (lambda found: found, set(), True),
    "an effect twice": (_also("done", "step_effect", "take"), {"doubled"}, False),
    "an undoing twice": (_also("undone", "comp_effect", "take"), {"doubled"}, False),
    "an undoing missing": (_without("undone", "comp_effect", "reserve"), {"left_over"}, False),
    "an effect missing": (_without("done", "step_effect", "notify"), {"incomplete"}, False),
    "completed and undone": (_also("done", "comp_effect", "take"), {"incomplete"}, False),
    "an undoing of nothing": (_also("declined", "comp_effect", "take"), {"invented"}, False),
    "a saga of nobody": (_also("ghost", "step_effect", "take"), {"invented"}, False),
    "a saga under way": (_ended("declined", "running"), {"not_ended"}, False),
    "a saga stuck": (
        _ended("declined", "stuck"),
        {"stuck"},
        True,
    ),  # an operator sees it: no judge minds, the run fails
    "two sagas of one key": (
        lambda found: replace(found, ids={**found.ids, "done": {"one", "two"}}),
        {"other_ids"},
        True,  # ids are not part of a history
    ),
    "a cent gone": (
        lambda found: replace(found, balances={**found.balances, "north.bob": found.balances["north.bob"] - 1}),
        {"cents_off"},
        False,
    ),
    "a cent on another account": (
        lambda found: replace(
            found,
            balances={
                **found.balances,
                "north.bob": found.balances["north.bob"] - 1,
                "north.cid": found.balances["north.cid"] + 1,
            },
        ),
        {"cents_off"},
        True,  # the sum is right
    ),
}


@pytest.mark.parametrize(("tamper", "wrong", "valid"), TAMPERED.values(), ids=TAMPERED)
def test_the_books_show_what_is_wrong(
    tamper: Callable[[Found], Found], wrong: set[str], valid: bool, tmp_path: Path
) -> None:
    """What is done twice, left over, lost or invented is counted, and where a history can tell, no judge calls it valid."""
    found = tamper(_good())
    comparison = compare([_order(key) for key in ("done", "undone", "declined")], found)
    assert {name for name in comparison.__slots__ if getattr(comparison, name)} == wrong
    said = verdicts(tmp_path / "h.jsonl", list(history(found, _told(), begun=0.0, ended=99.0)))
    assert set(said.values()) <= ({"VALID", "not here"} if valid else {"INVALID", "not here"})


def _told() -> Iterator[dict[str, object]]:
    """What the starter and the engines wrote down: all were started, and all steps called, back and forth."""
    for key in ("done", "undone", "declined"):
        yield {"t": 1.0, "kind": "saga_started", "saga": key, "steps": STEPS}
    for place, step in enumerate(["take", "reserve", "announce", "give", "notify"]):
        for key in ("done", "undone", "declined"):
            yield {"t": 2.0 + place / 10, "kind": "step_called", "saga": key, "step": step}
        if step != "notify":
            yield {"t": 13.0 - place / 10, "kind": "comp_called", "saga": "undone", "step": step}


def test_a_take_over_lasts_until_the_journal_goes_on() -> None:
    """From the loss to the next entry, where another engine leads; one that came back to it itself is counted apart."""
    leads = [{"t": t, "name": name} for t, name in [(1.0, "a"), (5.5, "b"), (9.0, "b")]]
    took, same = take_overs([5.0, 8.0, 20.0], leads, [4.0, 6.5, 7.0, 9.5])
    assert (took, same) == ([(5.0, 1.5)], 1)
