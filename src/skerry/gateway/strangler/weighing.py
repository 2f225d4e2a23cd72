"""The evidence of one ramp: what was counted so far and what that says, interval by interval. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from skerry.gateway.model import Strangle
from skerry.gateway.strangler import evidence
from skerry.gateway.strangler.evidence import Grid, Logs
from skerry.gateway.strangler.report import Side
from skerry.gateway.strangler.tally import BOUNDS

TESTS: Final = ("errors", "refused", "latency", "mismatches")
GRIDS: Final[Mapping[str, Grid]] = {
    "errors": evidence.ODDS,
    "refused": evidence.ODDS,
    "latency": evidence.RATES,
    "mismatches": evidence.MULTIPLES,
}
WEAKEST: Final = 20.0
"""No step goes on what was shown for a margin of more than so many times the one asked for, however small the step is."""
WHOLE, STEPS, LATER = 0.5, 0.3, 0.2
"""Of what is staked against a candidate: at the ramp's beginning, at those of its steps, and at the intervals of its steps."""
FINEST: Final = 0.0001
"""A share of pairs that differ which stands for none at all: nothing shows that there never will be one."""
TAIL: Final = 0.05
TIMED: Final = 100
"""Requests of the control from which on it is known what is slow for it."""
FORGET: Final = 20_000
"""Its times count half as much whenever there are so many: what is slow follows the hours."""
MEMORY: Final = 0.995
"""Of bunches from interval to interval: half of it after 140 of them."""
NONE: Final = Side(0, 0, 0, 0)
MAX_PLACES: Final = 200
EXACT: Final = 9
"""Digits behind the point: what is less is not told from nothing."""

Times = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted in one interval, of all gateways together. `times` are the control's and the candidate's, by bucket;
    `paths` has for each place how often candidate and control differed there.
    """

    control: Side = NONE
    candidate: Side = NONE
    control_times: Times = ()
    candidate_times: Times = ()
    pairs: int = 0
    differing: int = 0
    control_pairs: int = 0
    control_differing: int = 0
    unfit: int = 0
    shed: int = 0
    unread: int = 0
    paths: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])


@dataclass(frozen=True, slots=True)
class Step:
    """What was counted of the candidate since the ramp is where it is."""

    looks: int = 0
    """Intervals in which it had requests, or was compared."""
    requests: int = 0
    errors: int = 0
    pairs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is carried on. `against` are the bets of each test for going back; they run through the whole ramp.
    `shown` are those for going on, by what is shown and the margin it is shown for; they too run from the ramp's
    beginning, next to each other.
    """

    against: Mapping[str, Logs] = field(default_factory=dict[str, Logs])
    shown: Mapping[str, Logs] = field(default_factory=dict[str, Logs])
    control: Side = NONE
    candidate: Side = NONE
    timed: int = 0
    """How many of the candidate's requests were told quick or slow."""
    control_timed: int = 0
    pairs: int = 0
    differing: int = 0
    control_pairs: int = 0
    control_differing: int = 0
    unfit: int = 0
    shed: int = 0
    unread: int = 0
    paths: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    times: Times = ()
    unstaked: float = 1.0
    """What of 1 has not been bet against it yet."""
    bunches: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    """By test: how much the control's share of hits jumped from interval to interval, and how much single hits would have it."""
    last: Side = NONE
    """The control's interval before."""
    step: Step = Step()

    def value(self, test: str) -> float:
        """The e-value against the candidate: how many times what was staked has been won."""
        logs = self.against.get(test)
        if logs is None:
            return 1.0
        found = self.unstaked + evidence.value(logs, GRIDS[test])
        if test != "mismatches":
            return found
        # it has to be worse than the margin, and worse than the control is beside itself: the lesser of two bets is one
        noise = evidence.noise(self.differing, self.pairs, self.control_differing, self.control_pairs)
        return min(found, noise)

    def bunched(self, test: str) -> float:
        """How many of the control's hits come together; 1 when each comes by itself."""
        jumped, alone = self.bunches.get(test, (0.0, 0.0))
        return max(1.0, jumped / alone) if alone else 1.0

    def so_far(self, what: str, margin: float) -> float:
        """The e-value for the candidate: that it is worse by less than the margin."""
        return evidence.value(self.logs(what, margin), evidence.LESS)

    def logs(self, what: str, margin: float) -> Logs:
        """The bets behind `so_far`."""
        return self.shown.get(_key(what, margin)) or evidence.fresh(evidence.LESS)

    def moved(self) -> Evidence:
        """At the beginning of another step."""
        return replace(self, step=Step())


