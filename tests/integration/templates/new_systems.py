"""How the tests of templates call git and skerry."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from click.testing import CliRunner, Result

from skerry.cli.main import main

ROOT = Path(__file__).parents[3]
BOUND = 120.0


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"]
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True, timeout=BOUND)
    return done.stdout


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "so it is")


def skerry(folder: Path, *words: str) -> Result:
    """Run `skerry` in a folder, on no terminal."""
    with contextlib.chdir(folder):
        return CliRunner().invoke(main, words, prog_name="skerry", catch_exceptions=False)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def state(folder: Path) -> dict[str, bytes]:
    """All files but git's own."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
