"""The five structural figures that papers compare decompositions by. They are printed for comparison, and nothing is decided by
them: a giant service with a few single modules beside it has the best ICP and IFN there is.

Sources: Kalia et al., "Mono2Micro" (ESEC/FSE 2021); modularity and interface number after Jin et al. (FoSCI, TSE 2019).
The code that came with the former differs, so its tables are no yardstick for these figures: it weighs calls by the logarithm of
their number, takes all contexts of a service as equally frequent and in nats, counts the coupling of a pair from both sides, and
counts pairs of classes instead of interfaces.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

SMALL: Final = 5
LARGE: Final = 20
"""Modules of a service that is neither too small nor too large, as published."""


@dataclass(frozen=True, slots=True)
class Published:
    """Lower is better, except for `sm`."""

    bcp: float
    """Business context purity: the mean entropy, in bits, of the contexts in a service; contexts are the team's packages here."""
    icp: float
    """Inter-partition calls: the share of references between modules that cross services."""
    sm: float
    """Structural modularity: cohesion within services less coupling between them."""
    ifn: float
    """Interface number: the modules of a service that others refer to, on average."""
    ned: float
    """Non-extreme distribution: the share of modules in services of fewer than 5 or more than 20."""


def published(
    service: Mapping[str, str], references: Sequence[tuple[str, str]], context: Mapping[str, str]
) -> Published:
    """The figures for a split; `references` go from one module to another."""
    sizes = Counter(service.values())
    inner: Counter[str] = Counter()
    between: Counter[tuple[str, str]] = Counter()
    asked: dict[str, set[str]] = defaultdict(set)
    for source, target in references:
        first, second = service[source], service[target]
        if first == second:
            inner[first] += 1
        else:
            between[min(first, second), max(first, second)] += 1
            asked[second].add(target)
    count = max(1, len(sizes))
    cohesion = sum(inner[name] / size**2 for name, size in sizes.items()) / count
    pairs = list(combinations(sorted(sizes), 2))
    coupling = sum(between[ends] / (2 * sizes[ends[0]] * sizes[ends[1]]) for ends in pairs) / max(1, len(pairs))
    extreme = sum(size for size in sizes.values() if not SMALL <= size <= LARGE)
    contexts: dict[str, Counter[str]] = defaultdict(Counter)
    for path, name in service.items():
        contexts[name][context[path]] += 1
    return Published(
        bcp=sum(_entropy(counter) for counter in contexts.values()) / count,
        icp=sum(between.values()) / max(1, len(references)),
        sm=cohesion - coupling,
        ifn=sum(len(modules) for modules in asked.values()) / count,
        ned=extreme / max(1, len(service)),
    )


def _entropy(counter: Counter[str]) -> float:
    total = sum(counter.values())
    return -sum(number / total * math.log2(number / total) for number in counter.values())
