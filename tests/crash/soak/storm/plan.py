"""What the clients will ask for, drawn from the seed before anything runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .system import BANKS, CONSUMERS, HOLDING, PUBLISHERS, TELLER, replicas

EVENTS_PER_SECOND, SAGAS_PER_SECOND = 24.0, 6.0
KEYS = 6
"""Aggregates of each publisher."""
REFUSED = 0.05
LOST = 0.1
STUMBLE = 0.04
POISON_EVERY = 150
REJECTED = 0.2
STEPS = ("reserve", "debit", "notify", "credit")
ACCOUNTS = ("ann", "bob", "cid", "dee")


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a client: `at` seconds after the begin, to one of `processes`, the first one first."""

    at: float
    what: str
    identity: str
    processes: tuple[str, ...]
    path: str
    body: dict[str, Any]


def requests(seed: int, seconds: float) -> list[Request]:
    """All calls of a run, in order of their time."""
    dice = random.Random(f"plan {seed}")
    found = [_publish(dice, number, at) for number, at in enumerate(_times(dice, EVENTS_PER_SECOND, seconds))]
    found += [_start(dice, number, at) for number, at in enumerate(_times(dice, SAGAS_PER_SECOND, seconds))]
    return sorted(found, key=lambda request: request.at)


def _times(dice: random.Random, rate: float, seconds: float) -> Iterator[float]:
    at = dice.expovariate(rate)
    while at < seconds:
        yield at
        at += dice.expovariate(rate)


def _publish(dice: random.Random, number: int, at: float) -> Request:
    publisher = dice.choice(PUBLISHERS)
    poison = ""
    if number % POISON_EVERY == POISON_EVERY // 2:
        poison = dice.choice([HOLDING, CONSUMERS[-1]])
    body = {
        "op": f"e{number}",
        "aggregate": f"{publisher}.{dice.randrange(KEYS)}",
        "refused": dice.random() < REFUSED,
        "lost": dice.random() < LOST,
        "poison": poison,
        "stumble": dice.choice(CONSUMERS) if dice.random() < STUMBLE else "",
    }
    return Request(at, "event", f"e{number}", _shuffled(dice, publisher), "/publish", body)


def _start(dice: random.Random, number: int, at: float) -> Request:
    name = dice.choice(["transfer", "transfer", "payout"])
    source, messenger, target = dice.sample(BANKS, 3)
    order = {
        "saga": f"s{number}",
        "source": source,
        "messenger": messenger,
        "target": target,
        "from_account": dice.choice(ACCOUNTS),
        "to_account": dice.choice(ACCOUNTS),
        "amount": dice.randint(1, 500),
        "refuse": dice.choice(STEPS[:2] if name == "payout" else STEPS) if dice.random() < REJECTED else "",
        "moods": _moods(dice, name),
    }
    body = {"name": name, "order": order, "lost": dice.random() < LOST}
    return Request(at, "saga", f"s{number}", _shuffled(dice, TELLER), "/start", body)


def _moods(dice: random.Random, name: str) -> dict[str, list[str]]:
    """How the participants will misbehave. A step that is tried until it succeeds is late only once."""
    moods: dict[str, list[str]] = {}
    for step in STEPS:
        for action in ("do", "undo"):
            drawn = [mood for mood, share in (("lost", 0.1), ("slow", 0.05)) if dice.random() < share]
            if dice.random() < 0.04:
                always = action == "do" and not (name == "payout" and step in {"notify", "credit"})
                drawn.append("late" if always and dice.random() < 0.7 else "late-once")
            if drawn:
                moods[f"{step}:{action}"] = drawn
    return moods


def _shuffled(dice: random.Random, service: str) -> tuple[str, ...]:
    processes = list(replicas(service))
    dice.shuffle(processes)
    return tuple(processes)
