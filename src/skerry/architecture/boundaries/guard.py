"""Contracts for a boundary, as import-linter or tach check them: what crosses today is listed and allowed, nothing new is."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from skerry.architecture.boundaries.learn import Known
from skerry.architecture.boundaries.modules import Names, no_modules
from skerry.architecture.boundaries.named import names
from skerry.architecture.boundaries.proposal import choose

_MADE: Final = ("**/*__pycache__", "**/*egg-info", "**/.*")
"""What tach leaves out when it is told nothing."""


class Boundary:
    """The services of a split, as modules that Python imports."""

    def __init__(self, known: Known, fewest: int, most: int) -> None:
        learned, parts, _ = choose(known, fewest, most)
        by_atom = {a: name for name, part in zip(names(parts, learned.sizes), parts, strict=True) for a in part}
        self.service: dict[str, str] = {path: by_atom[atom] for path, atom in learned.of.items()}
        self._dotted: Names = Names(frozenset(known.modules))
        self.modules: dict[str, list[str]] = defaultdict(list)
        for path, name in sorted(self.service.items()):
            self.modules[name].append(self._dotted.name(path))
        folders = {path.removesuffix("/__init__.py") for path in known.modules if path.endswith("/__init__.py")}
        self.hidden: frozenset[str] = frozenset(self.name(path) for path in self.service if self._hidden(path, folders))
        """Modules in a folder without an `__init__.py` within a package."""
        self.packages: dict[str, str] = {path: self._package(path, atom) for path, atom in learned.of.items()}
        self.imports: set[tuple[str, str]] = set()
        for path, module in known.modules.items():
            for target, _ in self._dotted.targets(module):
                if self.service[target] != self.service[path]:
                    self.imports.add((path, target))

    def name(self, path: str) -> str:
        """The dotted name of a module."""
        return self._dotted.name(path)

    def _hidden(self, path: str, folders: set[str]) -> bool:
        parts = path.removesuffix("/__init__.py").removesuffix(".py").split("/")
        own = path.endswith("/__init__.py")
        above = range(len(parts) - self.name(path).count("."), len(parts) + own)
        return any("/".join(parts[:depth]) not in folders for depth in above)

    def _package(self, path: str, atom: str) -> str:
        """The dotted name of an atom, from one of its modules; a module by itself stands for itself."""
        folder = atom.removesuffix("/*")
        below = path.removeprefix(f"{folder}/").removesuffix(".py").removesuffix("__init__").strip("/")
        name = self.name(path)
        return name[: len(name) - len(below)].strip(".") or name if below else name

    @property
    def source_roots(self) -> list[str]:
        """The folders from which modules are imported."""
        found = set()
        for path in self.service:
            plain = path.removesuffix(".py").removesuffix("/__init__")
            found.add(plain[: len(plain) - len(self.name(path))].strip("/") or ".")
        return sorted(found)

    @property
    def roots(self) -> list[str]:
        """Top-level packages; single modules beside them are left out, for neither tool takes them as a root."""
        tops = {name.partition(".")[0] for modules in self.modules.values() for name in modules if "." in name}
        return sorted(tops)


def import_linter(boundary: Boundary) -> str:
    """A file `.importlinter`: one contract a service."""
    return "\n".join(_contracts(boundary)) + "\n"


def _contracts(boundary: Boundary) -> Iterator[str]:
    roots = set(boundary.roots)
    unseen = sorted(name for name in boundary.hidden if name.partition(".")[0] in roots)
    if unseen:
        yield "# Left out, as import-linter sees no module of a folder without an __init__.py:"
        yield from (f"#   {name}" for name in unseen)
    yield "[importlinter]"
    yield "root_packages ="
    yield from (f"    {root}" for root in sorted(roots))

    def inside(names: list[str]) -> list[str]:
        return [name for name in names if name.partition(".")[0] in roots and name not in boundary.hidden]

    for service, modules in sorted(boundary.modules.items()):
        others = [
            name for other in sorted(boundary.modules) if other != service for name in inside(boundary.modules[other])
        ]
        if not inside(modules) or not others:
            continue
        yield ""
        yield f"[importlinter:contract:{service}]"
        yield f"name = {service} imports no other service, beyond what it did when this was written"
        yield "type = forbidden"
        yield "as_packages = False"
        yield "allow_indirect_imports = True"
        yield "unmatched_ignore_imports_alerting = warn"
        yield "source_modules ="
        yield from (f"    {name}" for name in inside(modules))
        yield "forbidden_modules ="
        yield from (f"    {name}" for name in others)
        known = sorted(
            f"{boundary.name(path)} -> {boundary.name(target)}"
            for path, target in boundary.imports
            if boundary.service[path] == service and inside([boundary.name(path)]) and inside([boundary.name(target)])
        )
        if known:
            yield "ignore_imports ="
            yield from (f"    {line}" for line in known)


def tach(boundary: Boundary) -> str:
    """A file `tach.toml`: each package may use those of its own service; what it uses of others today is marked as deprecated."""
    inside: dict[str, list[str]] = defaultdict(list)
    for path, package in sorted(boundary.packages.items()):
        if package not in inside[boundary.service[path]]:
            inside[boundary.service[path]].append(package)
    used: dict[str, set[str]] = defaultdict(set)
    for path, target in boundary.imports:
        used[boundary.packages[path]].add(boundary.packages[target])
    lines = [f"source_roots = {json.dumps(boundary.source_roots)}", "exact = false"]
    lines += ["# tests, migrations and scripts are of no service", "exclude = ["]
    lines += [f"    {json.dumps(each)}," for each in (*_MADE, *no_modules())]
    lines += ["]"]
    for service, packages in sorted(inside.items()):
        for name in packages:
            own = [json.dumps(other) for other in packages if other != name]
            old = [f"{{ path = {json.dumps(other)}, deprecated = true }}" for other in sorted(used[name] - {name})]
            lines += [
                "",
                "[[modules]]",
                f"path = {json.dumps(name)} # {service}",
                f"depends_on = [{', '.join([*own, *old])}]",
            ]
    return "\n".join(lines) + "\n"
