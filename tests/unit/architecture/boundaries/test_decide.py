"""The answer follows from the facts, and nothing but staying follows from few."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from skerry.architecture.boundaries.adr import as_markdown, escaped
from skerry.architecture.boundaries.decide import Answer, Facts, answer, decide, deployed_services, flips
from skerry.cli.main import main

ROOT = Path(__file__).parents[4]
FACTS = Facts(
    authors=20,
    commits=400,
    crossing=0.2,
    random=0.6,
    packages=0.3,
    as_packages=0.25,
    first="mail",
    first_crossing=0.05,
    first_transactions=0,
    first_keys=0,
    first_authors=4,
)


def with_(**changes) -> Facts:
    return dataclasses.replace(FACTS, **changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Answer.EXTRACT),
        ({"first_transactions": 1}, Answer.MODULARIZE),
        ({"first_crossing": 0.2}, Answer.MODULARIZE),
        ({"authors": 6}, Answer.MODULARIZE),
        ({"crossing": 0.4, "packages": 0.4, "as_packages": 0.39}, Answer.STAY),
        ({"crossing": 0.4, "packages": 0.5, "as_packages": 0.4}, Answer.MODULARIZE),
        ({"authors": 3}, Answer.STAY),
        ({"commits": 99}, Answer.STAY),
        ({"deployed": 3, "deployed_commits": 200, "deployed_crossing": 0.5}, Answer.MERGE),
        ({"deployed": 3, "deployed_commits": 20, "deployed_crossing": 0.5}, Answer.EXTRACT),
    ],
)
def test_answer(changes, expected):
    """Each answer has its conditions; where they are not met it is the next more careful one."""
    assert answer(with_(**changes)).answer is expected


def test_little_evidence_is_named():
    """A refusal says how much there is of what, and how much it would take."""
    decision = answer(with_(authors=2, commits=10))
    assert decision.refused
    assert decision.reasons == (
        "2 authors in the last year, at least 4 are needed",
        "10 test commits in the last two years, at least 100 are needed",
    )


def test_what_would_flip_it():
    """The sensitivity tells which change leads to another answer."""
    told = dict(line.split(": ", 1) for line in flips(with_(authors=4)))
    assert told["three times as many authors"] == "extract mail first"
    assert told["a third of the authors"].startswith("stay")
    assert told["enough test commits"] == "no change"


def test_deployed_services_are_folders_with_a_dockerfile():
    """Two folders with a Dockerfile are two services; one at the root, or in tests, is none."""
    paths = ["Dockerfile", "a/Dockerfile", "a/x.py", "b/Dockerfile", "b/y.py", "tests/Dockerfile", "c/z.py"]
    assert deployed_services(dict.fromkeys(paths, 1)) == {"a/x.py": "a", "b/y.py": "b"}
    assert deployed_services({"a/Dockerfile": 1, "a/x.py": 1}) == {}


def test_nothing_of_a_repository_is_markdown():
    """Names are shown as they are and mean nothing to Markdown or HTML."""
    assert escaped("<b>|`x`\n") == "\\<b\\>\\|\\`x\\`?"


def committed(folder: Path) -> None:
    """Make a repository of one commit of what is in `folder`."""
    git = ("git", "-c", "user.name=N", "-c", "user.email=n@example.org")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "all")):
        subprocess.run([*git, *command], cwd=folder, check=True)


@pytest.fixture
def small(tmp_path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "x.py").write_text("x = 1\n")
    committed(folder)
    return folder


def test_small_repository_stays(small, tmp_path):
    """A young repository stays as it is, and the record names the evidence that is missing."""
    record = tmp_path / "ADR.md"
    result = CliRunner().invoke(main, ["decide", str(small), "--file", str(record)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("stay: not enough evidence")
    text = record.read_text()
    for heading in ("Decision", "Ledger", "Yardsticks", "Back-test", "What would change the answer", "Unknown"):
        assert f"## {heading}" in text
    assert "at least 4 are needed" in text
    assert "at least 100 are needed" in text


def test_this_repository_stays(tmp_path):
    """What skerry says of itself, and of its monolith, is to stay; an archive without history is made a repository first."""
    for name in ("src", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".*", "*.db"))
    committed(tmp_path)
    for folder in (tmp_path, tmp_path / "examples" / "monolith"):
        case = decide(folder)
        assert case.decision.answer is Answer.STAY
        assert "authors" in as_markdown(case)
