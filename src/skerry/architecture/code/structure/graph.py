"""Who calls whom: within a file by names, across files by imports."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Final

from skerry.architecture.code.structure.imports import Modules
from skerry.architecture.code.structure.raw import Reach, Structure
from skerry.architecture.code.structure.walk import Walk

_MAX_HOPS: Final = 6
"""Re-exports and base classes that are followed for one name."""


def reaches(found: Walk) -> tuple[Reach, ...]:
    """The calls between functions of the file, and from it to what it imports."""
    seen: dict[tuple[str, str], int] = {}
    for function, call in found.calls:
        for name in (target(found, function, call.func), *_handed_on(found, function, call)):
            if name and name != function:
                seen.setdefault((function, name), call.lineno)
    for name, node in found.functions.items():
        outer = name.rpartition(".")[0]
        if outer in found.functions and not node.decorator_list:
            seen.setdefault((outer, name), node.lineno)
    return tuple(Reach(function, name, line) for (function, name), line in seen.items())


def target(found: Walk, function: str, node: ast.expr) -> str:
    """The name of the function that `node` means within `function`; `` where that cannot be told."""
    if isinstance(node, ast.Name):
        return _plain(found, function, node.id)
    if not isinstance(node, ast.Attribute):
        return ""
    value, owner = node.value, found.owners.get(function) or _owner_above(found, function)
    if isinstance(value, ast.Name):
        known = owner if value.id in {"self", "cls"} else _named(found, function, value.id)
    elif isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):
        of_self = value.value.id == "self"
        known = found.instances.get((owner, value.attr), "") if of_self else _written(found, value, value.value.id)
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        known = _called(found, value.func.id, owner)
    else:
        known = ""
    return f"{known}.{node.attr}" if known else ""


def _named(found: Walk, function: str, name: str) -> str:
    made = _instance(found, function, name)
    if made:
        return made
    return found.aliases.get(name, name) if name in found.aliases or name in found.classes else ""


def _written(found: Walk, node: ast.expr, first: str) -> str:
    return found.dotted(node) if first in found.aliases else ""


def _called(found: Walk, name: str, owner: str) -> str:
    """What `Shop()` and `super()` stand for."""
    if name == "super":
        return f"super:{owner}" if owner else ""
    return found.aliases.get(name, name) if name in found.classes or name[:1].isupper() else ""


def _plain(found: Walk, function: str, name: str) -> str:
    outer = function
    while outer:
        if f"{outer}.{name}" in found.functions and outer not in found.classes:
            return f"{outer}.{name}"
        outer = outer.rpartition(".")[0]
    if name in found.functions:
        return name
    if name in found.classes:
        return f"{name}.__init__"
    return found.aliases.get(name, "")


def _handed_on(found: Walk, function: str, call: ast.Call) -> list[str]:
    """Functions of this file that a call is given, such as `policy.call(charge, order)`."""
    names: list[str] = []
    for each in (*call.args, *(word.value for word in call.keywords)):
        if isinstance(each, ast.Name):
            name = _plain(found, function, each.id)
            if name in found.functions:
                names.append(name)
        elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self":
            name = target(found, function, each)
            if name in found.functions:
                names.append(name)
    return names


def _owner_above(found: Walk, function: str) -> str:
    while function:
        if function in found.owners:
            return found.owners[function]
        function = function.rpartition(".")[0]
    return ""


def _instance(found: Walk, function: str, name: str) -> str:
    while function:
        made = found.instances.get((function, name))
        if made:
            return made
        function = function.rpartition(".")[0]
    return found.instances.get(("", name), "")


class Names:
    """What dotted names mean across the files."""

    def __init__(self, files: Mapping[str, Structure], modules: Modules) -> None:
        self._files = files
        self._modules = modules
        self._functions = {path: frozenset(each.functions) for path, each in files.items()}
        self._classes = {path: frozenset(each.classes) for path, each in files.items()}
        self._bases = {path: dict(each.bases) for path, each in files.items()}
        self._instances = {path: dict(each.instances) for path, each in files.items()}
        self._taken = {path: _taken(each) for path, each in files.items()}
        self._known: dict[tuple[str, str], tuple[str, str] | None] = {}

    def function(self, file: str, name: str) -> tuple[str, str] | None:
        """The file and the function that `name`, as written in `file`, means."""
        return self._function(file, name, 0)

    def thing(self, file: str, name: str, hops: int = 0) -> tuple[str, str] | None:
        """The file in which a class or another name is defined, and its name there."""
        if hops > _MAX_HOPS:
            return None
        head, _, rest = name.partition(".")
        if not name.startswith(".") and head in self._classes[file] and (not rest or hops):
            return file, name
        split = self._split(file, name)
        if split is None:
            return (file, name) if name in self._classes[file] else None
        other, rest = split
        if rest in self._classes[other] or rest.partition(".")[0] in self._classes[other]:
            return other, rest
        head, _, tail = rest.partition(".")
        source = self._taken[other].get(head)
        return self.thing(other, f"{source}.{tail}" if tail else source, hops + 1) if source else None

    def held(self, file: str, name: str) -> tuple[str, str] | None:
        """The file in which anything is given its name, and that name: a router, a table, a client."""
        for _ in range(_MAX_HOPS):
            split = self._split(file, name)
            if split is None:
                return (file, name) if name and "." not in name else None
            file, name = split
            taken = self._taken[file].get(name.partition(".")[0])
            if not taken or not name:
                return split
            name = taken + name[len(name.partition(".")[0]) :]
        return None

    def graph(self) -> dict[tuple[str, str], frozenset[tuple[str, str]]]:
        """(file, function) to the functions that it calls."""
        edges: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for path, each in self._files.items():
            for reach in each.reaches:
                found = self.function(path, reach.name)
                if found is not None:
                    edges.setdefault((path, reach.function), set()).add(found)
        return {key: frozenset(found) for key, found in edges.items()}

    def _function(self, file: str, name: str, hops: int) -> tuple[str, str] | None:
        key = (file, name)
        if key not in self._known and hops <= _MAX_HOPS:
            self._known[key] = None  # while it is looked for: names and classes may go round in circles
            self._known[key] = self._looked_for(file, name, hops)
        return self._known.get(key)

    def _looked_for(self, file: str, name: str, hops: int) -> tuple[str, str] | None:
        if name.startswith("super:"):
            owner, _, method = name[6:].rpartition(".")
            return self._inherited(file, owner, method, hops)
        own = self._within(file, name, hops)
        if own is not None:
            return own
        head, _, rest = name.partition(".")
        taken = self._taken[file].get(head) if rest and head else None
        found = self._split(file, f"{taken}.{rest}" if taken else name)
        if found is None or not found[1]:
            return None
        return self._within(*found, hops) or self._passed_on(*found, hops)

    def _within(self, file: str, name: str, hops: int) -> tuple[str, str] | None:
        """A function, a class that is called, or a method, also an inherited one, of one file."""
        if name in self._functions[file]:
            return file, name
        if name in self._classes[file]:
            return self._function(file, f"{name}.__init__", hops + 1)
        owner, _, method = name.rpartition(".")
        return self._inherited(file, owner, method, hops) if owner in self._classes[file] else None

    def _passed_on(self, file: str, name: str, hops: int) -> tuple[str, str] | None:
        """A method of an instance that the module holds, or what it imports itself."""
        head, _, tail = name.partition(".")
        made = self._instances[file].get(head) if tail else None
        source = made or self._taken[file].get(head)
        return self._function(file, f"{source}.{tail}" if tail else source, hops + 1) if source else None

    def _inherited(self, file: str, owner: str, method: str, hops: int) -> tuple[str, str] | None:
        for base in self._bases[file].get(owner, ()):
            found = self._function(file, f"{base}.{method}", hops + 1)
            if found is not None:
                return found
        return None

    def _split(self, file: str, name: str) -> tuple[str, str] | None:
        """The file that the longest beginning of `name` is, and the rest of it."""
        bare = name.lstrip(".")
        level = len(name) - len(bare)
        parts = bare.split(".")
        for length in range(min(len(parts), 12), -1 if level else 0, -1):
            found = self._modules.find(".".join(parts[:length]), file, level=level)
            if found is not None:
                return found, ".".join(parts[length:])
        return None


def _taken(each: Structure) -> dict[str, str]:
    """Names that a file takes from others, written out."""
    found: dict[str, str] = {}
    for taken in each.imports:
        prefix = "." * taken.level + taken.module
        for name in taken.names:
            joint = "" if prefix.endswith(".") or not prefix else "."
            found.setdefault(name, f"{prefix}{joint}{name}")
    return found
