"""Reads all code of a repository: what is kept from the last time at once, the rest by workers that may die of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

from skerry.architecture.code.extract import FileFacts, extract
from skerry.architecture.code.facts import Code
from skerry.architecture.code.resolve import resolve
from skerry.architecture.source import Files, Skipped, Unreadable, values
from skerry.architecture.source.cache import Cache, version_of
from skerry.architecture.source.files import MiB
from skerry.architecture.source.workers import Effort, work

SUFFIXES: Final = (".py", ".sql")
EFFORT: Final = Effort()
"""What one file may cost."""
_AT_ONCE: Final = 256
"""Files that are looked up in the cache together."""
_UNSAVED: Final = 16 * MiB
"""Bytes of facts that wait to be kept."""


def read(files: Files, kept: Cache, told: Callable[[int, int], None]) -> Code:
    """What all files of code say together. `told` hears how many files are done, and of how many.

    Never raises for what is in a file: one that cannot be read is among `unparsed`, whatever it did to its worker.
    """
    reading = _Reading(files, kept, told)
    reading.all()
    told(reading.done, reading.total)
    code = resolve(reading.facts)
    return replace(code, unparsed=tuple(sorted((*code.unparsed, *reading.lost))))


def version() -> bytes:
    """Changes with everything that decides what a file's facts are."""
    return version_of(Path(__file__).parent)


@dataclass(slots=True)
class _Reading:
    files: Files
    kept: Cache
    told: Callable[[int, int], None]
    facts: dict[str, FileFacts] = field(default_factory=dict)
    lost: list[Skipped] = field(default_factory=list)
    done: int = 0
    total: int = 0
    _keys: dict[str, bytes] = field(default_factory=dict)
    """Of files that are at a worker."""
    _used: list[bytes] = field(default_factory=list)

    def all(self) -> None:
        paths = [path for path in self.files.sizes if path.endswith(SUFFIXES)]
        self.total = len(paths)
        unsaved: dict[bytes, bytes] = {}
        size = 0
        for given in work(self._jobs(iter(paths)), answer, effort=EFFORT):
            key = self._keys.pop(given.path)
            if not given.why and self._known(given.path, given.content):
                unsaved[key] = given.content
                size += len(given.content)
            else:
                self._lose(given.path, given.why or "could not be read")
            if size > _UNSAVED:
                self.kept.keep(unsaved)
                unsaved.clear()
                size = 0
        self.kept.keep(unsaved, used=self._used)

    def _jobs(self, paths: Iterator[str]) -> Iterator[tuple[str, bytes]]:
        """Files of which nothing is kept; those of which something is are done on the way."""
        while some := list(islice(paths, _AT_ONCE)):
            contents = {path: content for path in some if (content := self._content(path)) is not None}
            keys = {path: self.kept.key(path, content) for path, content in contents.items()}
            taken = self.kept.take(keys.values())
            for path, content in contents.items():
                key = keys[path]
                if key in taken and self._known(path, taken[key]):
                    self._used.append(key)
                    continue
                self._keys[path] = key
                yield path, content

    def _content(self, path: str) -> bytes | None:
        try:
            return self.files.read(path)
        except Unreadable as error:
            self._lose(path, str(error))
            return None

    def _known(self, path: str, content: bytes) -> bool:
        """Whether `content` is facts, which are then those of `path`."""
        try:
            self.facts[path] = values.loads(FileFacts, content)
        except ValueError:
            return False
        self._count()
        return True

    def _lose(self, path: str, why: str) -> None:
        self.lost.append(Skipped(path, why))
        self._count()

    def _count(self) -> None:
        self.done += 1
        self.told(self.done, self.total)


def answer(path: str, content: bytes) -> bytes:
    """The facts of one file as a worker tells them."""
    return values.dumps(extract(path, content))
