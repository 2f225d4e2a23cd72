"""What a repository says up to a moment, and the candidates for a split that follow from it.

How much each signal counts differs between repositories, so several blends are merged, and that one is kept whose services would
have held the commits of the three years before best (a year-old commit counts half). The blends and all constants were set once,
and compared on moments before those that the benchmark judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Final

from skerry.architecture.boundaries import signals
from skerry.architecture.boundaries.atoms import TOO_LARGE, atoms
from skerry.architecture.boundaries.backtest import ENOUGH, by_atoms, by_chance, earlier_commits
from skerry.architecture.boundaries.merge import Parts, blend, evenness, levels, sizes_of
from skerry.architecture.boundaries.modules import Module, read_modules
from skerry.architecture.boundaries.signals import HALF_LIFE, MEMORY, Graph
from skerry.architecture.source import Commit, History
from skerry.architecture.source.git import GitFiles, history

STATIC: Final = {"imports": 2 / 3, "names": 1 / 3}
"""How signals are weighed where there is no history to choose by."""
EVEN: Final = 0.8
"""What the effective count of services is of their number, as a rule."""
Where = tuple[tuple[str, int], ...]


def blends() -> list[dict[str, float]]:
    """Weights to choose between; each has imports or common changes in it, and sums up to one."""
    found: dict[tuple[float, ...], dict[str, float]] = {}
    for weights in product((0.0, 1.0, 2.0), (0.0, 1.0, 2.0), (0.0, 0.5, 1.0), (0.0, 0.5), (0.0, 0.5)):
        if weights[0] + weights[1]:
            shares = tuple(weight / sum(weights) for weight in weights)
            found[tuple(round(share, 6) for share in shares)] = dict(
                zip(("imports", "changes", "data", "names", "places"), shares, strict=True)
            )
    return [found[key] for key in sorted(found)]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A blend of the signals, and every stage of merging by it."""

    weights: Mapping[str, float]
    stages: tuple[Parts, ...]


@dataclass(frozen=True, slots=True)
class Learned:
    """All that is known at a moment."""

    at: float
    head: str
    modules: Mapping[str, Module]
    commits: tuple[Commit, ...]
    of: Mapping[str, str]
    """The atom of each module."""
    sizes: Mapping[str, int]
    graphs: Mapping[str, Graph]
    candidates: tuple[Candidate, ...]
    past: tuple[tuple[float, int, Where], ...]
    """Earlier commits that touched several modules: weight, modules, atoms."""
    shallow: bool

    def best(self, services: float) -> Candidate:
        """The candidate that would have held the past best, at an effective count of services."""
        if len(self.candidates) == 1:
            return self.candidates[0]
        return max(self.candidates, key=lambda candidate: self.held_at(candidate.stages, services))

    def held_at(self, stages: Sequence[Parts], services: float) -> float:
        """`held` between the two stages around an effective count."""
        counts = [evenness(parts, self.sizes) for parts in stages]
        if counts[0] <= services:
            return self.held(stages[0])
        for (before, more), (after, less) in pairwise(zip(stages, counts, strict=True)):
            if more >= services >= less:
                share = (more - services) / (more - less) if more > less else 0.0
                return (1.0 - share) * self.held(before) + share * self.held(after)
        return self.held(stages[-1])

    def held(self, parts: Parts) -> float:
        """The chance-corrected share of the past that stayed within one of `parts`."""
        number = {atom: index for index, part in enumerate(parts) for atom in part}
        counts = [sum(self.sizes[atom] for atom in part) for part in parts]
        chance: dict[int, float] = {}
        within = expected = whole = 0.0
        for weight, modules, where in self.past:
            first = number[where[0][0]]
            if all(number[atom] == first for atom, _ in where):
                within += weight
            if modules not in chance:
                chance[modules] = by_chance(counts, modules)
            expected += weight * chance[modules]
            whole += weight
        return (within - expected) / (whole - expected) if whole > expected else 0.0


@dataclass(frozen=True, slots=True)
class Known:
    """What was read of a moment: one commit's modules and the three years that led to it."""

    modules: Mapping[str, Module]
    history: History

    def atoms(self, services: float) -> dict[str, str]:
        """The atom of each module. None is larger than one of `services` equal services would be."""
        return atoms(self.modules, min(TOO_LARGE, 1.0 / max(1.0, services)))

    def learned(self, services: float, *, with_history: bool = True) -> Learned:
        """What follows for about `services` services, as an effective count."""
        return learned(self.modules, self.history, self.atoms(services), with_history=with_history)


def read(path: Path, at: float | None = None) -> Known:
    """Read the commit that was the last at `at`, and the three years before it. Nothing later has any influence.

    Raises `NoRepository`.
    """
    head = history(path, at, 1)
    found = history(path, at, since=head.at - MEMORY)
    with GitFiles(path, found.head) as files:
        return Known(read_modules(files), found)


def learned(
    modules: Mapping[str, Module], found: History, of: Mapping[str, str], *, with_history: bool = True
) -> Learned:
    """What follows from modules and history for the atoms `of` modules."""
    sizes = sizes_of(of)
    at = found.at
    past = earlier_commits(found.commits, of) if with_history else []
    graphs = {
        "imports": signals.imports(modules, of),
        "changes": signals.changes(found.commits if with_history else (), of, at),
        "data": signals.data(modules, of),
        "names": signals.words(modules, of),
        "places": signals.places(of),
    }
    tried = blends() if len(past) >= ENOUGH else [STATIC]
    weighed = [
        (0.5 ** (max(0.0, at - commit.when) / HALF_LIFE), modules_touched, where)
        for (commit, _), (modules_touched, where) in zip(past, by_atoms(past, of), strict=True)
        if commit.when >= at - MEMORY
    ]
    return Learned(
        at=at,
        head=found.head,
        modules=modules,
        commits=found.commits,
        of=of,
        sizes=sizes,
        graphs=graphs,
        candidates=tuple(Candidate(each, tuple(levels(sizes, blend(graphs, each)))) for each in tried),
        past=_together(weighed),
        shallow=found.shallow,
    )


def _together(weighed: Sequence[tuple[float, int, Where]]) -> tuple[tuple[float, int, Where], ...]:
    """Commits that touched as many modules of the same atoms are counted once, with their weights summed up."""
    found: dict[tuple[int, tuple[str, ...]], float] = {}
    for weight, modules, where in weighed:
        key = (modules, tuple(atom for atom, _ in where))
        found[key] = found.get(key, 0.0) + weight
    return tuple((weight, modules, tuple((a, 1) for a in where)) for (modules, where), weight in sorted(found.items()))
