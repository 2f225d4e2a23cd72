"""What a ramp would take, before it begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skerry.gateway.model import Shadow, Strangle
from skerry.gateway.strangler import deciding, weighing
from skerry.gateway.strangler.deciding import Place
from skerry.gateway.strangler.forecast import forecast
from skerry.gateway.strangler.report import Side
from skerry.gateway.strangler.tally import BOUNDS
from skerry.gateway.strangler.weighing import Counts, Evidence

PLAN = Strangle("monolith", "catalogue", shadow=Shadow())


def test_every_step_is_told_and_comparing_first() -> None:
    """Where answers are compared that comes before the first step."""
    assert [stage.percent for stage in forecast(PLAN, rate=20)] == [0.0, *PLAN.steps]
    assert [stage.percent for stage in forecast(replace(PLAN, shadow=None), rate=20)] == list(PLAN.steps)


def test_more_traffic_takes_no_longer() -> None:
    """Each step takes as long at a hundred times the rate, or less."""
    slow, quick = forecast(PLAN, rate=2), forecast(PLAN, rate=200)
    assert all(a.seconds >= b.seconds for a, b in zip(slow, quick, strict=True))


def test_too_little_traffic_is_said() -> None:
    """A step that takes days comes with what to do about it."""
    assert any("longer than a day" in stage.warning for stage in forecast(PLAN, rate=0.01))


@pytest.mark.parametrize("rate", [20.0, 200.0])
def test_a_candidate_without_failures_takes_about_as_long_as_was_told(rate: float) -> None:
    """The forecast is what the deciding code then does, within a quarter and an interval for each step."""
    place, found, seconds = deciding.begun(PLAN), Evidence(), 0.0
    whole, interval = forecast(PLAN, rate=rate), PLAN.guard.interval
    carried = [0.0, 0.0]
    while place.state != "done":
        n = _whole(carried, 0, rate * interval * place.percent / 100)
        pairs = _whole(carried, 1, rate * interval * 0.1)
        other = round(rate * interval) - n
        counts = Counts(
            Side(other, 0, 0, 0), Side(n, 0, 0, 0), _times(other), _times(n), pairs=pairs, control_pairs=pairs
        )
        found = weighing.weighed(found, counts, PLAN, percent=place.percent, seconds=interval)
        seconds += interval
        told = deciding.judge(PLAN, place, found)
        assert told.verdict != "roll_back"
        if told.verdict == "promote":
            place, found = told.to, found.moved()
    expected = sum(stage.seconds for stage in whole)
    assert abs(seconds - expected) <= expected / 4 + len(whole) * interval


def _whole(carried: list[float], at: int, wanted: float) -> int:
    """Whole requests, what is left over for the next interval."""
    carried[at] += wanted
    found = int(carried[at])
    carried[at] -= found
    return found


def _times(n: int) -> weighing.Times:
    """A twentieth of them slow."""
    return (n - n // 20, 0, 0, n // 20, *([0] * (len(BOUNDS) - 3)))


def test_a_plan_knows_its_place_without_a_shadow() -> None:
    """Without a shadow a ramp begins at the first step."""
    assert deciding.begun(replace(PLAN, shadow=None)) == Place("ramping", 1.0)
