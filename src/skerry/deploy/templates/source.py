"""The templates in this package, as copier wants them: a git repository in which each version has a tag.

A wheel holds files, not a history. So each version of a template is a folder (`v1`, `v2`), and the repository is made of them
when it is needed, in a temporary folder. What is written down of it is the same on every machine: `skerry-system` at `v1`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from skerry.errors import ConfigurationError, DeployError, MissingExtra

try:
    import copier  # looked for here, once, so that its absence has one message
    import yaml
    from copier import errors
except ImportError as _error:
    raise MissingExtra("Making something new", "new") from _error

SYSTEM: Final = "system"
SERVICE: Final = "service"
GIT_TIMEOUT: Final = 60.0
"""Seconds for one command of git's."""
_IDENTITY: Final = ("-c", "user.name=skerry", "-c", "user.email=skerry@localhost", "-c", "commit.gpgsign=false")


def home() -> Path:
    """The templates in the wheel, or in the repository around this package."""
    package = Path(__file__).parents[2]
    for folder in (package / "_templates", package.parents[1] / "templates"):
        if (folder / SYSTEM).is_dir():
            return folder
    raise ConfigurationError("the templates are not part of this installation")


def source_of(kind: str) -> str:
    """What records call a template."""
    return f"skerry-{kind}"


def versions(kind: str, templates: Path | None = None) -> tuple[str, ...]:
    """The versions of a template, oldest first: `v1`, `v2`."""
    found = ((templates or home()) / kind).iterdir()
    return tuple(sorted((folder.name for folder in found if folder.name[1:].isdigit()), key=lambda name: int(name[1:])))


def git(*words: str, folder: Path) -> str:
    """What git prints. Raises `DeployError` with what it complains of.

    Variables that point git elsewhere are left out, and nobody's hooks are run.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *_IDENTITY, "-c", f"core.hooksPath={os.devnull}", "-c", "core.quotePath=false", *words]
    try:
        done = subprocess.run(  # noqa: S603 - words of ours
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=GIT_TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise ConfigurationError("templates need git, and there is none on the path") from None
    except subprocess.TimeoutExpired:
        raise DeployError(f"git {words[0]} did not end within {GIT_TIMEOUT:g} s") from None
    if done.returncode:
        raise DeployError(f"git {words[0]} failed: {done.stderr.strip()[:500]}")
    return done.stdout


@contextmanager
def sources(templates: Path | None = None) -> Iterator[None]:
    """Inside, `skerry-system` and `skerry-service` are repositories in the current folder, which is a temporary one."""
    where = templates or home()
    with tempfile.TemporaryDirectory(prefix="skerry-templates-") as made:
        for kind in (SYSTEM, SERVICE):
            repository = Path(made) / source_of(kind)
            repository.mkdir()
            git("init", "--quiet", folder=repository)
            for version in versions(kind, where):
                for old in repository.iterdir():
                    if old.name != ".git":
                        shutil.rmtree(old) if old.is_dir() else old.unlink()
                # whoever installs a wheel compiles all there is
                compiled = shutil.ignore_patterns("__pycache__")
                shutil.copytree(where / kind / version, repository, ignore=compiled, dirs_exist_ok=True)
                git("add", "--all", "--force", folder=repository)
                git("commit", "--quiet", "--allow-empty", "--message", version, folder=repository)
                git("tag", version, folder=repository)
        with contextlib.chdir(made):
            yield


def render(kind: str, destination: Path, answers: Mapping[str, Any], *, defaults: bool, record: str) -> dict[str, Any]:
    """Render the newest version into the folder `destination`, and return all answers.

    What `answers` lacks is asked, or, with `defaults`, taken from the template. `record` is the file of answers that it writes.
    """
    newest = versions(kind)[-1]
    if not defaults and not sys.stdin.isatty():
        raise ConfigurationError(
            "there is no terminal to ask on: give --defaults, and --data NAME=VALUE for what should differ"
        )
    with sources(), _told():
        copier.run_copy(
            source_of(kind),
            destination,
            data=dict(answers),
            vcs_ref=newest,
            defaults=defaults,
            overwrite=True,
            quiet=True,
            settings=copier.Settings(),
        )
    return read_answers(destination / record)


def merge(destination: Path, record: str, newest: str) -> None:
    """Bring a folder, whose work tree is clean, to another version of the template that the answers in `record` name.

    To be called inside `sources`.
    """
    with _told():
        copier.run_update(
            destination,
            answers_file=record,
            vcs_ref=newest,
            defaults=True,
            overwrite=True,
            quiet=True,
            conflict="inline",
            settings=copier.Settings(),
        )


def questions(kind: str) -> tuple[str, ...]:
    """The names of what the newest version of a template asks."""
    file = home() / kind / versions(kind)[-1] / "copier.yml"
    asked = yaml.safe_load(file.read_text())
    return tuple(name for name, about in asked.items() if not name.startswith("_") and about.get("when", True))


def read_answers(file: Path) -> dict[str, Any]:
    """The answers in a file that a template wrote. Raises `ConfigurationError`."""
    try:
        answers = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise ConfigurationError("holds no answers: it is written by `skerry new`", source=str(file)) from None
    if not isinstance(answers, dict) or not isinstance(answers.get("_commit"), str):
        raise ConfigurationError("holds no answers: it is written by `skerry new`", source=str(file))
    return answers


@contextmanager
def _told() -> Iterator[None]:
    """Turns copier's errors into ours."""
    try:
        yield
    except errors.CopierAnswersInterrupt:
        raise ConfigurationError("stopped; nothing was made") from None
    except (errors.CopierError, OSError, ValueError) as error:  # of the programs that it runs, too
        raise ConfigurationError(f"the template could not be applied: {error}") from error
