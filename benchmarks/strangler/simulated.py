"""Ramps that are drawn, not run: the deciding code of skerry, and peers, are given the counts of intervals."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from skerry.gateway.model import GuardSpec, Shadow, Strangle
from skerry.gateway.strangler import deciding, weighing
from skerry.gateway.strangler.deciding import Place, Recent
from skerry.gateway.strangler.report import Side
from skerry.gateway.strangler.tally import BOUNDS
from skerry.gateway.strangler.weighing import Counts, Evidence

REFUSED, SLOW, NOISE = 0.01, 0.04, 0.0003
"""Shares on both sides: answers of 4xx, slow ones, and pairs that differ by chance."""
FEW, ROUGH = 50, 12
"""Hits expected from which on a normal is drawn: of failures, and of what there is more of."""


@dataclass(frozen=True)
class World:
    """What is true. `bunch`: how many failures come together; `apart`: each bunch hits one side as a whole. Below a share of
    `turns` the candidate is as good as the control.
    """

    control: float
    candidate: float
    rate: float
    interval: float = 5.0
    hours: float = 1.0
    bunch: int = 1
    apart: bool = False
    turns: float = 0.0


@dataclass(frozen=True)
class End:
    """How a ramp ended: back, done or open; after so many seconds and failed requests of the candidate, since it turned bad."""

    state: str
    by: str
    seconds: float
    bad: int


@dataclass
class Drawn:
    """Counts of intervals, from a seed."""

    world: World
    seed: int
    draw: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    def interval(self, share: float, sample: float = 0.0) -> Counts:
        world = self.world
        total = round(world.rate * world.interval)
        n = self.binomial(total, share, few=ROUGH)
        other = total - n
        errors, failed = self.failures(n, other, share)
        slow, other_slow = self.binomial(n, SLOW, few=ROUGH), self.binomial(other, SLOW, few=ROUGH)
        pairs = self.binomial(total, sample, few=ROUGH) if sample else 0
        return Counts(
            Side(other, failed, self.binomial(other, REFUSED, few=ROUGH), 0),
            Side(n, errors, self.binomial(n, REFUSED, few=ROUGH), 0),
            (other - other_slow, 0, 0, other_slow, *([0] * (len(BOUNDS) - 3))),
            (n - slow, 0, 0, slow, *([0] * (len(BOUNDS) - 3))),
            pairs=pairs,
            differing=self.binomial(pairs, NOISE),
            control_pairs=pairs,
            control_differing=self.binomial(pairs, NOISE),
        )

    def failures(self, n: int, other: int, share: float) -> tuple[int, int]:
        world = self.world
        if world.bunch == 1:
            rate = world.candidate if share >= world.turns else world.control
            return self.binomial(n, rate), self.binomial(other, world.control)
        events = self.binomial(n + other, world.control / world.bunch)
        errors = failed = 0
        for _ in range(events):
            hit = (self.draw.random() < share) * world.bunch if world.apart else self.binomial(world.bunch, share)
            errors, failed = errors + hit, failed + world.bunch - hit
        return min(errors, n), min(failed, other)

    def binomial(self, n: int, p: float, *, few: int = FEW) -> int:
        """By waiting times where few are expected, by a normal where many are."""
        if n <= 0 or p <= 0:
            return 0
        mean = n * p
        if mean > few and n - mean > few:
            return min(n, max(0, round(self.draw.gauss(mean, math.sqrt(mean * (1 - p))))))
        if p >= 1:
            return n
        found, at, scale = 0, 0, math.log1p(-p)
        while True:
            at += int(math.log(1 - self.draw.random()) / scale) + 1
            if at > n:
                return found
            found += 1


PLAN = Strangle("monolith", "candidate", shadow=Shadow())


def ours(world: World, seed: int) -> End:
    """The deciding code, with the guard's defaults, as the controller calls it."""
    plan = Strangle("monolith", "candidate", shadow=Shadow(), guard=GuardSpec(interval=world.interval))
    sample = Shadow().sample
    drawn, place, found, recent = Drawn(world, seed), deciding.begun(plan), Evidence(), Recent(plan.guard)
    bad, seconds, turned = 0, 0.0, 0.0
    while seconds < world.hours * 3600:
        if place.percent / 100 < world.turns:
            bad, turned = 0, seconds
        seconds += world.interval
        counts = drawn.interval(place.percent / 100, sample)
        bad += counts.candidate.errors
        recent.add(counts.candidate.requests, counts.candidate.errors)
        found = weighing.weighed(found, counts, plan, percent=place.percent, seconds=world.interval)
        told = deciding.judge(plan, place, found)
        told = deciding.broken(plan, place, requests=recent.requests, errors=recent.errors) or told
        if told.verdict == "roll_back":
            return End("back", told.by, seconds - turned, bad)
        if told.verdict == "promote":
            place, found, recent = told.to, found.moved(), Recent(plan.guard)
            if place.state == "done":
                return End("done", told.by, seconds, bad)
    return End("open", "", seconds, bad)


STEPS, INTERVALS = (0.01, 0.05, 0.10, 0.25, 0.50), 10


def fixed(world: World, seed: int) -> End:
    """As Argo Rollouts and Flagger are set up most: an interval fails above 1 % errors, five failed ones take it back."""
    failed = 0

    def worse(now: Counts, _: list[Counts]) -> bool:
        nonlocal failed
        failed += now.candidate.requests > 0 and now.candidate.errors / now.candidate.requests > 0.01
        return failed >= 5

    return _by_schedule(world, seed, worse)


def peeking(world: World, seed: int) -> End:
    """A z-test of two shares at 5 %, on all counts of the step, after every interval."""

    def worse(_: Counts, step: list[Counts]) -> bool:
        n, k = sum(each.candidate.requests for each in step), sum(each.candidate.errors for each in step)
        m, j = sum(each.control.requests for each in step), sum(each.control.errors for each in step)
        if not n or not m or not k + j:
            return False
        pooled = (k + j) / (n + m)
        return (k / n - j / m) / math.sqrt(max(1e-12, pooled * (1 - pooled) * (1 / n + 1 / m))) > 1.645

    return _by_schedule(world, seed, worse)


def _by_schedule(world: World, seed: int, worse: Callable[[Counts, list[Counts]], bool]) -> End:
    drawn, bad, seconds = Drawn(world, seed), 0, 0.0
    for share in STEPS:
        step: deque[Counts] = deque(maxlen=INTERVALS)
        for _ in range(INTERVALS):
            seconds += world.interval
            step.append(drawn.interval(share))
            bad += step[-1].candidate.errors
            if worse(step[-1], list(step)):
                return End("back", "", seconds, bad)
    return End("done", "", seconds, bad)


JUDGES = {"ours": ours, "fixed thresholds": fixed, "peeking z-test": peeking}


def many(who: str, world: World, seeds: range, pool: ProcessPoolExecutor) -> list[End]:
    """So many ramps, on all cores."""
    return list(pool.map(partial(JUDGES[who], world), seeds, chunksize=25))


def decisions(count: int) -> Iterator[Callable[[], object]]:
    """What one decision of the controller computes, again and again."""
    drawn, place, found = Drawn(World(0.008, 0.008, 200), 1), Place("ramping", 5.0), Evidence()
    for _ in range(count):
        counts = drawn.interval(0.05, 0.1)

        def decide(counts: Counts = counts, found: Evidence = found) -> Evidence:
            after = weighing.weighed(found, counts, PLAN, percent=5.0, seconds=5.0)
            deciding.judge(PLAN, place, after)
            return after

        yield decide
        found = decide()
