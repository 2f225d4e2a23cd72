"""examples/antipatterns: each has its one fault, and nothing else is said of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from reading import can_be_judged, subject_of

from skerry.architecture.rules import RULES, Verdict

FOLDERS = sorted(each for each in (Path(__file__).parents[4] / "examples" / "antipatterns").iterdir() if each.is_dir())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_antipattern_has_the_fault_of_its_name_and_no_other(folder: Path) -> None:
    """The rule that the folder is called by finds something, if it is there; every other rule finds nothing."""
    texts = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    subject = subject_of(texts)
    found = {
        rule.name
        for rule in RULES
        for finding in rule.check(subject)
        if finding.verdict in {Verdict.VIOLATION, Verdict.SUSPECT}
    }
    assert found == ({folder.name} if can_be_judged(folder.name) else set())


def test_there_is_one_for_each_rule() -> None:
    """Eight rules, eight folders, each told of in its own file."""
    assert len(FOLDERS) == 8
    assert {rule.name for rule in RULES} <= {folder.name for folder in FOLDERS}
    assert all((folder / "README.md").is_file() for folder in FOLDERS)
