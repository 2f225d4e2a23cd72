"""What is asked for, how it goes wrong, and what is done to whom and when: drawn from the seed alone, before anything runs."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pydantic import BaseModel
from storming.plan import Strike, draw_strikes

SAGA = "transfer"
STEPS = ["take", ["reserve", "announce"], "give", "notify"]
BANKS, POST = ("north", "south"), "post"
PARTICIPANTS = (*BANKS, POST)
ACCOUNTS = ("ann", "bob", "cid", "dee", "eve", "fay")
OPENING = 1_000_000
"""Cents in each account of each bank at the start: so many that nobody runs out of them."""

UNDONE = ("take", "reserve", "announce", "give")
"""Steps with a compensation."""
REFUSED, LOST, LATE, LATE_ONCE, TWICE = 0.2, 0.08, 0.03, 0.02, 0.05
LATER = 3.0
"""Seconds after which a late action has its effect: by then its saga has given up, unless it is tried again and again."""

PROCESSES = ("engine", "participant", "starter")
ENGINE_POINT = "engine after reply"
PARTICIPANT_POINTS = ("participant before commit", "participant before reply")
"""Not from outside: a process ends itself with SIGKILL at the worst place of its own code."""
STOP_ENGINE, STOP_PARTICIPANT = "stop of the leading engine", "stop of a participant"
KILLS_PER_STOP = 25
"""For so many kills, an engine and a participant are each stopped once, and once at least."""


class Order(BaseModel):
    """Money to move. `refuse` is the step that is declined; `moods` say, for `step:do` and `step:undo`, what goes wrong there:

    lost         its effect is committed, and the reply to the first attempt never comes
    late         no attempt is answered, and each has its effect only later, unless it has been compensated by then
    late-once    so is the first attempt
    """

    key: str
    source: str
    source_account: str
    target: str
    target_account: str
    amount: int
    refuse: str = ""
    moods: dict[str, str] = {}
    twice: bool = False
    """Whether it is started once more after that was acknowledged."""

    def participant(self, step: str) -> str:
        """Who carries a step out."""
        return {"take": self.source, "reserve": self.target, "give": self.target}.get(step, POST)


def draw_orders(seed: int, count: int) -> list[Order]:
    """All that will be asked for."""
    chance = random.Random(f"orders {seed}")
    return [_order(chance, f"t{number}") for number in range(count)]


def _order(chance: random.Random, key: str) -> Order:
    source, target = chance.sample(BANKS, 2)
    moods = {}
    for step in (*UNDONE, "notify"):
        for action in ("do", "undo") if step in UNDONE else ("do",):
            drawn = chance.random()
            if drawn < LOST:
                moods[f"{step}:{action}"] = "lost"
            elif drawn < LOST + LATE_ONCE:
                moods[f"{step}:{action}"] = "late-once"
            elif drawn < LOST + LATE_ONCE + LATE and action == "do" and step in UNDONE:
                moods[f"{step}:{action}"] = "late"
    return Order(
        key=key,
        source=source,
        source_account=chance.choice(ACCOUNTS),
        target=target,
        target_account=chance.choice(ACCOUNTS),
        amount=chance.randint(1, 500),
        refuse=chance.choice(UNDONE) if chance.random() < REFUSED else "",
        moods=moods,
        twice=chance.random() < TWICE,
    )


def draw_plan(seed: int, *, sagas: int, kills: int, servers: Sequence[str]) -> list[Strike]:
    """Kills of all kinds, and stops, which are no kills."""
    chance = random.Random(f"strikes {seed}")
    plan = draw_strikes(chance, (*PROCESSES, ENGINE_POINT, *PARTICIPANT_POINTS, *servers), kills=kills, total=sagas)
    for kind in (STOP_ENGINE, STOP_PARTICIPANT):
        for _ in range(stops(kills)):
            plan.append(Strike(int(chance.uniform(0.1, 0.8) * sagas), kind, chance.random()))
    return sorted(plan, key=lambda strike: strike.at)


def stops(kills: int) -> int:
    """How often an engine is stopped, and as often a participant."""
    return max(1, kills // KILLS_PER_STOP)
