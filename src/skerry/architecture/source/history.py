"""What git knows of a repository up to a moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit that is no merge, with the paths that it added, changed, or moved to; deletions are left out."""

    sha: str
    when: float
    """When it was committed, as a Unix time."""
    author: str
    """A hash of the author's address: enough to tell people apart, and nobody's name."""
    subject: str
    paths: tuple[str, ...]
    renames: tuple[tuple[str, str], ...] = ()
    """Old and new paths of files that it moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The commits that lead to one commit, newest first."""

    head: str
    at: float
    """The commit time of `head`."""
    commits: tuple[Commit, ...]
    shallow: bool = False
    """Whether the clone holds only a part of the history, or the limit of commits was reached."""
