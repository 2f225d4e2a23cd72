"""What counts say about a candidate beside its control, as e-values: bets that win nothing on average when nothing is there.

An e-process begins at 1, and while its hypothesis is true it is a non-negative supermartingale: the probability that it ever
gets to 1/alpha is at most alpha (Ville 1939), however often one looks and whenever one stops. This is the mixture sequential
probability ratio test (Robbins 1970; Johari, Pekelis and Walsh 2017/2022) on counts of intervals. Each of them stands by
itself, so rates may rise and fall over the day, as long as they do so for both sides.

**Failures, by odds** (`against_odds`). Of the m failures of an interval, the candidate's number is, if it is as good, a draw
without replacement, with its share p of the requests. For odds t > 1 the bet is t^k / (1-p+pt)^m: convex in k, so that what
holds for a binomial number holds for this one (Hoeffding 1963), and rising in k, so that it holds for a better candidate.

**Beginnings.** What was good for long has lost its stake, and a bet on it is worth nothing when it turns bad. So not all is
staked at once: a part at the ramp's beginning, a part at each step's, and a little at every interval (`staked`). A mixture over
beginnings is a bet as well, as long as no more than 1 is staked in all; what is not staked yet counts as it is.

**Shares, by margin** (`against_margin`, `for_margin`). With n requests and k hits of the candidate, N and K of the control, the
bet A^k B^K / (1+d(A-1))^n is fair for every pair of rates that are d apart when B = 1 - (n/N)(A-1)/(1+d(A-1)): the logarithm of
its mean is concave in the control's rate, and B puts the top at rate 0. A > 1 bets that the candidate is worse by more than d,
A < 1 that it is worse by less.

**Bursts.** Failures come together: one dropped connection pool is fifty failed requests and one event. First, an interval never
says more than a single failure of the candidate would. A bet that is cut off above is still one; and cut off there it holds
for an interval all of whose failures are one event, too. Second, where the control's own failures come in bunches of b, a bet is
raised to the power 1/b: still one (Jensen), and then what it says of bunches is what it would say of as many single failures.
`bunched` is estimated from intervals before, so it takes nothing away from what it is used for. Bunches that are longer
than an interval count once in each: intervals are to be longer than bursts are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

Logs = tuple[float, ...]
"""The logarithm of each bet of a mixture, so far."""

ODDS: Final = ((1.5, 0.1), (2.0, 0.1), (3.0, 0.15), (5.0, 0.15), (10.0, 0.2), (30.0, 0.2), (100.0, 0.1))
"""Odds that are bet on, each with its part of the stake."""
RATES: Final = ((1.5, 0.25), (2.0, 0.25), (4.0, 0.25), (8.0, 0.25))
"""The same for slow requests, as factors on a share that is not small."""
MULTIPLES: Final = ((2.0, 0.1), (5.0, 0.2), (20.0, 0.3), (100.0, 0.3), (400.0, 0.1))
"""The same for pairs that differ, which are to be next to none."""
LESS: Final = ((0.02, 0.3), (0.3, 0.15), (0.6, 0.15), (0.8, 0.1), (0.9, 0.1), (0.95, 0.1), (0.975, 0.1))
"""The same for a candidate that is worse by less than the margin."""
_LESS: Final = tuple((1 - a, math.log(a)) for a, _ in LESS)
MOST_GAIN: Final = 4.0
"""What an interval multiplies a bet for the candidate by, at most: no stretch without failures is taken for many."""
LEAST: Final = 0.05
"""What a bet against the candidate has left at least after one hit of the control."""
LOWEST: Final = -700.0
"""A bet that has lost so much is kept there: it cannot come back in any time that matters, and numbers stay finite."""

Grid = Sequence[tuple[float, float]]


def fresh(grid: Grid) -> Logs:
    """Bets at their beginning."""
    return (0.0,) * len(grid)


def staked(logs: Logs, part: float) -> Logs:
    """The same bets after so large a part of 1 was added to their stakes, to be won from now on."""
    if part <= 0:
        return logs
    more = math.log(part)
    return tuple(max(log, more) + math.log1p(math.exp(-abs(log - more))) for log in logs)


def value(logs: Logs, grid: Grid) -> float:
    """The e-value of a mixture; at most 1e300."""
    top = max(logs)
    total = sum(stake * math.exp(log - top) for log, (_, stake) in zip(logs, grid, strict=True))
    return math.exp(min(690.0, top + math.log(total)))


def against_odds(logs: Logs, k: int, n: int, control_k: int, control_n: int, *, bunched: float = 1.0) -> Logs:
    """After an interval in which `k` of the candidate's `n` requests failed: the bets that it fails more often."""
    together = k + control_k
    if not n or not control_n or not together:
        return logs
    p = n / (n + control_n)
    return tuple(
        _kept(log + min((k * math.log(t) - together * (d := math.log1p(p * (t - 1)))) / bunched, math.log(t) - d))
        for log, (t, _) in zip(logs, ODDS, strict=True)
    )


