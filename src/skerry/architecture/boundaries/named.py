"""Names for proposed services, from the packages that they are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from skerry.architecture.boundaries.merge import Parts

_GENERIC: Final = frozenset({
    "core", "common", "utils", "util", "lib", "libs", "helpers", "base", "app", "apps", "src", "api", "graphql", "rest", "views",
    "models", "contrib", "plugins", "internal", "main", "server", "backend", "project", "types", "ui", "commands", "management",
})  # fmt: skip


def names(parts: Parts, sizes: Mapping[str, int]) -> list[str]:
    """A name for each part: the word that most of its modules stand below and few others do. No two are equal."""
    scores = [_scores(part, sizes) for part in parts]
    everywhere = sum(scores, Counter[str]())
    found: list[str] = [""] * len(parts)
    taken: set[str] = set()
    for index in sorted(range(len(parts)), key=lambda each: (-sum(scores[each].values()), each)):
        ranked = sorted(scores[index], key=lambda word: (-(scores[index][word] ** 2) / everywhere[word], word))
        name = next((word for word in ranked if word not in taken), "")
        number = 2
        while not name or name in taken:
            name = f"{ranked[0] if ranked else 'service'}-{number}"
            number += 1
        taken.add(name)
        found[index] = name
    return found


def _scores(part: frozenset[str], sizes: Mapping[str, int]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for atom in part:
        words = [word.replace("_", "-").strip("-") for word in atom.lower().split("/") if word not in {"", "*"}]
        for depth, word in enumerate(reversed(words)):
            if word:
                # the last folder says most, and a word that says nothing counts only where there is no other
                counted[word] += sizes[atom] * 100 // (4**depth) // (50 if word in _GENERIC else 1) + 1
    return counted
