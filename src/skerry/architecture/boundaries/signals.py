"""What ties atoms together: imports, common changes, models, names. Each signal is put on one scale by the degree of its ends."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Final

from skerry.architecture.boundaries.atoms import members
from skerry.architecture.boundaries.modules import Module, Names
from skerry.architecture.source import Commit

YEAR: Final = 365.25 * 86_400.0
MEMORY: Final = 3.0 * YEAR
"""Seconds of history that count."""
HALF_LIFE: Final = 1.0 * YEAR
MOST_FILES: Final = 30
"""Commits that touch more modules than this are sweeps: they say nothing of what belongs together."""

Pair = tuple[str, str]
Graph = dict[Pair, float]
"""Weights between two atoms, each pair once and in order."""


def pair(first: str, second: str) -> Pair:
    return (first, second) if first < second else (second, first)


def normalised(edges: Mapping[Pair, float], of: Mapping[str, str]) -> Graph:
    """Edges between modules as edges between atoms: each is divided by what hangs on its ends, and the whole sums up to one."""
    degree: dict[str, float] = defaultdict(float)
    for (first, second), weight in edges.items():
        degree[first] += weight
        degree[second] += weight
    found: Graph = defaultdict(float)
    for (first, second), weight in edges.items():
        if of[first] != of[second]:
            found[pair(of[first], of[second])] += weight / math.sqrt(degree[first] * degree[second])
    return scaled(found)


def scaled(graph: Mapping[Pair, float]) -> Graph:
    total = sum(graph.values())
    return {ends: weight / total for ends, weight in graph.items()} if total else {}


def imports(modules: Mapping[str, Module], of: Mapping[str, str]) -> Graph:
    names = Names(frozenset(modules))
    edges: Graph = defaultdict(float)
    for module in modules.values():
        for target in {target for target, _ in names.targets(module)}:
            edges[pair(module.path, target)] += 1.0
    return normalised(edges, of)


def touched(commits: Iterable[Commit], of: Mapping[str, str]) -> list[tuple[Commit, frozenset[str]]]:
    """The modules that each commit touched, under the names they have today. `commits` are newest first."""
    now: dict[str, str] = {}
    found = []
    for commit in commits:
        paths = frozenset(path for each in commit.paths if (path := now.get(each, each)) in of)
        for old, new in commit.renames:
            now[old] = now.get(new, new)
        found.append((commit, paths))
    return found


def changes(commits: Iterable[Commit], of: Mapping[str, str], at: float) -> Graph:
    """What was changed together in the three years before `at`; what is a year old counts half."""
    edges: Graph = defaultdict(float)
    for commit, paths in touched(commits, of):
        if 2 <= len(paths) <= MOST_FILES and commit.when >= at - MEMORY:
            weight = 0.5 ** (max(0.0, at - commit.when) / HALF_LIFE) / (len(paths) - 1)
            for ends in combinations(sorted(paths), 2):
                edges[ends] += weight
    return normalised(edges, of)


def owners(modules: Mapping[str, Module]) -> dict[str, str]:
    """The module of each model; a name that several modules give to a model is left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, module in modules.items():
        for name in module.models:
            found[name].append(path)
    return {name: paths[0] for name, paths in found.items() if len(paths) == 1}


def data(modules: Mapping[str, Module], of: Mapping[str, str]) -> Graph:
    """Who names whose models, and whose models point at whose."""
    owner = owners(modules)
    edges: Graph = defaultdict(float)
    for path, module in modules.items():
        for name in module.mentions & owner.keys():
            if owner[name] != path:
                edges[pair(path, owner[name])] += 1.0
        for key in module.keys:
            target = owner.get(key.target.rpartition(".")[2])
            if target and target != path:
                edges[pair(path, target)] += 2.0
    return normalised(edges, of)


def words(modules: Mapping[str, Module], of: Mapping[str, str]) -> Graph:
    """How alike the names are that atoms define: the cosine of their rare parts."""
    counts: dict[str, Counter[str]] = {
        atom: sum((Counter(modules[path].names) for path in paths), Counter()) for atom, paths in members(of).items()
    }
    return _alike(counts, of)


def places(of: Mapping[str, str]) -> Graph:
    """How alike the folders and files of atoms are called: `graphql/order` and `order` belong together."""
    counts = {}
    for atom, paths in members(of).items():
        counted: Counter[str] = Counter()
        for part in atom.replace("_", "/").replace("-", "/").split("/"):
            counted[_singular(part.lower())] += 3
        for path in paths:
            for part in path[len(atom) :].removesuffix(".py").replace("_", "/").split("/"):
                if part:
                    counted[_singular(part.lower())] += 1
        counts[atom] = counted
    return _alike(counts, of)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _alike(counts: Mapping[str, Counter[str]], of: Mapping[str, str]) -> Graph:
    """Likeness of each pair of atoms, by how often a word is used (damped) and how few use it, times how much of it there is."""
    sizes = Counter(of.values())
    used = Counter(word for counter in counts.values() for word in counter)
    vectors: dict[str, dict[str, float]] = {}
    for atom, counter in counts.items():
        vector = {
            word: (1.0 + math.log(number)) * math.log(len(counts) / used[word])
            for word, number in counter.items()
            if 1 < used[word] <= len(counts) / 2
        }
        length = math.sqrt(sum(value * value for value in vector.values())) or 1.0
        vectors[atom] = {word: value / length for word, value in vector.items()}
    found: Graph = {}
    for first, second in combinations(sorted(vectors), 2):
        mine, other = sorted((vectors[first], vectors[second]), key=len)
        likeness = sum(value * other.get(word, 0.0) for word, value in mine.items())
        if likeness > 0.0:
            found[first, second] = likeness * math.sqrt(sizes[first] * sizes[second])
    return scaled(found)
