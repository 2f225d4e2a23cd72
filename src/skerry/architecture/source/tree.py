"""A work tree as `Files`, read so that nothing in it can lead out of it, hold the reader up or fill its memory."""

from __future__ import annotations

import os
import stat
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from skerry.architecture.source.files import Limits, Skipped, Unreadable

NOT_SOURCE: Final = frozenset(
    [
        ".git",
        ".hg",
        ".svn",
        ".jj",
        "node_modules",
        "bower_components",
        "__pycache__",
        ".tox",
        ".nox",
        ".venv",
        ".direnv",
        ".eggs",
        "site-packages",
        ".idea",
        ".vscode",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".pytype",
        ".hypothesis",
        ".ipynb_checkpoints",
        ".terraform",
        ".serverless",
        ".gradle",
        ".next",
        ".nuxt",
        ".parcel-cache",
        ".sass-cache",
        ".yarn",
        ".pnpm-store",
        "htmlcov",
        ".import_linter_cache",
        ".cache",
        "__pypackages__",
    ]
)
"""Folders of tools, caches and what was installed; whatever is in them was not written here."""
_MARKS: Final = frozenset(("pyvenv.cfg", "CACHEDIR.TAG", "conda-meta"))
"""A folder that holds one of these is a virtual environment or a cache, whatever its name."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_PIECE: Final = 1024 * 1024


@dataclass(slots=True)
class _Found:
    sizes: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    names: int = 0


class Tree:
    """The files below a folder. Links, FIFOs, sockets and devices are neither followed nor opened, also when a file becomes
    one after it was listed; what is not source (virtual environments, caches, build output, `.git`) is left out.

    A folder is opened once and everything else relative to it, name by name. Close it, or use it in a `with` statement.
    Raises `Unreadable` when `path` is no folder.
    """

    def __init__(self, path: str | Path, *, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        try:
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror or 'cannot be opened'}") from error
        self.close: weakref.finalize[[int], Tree] = weakref.finalize(self, os.close, self._root)
        """Lets go of the folder; nothing can be read afterwards."""
        self._read = 0
        found = _Found()
        self._walk(self._root, "", 0, found)
        self._sizes = dict(sorted(found.sizes.items()))
        self._skipped = tuple(sorted(found.skipped))

    @property
    def sizes(self) -> Mapping[str, int]:
        """Every path that may be read, relative with `/`, in sorted order, and its size in bytes."""
        return self._sizes

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Links, devices, what is too large, too deep or too many, and what could not be read. Folders end with `/`."""
        return self._skipped

    def read(self, path: str) -> bytes:
        """The content of one of `sizes`. Raises `Unreadable`, also when it has grown past the limit or become a link."""
        if path not in self._sizes:
            raise Unreadable(f"{path}: not a file of this tree")
        if not self.close.alive:
            raise Unreadable(f"{path}: the tree is closed")
        *folders, name = path.split("/")
        opened: list[int] = []
        try:
            at = self._root
            for folder in folders:
                at = os.open(folder, _FOLDER, dir_fd=at)
                opened.append(at)
            opened.append(os.open(name, _FILE, dir_fd=at))
            content = _content(opened[-1], path, self._limits.file_size)
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror or 'cannot be read'}") from error
        finally:
            for each in reversed(opened):
                os.close(each)
        self._read += len(content)
        if self._read > self._limits.total_size:
            raise Unreadable(f"{path}: more than {self._limits.total_size} bytes were read of this tree")
        return content

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _walk(self, folder: int, prefix: str, depth: int, found: _Found) -> None:
        entries = list(self._entries(folder, prefix, found))
        if prefix and _is_output(prefix, entries):
            return
        for entry in sorted(entries, key=lambda each: each.name):
            path = f"{prefix}{entry.name}"
            if not _is_text(entry.name):
                found.skipped.append(Skipped(path.encode("utf-8", "replace").decode(), "its name is not text"))
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                found.skipped.append(Skipped(path, error.strerror or "cannot be read"))
                continue
            if stat.S_ISDIR(status.st_mode):
                self._enter(folder, entry.name, path, depth + 1, found)
            else:
                self._take(path, status, found)

    def _entries(self, folder: int, prefix: str, found: _Found) -> Iterator[os.DirEntry[str]]:
        """The names in a folder; at most as many as the limit of files leaves."""
        try:
            with os.scandir(folder) as names:
                for entry in names:
                    found.names += 1
                    if found.names > 2 * self._limits.files:
                        found.skipped.append(Skipped(prefix or "./", "more names than are looked at"))
                        return
                    yield entry
        except OSError as error:
            found.skipped.append(Skipped(prefix or "./", error.strerror or "cannot be listed"))

    def _enter(self, folder: int, name: str, path: str, depth: int, found: _Found) -> None:
        if name in NOT_SOURCE or name.endswith((".egg-info", ".dist-info")):
            return
        if depth > self._limits.depth:
            found.skipped.append(Skipped(f"{path}/", f"more than {self._limits.depth} folders deep"))
            return
        try:
            inner = os.open(name, _FOLDER, dir_fd=folder)
        except OSError as error:
            found.skipped.append(Skipped(f"{path}/", error.strerror or "cannot be listed"))
            return
        try:
            self._walk(inner, f"{path}/", depth, found)
        finally:
            os.close(inner)

    def _take(self, path: str, status: os.stat_result, found: _Found) -> None:
        why = _why_not(status.st_mode)
        if not why and status.st_size > self._limits.file_size:
            why = f"larger than {self._limits.file_size} bytes"
        if not why and len(found.sizes) >= self._limits.files:
            why = f"more than {self._limits.files} files"
        if why:
            found.skipped.append(Skipped(path, why))
            return
        found.sizes[path] = status.st_size


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _why_not(mode: int) -> str:
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISLNK(mode):
        return "a link, which is not followed"
    if stat.S_ISFIFO(mode):
        return "a FIFO, which is not opened"
    return "a socket, which is not opened" if stat.S_ISSOCK(mode) else "a device, which is not opened"


def _content(file: int, path: str, most: int) -> bytes:
    """What the open file holds, once it is known to be a regular one; it is read to `most` whatever its size was said to be."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise Unreadable(f"{path}: not a regular file any more")
    pieces: list[bytes] = []
    left = most + 1
    while left > 0 and (piece := os.read(file, min(left, _PIECE))):
        pieces.append(piece)
        left -= len(piece)
    if left <= 0:
        raise Unreadable(f"{path}: larger than {most} bytes")
    return b"".join(pieces)


def _is_output(prefix: str, entries: list[os.DirEntry[str]]) -> bool:
    """Whether the folder `prefix` was written by a tool: by what is in it, for people do call packages `build` and `env`."""
    names = {entry.name for entry in entries}
    if names & _MARKS:
        return True
    name = prefix.rstrip("/").rpartition("/")[2]
    if name == "build":
        return "lib" in names or any(each.startswith(("bdist.", "temp.", "lib.")) for each in names)
    return name == "dist" and any(each.endswith((".whl", ".tar.gz")) for each in names)
