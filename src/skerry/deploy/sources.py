"""Which files a service is made of: its module, what that imports from the system's folder, and what lies beside it.

Files are read and never run, so what is imported by a name made up at run time is not seen; it counts by the folder it lies in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

MAX_MODULES: Final = 5_000
"""Of one service. What is beyond counts by its folder."""
MAX_SIZE: Final = 1024 * 1024
"""Bytes. A larger file is not read: it was not written by a person."""
_NOT_CODE: Final = frozenset({".md", ".rst", ".pyc", ".pyo", ".log", ".db", ".db-wal", ".db-shm", ".lock"})
_FOR_TESTS: Final = frozenset({"test", "tests"})


class Sources:
    """The files of services, as they are at one moment. `apps` has each service's `module:attribute`; reading blocks."""

    def __init__(self, folder: Path, apps: Mapping[str, str]) -> None:
        self._folder = folder
        self._imports: dict[Path, tuple[Path, ...]] = {}
        modules = {name: app.partition(":")[0] for name, app in apps.items()}
        self._reached = {name: self._reach(module) for name, module in modules.items()}
        self._roots = {name: root for name, module in modules.items() if (root := self._root(module)) is not None}

    def owners(self, changed: Iterable[Path]) -> set[str]:
        """The services that one of these files is part of. A file that nobody imports belongs to whose folder it lies in."""
        found: set[str] = set()
        for path in changed:
            importers = {name for name, files in self._reached.items() if path in files}
            found |= importers or self._beside(path)
        return found

    def _beside(self, path: Path) -> set[str]:
        inside = path.relative_to(self._folder) if path.is_relative_to(self._folder) else path
        if path.suffix in _NOT_CODE or path.name.startswith("test_") or _FOR_TESTS & set(inside.parts):
            return set()
        depths = {name: len(root.parts) for name, root in self._roots.items() if path.is_relative_to(root)}
        return {name for name, depth in depths.items() if depth == max(depths.values())}

    def _root(self, module: str) -> Path | None:
        """The folder of a service's module; none for a module that lies in the system's own folder, with all the others."""
        file = self._file(module)
        return None if file is None or file.parent == self._folder else file.parent

    def _reach(self, module: str) -> frozenset[Path]:
        seen: set[Path] = set()
        ahead = list(self._files(module))
        while ahead and len(seen) < MAX_MODULES:
            file = ahead.pop()
            if file not in seen:
                seen.add(file)
                ahead += self._imported(file)
        return frozenset(seen)

    def _imported(self, file: Path) -> tuple[Path, ...]:
        if file not in self._imports:
            self._imports[file] = tuple(path for name in _names(file, self._folder) for path in self._files(name))
        return self._imports[file]

    def _files(self, module: str) -> Iterator[Path]:
        """The module's file and those of the packages around it, as far as they lie here."""
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            if (file := self._file(".".join(parts[:end]))) is not None:
                yield file

    def _file(self, module: str) -> Path | None:
        place = self._folder.joinpath(*module.split("."))
        return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def _names(file: Path, folder: Path) -> Iterator[str]:
    """The modules that a file may import, by their full names; a file that is no Python now imports nothing."""
    try:
        if file.stat().st_size > MAX_SIZE:
            return
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    package = file.parent.relative_to(folder).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - (node.level - 1)] if node.level else ()
            begin = ".".join([*up, *filter(None, [node.module])])
            if begin:
                yield begin
            yield from (f"{begin}.{each.name}".lstrip(".") for each in node.names if each.name != "*")
