"""A decision as a record in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from skerry.architecture.boundaries.decide import CROSSING, Case
from skerry.architecture.boundaries.text import as_json as split_as_json
from skerry.architecture.boundaries.text import bar, clean, day

_MARKS: Final = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")
YARDSTICKS: Final = (
    "In real Python systems of several services, 1 % to 27 % of the commits to code touch two or more of them.",
    "In four well-kept Django monoliths, 17 % to 42 % of a year's commits cross top-level packages.",
    f"Above {CROSSING:.0%}, services are changed together so often that they are one in truth: a distributed monolith.",
)


def escaped(text: str) -> str:
    """Text of a repository, so that it is shown and never read as Markdown or HTML."""
    return _MARKS.sub(r"\\\1", clean(text))


def as_markdown(case: Case) -> str:
    return "\n".join(_lines(case)) + "\n"


def _lines(case: Case) -> Iterator[str]:
    split, decision = case.split, case.decision
    yield f"# {escaped(decision.text[:1].upper() + decision.text[1:])}"
    yield ""
    yield f"Status: proposed. As of {day(split.at)}, commit `{split.head[:12]}`."
    yield ""
    yield "## Decision"
    yield ""
    yield f"**{escaped(decision.text)}.** The default is to stay; another answer needs evidence."
    yield ""
    yield from (f"- {escaped(reason)}" for reason in decision.reasons)
    yield ""
    yield "## Ledger"
    yield ""
    yield "| what | value | unit | window | source |"
    yield "|---|---|---|---|---|"
    yield from (f"| {' | '.join(row)} |" for row in _ledger(case))
    yield ""
    yield "## Yardsticks"
    yield ""
    yield from (f"- {line}" for line in YARDSTICKS)
    yield ""
    yield "## Back-test"
    yield ""
    yield from _back_test(case)
    yield "## What would change the answer"
    yield ""
    yield from (f"- {escaped(line)}" for line in case.flips)
    yield ""
    yield "## Unknown"
    yield ""
    yield from (f"- {escaped(line)}" for line in case.unknown)
    yield from _proof(case)


def _ledger(case: Case) -> Iterator[tuple[str, str, str, str, str]]:
    split, who, facts = case.split, case.activity, case.facts
    year, two = "last year", "last two years"
    yield "active authors", str(who.authors), "people", year, "git log"
    yield "authors of 80 % of the commits", str(who.authors_for_most), "people", year, "git log"
    yield "commits to modules", str(who.commits), "commits", year, "git log"
    yield "releases", str(who.releases), "tags", year, "git tags"
    yield "reverts", str(who.reverts), "commits", year, "git log"
    yield "code", f"{sum(each.lines for each in split.services):,}", "lines", "now", "Python source"
    if split.backtest is not None:
        yield "test commits", str(facts.commits), "commits", two, "skerry split"
        yield "would have crossed the proposed services", f"{facts.crossing:.0%}", "of commits", two, "skerry split"
        yield "would have crossed random merges", f"{facts.random:.0%}", "of commits", two, "skerry split"
        yield "cross the packages there are", f"{facts.packages:.0%}", "of commits", two, "skerry split"
        yield "would have crossed a proposal as fine", f"{facts.as_packages:.0%}", "of commits", two, "skerry split"
    yield "transactions that would become sagas", str(len(split.sagas)), "functions", "now", "Python source"
    yield (
        "foreign keys that would be cut",
        str(sum(len(c.keys) for c in split.crossings)),
        "keys",
        "now",
        "Python source",
    )
    yield "imports that would be cut", str(sum(c.imports for c in split.crossings)), "imports", "now", "Python source"
    if facts.first:
        name = escaped(facts.first)
        yield (
            f"easiest to extract: {name}; its commits that cross",
            f"{facts.first_crossing:.0%}",
            "of commits",
            two,
            "skerry split",
        )
        yield f"authors of {name}", str(facts.first_authors), "people", year, "git log"
    if facts.deployed:
        share = f"{facts.deployed_crossing:.0%} of {facts.deployed_commits}"
        yield (
            f"commits that touch several of the {facts.deployed} services there are",
            share,
            "commits",
            two,
            "Dockerfiles, git log",
        )


def _back_test(case: Case) -> Iterator[str]:
    judged = case.split.backtest
    if judged is None or not judged.ours.commits:
        yield "None: the history does not reach back far enough."
        yield ""
        return
    yield (
        f"Learned up to {day(judged.learned)}, judged by {judged.ours.commits} commits until {day(judged.until)} that touch "
        "several modules. Share of them that stays within one service:"
    )
    yield ""
    yield "```text"
    for name, score in (
        ("proposed", judged.ours),
        ("imports only", judged.imports),
        ("random merges", judged.random),
        ("your own packages", judged.packages),
        ("proposed, as fine", judged.ours_as_packages),
    ):
        yield f"{name:20} {bar(score.within)} {score.within:4.0%}  at {score.services:.1f} services"
    yield "```"
    yield ""


def _proof(case: Case) -> Iterator[str]:
    shas = list(dict.fromkeys(sha for cut in case.split.crossings for sha in cut.shas))[:10]
    if shas:
        yield ""
        yield "## Commits that would have crossed"
        yield ""
        yield from (f"- `{sha}`" for sha in shas)
    if case.split.services:
        yield ""
        yield "## The boundary that was looked at"
        yield ""
    for service in case.split.services:
        packages = ", ".join(escaped(name) for name in service.packages[:8])
        yield f"- {escaped(service.name)}: {len(service.modules)} modules; {packages}"


def as_json(case: Case) -> dict[str, Any]:
    return {
        "verdict": case.decision.answer.value,
        "text": case.decision.text,
        "refused": case.decision.refused,
        "reasons": list(case.decision.reasons),
        "facts": asdict(case.facts),
        "activity": asdict(case.activity),
        "sensitivity": list(case.flips),
        "unknown": list(case.unknown),
        "yardsticks": list(YARDSTICKS),
        "split": split_as_json(case.split),
    }
