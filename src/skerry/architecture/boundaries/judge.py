"""A split before commits that it has not seen, beside what it has to be better than."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import skerry.architecture.boundaries.atoms as packages_of
from skerry.architecture.boundaries.backtest import ENOUGH, Score, Tests, at_evenness, by_atoms, score, test_commits
from skerry.architecture.boundaries.learn import Known, Learned, read
from skerry.architecture.boundaries.merge import Parts, levels, random_levels, sizes_of
from skerry.architecture.boundaries.signals import YEAR
from skerry.architecture.source import Commit
from skerry.architecture.source.git import history

HELD_OUT: Final = 2.0 * YEAR
"""Seconds before the moment of a split that its back-test does not learn from."""
DRAWS: Final = 10
"""Random merges that are averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """What a split would have been worth, at one effective count, `services`; the last two scores at that of the packages."""

    learned: float
    until: float
    services: float
    ours: Score
    imports: Score
    random: Score
    packages: Score
    ours_as_packages: Score
    weights: dict[str, float]

    @property
    def enough(self) -> bool:
        return self.ours.commits >= ENOUGH


def judge(known: Known, later: Sequence[Commit], until: float, services: float) -> Backtest:
    """What `known` leads to, before the commits of a later time. Splits are compared at an effective count of `services`."""
    tests = test_commits(later, known.modules)
    top = packages_of.packages(known.modules, packages_of.root_of(known.modules))
    sizes = sizes_of(top)
    packages = score(tuple(frozenset([name]) for name in sizes), sizes, by_atoms(tests, top))
    ours = known.learned(services)
    finer = known.learned(packages.services)
    best = ours.best(services)
    by_chance = [random_levels(ours.sizes, _draws(seed)) for seed in range(1, DRAWS + 1)]
    return Backtest(
        learned=known.history.at,
        until=until,
        services=services,
        ours=placed(ours, best.stages, tests, services),
        imports=placed(ours, levels(ours.sizes, ours.graphs["imports"]), tests, services),
        random=_mean([placed(ours, stages, tests, services) for stages in by_chance]),
        packages=packages,
        ours_as_packages=placed(finer, finer.best(packages.services).stages, tests, packages.services),
        weights=dict(best.weights),
    )


def placed(known: Learned, stages: Iterable[Parts], tests: Tests, services: float) -> Score:
    """What merging by `stages` comes to at an effective count of `services`."""
    return at_evenness(stages, known.sizes, by_atoms(tests, known.of), services)


def back_test(path: Path, at: float | None, services: float) -> Backtest:
    """Learn up to two years before `at`, and judge by the commits since. Raises `NoRepository`."""
    end = history(path, at, 1).at
    known = read(path, end - HELD_OUT)
    later = history(path, end - HELD_OUT, until=end)
    return judge(known, later.commits, end, services)


def _mean(scores: Sequence[Score]) -> Score:
    return Score(
        within=statistics.fmean(each.within for each in scores),
        kappa=statistics.fmean(each.kappa for each in scores),
        services=scores[0].services,
        touched=statistics.fmean(each.touched for each in scores),
        commits=scores[0].commits,
    )


def _draws(seed: int) -> Callable[[int], int]:
    """Numbers that look random and are the same every time, so that the same commit gives the same report."""
    state = seed * 0x9E3779B97F4A7C15 % 2**64

    def choose(below: int) -> int:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % below

    return choose
