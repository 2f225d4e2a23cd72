"""How many later commits would have stayed within one service: what a split is judged by.

A test commit touches 2 to 30 of the modules that existed at the moment of the split. `within` is the share of them whose modules
are all in one service; `kappa` is what is left when services of the same sizes, filled by chance, have their share taken off.
Splits are compared at one effective count of services, for the fewer the services, the easier it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb
from typing import Final

from skerry.architecture.boundaries.atoms import effective
from skerry.architecture.boundaries.merge import Parts, evenness
from skerry.architecture.boundaries.signals import MOST_FILES, touched
from skerry.architecture.source import Commit

ENOUGH: Final = 100
"""Test commits below which a figure says nothing."""

Tests = Sequence[tuple[Commit, frozenset[str]]]


@dataclass(frozen=True, slots=True)
class Score:
    """A split before later commits. `services` is the effective count."""

    within: float
    kappa: float
    services: float
    touched: float
    """Services that a commit touches, on average."""
    commits: int

    @property
    def crossing(self) -> float:
        """The share of the commits that would have crossed services."""
        return 1.0 - self.within


def test_commits(commits: Iterable[Commit], of: Mapping[str, object]) -> list[tuple[Commit, frozenset[str]]]:
    """The commits that count, with the modules of `of` that they touched, by the names that these had then."""
    found = []
    for commit in commits:
        paths = frozenset(path for path in commit.paths if path in of)
        if 2 <= len(paths) <= MOST_FILES:
            found.append((commit, paths))
    return found


def earlier_commits(commits: Iterable[Commit], of: Mapping[str, str]) -> list[tuple[Commit, frozenset[str]]]:
    """The same for the time before the split, in which files still had other names."""
    return [(commit, paths) for commit, paths in touched(commits, of) if 2 <= len(paths) <= MOST_FILES]


def by_atoms(tests: Tests, of: Mapping[str, str]) -> list[tuple[int, tuple[tuple[str, int], ...]]]:
    """How many modules each test commit touches, and in which atoms: all that judging needs."""
    return [(len(paths), tuple(sorted(Counter(of[path] for path in paths).items()))) for _, paths in tests]


def score(parts: Parts, sizes: Mapping[str, int], tests: Sequence[tuple[int, tuple[tuple[str, int], ...]]]) -> Score:
    """Judge services made of atoms."""
    number = {atom: index for index, part in enumerate(parts) for atom in part}
    counts = [sum(sizes[atom] for atom in part) for part in parts]
    chance: dict[int, float] = {}
    within = expected = spread = 0.0
    for modules, where in tests:
        services = len({number[atom] for atom, _ in where})
        within += services == 1
        spread += services
        if modules not in chance:
            chance[modules] = by_chance(counts, modules)
        expected += chance[modules]
    total = max(1, len(tests))
    rate, random = within / total, expected / total
    return Score(
        within=rate,
        kappa=(rate - random) / (1.0 - random) if random < 1.0 else 0.0,
        services=effective(counts),
        touched=spread / total,
        commits=len(tests),
    )


def by_chance(counts: Sequence[int], modules: int) -> float:
    """How likely `modules` of all modules, drawn without order, are in one service."""
    whole = comb(sum(counts), modules)
    return sum(comb(count, modules) for count in counts) / whole if whole else 0.0


def at_evenness(
    stages: Iterable[Parts],
    sizes: Mapping[str, int],
    tests: Sequence[tuple[int, tuple[tuple[str, int], ...]]],
    services: float,
) -> Score:
    """What a way of merging reaches at an effective count of `services`, between the two stages around it."""
    shown = list(stages)
    counts = [evenness(parts, sizes) for parts in shown]
    if counts[0] <= services:
        return score(shown[0], sizes, tests)
    for (before, more), (after, less) in pairwise(zip(shown, counts, strict=True)):
        if more >= services >= less:
            first, second = score(before, sizes, tests), score(after, sizes, tests)
            share = (more - services) / (more - less) if more > less else 0.0
            return Score(
                within=first.within + share * (second.within - first.within),
                kappa=first.kappa + share * (second.kappa - first.kappa),
                services=services,
                touched=first.touched + share * (second.touched - first.touched),
                commits=first.commits,
            )
    return score(shown[-1], sizes, tests)
