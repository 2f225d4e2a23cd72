"""What tells that a watched file is another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

Mark = tuple[int, int, int] | None


def mark(path: Path) -> Mark:
    """Another one after each change: also after a rename, and when the file has the same size. None while there is none."""
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino


def marks(paths: Iterable[Path]) -> tuple[Mark, ...]:
    """Of several."""
    return tuple(mark(path) for path in paths)
