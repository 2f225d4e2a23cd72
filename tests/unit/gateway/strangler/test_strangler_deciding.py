"""What follows from counts: on, wait, or back."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.gateway.model import GuardSpec, Shadow, Strangle
from skerry.gateway.strangler import deciding, weighing
from skerry.gateway.strangler.deciding import Judgement, Place, Recent
from skerry.gateway.strangler.report import Side
from skerry.gateway.strangler.tally import BOUNDS
from skerry.gateway.strangler.weighing import Counts, Evidence

PLAN = Strangle("monolith", "catalogue", shadow=None)
COMPARED = replace(PLAN, shadow=Shadow())
BUCKETS = len(BOUNDS) + 1


def times(quick: int, slow: int = 0) -> weighing.Times:
    return (quick, 0, 0, slow, *([0] * (BUCKETS - 4)))


def counted(n: int, errors: int, control_n: int, control_errors: int, **more: int) -> Counts:
    """An interval in which a twentieth of both sides is slow."""
    return Counts(
        Side(control_n, control_errors, more.pop("control_refused", 0), 0),
        Side(n, errors, more.pop("refused", 0), 0),
        times(control_n - control_n // 20, control_n // 20),
        times(n - n // 20, n // 20),
        **more,
    )


def run(
    plan: Strangle, place: Place, intervals: list[Counts], found: Evidence | None = None
) -> tuple[Judgement, Evidence]:
    """Go through intervals without moving; what is judged at the end."""
    found = found or Evidence()
    for counts in intervals:
        found = weighing.weighed(found, counts, plan, percent=place.percent, seconds=5)
    return deciding.judge(plan, place, found), found


def test_no_more_than_all_is_staked() -> None:
    """However many steps and intervals there are, what is bet against a candidate is 1 in all."""
    found = Evidence()
    for _ in range(20):
        found = run(PLAN, Place("ramping", 5.0), [counted(10, 0, 90, 0)] * 5, found.moved())[1]
        assert 0 <= found.unstaked <= 1
    assert found.value("errors") == pytest.approx(1)


def test_a_candidate_that_turns_bad_late_goes_back() -> None:
    """A long good past does not excuse it: after 200 good intervals, 60 bad ones take it back, at half of the requests."""
    place = Place("held", 50.0)
    good, found = run(PLAN, place, [counted(100, 1, 100, 1)] * 200)
    assert good.verdict == "hold"
    judgement, _ = run(PLAN, place, [counted(100, 8, 100, 1)] * 60, found)
    assert judgement.verdict == "roll_back"


def test_no_data_is_no_reason_to_go_on() -> None:
    """However long it is waited, without requests nothing moves."""
    place = Place("ramping", 1.0)
    judgement, found = run(PLAN, place, [Counts()] * 1000)
    assert (judgement.verdict, judgement.to) == ("hold", place)
    assert "200 more requests to catalogue at 1 %" in deciding.waits_for(PLAN, place, found)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30)), max_size=40))
def test_requests_to_the_control_alone_promote_nothing(intervals: list[tuple[int, int]]) -> None:
    """A candidate that was asked fewer than `enough` times does not go on, whatever became of the control."""
    counts = [counted(0, 0, n, min(n, errors)) for n, errors in intervals]
    assert run(PLAN, Place("ramping", 5.0), counts)[0].verdict == "hold"


def test_a_candidate_without_failures_goes_on_after_what_was_forecast() -> None:
    """Zero failures on both sides lead to the next step, after the number of requests that the step says it needs."""
    place = Place("ramping", 50.0)
    needed = deciding.needed(PLAN, Evidence(), "errors", 100.0)
    assert needed is not None
    intervals = -(-needed // 50)
    assert run(PLAN, place, [counted(50, 0, 50, 0)] * (intervals // 2))[0].verdict == "hold"
    judgement = run(PLAN, place, [counted(50, 0, 50, 0)] * (intervals + 2))[0]
    assert (judgement.verdict, judgement.to) == ("promote", Place("ramping", 100.0))
    assert "worse by less than 0.2 %" in judgement.reason


def test_a_small_step_asks_for_less() -> None:
    """What bounds the margin is what the whole route loses: 5 % of the requests may be twenty times as much worse."""
    assert weighing.margins(PLAN, 5.0)["errors"] == pytest.approx(0.04)
    assert weighing.margins(PLAN, 0.1)["errors"] == pytest.approx(0.04)
    assert weighing.margins(PLAN, 100.0)["errors"] == pytest.approx(0.002)


def test_a_candidate_that_fails_more_often_goes_back_with_the_numbers() -> None:
    """Evidence beyond the limit takes it back, and the decision says what was counted."""
    judgement = run(PLAN, Place("ramping", 5.0), [counted(50, 5, 950, 1)] * 8)[0]
    assert (judgement.verdict, judgement.by, judgement.to) == ("roll_back", "evidence", Place("rolled_back", 0.0))
    assert "40 of 400 requests to catalogue failed (10.00%), of monolith 8 of 7,600 (0.11%)" in judgement.reason
    assert judgement.numbers["evidence errors"] >= judgement.numbers["limit"] == 300


def test_one_bad_interval_takes_nothing_back() -> None:
    """A burst counts for one failure: fifty failures in one interval alone are not enough."""
    judgement, found = run(PLAN, Place("ramping", 1.0), [counted(50, 50, 4950, 0)])
    assert judgement.verdict == "hold"
    assert found.value("errors") < 300


def test_suspicion_is_enough_to_wait() -> None:
    """Evidence of 10 against the candidate keeps it where it is, though all else is shown."""
    place = Place("ramping", 1.0)
    good, found = run(PLAN, place, [counted(200, 0, 19_800, 0)] * 10)
    assert good.verdict == "promote"
    judgement, found = run(PLAN, place, [counted(200, 1, 19_800, 0)] * 2, found)
    assert judgement.verdict == "hold"
    assert "the evidence against it on errors" in deciding.waits_for(PLAN, place, found)


def test_refusals_and_slowness_take_it_back_too() -> None:
    """A candidate that answers 404, or that is slow, where the control does not, is worse."""
    refusing = [counted(50, 0, 450, 0, refused=5)] * 10
    assert run(PLAN, Place("ramping", 10.0), refusing)[0].verdict == "roll_back"
    slow = [counted(50, 0, 450, 0)] + [
        replace(counted(50, 0, 450, 0), candidate_times=times(25, 25)) for _ in range(20)
    ]
    judgement = run(PLAN, Place("ramping", 10.0), slow)[0]
    assert judgement.verdict == "roll_back"
    assert "were slow" in judgement.reason


def test_a_candidate_that_is_a_little_slower_goes_on() -> None:
    """Within `slower_by` a difference in times is none."""
    intervals = [replace(counted(100, 0, 900, 0), candidate_times=times(90, 10))] * 40
    assert run(PLAN, Place("ramping", 10.0), intervals)[0].verdict == "promote"


def test_comparing_goes_on_after_pairs_that_do_not_differ() -> None:
    """At 0 %, what is asked for is pairs; their number is told before."""
    place = deciding.begun(COMPARED)
    assert place == Place("comparing", 0.0)
    assert "290 more compared pairs" in deciding.waits_for(COMPARED, place, Evidence())
    pairs = [counted(0, 0, 100, 0, pairs=50, control_pairs=50)] * 4
    assert run(COMPARED, place, pairs)[0].verdict == "hold"
    assert run(COMPARED, place, pairs * 2)[0].to == Place("ramping", 1.0)


def test_pairs_that_differ_take_it_back_and_name_the_path() -> None:
    """A field that differs now and then ends it before a single request was the candidate's."""
    pairs = replace(
        counted(0, 0, 100, 0, pairs=50, control_pairs=50, differing=2), paths={"$.time": (9, 9), "$.total": (2, 0)}
    )
    judgement = run(COMPARED, Place("comparing", 0.0), [pairs] * 8)[0]
    assert judgement.verdict == "roll_back"
    assert "16 of 400 compared pairs differ, most at $.total" in judgement.reason