def against_margin(
    logs: Logs, grid: Grid, k: int, n: int, control_k: int, control_n: int, *, margin: float, bunched: float = 1.0
) -> Logs:
    """After an interval: the bets that the candidate's share of hits is more than `margin` above the control's.

    Without requests of the control (`control_n` 0) its share counts as 0: that is the case of pairs that differ.
    """
    if not n:
        return logs
    found: list[float] = []
    for log, (wanted, _) in zip(logs, grid, strict=True):
        a = wanted
        if control_n:  # B may not fall below nothing; how far A can go is known before anything failed
            room = (1 - LEAST) * control_n / n
            if margin * room < 1:
                a = min(wanted, 1 + room / (1 - margin * room))
        scale = 1 + margin * (a - 1)
        gain = k * math.log(a) - n * math.log(scale)
        if control_n and control_k:
            gain += control_k * math.log1p(-n / control_n * (a - 1) / scale)
        found.append(_kept(log + min(gain / bunched, math.log(a / scale))))
    return tuple(found)


def for_margin(
    logs: Logs, k: int, n: int, control_k: int, control_n: int, *, margin: float, bunched: float = 1.0
) -> Logs:
    """After an interval: the bets that the candidate's share of hits is less than `margin` above the control's."""
    if not n:
        return logs
    most, ratio, found = math.log(MOST_GAIN), n / control_n if control_n else 0.0, list[float]()
    for log, (less, log_a) in zip(logs, _LESS, strict=True):  # as in `_gain`, which this has no time to call
        scale = 1 - margin * less
        gain = k * log_a - n * math.log(scale)
        if control_k and ratio:
            gain += control_k * math.log1p(ratio * less / scale)
        found.append(_kept(log + min(gain / bunched, most)))
    return tuple(found)


def _gain(a: float, k: float, n: float, control_k: float, control_n: float, margin: float) -> float:
    scale = 1 - margin * (1 - a)
    gain = k * math.log(a) - n * math.log(scale)
    if control_n and control_k:
        gain += control_k * math.log1p(n / control_n * (1 - a) / scale)
    return gain


def wanted(
    logs: Logs,
    *,
    rate: float,
    control_rate: float,
    ratio: float,
    margin: float,
    limit: float,
    bunched: float = 1.0,
) -> int | None:
    """How many more requests of the candidate would get the bets for it to `limit`, were they to fail at `rate`.

    `ratio` is the control's number of requests for each of them. None: no number would, within a thousand million.
    """
    gains = [_gain(a, rate, 1.0, control_rate * ratio, ratio, margin) / bunched for a, _ in LESS]

    def reached(count: int) -> bool:
        return value(tuple(log + count * gain for log, gain in zip(logs, gains, strict=True)), LESS) >= limit

    most = 10**9
    if reached(0):
        return 0
    if not reached(most):
        return None
    low, high = 0, most
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def noise(k: int, n: int, control_k: int, control_n: int) -> float:
    """The e-value against "of `n` pairs no more differ than of the control with itself", for sums of a whole ramp.

    It is not cut off: it only ever stands beside one that is, and the lesser of both counts.
    """
    if not n:
        return 1.0
    p = n / (n + max(1, control_n))
    together = k + control_k
    return value(tuple(k * math.log(t) - together * math.log1p(p * (t - 1)) for t, _ in ODDS), ODDS)


def _kept(log: float) -> float:
    return max(LOWEST, log)
