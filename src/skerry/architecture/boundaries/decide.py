"""Whether to split: one of four answers, from measured facts, with what would change it. The default is to stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from skerry.architecture.boundaries.backtest import ENOUGH, test_commits
from skerry.architecture.boundaries.judge import HELD_OUT
from skerry.architecture.boundaries.modules import is_module
from skerry.architecture.boundaries.people import Activity, activity, authors_of
from skerry.architecture.boundaries.proposal import Progress, Split, propose
from skerry.architecture.source.git import GitFiles, history

FEWEST_AUTHORS: Final = 4
TEAMS: Final = 10
"""Authors a year from which two teams are thinkable, each with a service of its own."""
CROSSING: Final = 0.30
"""The share of commits that touch two services above which services are one in truth. Real systems have 1 % to 27 %."""
EASY: Final = 0.10
"""The share of a service's commits that also touch others below which it can be extracted alone."""
GAIN: Final = 0.05
"""By how much a proposed boundary has to hold commits better than the packages do to be worth the contracts."""


class Answer(StrEnum):
    """What to do."""

    STAY = "stay"
    MODULARIZE = "modularize"
    EXTRACT = "extract"
    MERGE = "merge back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The numbers that the answer hangs on."""

    authors: int
    commits: int
    """Test commits of the back-test."""
    crossing: float
    random: float
    packages: float
    """What crosses the team's own packages, and what crosses a proposal that is as fine."""
    as_packages: float
    first: str
    """The service that is easiest to extract."""
    first_crossing: float
    first_transactions: int
    first_keys: int
    first_authors: int
    deployed: int = 0
    """Services that are there already, by their Dockerfiles."""
    deployed_commits: int = 0
    deployed_crossing: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer with its reasons."""

    answer: Answer
    text: str
    reasons: tuple[str, ...]
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that a decision record shows."""

    facts: Facts
    decision: Decision
    split: Split
    activity: Activity
    flips: tuple[str, ...]
    unknown: tuple[str, ...]


def decide(path: Path, at: float | None = None, *, progress: Progress | None = None) -> Case:
    """Measure the repository at `path` and answer. Raises `NoRepository`."""
    split = propose(path, at, progress=progress)
    commits = history(path, split.at, since=split.at - HELD_OUT).commits
    modules = {module: service.name for service in split.services for module in service.modules}
    who = activity(path, commits, modules, split.at)
    first = next((each for each in split.services if split.order and each.name == split.order[0]), None)
    cuts = [cut for cut in split.crossings if first and first.name in cut.services]
    judged = split.backtest
    with GitFiles(path, split.head) as files:
        deployed = deployed_services(files.sizes)
    tests = test_commits(commits, deployed)
    facts = Facts(
        authors=who.authors,
        commits=judged.ours.commits if judged else 0,
        crossing=judged.ours.crossing if judged else 1.0,
        random=judged.random.crossing if judged else 1.0,
        packages=judged.packages.crossing if judged else 1.0,
        as_packages=judged.ours_as_packages.crossing if judged else 1.0,
        first=first.name if first else "",
        first_crossing=first.crossing / first.commits if first and first.commits else 1.0,
        first_transactions=sum(len(cut.transactions) for cut in cuts),
        first_keys=sum(len(cut.keys) for cut in cuts),
        first_authors=authors_of(first.modules if first else (), commits, split.at),
        deployed=len(set(deployed.values())),
        deployed_commits=len(tests),
        deployed_crossing=sum(len({deployed[path] for path in paths}) > 1 for _, paths in tests) / max(1, len(tests)),
    )
    return Case(
        facts=facts,
        decision=answer(facts),
        split=split,
        activity=who,
        flips=tuple(flips(facts)),
        unknown=tuple(unknown(facts, split)),
    )


def deployed_services(sizes: Mapping[str, int]) -> dict[str, str]:
    """The service of each Python file, where two or more folders have a Dockerfile of their own; else nothing."""
    roots = sorted(
        {path.rpartition("/")[0] for path in sizes if path.endswith("/Dockerfile") and is_module(f"{path}.py")}, key=len
    )
    found: dict[str, str] = {}
    for path in sizes:
        if is_module(path):
            root = next((root for root in reversed(roots) if path.startswith(f"{root}/")), None)
            if root is not None:
                found[path] = root
    return found if len(set(found.values())) > 1 else {}


