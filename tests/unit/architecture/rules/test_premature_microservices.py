"""The rule premature-microservices: people and sizes, and what is left alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from repository import subject_of

from skerry.architecture.rules import Finding, Severity, Verdict
from skerry.architecture.rules.premature_microservices import premature_microservices
from skerry.architecture.source import Commit, History

DAY = 86_400.0


def system(count: int = 3, *, lines: int = 50, readme: str = "# Orders") -> dict[str, str]:
    names = [f"s{i}" for i in range(count)]
    texts = {"compose.yaml": "services:\n" + "".join(f"  {name}: {{build: {name}}}\n" for name in names)}
    for name in names:
        texts |= {f"{name}/Dockerfile": "FROM python:3.12\nCOPY . /srv\n", f"{name}/app.py": "x = 1\n" * lines}
    return texts | {"README.md": readme}


def history(authors: int, *, shallow: bool = False, age: float = 0.0) -> History:
    """One commit of each author, `age` days before the last one."""
    commits = tuple(
        Commit(
            sha=f"{i:040x}",
            when=1000 * DAY - (age * DAY if i else 0.0),
            author=str(i),
            subject="x",
            paths=("s0/app.py",),
        )
        for i in range(authors)
    )
    return History(head=commits[0].sha, at=1000 * DAY, commits=commits, shallow=shallow)


def finding(texts: dict[str, str], given: History | None, part: str = "") -> Finding:
    (found,) = premature_microservices.check(subject_of(texts, history=given, part=part))
    return found


def test_more_services_than_people_and_all_small_is_a_note() -> None:
    """It says both numbers, and is never more than a note."""
    found = finding(system(), history(2))
    assert (found.verdict, found.severity) == (Verdict.VIOLATION, Severity.NOTE)
    assert "3 services for 2 active authors" in found.message
    assert found.services == ("s0", "s1", "s2")


def test_people_of_long_ago_do_not_count() -> None:
    """Active is who committed in the last year of the history."""
    assert finding(system(), history(4, age=500)).verdict is Verdict.VIOLATION


@pytest.mark.parametrize(
    ("texts", "given"),
    [(system(), history(3)), (system(lines=2_500), history(1)), (system(2), history(1))],
    ids=["as many people as services", "large ones", "two"],
)
def test_services_with_people_or_size_are_clean(texts: dict[str, str], given: History) -> None:
    """Either is reason enough; and two can hardly be too many."""
    found = finding(texts, given)
    assert found.verdict is Verdict.CLEAN
    assert found.services == ()


@pytest.mark.parametrize("word", ["A sample application", "Demo of a shop", "Code of the book", "A course on services"])
def test_what_calls_itself_an_example_is_clean(word: str) -> None:
    """It shows services and is run by nobody; where it says so is the evidence."""
    found = finding(system(readme=f"# Shop\n\n{word}\n"), history(1))
    assert found.verdict is Verdict.CLEAN
    assert found.evidence[0].place is not None
    assert found.evidence[0].place.line == 3


@pytest.mark.parametrize(
    ("part", "verdict"),
    [
        ("examples/shop", Verdict.CLEAN),
        ("examples/antipatterns/one", Verdict.VIOLATION),
        ("systems/shop", Verdict.VIOLATION),
    ],
)
def test_a_part_of_a_repository_is_judged_by_where_it_stands(part: str, verdict: Verdict) -> None:
    """Examples are shown; those that are shown for their faults are to be found."""
    assert finding(system(), history(1), part).verdict is verdict


@pytest.mark.parametrize("given", [None, history(1, shallow=True)], ids=["none", "shallow"])
def test_without_history_it_is_unknown(given: History | None) -> None:
    """Nobody knows how many people there are."""
    found = finding(system(lines=500), given)
    assert found.verdict is Verdict.UNKNOWN
    assert "history" in found.message


def test_many_tiny_ones_are_suspect_without_history() -> None:
    """Five services of some lines each need no history to look premature."""
    found = finding(system(5), None)
    assert (found.verdict, found.severity) == (Verdict.SUSPECT, Severity.NOTE)