def test_what_the_control_does_itself_is_no_mismatch() -> None:
    """Pairs that differ as often as the control from itself take nothing back, though they are more than the margin."""
    pairs = counted(0, 0, 100, 0, pairs=50, control_pairs=50, differing=2, control_differing=2)
    assert run(COMPARED, Place("comparing", 0.0), [pairs] * 40)[0].verdict == "hold"


def test_all_steps_lead_to_the_end_by_way_of_a_watched_hundred() -> None:
    """After the last step it is watched there before it is done."""
    place = Place("comparing", 0.0)
    seen: list[float] = []
    while place.state != "done":
        place = deciding.following(COMPARED, place)
        seen.append(place.percent)
    assert seen == [1.0, 5.0, 25.0, 50.0, 100.0, 100.0]


def test_the_guard_looks_at_the_last_requests_only() -> None:
    """A candidate that was good for long and then breaks goes back at once."""
    guard = GuardSpec()
    recent = Recent(guard)
    for _ in range(1000):
        recent.add(10, 0)
    recent.add(40, 40)
    told = deciding.broken(PLAN, Place("ramping", 50.0), requests=recent.requests, errors=recent.errors)
    assert told is not None
    assert (told.verdict, told.by) == ("roll_back", "guard")
    assert deciding.broken(PLAN, Place("ramping", 50.0), requests=49, errors=49) is None
    assert deciding.broken(PLAN, Place("ramping", 50.0), requests=50, errors=10) is None


def test_who_owns_the_writes_is_not_taken_back_by_itself() -> None:
    """When the candidate owns the writes the control is behind: a person is asked for, and nothing moves."""
    place = Place("ramping", 5.0, "candidate")
    judgement, found = run(PLAN, place, [counted(50, 5, 950, 1)] * 8)
    assert (judgement.verdict, judgement.to) == ("hold", place)
    assert "a person" in deciding.waits_for(PLAN, place, found)


def test_a_held_ramp_does_not_go_on_but_goes_back() -> None:
    """What a person holds is still guarded."""
    assert run(PLAN, Place("held", 1.0), [counted(200, 0, 800, 0)] * 50)[0].verdict == "hold"
    assert run(PLAN, Place("held", 5.0), [counted(50, 5, 950, 1)] * 8)[0].verdict == "roll_back"


def test_evidence_survives_being_written_down() -> None:
    """What is read back from JSON is what was kept."""
    found = run(COMPARED, Place("ramping", 5.0), [counted(50, 1, 950, 1, pairs=3, differing=1, refused=2)] * 5)[1]
    assert weighing.from_json(weighing.as_json(found)) == found


@pytest.mark.parametrize("rate", [0.001, 0.03])
def test_candidates_that_are_as_good_are_hardly_ever_taken_back(rate: float) -> None:
    """Of 100 ramps with seeds of their own at most two go back, where alpha allows one of a hundred."""
    back = 0
    for seed in range(100):
        draw, place, found = random.Random(seed), Place("ramping", 5.0), Evidence()
        for _ in range(60):
            n = sum(draw.random() < 0.05 for _ in range(400))
            errors = sum(draw.random() < rate for _ in range(n))
            control = sum(draw.random() < rate for _ in range(400 - n))
            found = weighing.weighed(found, counted(n, errors, 400 - n, control), PLAN, percent=5.0, seconds=5)
            if deciding.judge(PLAN, place, found).verdict == "roll_back":
                back += 1
                break
    assert back <= 2
