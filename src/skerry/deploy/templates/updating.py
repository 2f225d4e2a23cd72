"""Brings what has changed in the templates into a system that was made of an older version.

copier merges three ways: the old template, the new one, and what has become of the system. It does so in a copy; the system
itself gets the result in the end, so that nothing has changed there when anything fails.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skerry.deploy.templates.making import RECORD, RECORDS
from skerry.deploy.templates.source import SERVICE, SYSTEM, git, merge, read_answers, source_of, sources, versions
from skerry.errors import ConfigurationError, DeployError

MAX_TOLD: Final = 10
"""Names of files in one message."""
MAX_FILES: Final = 50_000
"""Files of a system that git knows. A folder with more is no system, but what one stands in."""


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did: files inside the system's folder.

    `conflicts` were changed on both sides in the same lines: both are in the file, between markers as git writes them. `to` is
    the version of each record that was not the newest.
    """

    folder: Path
    to: dict[str, str]
    changed: tuple[Path, ...] = ()
    conflicts: tuple[Path, ...] = ()


def update(folder: Path, *, templates: Path | None = None) -> Updated:
    """Bring the system in `folder` to the newest version of the templates it was made of.

    Changes files in the work tree, and nothing else: git's index and history stay. Raises `ConfigurationError` when the folder
    is not in git, has changes that are not committed, or was made by a newer skerry; then nothing has changed.
    """
    folder = folder.resolve()
    _check_clean(folder)
    behind = _behind(folder, templates)
    if not behind:
        return Updated(folder, {})
    with tempfile.TemporaryDirectory(prefix="skerry-update-") as workshop:
        copied = Path(workshop).resolve() / "system"
        tracked = _copy_tracked(folder, copied)
        git("init", "--quiet", folder=copied)
        _commit(copied, "before")
        before = git("rev-parse", "HEAD", folder=copied).strip()
        conflicts: set[str] = set()
        with sources(templates):
            for record, newest in behind.items():
                merge(copied, record, newest)
                unmerged = git("diff", "--name-only", "--diff-filter=U", "-z", folder=copied)
                conflicts |= {name for name in unmerged.split("\0") if name}
                _commit(copied, record)
        changed = _changed(copied, before)
        _bring_back(copied, folder, changed, tracked)
    return Updated(folder, behind, tuple(map(Path, changed)), tuple(map(Path, sorted(conflicts))))


def _check_clean(folder: Path) -> None:
    try:
        git("rev-parse", "--verify", "--quiet", "HEAD", folder=folder)
    except DeployError as error:
        why = str(error).partition("failed: ")[2].splitlines()  # such as a folder that somebody else owns
        raise ConfigurationError(
            f"{folder} is in no git repository with a commit: an update needs one, so that it can be looked at and taken "
            f"back{f' ({why[0]})' if why else ''}"
        ) from None
    status = git("status", "--porcelain", "--untracked-files=all", "--", ".", folder=folder).splitlines()
    if status:
        names = ", ".join(line[3:] for line in status[:MAX_TOLD]) + (" and more" if len(status) > MAX_TOLD else "")
        raise ConfigurationError(f"commit or stash your changes first: {names}")


def _behind(folder: Path, templates: Path | None) -> dict[str, str]:
    """The records that name an older version than the newest, the system's first, and the newest."""
    records = {RECORD: SYSTEM} if (folder / RECORD).is_file() else {}
    records |= {f"{RECORDS}/{file.name}": SERVICE for file in sorted((folder / RECORDS).glob("*.yml"))}
    if not records:
        raise ConfigurationError(
            f"nothing in {folder} was made by `skerry new`: there is no {RECORD}, and nothing in {RECORDS}"
        )
    behind: dict[str, str] = {}
    for record, kind in records.items():
        answers = read_answers(folder / record)
        if answers.get("_src_path") != source_of(kind):  # copier would fetch whatever stands there
            raise ConfigurationError("was made from another template", source=str(folder / record))
        version, known = answers["_commit"], versions(kind, templates)
        if version not in known:
            raise ConfigurationError(
                f"made from version {version!r} of the template, and this skerry knows {', '.join(known)}: "
                "use the newer skerry that made it",
                source=str(folder / record),
            )
        if version != known[-1]:
            behind[record] = known[-1]
    return behind


def _copy_tracked(folder: Path, copied: Path) -> set[str]:
    """Copy what git knows of the folder; returns the names.

    Links to folders are left out: what is behind one is not part of the system, and would be written to.
    """
    names = [name for name in git("ls-files", "-z", folder=folder).split("\0") if name]
    if len(names) > MAX_FILES:
        raise ConfigurationError(f"git knows {len(names)} files in {folder}, and a system has at most {MAX_FILES}")
    copied.mkdir()
    for name in names:
        source = folder / name
        if source.is_file() or (source.is_symlink() and not source.is_dir()):  # not a submodule either
            (copied / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copied / name, follow_symlinks=False)
    return set(names)


def _commit(folder: Path, message: str) -> None:
    git("add", "--all", "--force", folder=folder)
    git("commit", "--quiet", "--allow-empty", "--message", message, folder=folder)


def _changed(copied: Path, before: str) -> list[str]:
    names = git("diff", "--name-only", "--no-renames", "-z", before, "HEAD", folder=copied)
    return sorted(name for name in names.split("\0") if name)


def _bring_back(copied: Path, folder: Path, changed: list[str], tracked: set[str]) -> None:
    """Write what has changed into the folder.

    Before that, files that git does not know and links out of the folder are looked for: nothing is written over or behind them.
    """
    for name in changed:
        if name not in tracked and (folder / name).exists():
            raise ConfigurationError(
                f"the template has {name} now, and there is one that git ignores: move it away first"
            )
        if not (folder / name).parent.resolve().is_relative_to(folder):
            raise ConfigurationError(
                f"the template has {name} now, which would be written behind a link out of {folder}"
            )
    for name in changed:
        source, target = copied / name, folder / name
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
        else:
            target.unlink(missing_ok=True)
