"""Imports, and which file of the repository each one means."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from skerry.architecture.code.facts import Import
from skerry.architecture.source import Place

_MAX_DEPTH: Final = 40
"""Folders above a file that are tried as a root of imports."""


def read(tree: ast.Module, path: str, *, inner: bool = True) -> tuple[Import, ...]:
    """Every import statement, with `inner` also those within functions; `typing_only` below `if TYPE_CHECKING`."""
    return tuple(_statements(tree.body, path, inner=inner))


def _statements(body: Iterable[ast.stmt], path: str, *, inner: bool) -> Iterator[Import]:
    pending = [(each, False) for each in body]
    pending.reverse()
    while pending:
        node, typing = pending.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, Place(path, node.lineno), typing_only=typing)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield Import(node.module or "", Place(path, node.lineno), names, node.level, typing)
        elif isinstance(node, ast.If) and _is_typing(node.test):
            pending += [(each, typing) for each in reversed(node.orelse)]
            pending += [(each, True) for each in reversed(node.body)]
        elif not isinstance(node, _PLAIN) and (inner or not isinstance(node, _SCOPES)):
            for block in _BLOCKS:
                pending += [(each, typing) for each in reversed(getattr(node, block, None) or ())]


_PLAIN: Final = (ast.Expr, ast.Assign, ast.Return, ast.AugAssign, ast.AnnAssign, ast.Raise, ast.Assert, ast.Pass)
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_BLOCKS: Final = ("finalbody", "orelse", "handlers", "cases", "body")


def _is_typing(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


class Modules:
    """Which file a dotted name means, seen from another file.

    Roots of imports are not configured anywhere one can rely on, so every folder above the importing file is tried: the
    nearest that is no package itself first, then `src` beside it; at last a package of that name that is the only one.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self._files = frozenset(file for file in files if file.endswith(".py"))
        self._packages = frozenset(file.rpartition("/")[0] for file in self._files if file.endswith("/__init__.py"))
        self._folders = frozenset(folder for file in self._files for folder in _above(file))
        self._unique = self._only_ones()
        self._roots: dict[str, tuple[str, ...]] = {}
        self._known: dict[tuple[str, str, int], str | None] = {}

    def find(self, module: str, file: str, *, level: int = 0) -> str | None:
        """The file that `module` is, imported from `file`; None where it is not of this repository."""
        key = (module, file.rpartition("/")[0], level)
        if key not in self._known:
            self._known[key] = self._looked_for(module, file, level)
        return self._known[key]

    def _looked_for(self, module: str, file: str, level: int) -> str | None:
        if level:
            folders = file.split("/")[:-1]
            if level - 1 > len(folders):
                return None
            folder = "/".join(folders[: len(folders) - (level - 1)])
            return self._at(folder, module) if module else self._package(folder)
        top = module.partition(".")[0]
        if not top:
            return None
        for root in self._roots_of(file):
            if top in sys.stdlib_module_names and root in self._packages:
                continue
            found = self._at(root, module)
            if found is not None:
                return found
        if top in self._unique and top not in sys.stdlib_module_names:
            return self._at(self._unique[top], module)
        return None

    def targets(self, each: Import, file: str) -> tuple[str, ...]:
        """The files that an import statement means: submodules where names are modules, else the module itself."""
        found: list[str] = []
        rest = not each.names
        for name in each.names:
            inner = f"{each.module}.{name}" if each.module else name
            submodule = self.find(inner, file, level=each.level) if name != "*" else None
            if submodule is not None and submodule != self.find(each.module, file, level=each.level):
                found.append(submodule)
            else:
                rest = True
        if rest:
            whole = self.find(each.module, file, level=each.level)
            if whole is not None:
                found.append(whole)
        return tuple(dict.fromkeys(found))

    def by_file(self, imports: Mapping[str, tuple[Import, ...]]) -> dict[str, tuple[str, ...]]:
        """For each file, the files that it imports when it runs."""
        return {
            file: tuple(
                dict.fromkeys(
                    target
                    for each in those
                    if not each.typing_only
                    for target in self.targets(each, file)
                    if target != file
                )
            )
            for file, those in imports.items()
        }

    def _at(self, root: str, module: str) -> str | None:
        path = module.replace(".", "/")
        path = f"{root}/{path}" if root else path
        if f"{path}.py" in self._files:
            return f"{path}.py"
        return self._package(path)

    def _package(self, folder: str) -> str | None:
        file = f"{folder}/__init__.py" if folder else "__init__.py"
        return file if file in self._files else None

    def _roots_of(self, file: str) -> tuple[str, ...]:
        folder = file.rpartition("/")[0]
        if folder not in self._roots:
            above = [folder, *_above(folder)] if folder else [""]
            plain = [each for each in above[:_MAX_DEPTH] if each not in self._packages]
            sources = [f"{each}/src" if each else "src" for each in plain]
            packages = [each for each in above[:_MAX_DEPTH] if each in self._packages]
            self._roots[folder] = (*plain, *(each for each in sources if each in self._folders), *packages)
        return self._roots[folder]

    def _only_ones(self) -> dict[str, str]:
        found: dict[str, str | None] = {}
        for package in self._packages:
            parent, _, name = package.rpartition("/")
            # what lies below a package is a part of it, also where a folder between them has no `__init__.py`
            if not any(each in self._packages for each in _above(package)):
                found[name] = None if name in found else parent
        return {name: parent for name, parent in found.items() if parent is not None}


def _above(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:length]) for length in range(len(parts), -1, -1)]
