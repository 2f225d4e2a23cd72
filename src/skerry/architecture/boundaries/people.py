"""Who changes a repository, how often it is released, and what has to be undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skerry.architecture.boundaries.signals import YEAR
from skerry.architecture.source import Commit
from skerry.architecture.source.git import commit_times
from skerry.architecture.source.repository import Repository

MOST_TAGS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Activity:
    """The year before a moment. Authors are told apart by their addresses, so one with two is counted twice."""

    commits: int
    authors: int
    authors_for_most: int
    """How many made 80 % of the commits."""
    reverts: int
    releases: int
    """Tags of commits of that year."""


def activity(path: Path, commits: Iterable[Commit], modules: Mapping[str, object], at: float) -> Activity:
    """Of the commits that touched any of `modules`."""
    year = [each for each in commits if each.when > at - YEAR and any(name in modules for name in each.paths)]
    by_author = Counter(each.author for each in year)
    with Repository(path) as repository:
        tags = list(repository.tags(MOST_TAGS).values())
        times = commit_times(repository, tags)
    return Activity(
        commits=len(year),
        authors=len(by_author),
        authors_for_most=most_of(list(by_author.values())),
        reverts=sum(each.subject.lower().startswith("revert") for each in year),
        releases=sum(at - YEAR < when <= at for when in times),
    )


def most_of(counts: Sequence[int], share: float = 0.8) -> int:
    """How many of `counts`, the largest first, make up `share` of all."""
    total, sum_so_far = sum(counts), 0
    for number, count in enumerate(sorted(counts, reverse=True), 1):
        sum_so_far += count
        if sum_so_far >= share * total:
            return number
    return 0


def authors_of(paths: Iterable[str], commits: Iterable[Commit], at: float) -> int:
    """How many people changed any of `paths` in the year before."""
    wanted = set(paths)
    return len({each.author for each in commits if each.when > at - YEAR and not wanted.isdisjoint(each.paths)})
