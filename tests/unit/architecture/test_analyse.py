"""From a folder to findings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from skerry.architecture.analyse import analyse, findings
from skerry.architecture.code import reading
from skerry.architecture.rules import RULES, Subject, Verdict
from skerry.architecture.source import Unreadable
from skerry.architecture.source.cache import Cache
from skerry.architecture.source.tree import Tree
from skerry.errors import ConfigurationError

COMPOSE = """services:
  a:
    build: ./a
    environment: {DATABASE_URL: "postgresql://u:p@db:5432/shop"}
  b:
    build: ./b
    environment: {DATABASE_URL: "postgresql://u:p@db:5432/shop"}
  db:
    image: postgres:16
"""


class Told(list[tuple[str, int, int]]):
    def step(self, what: str, done: int, total: int) -> None:
        self.append((what, done, total))


def system(root: Path) -> Path:
    for name in "ab":
        (root / name).mkdir(parents=True)
        (root / name / "Dockerfile").write_text("FROM python:3.12-slim\nCOPY . /srv\nCMD python app.py\n")
        (root / name / "app.py").write_text(f"import os\n\nURL = os.environ['DATABASE_URL']\nNAME = '{name}'\n")
    (root / "compose.yaml").write_text(COMPOSE)
    return root


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "init.defaultBranch=main")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *identity, *arguments], cwd=folder, env=env, check=True, capture_output=True)


def committed(root: Path) -> Path:
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "All of it")
    return root


def judged(subject: Subject) -> list[tuple[str, str, str, tuple[str, ...], str]]:
    return [(each.rule, each.verdict, each.message, each.services, str(each.place)) for each in findings(subject)]


def test_a_folder_becomes_findings(tmp_path: Path) -> None:
    """Manifests and code are read and joined, and the worst is said first."""
    subject = analyse(system(tmp_path))
    assert set(subject.model.services) == {"a", "b"}
    assert (subject.part, subject.history, subject.skipped, subject.code.unparsed) == ("", None, (), ())
    first = findings(subject)[0]
    assert (first.rule, first.verdict, first.services) == ("shared-database", Verdict.VIOLATION, ("a", "b"))


def test_the_work_tree_a_bare_repository_and_a_clone_without_files_say_the_same(tmp_path: Path) -> None:
    """Where there is no work tree, the last commit is read; what is found does not depend on it."""
    tree = committed(system(tmp_path / "tree"))
    git(tmp_path, "clone", "-q", "--bare", "tree", "bare")
    git(tmp_path, "clone", "-q", "--no-checkout", "tree", "empty")
    found = [judged(analyse(path)) for path in (tree, tmp_path / "bare", tmp_path / "empty", tree / ".git")]
    assert found[0] == found[1] == found[2] == found[3]
    assert found[0][0][0] == "shared-database"


def test_a_folder_of_a_repository_is_its_part(tmp_path: Path) -> None:
    """The history is then of the commits that touch it; of a folder that git does not know there is none."""
    system(tmp_path / "examples" / "shop")
    (tmp_path / "other.py").write_text("x = 1\n")
    committed(tmp_path)
    (tmp_path / "other.py").write_text("x = 2\n")
    git(tmp_path, "commit", "-qam", "Not of the shop")
    system(tmp_path / "new")
    subject = analyse(tmp_path / "examples" / "shop")
    assert subject.part == "examples/shop"
    assert subject.history is not None
    assert [each.subject for each in subject.history.commits] == ["All of it"]
    assert analyse(tmp_path / "new").history is None


def test_a_second_look_says_the_same(tmp_path: Path) -> None:
    """With a cache, with one that is damaged, and after a change that only the changed file tells of."""
    root, kept = committed(system(tmp_path / "tree")), tmp_path / "cache"
    cold, warm = (analyse(root, cache=kept) for _ in range(2))
    assert (cold.code, cold.model, cold.history) == (warm.code, warm.model, warm.history)
    (kept / "check.sqlite3").write_bytes(b"nothing")
    assert analyse(root, cache=kept).code == cold.code
    (root / "a" / "app.py").write_text("import os\n\nURL = os.environ['OTHER_URL']\n")
    changed = analyse(root, cache=kept).code.variables
    assert changed == {"DATABASE_URL": ("b/app.py",), "OTHER_URL": ("a/app.py",)}


def test_nothing_is_kept_in_what_is_read(tmp_path: Path) -> None:
    """A cache folder below the repository is not used, also when a link leads there."""
    root = system(tmp_path / "tree")
    (tmp_path / "link").symlink_to(root)
    before = sorted(root.rglob("*"))
    for kept in (root, root / ".cache", tmp_path / "link" / "cache"):
        analyse(root, cache=kept)
    assert sorted(root.rglob("*")) == before


def test_what_was_not_read_is_said(tmp_path: Path) -> None:
    """Code that is lost in part, code that is a link, and no picture that is too large."""
    root = system(tmp_path / "tree")
    (root / "a" / "old.py").write_text("import os\nprint 'two'\n")
    (root / "a" / "link.py").symlink_to(root / "b" / "app.py")
    (root / "large.png").write_bytes(b"x" * 5_000_000)
    (root / "large.sql").write_bytes(b"x" * 5_000_000)
    subject = analyse(root)
    assert [each.file for each in subject.code.unparsed] == ["a/old.py"]
    assert [each.file for each in subject.skipped] == ["a/link.py", "large.sql"]


def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    """Every file of code is counted once, what is known counts at once, and each stage is named."""
    root, kept = system(tmp_path / "tree"), tmp_path / "cache"
    for counted in ([(1, 2), (2, 2), (2, 2)], [(2, 2)]):
        told = Told()
        analyse(root, cache=kept, progress=told)
        assert [each[1:] for each in told if each[0] == "reading code"] == counted
        assert {each[0] for each in told} == {"listing files", "reading code", "building the model"}


def test_what_was_lost_is_tried_again(tmp_path: Path) -> None:
    """A file that could not be read at all is no state to be kept: the next look reads it."""
    root, kept = system(tmp_path / "tree"), tmp_path / "cache"
    (root / "a" / "large.py").write_text("x = 1\n")

    class Shy(Tree):
        def read(self, path: str) -> bytes:
            if path == "a/large.py":
                raise Unreadable(f"{path}: not now")
            return super().read(path)

    with Cache(kept / "check.sqlite3", version=reading.version()) as cache, Shy(root) as files:
        for _ in range(2):
            code = reading.read(files, cache, lambda *_: None)
            assert [each.file for each in code.unparsed] == ["a/large.py"]
    assert analyse(root, cache=kept).code.unparsed == ()


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    """No folder is a mistake of the caller; an empty one is a system of nothing."""
    with pytest.raises(ConfigurationError, match="nowhere"):
        analyse(tmp_path / "nowhere")
    assert analyse(tmp_path).model.services == {}
    git(tmp_path, "init", "-q")
    assert analyse(tmp_path).model.services == {}


class Broken:
    name = "broken"
    why = fix = ""

    def check(self, subject: Subject) -> list[object]:
        raise KeyError(subject.part)


def test_a_rule_that_fails_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw in a repository makes one verdict unknown."""
    from skerry.architecture import analyse as module

    monkeypatch.setattr(module, "RULES", (Broken(), *module.RULES))
    found = findings(analyse(system(tmp_path)))
    assert found[0].rule == "shared-database"
    assert [(each.verdict, each.message) for each in found if each.rule == "broken"] == [
        (Verdict.UNKNOWN, "the rule could not be judged here (KeyError): please report it")
    ]


def test_of_nothing_nothing_is_known(tmp_path: Path) -> None:
    """A folder without services is clean by no rule: each says that it does not know, and of what."""
    found = findings(analyse(tmp_path))
    assert {each.rule for each in found} == {rule.name for rule in RULES}
    assert {each.verdict for each in found} == {Verdict.UNKNOWN}
    assert all("no service was found" in each.message for each in found)
