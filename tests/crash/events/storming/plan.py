"""What is done to whom and when: drawn from the seed alone, before anything runs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

PROCESSES = ("publisher", "relay", "consumer")
POINTS = ("relay after publish", "consumer before commit")
"""Not from outside: a process ends itself with SIGKILL at the worst place of its own code."""
STOP = "stop of the leading relay"


@dataclass(frozen=True, slots=True)
class Strike:
    """Due at so many committed events. `draw`, from 0 to 1, chooses among those it may hit, and how long they stay away."""

    at: int
    kind: str
    draw: float


def draw_plan(seed: int, *, events: int, kills: int, servers: Sequence[str]) -> list[Strike]:
    """The kinds in turn, so that each has its share; their order and moments by chance. The one stop is no kill."""
    chance = random.Random(seed)
    kinds = (*PROCESSES, *servers, *POINTS)
    drawn = [kinds[place % len(kinds)] for place in range(kills)]
    chance.shuffle(drawn)
    moments = sorted(chance.uniform(0.05, 0.95) for _ in drawn)
    plan = [Strike(int(moment * events), kind, chance.random()) for moment, kind in zip(moments, drawn, strict=True)]
    plan.append(Strike(int(chance.uniform(0.2, 0.4) * events), STOP, chance.random()))
    return sorted(plan, key=lambda strike: strike.at)
