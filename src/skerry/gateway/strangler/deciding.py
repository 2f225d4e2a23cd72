"""Whether a candidate goes on, waits, or goes back: from numbers alone.

It knows the plan, where the ramp is, and what was counted; never what is wrong with a candidate.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from skerry.gateway.model import GuardSpec, Strangle
from skerry.gateway.strangler import evidence
from skerry.gateway.strangler.report import State, Verdict
from skerry.gateway.strangler.shares import Owner
from skerry.gateway.strangler.weighing import Evidence, enough_shown, limit, margins, tests

LOOKS: Final = 3
"""Intervals that a step is seen in at least: what only happens now and then gets three chances to."""
SUSPECT: Final = 10.0
"""An e-value against the candidate at which it does not go on, though it does not go back yet."""
BELIEF: Final = 200
"""Requests that the control's rate counts for in an estimate of the candidate's."""
WATCHED: Final = 600
ABOUT: Final = 2
"""Digits of a forecast."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ramp is."""

    state: State
    percent: float
    owner: Owner = "control"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be done, and why; `numbers` made it. What a ramp that is to wait waits for is told by `waits_for`."""

    verdict: Verdict
    by: Literal["evidence", "guard"]
    to: Place
    reason: str
    numbers: dict[str, float]


def judge(plan: Strangle, place: Place, found: Evidence) -> Judgement:
    """What follows from the evidence after an interval. Only ramps that compare or go on are moved forward."""
    weights = {test: found.value(test) for test in tests(plan)}
    most = limit(plan)
    worst = max(weights, key=lambda test: weights[test])
    if place.state in {"comparing", "ramping", "held"} and weights[worst] >= most:
        reason = f"{_told(plan, found, worst)}; evidence {weights[worst]:,.0f}, the limit is {most:,.0f}"
        return _back(place, "evidence", reason, _numbers(plan, found, weights))
    if place.state not in {"comparing", "ramping"}:
        return Judgement("hold", "evidence", place, "held by a person", {})
    after = following(plan, place)
    if not _ready(plan, place, after, found, weights):
        return Judgement("hold", "evidence", place, "not enough is shown", {})
    return Judgement("promote", "evidence", after, _why(plan, place, after, found), _numbers(plan, found, weights))


def waits_for(plan: Strangle, place: Place, found: Evidence) -> str:
    """What is missing for going on, as a sentence; empty when nothing is, or when a person holds it."""
    if place.state in {"comparing", "ramping", "held"} and place.owner != "control":
        worst = max(tests(plan), key=found.value)
        if found.value(worst) >= limit(plan):
            # the control has not seen what was written since: its answers would be old
            return f"a person: {_told(plan, found, worst)}. The candidate owns the writes: hand them back first"
    if place.state not in {"comparing", "ramping"}:
        return ""
    return "; ".join(_missing(plan, place, following(plan, place), found))


def broken(plan: Strangle, place: Place, *, requests: int, errors: int) -> Judgement | None:
    """What follows when so many of the candidate's last requests failed, whatever the evidence is; None: nothing."""
    guard = plan.guard
    if requests < guard.limit_requests or errors <= guard.limit * requests or place.state in {"idle", "rolled_back"}:
        return None
    reason = f"{errors} of the last {requests} requests to {plan.candidate} failed; the guard allows {guard.limit:.0%}"
    return _back(place, "guard", reason, {"requests": requests, "errors": errors, "limit": guard.limit})


def following(plan: Strangle, place: Place) -> Place:
    """The next step; after the last one, and after that was watched, the end."""
    later = [percent for percent in plan.steps if percent > place.percent]
    return Place("ramping", later[0], place.owner) if later else Place("done", 100.0, place.owner)


def begun(plan: Strangle) -> Place:
    """Where a ramp begins: with comparing alone, where answers are compared."""
    return Place("comparing", 0.0) if plan.shadow is not None else Place("ramping", plan.steps[0])


class Recent:
    """The last requests of a candidate, as few as the guard looks at: one that begins to fail is not excused by its past."""

    def __init__(self, guard: GuardSpec) -> None:
        self._least = guard.limit_requests
        self._seen: deque[tuple[int, int]] = deque(maxlen=max(WATCHED, guard.limit_requests))
        self.requests: int = 0
        self.errors: int = 0

    def add(self, requests: int, errors: int) -> None:
        """What was counted since the last time."""
        if not requests and not errors:
            return
        if len(self._seen) == self._seen.maxlen:
            self._drop()
        self._seen.append((requests, errors))
        self.requests += requests
        self.errors += errors
        while self.requests - self._seen[0][0] >= self._least:
            self._drop()

    def _drop(self) -> None:
        requests, errors = self._seen.popleft()
        self.requests -= requests
        self.errors -= errors


def _back(place: Place, by: Literal["evidence", "guard"], reason: str, numbers: dict[str, float]) -> Judgement:
    if place.owner != "control":  # the control has not seen what was written since: its answers would be old
        return Judgement("hold", by, place, reason, numbers)
    return Judgement("roll_back", by, Place("rolled_back", 0.0, place.owner), reason, numbers)


def _ready(plan: Strangle, place: Place, after: Place, found: Evidence, weights: dict[str, float]) -> bool:
    """Whether all is there for `after`."""
    step = found.step
    if step.looks < LOOKS or (place.percent and step.requests < plan.guard.enough) or max(weights.values()) >= SUSPECT:
        return False
    if after.state != "ramping":
        return True
    enough = enough_shown(plan)
    demanded = (
        (what, by) for what, by in margins(plan, after.percent).items() if place.percent or what == "mismatches"
    )
    return all(found.so_far(what, margin) >= enough for what, margin in demanded)


