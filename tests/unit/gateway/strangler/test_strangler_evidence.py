"""Bets are fair when there is nothing to find: means by enumeration, not by chance."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.gateway.strangler import evidence

SLACK = 1e-9


def binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def bets(logs: evidence.Logs) -> list[float]:
    return [math.exp(log) for log in logs]


def mean(outcomes: list[tuple[float, evidence.Logs]]) -> float:
    """The highest mean of any bet."""
    told = [[probability * bet for bet in bets(logs)] for probability, logs in outcomes]
    return max(math.fsum(column) for column in zip(*told, strict=True))


@pytest.mark.parametrize(("n", "control_n"), [(1, 9), (5, 45), (10, 10), (20, 5)])
@pytest.mark.parametrize("failed", [1, 2, 5])
def test_failures_drawn_without_replacement_win_nothing(n: int, control_n: int, failed: int) -> None:
    """Whatever the number of failures, a candidate that is as good gets its share of them, and no bet has a mean above 1."""
    fresh = evidence.fresh(evidence.ODDS)
    total = math.comb(n + control_n, failed)
    outcomes = [
        (
            math.comb(n, k) * math.comb(control_n, failed - k) / total,
            evidence.against_odds(fresh, k, n, failed - k, control_n),
        )
        for k in range(max(0, failed - control_n), min(n, failed) + 1)
    ]
    assert mean(outcomes) <= 1 + SLACK


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("size", [1, 2, 10, 1000])
def test_a_burst_that_falls_on_one_side_wins_nothing(share: float, size: int) -> None:
    """When all failures of an interval are one event, which side it hits is chance, and no bet has a mean above 1."""
    fresh, n = evidence.fresh(evidence.ODDS), round(10_000 * share)
    hit = evidence.against_odds(fresh, size, n, 0, 10_000 - n)
    missed = evidence.against_odds(fresh, 0, n, size, 10_000 - n)
    assert mean([(n / 10_000, hit), (1 - n / 10_000, missed)]) <= 1 + SLACK


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize(("events", "size"), [(2, 5), (12, 10), (30, 3)])
def test_many_bunches_win_nothing_once_bunching_is_known(share: float, events: int, size: int) -> None:
    """Failures that come in bunches of a size are weighed as so many single ones, when the bunching is known."""
    fresh, n = evidence.fresh(evidence.ODDS), round(100_000 * share)
    outcomes = [
        (
            binomial(events, k, share),
            evidence.against_odds(fresh, k * size, n, (events - k) * size, 100_000 - n, bunched=size),
        )
        for k in range(events + 1)
    ]
    assert mean(outcomes) <= 1 + SLACK


@pytest.mark.parametrize(("n", "control_n"), [(4, 12), (8, 8), (12, 4)])
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 0.4, 0.8])
@pytest.mark.parametrize("margin", [0.001, 0.02, 0.1])
def test_bets_by_margin_win_nothing_at_the_margin(n: int, control_n: int, rate: float, margin: float) -> None:
    """For every rate of the control, a candidate exactly the margin above it lets neither kind of bet win."""
    worse = rate + margin
    against, supporting = [], []
    for k, control_k in product(range(n + 1), range(control_n + 1)):
        probability = binomial(n, k, worse) * binomial(control_n, control_k, rate)
        fresh = evidence.fresh(evidence.RATES)
        against.append(
            (probability, evidence.against_margin(fresh, evidence.RATES, k, n, control_k, control_n, margin=margin))
        )
        fresh = evidence.fresh(evidence.LESS)
        supporting.append((probability, evidence.for_margin(fresh, k, n, control_k, control_n, margin=margin)))
    assert mean(against) <= 1 + SLACK
    assert mean(supporting) <= 1 + SLACK


@given(
    k=st.integers(0, 50),
    n=st.integers(0, 500),
    control_k=st.integers(0, 50),
    control_n=st.integers(0, 500),
    bunched=st.floats(1, 50),
)
def test_an_interval_says_no_more_than_one_failure(
    k: int, n: int, control_k: int, control_n: int, bunched: float
) -> None:
    """No interval moves a bet against the candidate further up than one failure among one would."""
    k, control_k = min(k, n), min(control_k, control_n)
    fresh = evidence.fresh(evidence.ODDS)
    most = evidence.against_odds(fresh, 1, n, 0, control_n) if n else fresh
    for log, bound in zip(evidence.against_odds(fresh, k, n, control_k, control_n, bunched=bunched), most, strict=True):
        assert log <= max(0.0, bound) + SLACK


@given(counts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=6), data=st.data())
def test_the_order_of_intervals_does_not_matter(counts: list[tuple[int, int]], data: st.DataObject) -> None:
    """The same intervals in another order say the same."""
    other = data.draw(st.permutations(counts))

    def told(order: list[tuple[int, int]]) -> float:
        logs = evidence.fresh(evidence.ODDS)
        for k, control_k in order:
            logs = evidence.against_odds(logs, k, 20, control_k, 80)
        return evidence.value(logs, evidence.ODDS)

    assert told(list(other)) == pytest.approx(told(counts))


@pytest.mark.parametrize("grid", [evidence.ODDS, evidence.RATES, evidence.MULTIPLES, evidence.LESS])
def test_stakes_are_one_together(grid: evidence.Grid) -> None:
    """A mixture begins at 1."""
    assert evidence.value(evidence.fresh(grid), grid) == pytest.approx(1)


def test_a_candidate_without_requests_says_nothing() -> None:
    """Failures of the control alone are no evidence about a candidate that was not asked."""
    fresh = evidence.fresh(evidence.ODDS)
    assert evidence.against_odds(fresh, 0, 0, 5, 100) == fresh
    assert evidence.for_margin(evidence.fresh(evidence.LESS), 0, 0, 5, 100, margin=0.01) == evidence.fresh(
        evidence.LESS
    )


@pytest.mark.parametrize(("margin", "most"), [(0.04, 150), (0.004, 1460), (0.002, 2910)])
def test_without_failures_a_margin_is_shown_by_a_finite_number(margin: float, most: int) -> None:
    """Zero failures on both sides show any margin, after the number of requests that is forecast."""
    fresh = evidence.fresh(evidence.LESS)
    count = evidence.wanted(fresh, rate=0, control_rate=0, ratio=1, margin=margin, limit=100)
    assert count is not None
    assert count <= most
    logs = fresh
    for _ in range(count):
        logs = evidence.for_margin(logs, 0, 1, 0, 1, margin=margin)
    assert evidence.value(logs, evidence.LESS) >= 100


def test_what_no_number_of_requests_would_show_is_said() -> None:
    """A candidate that fails by more than the margin never shows that it does not."""
    fresh = evidence.fresh(evidence.LESS)
    assert evidence.wanted(fresh, rate=0.05, control_rate=0.001, ratio=4, margin=0.002, limit=100) is None


def test_differences_as_common_as_the_controls_own_are_noise() -> None:
    """Of pairs that differ as often as the control from itself, nothing is concluded, however many there are."""
    assert evidence.noise(500, 1000, 500, 1000) < 1
    assert evidence.noise(20, 1000, 0, 1000) > 1000
    assert evidence.noise(0, 0, 0, 0) == 1


def test_a_bet_that_lost_all_stays_a_number() -> None:
    """Neither a flood of failures nor one of successes leads to what is not a number."""
    logs = evidence.fresh(evidence.LESS)
    for _ in range(1000):
        logs = evidence.for_margin(logs, 500, 500, 0, 500, margin=0.01)
    assert evidence.value(logs, evidence.LESS) >= 0
    logs = evidence.fresh(evidence.ODDS)
    for _ in range(1000):
        logs = evidence.against_odds(logs, 500, 500, 0, 50_000)
    assert math.isfinite(evidence.value(logs, evidence.ODDS))
