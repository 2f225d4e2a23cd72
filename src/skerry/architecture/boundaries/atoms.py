"""Atoms: the packages that are given to one service as a whole. Packages of the team are better pieces than single files."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

TOO_LARGE: Final = 0.15
"""The share of all modules above which a package is split into the packages within it."""
_ROOT: Final = 0.9


def root_of(paths: Collection[str]) -> str:
    """The folder whose sub-folders are the team's own top-level packages: the deepest that holds nearly everything."""
    root = ""
    while True:
        inside: dict[str, int] = defaultdict(int)
        for path in paths:
            if path.startswith(root):
                head, slash, _ = path[len(root) :].partition("/")
                if slash:
                    inside[head] += 1
        best = max(inside, key=lambda name: (inside[name], name), default="")
        if not best or inside[best] < _ROOT * len(paths):
            return root
        root += f"{best}/"


def packages(paths: Iterable[str], root: str) -> dict[str, str]:
    """The top-level package of each path below `root`, as a folder; a file that is in none of them is one with its like."""
    found = {}
    for path in paths:
        if path.startswith(root) and "/" in path[len(root) :]:
            found[path] = root + path[len(root) :].partition("/")[0]
        else:
            found[path] = path.rpartition("/")[0] if not path.startswith(root) else root.rstrip("/")
    return found


def atoms(paths: Collection[str], too_large: float = TOO_LARGE) -> dict[str, str]:
    """The atom of each path, named by its folder; `folder/*` is what is left in one whose packages are atoms of their own."""
    root = root_of(paths)
    found = packages(paths, root)
    most = max(2.0, too_large * len(paths))
    for _ in range(20):
        groups = members(found)
        large = [name for name, inside in groups.items() if len(inside) > most and not name.endswith("/*")]
        changed = False
        for name in large:
            start = f"{name}/" if name else ""
            deeper = {path: _below(path, start) for path in groups[name]}
            if len(set(deeper.values())) > 1:
                found.update(deeper)
                changed = True
        if not changed:
            break
    return found


def _below(path: str, start: str) -> str:
    head, slash, _ = path[len(start) :].partition("/")
    return start + head if slash and path.startswith(start) else f"{start}*"


def members(of: Mapping[str, str]) -> dict[str, list[str]]:
    """Groups by name, their paths sorted."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path in sorted(of):
        groups[of[path]].append(path)
    return dict(sorted(groups.items()))


def effective(sizes: Iterable[int]) -> float:
    """How many services of equal size would be as even: the exponential of the entropy of `sizes`."""
    given = [size for size in sizes if size]
    total = sum(given)
    return math.exp(-sum(size / total * math.log(size / total) for size in given)) if total else 0.0
