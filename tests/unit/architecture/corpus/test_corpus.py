"""The rules against small systems written for them: what is found of what is there, and what is said of what is not."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from reading import Case, Mark, can_be_judged, cases, subject_of

from skerry.architecture.rules import RULES, Finding, Verdict

NAMES = sorted({case.rule for case in cases()})
LEAST = 0.85
TRAPS = 3 / 42
BY_FUNCTION = {"no-compensation"}


@dataclass(slots=True)
class Score:
    """Of one rule: found of known, flagged of traps, findings that are no known positive."""

    known: int = 0
    found: int = 0
    traps: int = 0
    flagged: int = 0
    wrong: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.wrong) if self.found + self.wrong else 1.0


def findings(case: Case) -> list[Finding]:
    """What the case's rule has against the case's system."""
    subject = subject_of(case.files)
    [rule] = [rule for rule in RULES if rule.name == case.rule]
    return [each for each in rule.check(subject) if each.verdict in {Verdict.VIOLATION, Verdict.SUSPECT}]


def meets(mark: Mark, finding: Finding, *, function: bool) -> bool:
    place = finding.place
    if place is None or place.file != mark.file:
        return False
    return mark.first <= place.line <= mark.last if function else place.line == mark.line


def judge(case: Case, found: list[Finding], score: Score) -> None:
    function = case.rule in BY_FUNCTION
    right: set[int] = set()
    for mark in case.marks:
        hits = {i for i, each in enumerate(found) if meets(mark, each, function=function)}
        where = f"{case.rule}/{case.name} {mark.file}:{mark.line}"
        if mark.found:
            score.known += 1
            score.found += bool(hits)
            right |= hits
            if not hits:
                score.notes.append(f"missed  {where}")
        else:
            score.traps += 1
            score.flagged += bool(hits)
            if hits:
                score.notes.append(f"flagged {where}: {found[min(hits)].message}")
    if case.expected:
        hits = {i for i, each in enumerate(found) if set(case.expected) & set(each.services)}
        score.known += 1
        score.found += bool(hits)
        right |= hits
        if not hits:
            score.notes.append(f"missed  {case.rule}/{case.name}")
    elif case.trap:
        score.traps += 1
        score.flagged += bool(found)
    for i, each in enumerate(found):
        if i not in right:
            score.wrong += 1
            score.notes.append(f"wrong   {case.rule}/{case.name} {each.place}: {each.message}")


JUDGED = [name for name in NAMES if can_be_judged(name)]
"""Rules that are there, with what they stand on."""


@pytest.fixture(scope="module")
def scores() -> dict[str, Score]:
    found: dict[str, Score] = {name: Score() for name in NAMES}
    for case in cases():
        if can_be_judged(case.rule):
            judge(case, findings(case), found[case.rule])
    for name, score in found.items():
        print(f"{name}: {score.found}/{score.known} found, {score.flagged}/{score.traps} traps, {score.wrong} wrong")
        print("".join(f"  {note}\n" for note in score.notes), end="")
    return found


@pytest.mark.parametrize("rule", JUDGED)
def test_most_of_what_is_there_is_found(scores: dict[str, Score], rule: str) -> None:
    """At least 85 % of a rule's known positives are found."""
    assert scores[rule].found >= LEAST * scores[rule].known, "\n".join(scores[rule].notes)


def test_hardly_a_trap_is_flagged(scores: dict[str, Score]) -> None:
    """At most 3 of 42 traps, in proportion."""
    flagged, traps = sum(s.flagged for s in scores.values()), sum(s.traps for s in scores.values())
    assert flagged <= TRAPS * traps, "\n".join(note for s in scores.values() for note in s.notes if "flagged" in note)


@pytest.mark.parametrize("rule", JUDGED)
def test_most_of_what_is_said_is_true(scores: dict[str, Score], rule: str) -> None:
    """At least 85 % of a rule's findings, suspects too, are known positives."""
    assert scores[rule].precision >= LEAST, "\n".join(scores[rule].notes)


def test_the_corpus_is_large_enough() -> None:
    """At least 60 positives and 60 traps, some of each for each rule; a mark is in the case's own file."""
    positives: Counter[str] = Counter()
    traps: Counter[str] = Counter()
    for case in cases():
        positives[case.rule] += sum(mark.found for mark in case.marks) + bool(case.expected)
        traps[case.rule] += sum(not mark.found for mark in case.marks) + bool(case.trap)
    assert set(positives) == set(traps)
    assert len(positives) == 8
    assert min(*positives.values(), *traps.values()) > 1
    assert positives.total() >= 60
    assert traps.total() >= 60
