"""Files of a repository as text, each unreadable one noted instead of raised."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from skerry.architecture.manifests.yaml import Node, documents
from skerry.architecture.source import Files, Skipped, Unreadable


class Reader:
    """`files` with a memory of what could not be read. `given` is output of `helm template` or `kustomize build`."""

    def __init__(self, files: Files, given: Sequence[tuple[str, bytes]] = ()) -> None:
        self.given: dict[str, bytes] = dict(given)
        self.paths: tuple[str, ...] = (*files.sizes, *self.given)
        self.known: frozenset[str] = frozenset(self.paths)
        self.skipped: list[Skipped] = []
        self._files = files
        self._yaml: dict[str, list[Node]] = {}

    def text(self, path: str) -> str:
        """Empty for what cannot be read."""
        try:
            content = self.given[path] if path in self.given else self._files.read(path)
        except Unreadable as error:
            self.skip(path, str(error))
            return ""
        return content.decode("utf-8", errors="replace").removeprefix("\ufeff")

    def yaml(self, path: str) -> list[Node]:
        """No document for what cannot be read."""
        if path not in self._yaml:
            try:
                self._yaml[path] = documents(self.text(path), path)
            except Unreadable as error:
                self.skip(path, str(error))
                self._yaml[path] = []
        return self._yaml[path]

    def skip(self, path: str, why: str) -> None:
        self.skipped.append(Skipped(path, why))


def folder(path: str) -> str:
    """`` for the root."""
    return posixpath.dirname(path)


def below(start: str, path: str) -> str | None:
    """`path` as seen from the folder `start`, relative to the root; None when it leads out of the repository."""
    if posixpath.isabs(path) or "://" in path:
        return None
    joined = posixpath.normpath(posixpath.join(start, path))
    if joined == ".":
        return ""
    return None if joined == ".." or joined.startswith("../") else joined