def tests(plan: Strangle) -> tuple[str, ...]:
    """Those that a plan has: alpha is divided by their number."""
    return TESTS if plan.shadow is not None else TESTS[:-1]


def limit(plan: Strangle) -> float:
    """The e-value at which a candidate goes back."""
    return round(len(tests(plan)) / plan.guard.alpha, EXACT)


def enough_shown(plan: Strangle) -> float:
    """The e-value at which something is shown."""
    return round(1 / plan.guard.alpha, EXACT)


def margins(plan: Strangle, percent: float) -> dict[str, float]:
    """By how much a candidate may be worse for a step to `percent`, as it has to be shown.

    What the margin of the plan bounds is what the route as a whole loses: at 5 % of the requests, one that fails on
    2 % more costs 0.1 %. So a small step needs little to be shown, but never for more than `WEAKEST` margins.
    """
    guard, share = plan.guard, percent / 100
    found = {
        "errors": min(guard.worse_by / share, WEAKEST * guard.worse_by, 0.5),
        "latency": min(guard.slower_by, 0.9),
    }
    if plan.shadow is not None:
        finest = max(FINEST, guard.mismatches)
        found["mismatches"] = min(finest / share, WEAKEST * finest, 0.5)
    return found


def told_apart(counts: Counts, times: Times) -> tuple[Counts, bool]:
    """`counts` with the slow requests of both sides, by what was slow for the control before; False while that is unknown."""
    bound = slow_from(times)
    if bound is None:
        return counts, False
    control = replace(counts.control, slow=sum(counts.control_times[bound:]))
    candidate = replace(counts.candidate, slow=sum(counts.candidate_times[bound:]))
    return replace(counts, control=control, candidate=candidate), True


def slow_from(times: Times) -> int | None:
    """The first bucket that is slow: it and those above it have at most a twentieth of the control's requests."""
    total = sum(times)
    if total < TIMED:
        return None
    above = 0
    for bucket in range(len(times) - 1, -1, -1):
        above += times[bucket]
        if above > TAIL * total:
            return bucket + 1
    return None


def weighed(before: Evidence, counts: Counts, plan: Strangle, *, percent: float, seconds: float) -> Evidence:
    """The evidence after one more interval, of so many seconds, at `percent`."""
    counts, timed = told_apart(counts, before.times)
    control, candidate = counts.control, counts.candidate
    n, other = candidate.requests, control.requests
    step = before.step
    part = _stake(before, plan) if n or counts.pairs else 0.0
    return Evidence(
        against=_against(before, counts, plan, part, timed=timed),
        unstaked=before.unstaked - part,
        shown=_shown(before, counts, plan, percent, timed=timed),
        control=added(before.control, control),
        candidate=added(before.candidate, candidate),
        timed=before.timed + (n if timed else 0),
        control_timed=before.control_timed + (other if timed else 0),
        pairs=before.pairs + counts.pairs,
        differing=before.differing + counts.differing,
        control_pairs=before.control_pairs + counts.control_pairs,
        control_differing=before.control_differing + counts.control_differing,
        unfit=before.unfit + counts.unfit,
        shed=before.shed + counts.shed,
        unread=before.unread + counts.unread,
        paths=_paths(before.paths, counts.paths),
        times=_times(before.times, counts.control_times),
        bunches=_bunches(before, control, timed=timed and before.control_timed > 0),
        last=control if other else before.last,
        step=Step(
            looks=step.looks + bool(n or counts.pairs),
            requests=step.requests + n,
            errors=step.errors + candidate.errors,
            pairs=step.pairs + counts.pairs,
            seconds=step.seconds + seconds,
        ),
    )


def _stake(before: Evidence, plan: Strangle) -> float:
    """How much is bet from this interval on."""
    looks, places = before.step.looks, len(plan.steps) + 2  # comparing comes before them, watching after
    part = LATER / places / (looks * (looks + 1)) if looks else STEPS / places
    if not before.candidate.requests and not before.pairs:
        part += WHOLE
    return min(part, before.unstaked)  # steps that a person took more often than planned are not staked on


