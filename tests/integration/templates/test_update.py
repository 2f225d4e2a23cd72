"""`skerry new --update`, by a skerry with newer templates: what both sides did is there afterwards, or nothing has changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from new_systems import BOUND, ROOT, commit, git, replace, skerry, state

from skerry.deploy.templates import update
from skerry.errors import ConfigurationError


def test_what_only_one_side_changed_comes_and_stays(tracked: Path, newer: Path) -> None:
    """The system and both of its services are brought along; git sees changes in the work tree and nothing else."""
    assert skerry(tracked, "new", "service", "stock", "--defaults").exit_code == 0
    replace(tracked / "README.md", "## The environment", "## Ours\n\nWe wrote this.\n\n## The environment")
    replace(tracked / "notes" / "app.py", "There is no such entry.", "Nobody knows it.")
    (tracked / "tests" / "test_stock.py").unlink()  # a person may have thrown away what was made
    commit(tracked)
    head = git(tracked, "rev-parse", "HEAD")
    done = update(tracked, templates=newer)
    records = [".skerry/services/notes.yml", ".skerry/services/stock.yml", ".skerry/system.yml"]
    assert done.to == dict.fromkeys(records, "v2")
    assert done.conflicts == ()
    changed = ["Makefile", "NEWS.md", "README.md", "notes/models.py", "stock/models.py"]
    changed += ["docs/why.md", "notes/__init__.py", "stock/__init__.py"]
    assert [str(path) for path in done.changed] == sorted([*records, *changed])
    assert "# demo, a system\n" in (tracked / "README.md").read_text()
    assert "We wrote this." in (tracked / "README.md").read_text()
    assert "Nobody knows it." in (tracked / "notes" / "app.py").read_text()
    assert "max_length=2000" in (tracked / "stock" / "models.py").read_text()
    assert (tracked / "NEWS.md").read_text() == "Nothing new in demo.\n"
    assert not (tracked / "notes" / "__init__.py").exists()
    assert not (tracked / "tests" / "test_stock.py").exists()
    seen = {line[3:] for line in git(tracked, "status", "--porcelain", "--untracked-files=all").splitlines()}
    assert seen == {str(path) for path in done.changed}
    assert git(tracked, "rev-parse", "HEAD") == head
    assert git(tracked, "diff", "--cached") == ""
    commit(tracked)
    assert not update(tracked, templates=newer).to


def test_a_conflict_is_told_and_both_sides_are_in_the_file(tracked: Path, newer: Path) -> None:
    """Between markers as git writes them; the other files are merged all the same, and the exit status says so."""
    replace(tracked / "README.md", "# demo\n", "# Our demo\n")
    commit(tracked)
    source = newer.parent / "src"  # a skerry that is newer as a whole: it takes the templates beside it
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "static"))
    command = [sys.executable, "-m", "skerry", "new", "--update", "-o", "json"]
    environ = os.environ | {"PYTHONPATH": str(source)}
    done = subprocess.run(
        command, cwd=tracked / "notes", env=environ, capture_output=True, text=True, check=False, timeout=BOUND
    )
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["conflicts"] == ["README.md"]
    text = (tracked / "README.md").read_text()
    assert "<<<<<<< before updating\n# Our demo\n" in text
    assert "# demo, a system\n>>>>>>> after updating\n" in text
    assert "# what there is to do" in (tracked / "Makefile").read_text()
    assert not list(tracked.rglob("*.rej"))


def test_a_system_inside_a_larger_repository_is_updated_alone(tracked: Path, newer: Path, tmp_path: Path) -> None:
    """Only its own folder has to be clean, and only that is changed."""
    whole = tmp_path / "whole"
    (whole / "systems").mkdir(parents=True)
    (whole / "NEWS.md").write_text("ours")
    tracked.rename(whole / "systems" / "demo")
    demo = whole / "systems" / "demo"
    (tmp_path / "git").mkdir()
    (demo / ".git").rename(tmp_path / "git" / "old")
    git(whole, "init", "--quiet")
    commit(whole)
    (whole / "NEWS.md").write_text("ours, and not committed")
    assert update(demo, templates=newer).changed
    assert (demo / "NEWS.md").read_text() == "Nothing new in demo.\n"
    assert (whole / "NEWS.md").read_text() == "ours, and not committed"


def _dirty(folder: Path) -> None:
    (folder / "README.md").write_text("being written")


def _untracked(folder: Path) -> None:
    (folder / "plan.txt").write_text("mine")


def _without_history(folder: Path) -> None:
    (folder / ".git").rename(folder.parent / "was.git")


def _without_record(folder: Path) -> None:
    shutil.rmtree(folder / ".skerry")
    commit(folder)


def _of_the_future(folder: Path) -> None:
    replace(folder / ".skerry" / "system.yml", "_commit: v1", "_commit: v3")
    commit(folder)


def _damaged(folder: Path) -> None:
    (folder / ".skerry" / "services" / "notes.yml").write_text("a: [")
    commit(folder)


def _foreign(folder: Path) -> None:
    replace(folder / ".skerry" / "system.yml", "_src_path: skerry-system", "_src_path: https://localhost/strange.git")
    commit(folder)


def _ignored(folder: Path) -> None:
    with (folder / ".gitignore").open("a") as ignored:
        ignored.write("/NEWS.md\n")
    (folder / "NEWS.md").write_text("mine, and git does not know it")
    commit(folder)


def _linked(folder: Path) -> None:
    (folder / "docs").symlink_to(folder.parent, target_is_directory=True)
    commit(folder)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (_dirty, "commit or stash your changes first: README.md"),
        (_untracked, "commit or stash your changes first: plan.txt"),
        (_without_history, "is in no git repository with a commit"),
        (_without_record, "was made by `skerry new`: there is no .skerry/system.yml"),
        (_of_the_future, "made from version 'v3' of the template, and this skerry knows v1, v2"),
        (_damaged, "holds no answers"),
        (_foreign, "was made from another template"),
        (_linked, "the template has docs/why.md now, which would be written behind a link"),
        (_ignored, "the template has NEWS.md now, and there is one that git ignores"),
    ],
)
def test_what_cannot_be_updated_safely_is_refused_and_nothing_has_changed(
    how: object, message: str, tracked: Path, newer: Path
) -> None:
    """One line says why; every file is what it was."""
    assert callable(how)
    how(tracked)
    before = state(tracked)
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        update(tracked, templates=newer)
    assert state(tracked) == before


def test_what_was_just_made_is_up_to_date(tracked: Path) -> None:
    """The templates of this skerry are those it was made of."""
    done = skerry(tracked / "notes", "new", "--update")
    assert (done.exit_code, done.stdout) == (0, "nothing has changed in the templates\n")
