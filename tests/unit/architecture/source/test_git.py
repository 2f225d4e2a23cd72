"""History and files of a commit, read through git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from skerry.architecture.source import Unreadable
from skerry.architecture.source.git import GitFiles, history
from skerry.architecture.source.repository import NoRepository, Repository

DAY = 86_400
EPOCH = 1_600_000_000


def git(folder: Path, *arguments: str, when: float = EPOCH) -> str:
    date = f"{int(when)} +0000"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_DATE": date,
    }
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=env, check=True, capture_output=True, text=True
    ).stdout


def commit(folder: Path, number: int, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A", when=EPOCH + number * DAY)
    git(folder, "commit", "-q", "-m", f"number {number}", when=EPOCH + number * DAY)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    git(folder, "init", "-q")
    for number in range(4):
        commit(folder, number, {f"app/part{number}.py": f"x = {number}\n" * 20})
    return folder


def test_history_is_newest_first(repository):
    """The newest commit comes first, with what it touched."""
    found = history(repository)
    assert [each.subject for each in found.commits] == ["number 3", "number 2", "number 1", "number 0"]
    assert found.commits[0].paths == ("app/part3.py",)
    assert not found.shallow


def test_nothing_after_the_moment(repository):
    """What came after `at` is not there."""
    found = history(repository, EPOCH + 1.5 * DAY)
    assert [each.subject for each in found.commits] == ["number 1", "number 0"]
    assert found.head == found.commits[0].sha
    assert found.at == EPOCH + DAY


def test_what_came_afterwards(repository):
    """With `until`, only what came between the two moments is there."""
    found = history(repository, EPOCH + 0.5 * DAY, until=EPOCH + 2.5 * DAY)
    assert [each.subject for each in found.commits] == ["number 2", "number 1"]


def test_limit_is_told(repository):
    """A history that was cut by the limit says that it is not whole."""
    found = history(repository, limit=2)
    assert len(found.commits) == 2
    assert found.shallow


def test_move_is_a_rename(repository):
    """A file that was moved and changed a little is known as moved."""
    git(repository, "mv", "app/part0.py", "app/core.py")
    commit(repository, 5, {"app/core.py": "x = 0\n" * 20 + "y = 1\n"})
    first = history(repository).commits[0]
    assert first.paths == ("app/core.py",)
    assert first.renames == (("app/part0.py", "app/core.py"),)


def test_people_are_numbers(repository):
    """Nobody's name or address comes out."""
    assert "example" not in repr(history(repository))
    assert "Somebody" not in repr(history(repository))


def test_bare_clone_shallow_clone_and_worktree(repository, tmp_path):
    """A bare clone, a shallow one, and a second work tree are all read; a shallow one says so."""
    git(tmp_path, "clone", "-q", "--bare", str(repository), "bare")
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{repository}", "shallow")
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"), "HEAD~1")
    assert len(history(tmp_path / "bare").commits) == 4
    assert len(history(tmp_path / "shallow").commits) == 2
    assert history(tmp_path / "shallow").shallow
    assert history(tmp_path / "tree").commits[0].subject == "number 2"


def test_folder_within(repository):
    """Of a folder within a repository, paths are relative to that folder."""
    assert history(repository / "app").commits[0].paths == ("part3.py",)
    with GitFiles(repository / "app") as files:
        assert list(files.sizes) == [f"part{number}.py" for number in range(4)]
        assert files.read("part1.py").startswith(b"x = 1")


def test_files_of_a_commit(repository):
    """Files are those of the commit, and links are named, not followed."""
    (repository / "link").symlink_to("/etc/passwd")
    (repository / "app/part0.py").write_text("changed")
    git(repository, "add", "link")
    git(repository, "commit", "-q", "-m", "link")
    with GitFiles(repository) as files:
        assert [(each.file, each.why) for each in files.skipped] == [("link", "a link")]
        assert files.read("app/part0.py") == b"x = 0\n" * 20
        with pytest.raises(Unreadable):
            files.read("link")
        with pytest.raises(Unreadable):
            files.read("app/none.py")


def test_configuration_of_the_repository_is_not_read(repository, tmp_path, monkeypatch):
    """Programs that the repository's configuration or the environment name are not run."""
    canary = tmp_path / "canary"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {canary}\n")
    program.chmod(0o755)
    for name in ("core.fsmonitor", "core.pager", "core.sshCommand", "diff.external", "gpg.program", "diff.x.textconv"):
        git(repository, "config", name, str(program))
    for name in ("filter.x.clean", "filter.x.smudge", "filter.x.process"):
        git(repository, "config", name, str(program))
    git(repository, "config", "log.showSignature", "true")
    git(repository, "config", "core.hooksPath", str(tmp_path))
    (repository / ".git" / "info" / "attributes").write_text("* diff=x filter=x\n")
    config = repository / ".git" / "config"
    config.write_text(config.read_text() + "[broken\n")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(program))
    monkeypatch.setenv("GIT_PAGER", str(program))
    canary.unlink(missing_ok=True)
    assert len(history(repository).commits) == 4
    with GitFiles(repository) as files:
        files.read("app/part1.py")
    assert not canary.exists()


def test_no_repository(tmp_path):
    """Where there is no history, the error says so."""
    with pytest.raises(NoRepository, match="not in a git repository"):
        history(tmp_path)
    git(tmp_path, "init", "-q")
    with pytest.raises(NoRepository, match="no commit"):
        history(tmp_path)


def test_output_is_bounded(repository):
    """More output than allowed is an error, and the process is gone."""
    with Repository(repository) as opened, pytest.raises(NoRepository, match="printed more"):
        opened.run("log", most=10)
