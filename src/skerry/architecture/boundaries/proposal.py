"""A proposed split: services, what is cut, in which order to extract them, and what the split would have been worth."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import skerry.architecture.boundaries.atoms as packages_of
from skerry.architecture.boundaries.backtest import ENOUGH, earlier_commits
from skerry.architecture.boundaries.crossings import Crossing, Transaction, crossings, transactions
from skerry.architecture.boundaries.judge import HELD_OUT, Backtest, back_test
from skerry.architecture.boundaries.learn import EVEN, Known, Learned, read
from skerry.architecture.boundaries.merge import Parts, at_count, blend, evenness
from skerry.architecture.boundaries.modules import Names
from skerry.architecture.boundaries.named import names
from skerry.architecture.boundaries.published import Published, published
from skerry.architecture.source.git import GitFiles

FEWEST: Final = 2
TOLD: Final = "not enough evidence"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A service: its modules, and what ties it to the others."""

    name: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    lines: int
    commits: int
    """Commits of the last two years that touched it and several modules."""
    crossing: int
    """How many of these also touched another service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """All that `skerry split` shows. `backtest` is None where the history does not reach back far enough."""

    at: float
    head: str
    shallow: bool
    services: tuple[Proposed, ...]
    effective: float
    weights: Mapping[str, float]
    backtest: Backtest | None
    crossings: tuple[Crossing, ...]
    sagas: tuple[Transaction, ...]
    published: Published
    order: tuple[str, ...]
    """Names of services, the easiest to extract first."""
    commits: int
    """Commits of the last two years that touched several modules."""
    verdict: str


def propose(
    path: Path, at: float | None = None, *, fewest: int = 4, most: int = 12, progress: Progress | None = None
) -> Split:
    """Services for the repository at `path` as it was at `at`. Raises `NoRepository`."""
    tell = progress or (lambda _: None)
    tell("reading history and modules")
    known = read(path, at)
    tell(f"trying splits of {len(known.modules)} modules by {len(known.history.commits)} commits")
    learned, parts, weights = choose(known, fewest, most)
    tell("looking for what is cut")
    called = names(parts, learned.sizes)
    by_atom = {atom: name for name, part in zip(called, parts, strict=True) for atom in part}
    service = {module: by_atom[atom] for module, atom in learned.of.items()}
    with GitFiles(path, known.history.head) as files:
        sagas = transactions(files, known.modules, service)
    since = known.history.at - HELD_OUT
    tests = [each for each in earlier_commits(known.history.commits, learned.of) if each[0].when >= since]
    cut = crossings(known.modules, service, sagas, tests)
    effective = evenness(parts, learned.sizes)
    tell("judging by the last two years what would have been proposed before them")
    judged = _judged(path, known, effective)
    proposed = _services(known, learned, service, [paths for _, paths in tests])
    return Split(
        at=known.history.at,
        head=known.history.head,
        shallow=known.history.shallow,
        services=proposed,
        effective=effective,
        weights=weights,
        backtest=judged,
        crossings=cut,
        sagas=sagas,
        published=_published(known, service),
        order=order(proposed, cut),
        commits=len(tests),
        verdict=_verdict(judged, len(proposed)),
    )


def choose(known: Known, fewest: int, most: int) -> tuple[Learned, Parts, Mapping[str, float]]:
    """The count of services, within the limits, that would have held the past best, and the split into so many."""
    found = []
    seen: dict[tuple[str, ...], Learned] = {}
    for count in range(max(FEWEST, fewest), max(FEWEST, fewest, most) + 1):
        pieces = known.atoms(EVEN * count)
        key = tuple(pieces[path] for path in known.modules)
        if key not in seen:
            seen[key] = known.learned(EVEN * count)
        learned = seen[key]
        best = learned.best(EVEN * count)
        near = blend(learned.graphs, dict.fromkeys(learned.graphs, 1.0))
        parts = at_count(best.stages, count, learned.sizes, near)
        found.append((learned.held(parts), -count, learned, parts, best.weights))
    _, _, learned, parts, weights = max(found, key=lambda each: each[:2])
    return learned, parts, weights


def _judged(path: Path, known: Known, services: float) -> Backtest | None:
    """The back-test, where there is a commit from two years before."""
    oldest = min((commit.when for commit in known.history.commits), default=known.history.at)
    return back_test(path, known.history.at, services) if oldest < known.history.at - HELD_OUT else None


def _services(
    known: Known, learned: Learned, service: Mapping[str, str], tests: Sequence[frozenset[str]]
) -> tuple[Proposed, ...]:
    touching: Counter[str] = Counter()
    crossing: Counter[str] = Counter()
    for paths in tests:
        ends = {service[path] for path in paths}
        touching.update(ends)
        crossing.update(ends if len(ends) > 1 else ())
    grouped: dict[str, list[str]] = defaultdict(list)
    for path in sorted(service):
        grouped[service[path]].append(path)
    found = [
        Proposed(
            name=name,
            packages=tuple(sorted({learned.of[path] for path in paths})),
            modules=tuple(paths),
            lines=sum(known.modules[path].lines for path in paths),
            commits=touching[name],
            crossing=crossing[name],
        )
        for name, paths in grouped.items()
    ]
    return tuple(sorted(found, key=lambda each: (-len(each.modules), each.name)))


def order(services: Sequence[Proposed], cut: Sequence[Crossing]) -> tuple[str, ...]:
    """The easiest first: by its share of all transactions, foreign keys, imports and commits that cross, and by how many of its
    own commits do, each alike.
    """
    costs = {each.name: each.crossing / each.commits if each.commits else 0.0 for each in services}
    kinds: list[Callable[[Crossing], int]] = [
        lambda each: len(each.transactions),
        lambda each: len(each.keys),
        lambda each: each.imports,
        lambda each: each.commits,
    ]
    for kind in kinds:
        total = sum(map(kind, cut)) or 1
        for each in cut:
            for name in each.services:
                costs[name] += kind(each) / total
    return tuple(sorted(costs, key=lambda name: (costs[name], name)))


def _published(known: Known, service: Mapping[str, str]) -> Published:
    dotted = Names(frozenset(known.modules))
    references = [
        (path, target)
        for path, module in known.modules.items()
        for target in sorted({target for target, _ in dotted.targets(module)})
    ]
    context = packages_of.packages(known.modules, packages_of.root_of(known.modules))
    return published(service, references, context)


def _verdict(judged: Backtest | None, services: int) -> str:
    if judged is None or not judged.enough or services < FEWEST:
        commits = judged.ours.commits if judged else 0
        return f"{TOLD}: {commits} test commits in the two years before, about {ENOUGH} are needed"
    ours, packages = judged.ours, judged.packages
    share = f"{ours.crossing:.0%} of {ours.commits} later commits would have crossed services"
    if ours.within <= judged.random.within:
        return f"no split: {share}, and random merges of packages do as well"
    better = "better" if judged.ours_as_packages.within > packages.within else "no better"
    return f"{share}; random merges {judged.random.crossing:.0%}; {better} than the team's own packages at equal granularity"