def _against(before: Evidence, counts: Counts, plan: Strangle, part: float, *, timed: bool) -> dict[str, Logs]:
    a, b = counts.candidate, counts.control
    nothing = evidence.LOWEST
    logs = {
        test: evidence.staked(before.against.get(test) or (nothing,) * len(GRIDS[test]), part) for test in tests(plan)
    }
    logs["errors"] = evidence.against_odds(
        logs["errors"], a.errors, a.requests, b.errors, b.requests, bunched=before.bunched("errors")
    )
    logs["refused"] = evidence.against_odds(
        logs["refused"], a.refused, a.requests, b.refused, b.requests, bunched=before.bunched("refused")
    )
    if timed and b.requests:
        logs["latency"] = evidence.against_margin(
            logs["latency"],
            evidence.RATES,
            a.slow,
            a.requests,
            b.slow,
            b.requests,
            margin=plan.guard.slower_by,
            bunched=before.bunched("latency"),
        )
    if "mismatches" in logs:
        logs["mismatches"] = evidence.against_margin(
            logs["mismatches"],
            evidence.MULTIPLES,
            counts.differing,
            counts.pairs,
            0,
            0,
            margin=max(FINEST, plan.guard.mismatches),
        )
    return logs


def _shown(before: Evidence, counts: Counts, plan: Strangle, at: float, *, timed: bool) -> dict[str, Logs]:
    a, b = counts.candidate, counts.control
    found: dict[str, Logs] = {}
    for percent in plan.steps:
        if percent <= at:  # it has been taken
            continue
        for what, margin in margins(plan, percent).items():
            key = _key(what, margin)
            if key in found:
                continue
            logs, bunched = before.shown.get(key) or evidence.fresh(evidence.LESS), before.bunched(what)
            if what == "errors":
                logs = evidence.for_margin(
                    logs, a.errors, a.requests, b.errors, b.requests, margin=margin, bunched=bunched
                )
            elif what == "latency" and timed:
                # slow requests always come together, and their margin is wide: the bound of an interval is all they get
                logs = evidence.for_margin(logs, a.slow, a.requests, b.slow, b.requests, margin=margin)
            elif what == "mismatches":
                logs = evidence.for_margin(logs, counts.differing, counts.pairs, 0, 0, margin=margin)
            found[key] = logs
    return found


def _bunches(before: Evidence, now: Side, *, timed: bool) -> dict[str, tuple[float, float]]:
    """The ratio of von Neumann (1941): of differences that follow each other, so that slow changes are not taken for bunches."""
    last = before.last
    found = dict(before.bunches)
    if not now.requests or not last.requests:
        return found
    n, m = now.requests, last.requests
    for test, k, j in (
        ("errors", now.errors, last.errors),
        ("refused", now.refused, last.refused),
        ("latency", now.slow, last.slow),
    ):
        if test == "latency" and not timed:
            continue
        jumped, alone = found.get(test, (0.0, 0.0))
        jump = (k / n - j / m) ** 2 * (n * m / (n + m))
        found[test] = (MEMORY * jumped + jump, MEMORY * alone + (k + j) / (n + m))
    return found


def _key(what: str, margin: float) -> str:
    return f"{what} {margin:.6g}"


def added(a: Side, b: Side) -> Side:
    """Both together."""
    return Side(a.requests + b.requests, a.errors + b.errors, a.refused + b.refused, a.slow + b.slow)


def _paths(a: Mapping[str, tuple[int, int]], b: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """In the order in which they first differed."""
    found = dict(a)
    for path, (candidate, control) in b.items():
        if path in found or len(found) < MAX_PLACES:
            had = found.get(path, (0, 0))
            found[path] = (had[0] + candidate, had[1] + control)
    return found


def _times(a: Times, b: Times) -> Times:
    a, b = a or (0,) * (len(BOUNDS) + 1), b or (0,) * (len(BOUNDS) + 1)
    found = tuple(x + y for x, y in zip(a, b, strict=True))
    return tuple(x // 2 for x in found) if sum(found) > FORGET else found


def as_json(given: Evidence) -> dict[str, Any]:
    """What `from_json` takes."""
    return asdict(given)


def from_json(told: Mapping[str, Any]) -> Evidence:
    """The evidence that was kept."""
    return Evidence(
        against={name: tuple(logs) for name, logs in told["against"].items()},
        shown={name: tuple(logs) for name, logs in told["shown"].items()},
        control=Side(**told["control"]),
        candidate=Side(**told["candidate"]),
        unstaked=told["unstaked"],
        timed=told["timed"],
        control_timed=told["control_timed"],
        pairs=told["pairs"],
        differing=told["differing"],
        control_pairs=told["control_pairs"],
        control_differing=told["control_differing"],
        unfit=told["unfit"],
        shed=told["shed"],
        unread=told["unread"],
        paths={path: (counted[0], counted[1]) for path, counted in told["paths"].items()},
        times=tuple(told["times"]),
        bunches={test: (both[0], both[1]) for test, both in told["bunches"].items()},
        last=Side(**told["last"]),
        step=Step(**told["step"]),
    )
