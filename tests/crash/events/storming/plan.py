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
    """Due at so many committed events, or started sagas. `draw`, from 0 to 1, chooses among those it may hit, and how long they
    stay away.
    """

    at: int
    kind: str
    draw: float


def draw_strikes(chance: random.Random, kinds: Sequence[str], *, kills: int, total: int) -> list[Strike]:
    """The kinds in turn, so that each has its share; their order and moments by chance."""
    drawn = [kinds[place % len(kinds)] for place in range(kills)]
    chance.shuffle(drawn)
    moments = sorted(chance.uniform(0.05, 0.95) for _ in drawn)
    return [Strike(int(moment * total), kind, chance.random()) for moment, kind in zip(moments, drawn, strict=True)]


def draw_plan(seed: int, *, events: int, kills: int, servers: Sequence[str]) -> list[Strike]:
    """Kills of all kinds, and one stop, which is no kill."""
    chance = random.Random(seed)
    plan = draw_strikes(chance, (*PROCESSES, *servers, *POINTS), kills=kills, total=events)
    plan.append(Strike(int(chance.uniform(0.2, 0.4) * events), STOP, chance.random()))
    return sorted(plan, key=lambda strike: strike.at)
