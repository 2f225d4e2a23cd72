"""The page of a ramp, without a browser: what is on it, and that it stays small."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from strangler_reports import interval, rolled_back, untouched

from skerry.gateway.strangler.charts import Axis, number, span, thinned
from skerry.gateway.strangler.picture import page


def test_the_page_tells_state_reason_needs_and_every_number() -> None:
    """What a decision was made from stands beside it."""
    told = page(rolled_back())
    for part in (
        "Rolled back",
        "errors at $.total",
        "It needs a new start.",
        "e_errors 149",
        "50 ms",
        "$.ts",
        "25 % → 0 %",
    ):
        assert part in told, part


def test_a_decision_that_no_gateway_has_confirmed_says_so() -> None:
    """`effective` is None until then."""
    report = rolled_back()
    waiting = replace(report, decisions=(*report.decisions[:-1], replace(report.decisions[-1], effective=None)))
    assert "not yet" in page(waiting)
    assert "not yet" not in page(report)


def test_a_ramp_of_days_has_a_page_of_bounded_size() -> None:
    """Points are thinned and tables cut: ten times the intervals are not ten times the page."""
    days = [replace(interval(5.0 * n, 25.0, evidence=1 + n % 7), at=5.0 * n + 1) for n in range(100_000)]
    assert len(page(replace(rolled_back(), intervals=tuple(days)))) < 300_000


def test_thinned_lines_keep_their_peaks_and_ends() -> None:
    """Of many points so many stay, the highest among them."""
    points = [(float(n), 100.0 if n == 4321 else float(n % 3)) for n in range(10_000)]
    kept = thinned(points, most=50)
    assert len(kept) <= 50
    assert (4321.0, 100.0) in kept
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert list(kept) == sorted(kept)


def test_an_axis_holds_what_is_beyond_it() -> None:
    """Evidence that is past all bounds, or nothing at all, is drawn at the edge."""
    axis = Axis(0.01, 1000.0, logarithmic=True)
    assert [axis.share(value) for value in (0.0, 0.01, 1000.0, float("inf"))] == [0.0, 0.0, 1.0, 1.0]
    assert axis.marks() == [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (12400, "12,400"), (3.25, "3.25"), (0.05, "0.05"), (1e6, "1e6"), (2e-7, "2e-7")]
)
def test_numbers_are_short(value: float, shown: str) -> None:
    """As a person would write them."""
    assert number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(40, "40 s"), (60, "1 min"), (90, "90 s"), (7200, "2 h"), (200_000, "2.31 days")]
)
def test_spans_are_told_in_their_own_unit(seconds: float, shown: str) -> None:
    """The largest that has two of it."""
    assert span(seconds) == shown


def test_the_same_report_gives_the_same_page() -> None:
    """Nothing of the moment is on it, also when nothing has begun."""
    assert page(rolled_back()) == page(rolled_back())
    assert "Not begun" in page(untouched())
