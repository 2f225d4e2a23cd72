"""Reads all code of a repository: what is kept from the last time at once, the rest by workers that may die of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
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
    code = reading.unchanged() if kept.works else None
    if code is None:
        reading.all()
        code = resolve(reading.facts)
        if not reading.lost:  # another time it may be read
            kept.keep({reading.together(): values.dumps(code)})
    told(len(reading.paths), len(reading.paths))
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
    keys: dict[str, bytes] = field(default_factory=dict)
    """By path, what stands for the path and the content that was read."""
    _used: list[bytes] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for path in self.files.sizes if path.endswith(SUFFIXES)]

    def together(self) -> bytes:
        """What stands for all files that were read."""
        return self.kept.key("code", b"".join(self.keys[path] for path in sorted(self.keys)))

    def unchanged(self) -> Code | None:
        """What is kept of exactly these files."""
        for path in self.paths:
            try:
                self.keys[path] = self.kept.key(path, self.files.read(path))
            except Unreadable:
                return None
        key = self.together()
        found = self.kept.take([key]).get(key)
        with suppress(ValueError):
            if found is not None:
                code = values.loads(Code, found)
                self.kept.keep({}, used=[key, *self.keys.values()])
                return code
        return None

    def all(self) -> None:
        self.keys.clear()
        self.total = len(self.paths)
        unsaved: dict[bytes, bytes] = {}
        size = 0
        for given in work(self._jobs(iter(self.paths)), answer, effort=EFFORT):
            key = self.keys[given.path]
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
            self.keys |= keys
            taken = self.kept.take(keys.values())
            for path, content in contents.items():
                key = keys[path]
                if key in taken and self._known(path, taken[key]):
                    self._used.append(key)
                    continue
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
