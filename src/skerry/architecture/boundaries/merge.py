"""Atoms merged into services, the most entangled first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Final

from skerry.architecture.boundaries.atoms import effective
from skerry.architecture.boundaries.signals import Graph, pair

SIZE: Final = 0.75
"""How much the sizes of two parts count against merging them: 1 would be the plain average link."""
DUST: Final = 0.02
"""The share of all modules below which a part is not worth a service of its own; nor is one of fewer than `FEW` modules."""
FEW: Final = 3
CAP: Final = 0.35
"""The largest share of all modules that one service may have, as long as anything else can be merged."""

Parts = tuple[frozenset[str], ...]
"""Atoms by service."""
Grouping = Mapping[str, str]
"""A service, or an atom, by module."""


def blend(graphs: Mapping[str, Graph], weights: Mapping[str, float]) -> Graph:
    """One graph of all; each has the same sum, so weights mean what they say."""
    found: Graph = defaultdict(float)
    for name, weight in weights.items():
        if weight:
            for ends, value in graphs[name].items():
                found[ends] += weight * value
    return dict(found)


def levels(sizes: Mapping[str, int], graph: Graph, fewest: int = 2) -> Iterator[Parts]:
    """Every stage of merging, from the atoms themselves to `fewest` services."""
    whole = sum(sizes.values())
    return _merging(sizes, fewest, lambda state: _closest(state, whole), graph)


def random_levels(sizes: Mapping[str, int], choose: Callable[[int], int], fewest: int = 2) -> Iterator[Parts]:
    """The same, with parts chosen by `choose(n)`, a number below n. What a split has to be better than."""
    whole = sum(sizes.values())

    def pick(state: _State) -> tuple[str, str] | None:
        names = sorted(state.sizes)
        for _ in range(200):
            first, second = names[choose(len(names))], names[choose(len(names))]
            if first != second and state.sizes[first] + state.sizes[second] <= CAP * whole:
                return pair(first, second)
        return None

    return _merging(sizes, fewest, pick, {})


class _State:
    def __init__(self, sizes: Mapping[str, int], graph: Graph) -> None:
        self.sizes = dict(sizes)
        self.parts = {name: frozenset([name]) for name in sizes}
        self.near: dict[str, dict[str, float]] = {name: {} for name in sizes}
        for (first, second), weight in graph.items():
            self.near[first][second] = self.near[second][first] = weight

    def join(self, first: str, second: str) -> None:
        self.sizes[first] += self.sizes.pop(second)
        self.parts[first] |= self.parts.pop(second)
        for other, weight in self.near.pop(second).items():
            self.near[other].pop(second)
            if other != first:
                self.near[first][other] = self.near[other][first] = self.near[first].get(other, 0.0) + weight


def _merging(
    sizes: Mapping[str, int], fewest: int, choose: Callable[[_State], tuple[str, str] | None], graph: Graph
) -> Iterator[Parts]:
    state = _State(sizes, graph)
    yield _parts(state)
    while len(state.parts) > fewest:
        found = choose(state)
        if found is None:
            # nothing fits below the cap: the two smallest, so that it ends
            smallest = sorted(state.sizes, key=lambda name: (state.sizes[name], name))
            found = (smallest[0], smallest[1])
        state.join(*found)
        yield _parts(state)


def _closest(state: _State, whole: int) -> tuple[str, str] | None:
    best: tuple[float, str, str] | None = None
    for first, others in state.near.items():
        for second, weight in others.items():
            if first < second and state.sizes[first] + state.sizes[second] <= CAP * whole:
                score = weight / (state.sizes[first] * state.sizes[second]) ** SIZE
                if best is None or (-score, first, second) < best:
                    best = (-score, first, second)
    return best[1:] if best else None


def _parts(state: _State) -> Parts:
    return tuple(sorted(state.parts.values(), key=lambda part: (-sum(1 for _ in part), sorted(part))))


def grouping(parts: Parts, of: Mapping[str, str]) -> dict[str, int]:
    """The number of the service of each module."""
    number = {atom: index for index, part in enumerate(parts) for atom in part}
    return {path: number[atom] for path, atom in of.items()}


def evenness(parts: Parts, sizes: Mapping[str, int]) -> float:
    """The effective count of services."""
    return effective([sum(sizes[atom] for atom in part) for part in parts])


def sizes_of(of: Mapping[str, str]) -> dict[str, int]:
    return dict(sorted(Counter(of.values()).items()))


def at_count(stages: Sequence[Parts], count: int, sizes: Mapping[str, int], graph: Graph) -> Parts:
    """The stage with `count` services worth the name, or the closest; what is left over goes with its neighbour."""
    best = min(stages, key=lambda parts: (abs(sum(not _dust(part, sizes) for part in parts) - count), -len(parts)))
    return swept(best, sizes, graph)


def swept(parts: Parts, sizes: Mapping[str, int], graph: Graph) -> Parts:
    """Parts too small for a service are given to the one that they have most to do with, else to that in the nearest folder."""
    dust = [part for part in parts if _dust(part, sizes)]
    kept = [set(part) for part in parts if part not in dust]
    if not kept:
        return parts
    firm = [frozenset(part) for part in kept]
    for part in dust:

        def closeness(index: int, part: frozenset[str] = part) -> tuple[float, int, int]:
            ties = sum(graph.get(pair(mine, other), 0.0) for mine in part for other in firm[index])
            shared = max(_common(mine, other) for mine in part for other in firm[index])
            return ties, shared, -index

        kept[max(range(len(firm)), key=closeness)].update(part)
    return tuple(frozenset(part) for part in kept)


def _dust(part: frozenset[str], sizes: Mapping[str, int]) -> bool:
    return sum(sizes[atom] for atom in part) < max(FEW, DUST * sum(sizes.values()))


def _common(first: str, second: str) -> int:
    """How many folders two paths share from the root."""
    return sum(
        1 for _ in takewhile(lambda both: both[0] == both[1], zip(first.split("/"), second.split("/"), strict=False))
    )
