"""The short form of the events soak; the long one is `python -m tests.crash.events`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from storming.books import compare, history, verdicts
from storming.crew import working_in
from storming.plan import STOP, draw_plan
from storming.report import as_text
from storming.run import Soak


@pytest.mark.timeout(420)
@pytest.mark.parametrize(("database", "broker"), [("sqlite", "sqlite"), ("postgresql", "nats")])
def test_no_kill_costs_an_event(database: str, broker: str, tmp_path: Path) -> None:
    """Whatever is killed or stopped: every committed event has its effect once in each group, in the order of its key."""
    told: list[str] = []
    kills = 5 if broker == "sqlite" else 7  # of each kind one, the servers too
    soak = Soak(
        events=5000, kills=kills, database=database, broker=broker, seed=7, folder=tmp_path, stop=6.0, tell=told.append
    )
    result = soak.run()
    print("\n".join(told), as_text(result), sep="\n")
    assert result.ok, as_text(result)
    assert not working_in(tmp_path)


@pytest.mark.timeout(420)
def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    """A run that is interrupted while events flow ends at once, and its processes and servers with it."""
    command = [sys.executable, "-m", "tests.crash.events", "--database", "postgresql", "--folder", str(tmp_path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3], stderr=subprocess.DEVNULL) as run:
        try:
            end = time.monotonic() + 180.0
            while not (tmp_path / "called.jsonl").exists():
                assert time.monotonic() < end
                time.sleep(0.05)
        finally:
            run.send_signal(signal.SIGINT)
        assert run.wait(timeout=60.0) == 130
    assert not working_in(tmp_path)


def test_the_plan_comes_from_the_seed() -> None:
    """One seed, one plan; and each kind has its share of the kills."""
    plan = draw_plan(4, events=1000, kills=14, servers=["database", "broker"])
    assert plan == draw_plan(4, events=1000, kills=14, servers=["database", "broker"])
    assert plan != draw_plan(5, events=1000, kills=14, servers=["database", "broker"])
    kinds = [strike.kind for strike in plan]
    assert kinds.count(STOP) == 1
    assert {kinds.count(kind) for kind in kinds if kind != STOP} == {2}


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ([1, 2, 3], set()),
        ([1, 2], {"lost"}),
        ([1, 3], {"lost"}),
        ([1, 3, 2], {"reordered"}),
        ([1, 2, 2, 3], {"twice"}),
        ([1, 2, 3, 4], {"invented"}),
    ],
)
def test_the_books_show_what_is_wrong(numbers: list[int], wrong: set[str], tmp_path: Path) -> None:
    """What is lost, reordered, done twice or invented is counted, and no judge calls it valid."""
    effects = {"billing": [("k", n, 10.0 + place) for place, n in enumerate(numbers)]}
    told = {("k", 1): 1.0}  # the other two were committed, but nobody lived to hear it
    found = compare({"k": 3}, told, effects)
    assert {name for name in found.__slots__ if getattr(found, name)} == wrong
    said = verdicts(tmp_path / "h.jsonl", history({"k": 3}, told, effects, [], begun=0.0, ended=99.0))
    assert set(said.values()) <= ({"INVALID", "not here"} if wrong else {"VALID", "not here"})


def test_a_commit_the_database_forgot_is_seen() -> None:
    """What was acknowledged and is not in the database is no matter of the events, but is not passed over."""
    assert compare({"k": 1}, [("k", 1), ("k", 2)], {"billing": [("k", 1, 1.0)]}).forgotten == 1
