"""The registry as it was at a revision of the git repository around it. Nothing in the repository is changed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from skerry.errors import ConfigurationError
from skerry.events.schemas.model import MAX_SCHEMA
from skerry.events.schemas.registry import FOLDER, MAX_FILES, Registry, build

TIMEOUT: Final = 30.0
"""Seconds for one command of git."""
MAX_REVISION: Final = 200

_OURS: Final = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}
"""Set inside git's hooks, where they would lead git away from the folder it is asked about."""


def read_at(folder: Path, revision: str) -> Registry:
    """Every schema that was frozen below `folder` at `revision`, whatever git takes for a commit.

    Raises `ConfigurationError` when git is not installed, `folder` is in no repository or there is no such commit.
    """
    if not 0 < len(revision) <= MAX_REVISION or revision.startswith("-") or not revision.isprintable():
        raise ConfigurationError("a revision is the name of a branch, a tag or a commit")
    _git(folder, "rev-parse", "--git-dir", failure=f"{folder} is in no git repository")
    commit = _git(
        folder,
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{revision}^{{commit}}",
        failure=f"git knows no revision {revision!r} here; fetch it first, or name another with --against",
    )
    listed = _git(
        folder, "ls-tree", "-r", "-z", commit.decode().strip(), "--", f"{FOLDER}/", failure="git ls-tree failed"
    )
    return build(_contents(folder, listed), source=f"{revision}:{FOLDER}")


def _contents(folder: Path, listed: bytes) -> Iterator[tuple[str, bytes]]:
    """The frozen files among what `git ls-tree` printed, read with one `git cat-file`."""
    blobs: list[tuple[str, str]] = []
    for entry in listed.split(b"\0"):
        head, _, name = entry.decode(errors="replace").partition("\t")
        path = name.removeprefix(f"{FOLDER}/")
        if path.count("/") == 1 and path.endswith(".json") and head.split(" ")[1] == "blob":
            blobs.append((path, head.split(" ")[2]))
    if len(blobs) > MAX_FILES:
        raise ConfigurationError(f"more than {MAX_FILES} schemas are frozen there")
    told = "".join(f"{name}\n" for _, name in blobs).encode()
    output = _git(folder, "cat-file", "--batch", told=told, failure="git cat-file failed")
    start = 0
    for path, _ in blobs:
        line = output.index(b"\n", start)
        size = int(output[start:line].split(b" ")[2])
        yield path, output[line + 1 : line + 1 + min(size, MAX_SCHEMA + 1)]
        start = line + size + 2


def _git(folder: Path, *arguments: str, failure: str, told: bytes | None = None) -> bytes:
    environ = {name: value for name, value in os.environ.items() if name not in _OURS} | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - git itself, and no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's git
            input=told,
            stdin=subprocess.DEVNULL if told is None else None,
            capture_output=True,
            env=environ,
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise ConfigurationError("git is not installed, and --against needs it") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"git could not be asked: {type(error).__name__}") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0][:300]
        raise ConfigurationError(f"{failure} ({said})" if said else failure)
    return done.stdout