def _missing(plan: Strangle, place: Place, after: Place, found: Evidence) -> list[str]:
    missing: list[str] = []
    suspect = [test for test in tests(plan) if found.value(test) >= SUSPECT]
    for test in suspect:
        told = f"{found.value(test):,.0f} of {limit(plan):,.0f}"
        missing.append(f"the evidence against it on {test} ({told}) to fall below {SUSPECT:g}, or to reach the limit")
    step = found.step
    if place.percent:
        few = plan.guard.enough - step.requests
        if few > 0:
            missing.append(f"{few:,} more requests to {plan.candidate} at {place.percent:g} % (at least)")
    if step.looks < LOOKS:
        more = LOOKS - step.looks
        missing.append(f"{more} more interval{'s' if more > 1 else ''} with requests")
    if after.state == "ramping":
        missing += _unshown(plan, place, after.percent, found)
    return missing


def _unshown(plan: Strangle, place: Place, percent: float, found: Evidence) -> list[str]:
    """What is not shown yet of what a step to `percent` demands."""
    missing: list[str] = []
    enough = enough_shown(plan)
    for what, margin in margins(plan, percent).items():
        if (what != "mismatches" and not place.percent) or found.so_far(what, margin) >= enough:
            continue
        count = needed(plan, found, what, percent)
        if count is None:
            missing.append(
                f"{what}: at the present rates nothing would show that it is worse by less than {_share(margin)}"
            )
        elif what == "mismatches":
            missing.append(f"about {_about(count)} more compared pairs without a difference")
        else:
            where = f"to {plan.candidate} at {place.percent:g} %"
            missing.append(f"about {_about(count)} more requests {where}, to show {what} within {_share(margin)}")
    return missing


def needed(plan: Strangle, found: Evidence, what: str, percent: float) -> int | None:
    """How many more requests of the candidate (or compared pairs) `what` needs for a step to `percent`, as things look now.

    The candidate is taken to do as it did, and, as long as little is known of it, as the control does. None: it would never do.
    """
    a, b, step = found.candidate, found.control, found.step
    ratio, k, n, other, other_n = 0.0, found.differing, found.pairs, 0, 0
    if what == "errors":
        k, n, other, other_n = a.errors, a.requests, b.errors, b.requests
    elif what == "latency":
        k, n, other, other_n = a.slow, found.timed, b.slow, found.control_timed
    if what != "mismatches":
        ratio = b.requests / a.requests if a.requests else 0.0
        if step.requests and percent < 100 and plan.steps:  # what comes is divided as the step is, not as the past was
            at = max((each for each in plan.steps if each < percent), default=percent) / 100
            ratio = (1 - at) / at
    control_rate = (other + 0.5) / (other_n + 1) if other_n else 0.0
    if other == 0:
        control_rate = 0.0
    rate = (k + BELIEF * control_rate) / (n + BELIEF)
    margin = margins(plan, percent)[what]
    return evidence.wanted(
        found.logs(what, margin),
        rate=rate,
        control_rate=control_rate,
        ratio=ratio,
        margin=margin,
        limit=enough_shown(plan),
        bunched=found.bunched(what) if what == "errors" else 1.0,
    )


def _why(plan: Strangle, place: Place, after: Place, found: Evidence) -> str:
    step = found.step
    if after.state == "done":
        return f"{step.requests:,} requests at {place.percent:g} %, {step.errors:,} failed: it stays there"
    parts = [f"{what} worse by less than {_share(margin)}" for what, margin in margins(plan, after.percent).items()]
    if not place.percent:
        return f"{found.pairs:,} pairs compared, {found.differing:,} differ: " + parts[-1]
    return f"{step.requests:,} requests at {place.percent:g} %, {step.errors:,} failed; shown: " + ", ".join(parts)


def _told(plan: Strangle, found: Evidence, test: str) -> str:
    a, b = found.candidate, found.control
    if test == "mismatches":
        where = max(found.paths, key=lambda path: found.paths[path][0] - found.paths[path][1], default="")
        at = f", most at {where}" if where else ""
        return f"{found.differing:,} of {found.pairs:,} compared pairs differ{at}"
    k, other, n, other_n = {
        "errors": (a.errors, b.errors, a.requests, b.requests),
        "refused": (a.refused, b.refused, a.requests, b.requests),
        "latency": (a.slow, b.slow, found.timed, found.control_timed),
    }[test]
    word = {"errors": "failed", "refused": "were refused", "latency": "were slow"}[test]
    return (
        f"{k:,} of {n:,} requests to {plan.candidate} {word} ({_rate(k, n)}), of {plan.control} {other:,} of {other_n:,} "
        f"({_rate(other, other_n)})"
    )


def _numbers(plan: Strangle, found: Evidence, weights: dict[str, float]) -> dict[str, float]:
    a, b = found.candidate, found.control
    numbers: dict[str, float] = {
        "requests": a.requests,
        "errors": a.errors,
        "refused": a.refused,
        "slow": a.slow,
        "control requests": b.requests,
        "control errors": b.errors,
        "control refused": b.refused,
        "control slow": b.slow,
        "pairs": found.pairs,
        "differing": found.differing,
        "limit": limit(plan),
    }
    return numbers | {f"evidence {test}": weight for test, weight in weights.items()}


def _rate(k: int, n: int) -> str:
    return f"{k / n:.2%}" if n else "-"


def _share(margin: float) -> str:
    return f"{100 * margin:.3g} %"


def _about(count: int) -> str:
    """Two digits: it is a forecast."""
    digits = max(0, len(str(count)) - ABOUT)
    return f"{-(-count // 10**digits) * 10**digits:,}"
