"""What every reader of a repository is given: names and contents, never a way out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

MiB: Final = 1024 * 1024


def port_of(text: str, otherwise: int = 0) -> int:
    """The port that `text` is; `otherwise` for what is none, however many digits it has and of whichever script."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else otherwise


class Unreadable(Exception):
    """A file that is not read: too large, not a regular file, gone. Its text says which and why."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands: a path below the root, with `/`, and a line from 1 (0: the file as a whole)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, order=True)
class Skipped:
    """Something that was not read, or only in part, and why."""

    file: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a repository is read at most."""

    files: int = 200_000
    file_size: int = 4 * MiB
    """Bytes of one file."""
    total_size: int = 2048 * MiB
    depth: int = 40
    """Folders within folders."""


class Files(Protocol):
    """The files of one state of a repository: its work tree, or a commit."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Every path that may be read, relative with `/`, in sorted order, and its size in bytes."""

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What is there and is not among `sizes`: links, devices, too large, too deep, too many."""

    def read(self, path: str) -> bytes:
        """The content of one of `sizes`. Raises `Unreadable`."""