def answer(facts: Facts) -> Decision:
    """The answer that `facts` support."""
    lacking = []
    if facts.authors < FEWEST_AUTHORS:
        lacking.append(f"{facts.authors} authors in the last year, at least {FEWEST_AUTHORS} are needed")
    if facts.commits < ENOUGH:
        lacking.append(f"{facts.commits} test commits in the last two years, at least {ENOUGH} are needed")
    if lacking:
        return Decision(Answer.STAY, "stay: not enough evidence for anything else", tuple(lacking), refused=True)
    if facts.deployed > 1 and facts.deployed_commits >= ENOUGH and facts.deployed_crossing > CROSSING:
        reason = f"{facts.deployed_crossing:.0%} of commits touch several of the {facts.deployed} services there are"
        return Decision(Answer.MERGE, "merge back what is always changed together", (reason,))
    held = f"{facts.crossing:.0%} of later commits would have crossed the proposed services"
    if (
        facts.authors >= TEAMS
        and facts.crossing <= CROSSING
        and facts.first_crossing <= EASY
        and not facts.first_transactions
        and facts.first_authors > 1
    ):
        alone = (
            f"{facts.first_crossing:.0%} of the commits to {facts.first} touch anything else, and no transaction does"
        )
        return Decision(Answer.EXTRACT, f"extract {facts.first} first", (held, alone))
    gain = facts.packages - facts.as_packages
    better = f"at the granularity of the packages, the proposed boundary holds {gain:+.0%} of the commits more"
    if gain >= GAIN or facts.crossing <= CROSSING:
        return Decision(Answer.MODULARIZE, "modularize: keep one deployment and write contracts first", (held, better))
    return Decision(Answer.STAY, "stay", (held, better))


def flips(facts: Facts) -> Iterator[str]:
    """What would have to be different for another answer."""
    before = answer(facts)
    changes: list[tuple[str, Callable[[Facts], Facts]]] = [
        ("three times as many authors", lambda f: dataclasses.replace(f, authors=f.authors * 3)),
        ("a third of the authors", lambda f: dataclasses.replace(f, authors=f.authors // 3)),
        ("half of the crossing commits", lambda f: _crossing(f, 0.5)),
        ("half as many crossing commits again", lambda f: _crossing(f, 1.5)),
        ("no transaction across the first service", lambda f: dataclasses.replace(f, first_transactions=0)),
        ("enough test commits", lambda f: dataclasses.replace(f, commits=max(f.commits, ENOUGH))),
        (
            f"enough test commits, and {FEWEST_AUTHORS} authors",
            lambda f: dataclasses.replace(f, commits=max(f.commits, ENOUGH), authors=max(f.authors, FEWEST_AUTHORS)),
        ),
    ]
    for what, change in changes:
        after = answer(change(facts))
        yield f"{what}: {after.text}" if after.text != before.text else f"{what}: no change"


def _crossing(facts: Facts, factor: float) -> Facts:
    return dataclasses.replace(
        facts,
        crossing=min(1.0, facts.crossing * factor),
        as_packages=min(1.0, facts.as_packages * factor),
        first_crossing=min(1.0, facts.first_crossing * factor),
    )


def unknown(facts: Facts, split: Split) -> Iterator[str]:
    """What was not measured, and where it could be had."""
    if facts.authors < FEWEST_AUTHORS:
        yield "whether teams get in each other's way: too few authors to see teams"
    if facts.commits < ENOUGH:
        yield "whether the boundary would hold: too few commits that touch several modules (run it again later)"
    if split.shallow:
        yield "the history before this clone begins: it is shallow (git fetch --unshallow)"
    yield "whether parts need to be scaled apart: no load per part is known (metrics, traces)"
    yield "what calls over the network would add to response times: no traces (skerry check --traces)"
    yield "how long a change takes from commit to production: no deployments are known (the export of your pipeline)"
    yield "whether parts have other demands on compliance or availability: this stands in no repository"
