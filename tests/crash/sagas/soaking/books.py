"""The books: what became of each saga, from the journal; what was done, from the participants; and the comparison."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .plan import ACCOUNTS, BANKS, OPENING, UNDONE, Order

Line = dict[str, Any]
EVERY_STEP = (*UNDONE, "notify")
ENDS = ("completed", "compensated", "stuck")


def opened() -> dict[str, int]:
    """All accounts as they are at the start."""
    return {f"{bank}.{account}": OPENING for bank in BANKS for account in ACCOUNTS}


@dataclass(frozen=True, slots=True)
class Effect:
    """What a participant did in the transaction that also wrote this down; `kind` as in a history."""

    kind: str
    saga: str
    step: str
    t: float


@dataclass(slots=True)
class Found:
    """All that is known after a run. Sagas go by their keys; times are of the monotonic clock."""

    ids: Mapping[str, set[str]]
    """The ids that were acknowledged for each key."""
    ends: Mapping[str, tuple[str, float]]
    """Status of each saga in the journal, and since when."""
    effects: Sequence[Effect]
    balances: Mapping[str, int]
    opening: Mapping[str, int] = field(default_factory=opened)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much is wrong, of each kind."""

    not_ended: int
    stuck: int
    doubled: int
    """Effects and undoings beyond the first of a step."""
    incomplete: int
    """Steps of completed sagas without their effect, or undone."""
    left_over: int
    """Effects in compensated sagas that were not undone."""
    invented: int
    """Undoings of nothing, effects of sagas that nobody asked for."""
    other_ids: int
    """Keys under which there was more than one saga."""
    cents_off: int
    """By how much the accounts differ from what the completed sagas make of them."""


def compare(orders: Iterable[Order], found: Found) -> Comparison:
    """What was asked for against what there is."""
    asked = {order.key: order for order in orders}
    counts = Counter((effect.saga, effect.step, effect.kind) for effect in found.effects)
    done: dict[str, set[str]] = defaultdict(set)
    undone: dict[str, set[str]] = defaultdict(set)
    for saga, step, kind in counts:
        (done if kind == "step_effect" else undone)[saga].add(step)
    status = {key: end for key, (end, _) in found.ends.items()}
    completed = [key for key in asked if status.get(key) == "completed"]
    turned_back = [key for key in asked if status.get(key) == "compensated"]
    expected = dict(found.opening)
    for order in (asked[key] for key in completed):
        expected[f"{order.source}.{order.source_account}"] -= order.amount
        expected[f"{order.target}.{order.target_account}"] += order.amount
    return Comparison(
        not_ended=sum(status.get(key) not in ENDS for key in asked),
        stuck=sum(end == "stuck" for end in status.values()),
        doubled=sum(count - 1 for count in counts.values()),
        incomplete=sum(len(set(EVERY_STEP) - done[key]) + len(undone[key]) for key in completed),
        left_over=sum(len(done[key] - undone[key]) for key in turned_back),
        invented=sum(len(undone[key] - done[key]) for key in list(undone))
        + sum(len(done[key]) for key in list(done) if key not in asked)
        + sum(key not in asked for key in status),
        other_ids=sum(len(ids) > 1 for ids in found.ids.values()),
        cents_off=sum(abs(found.balances.get(name, 0) - amount) for name, amount in expected.items()),
    )


def history(found: Found, told: Iterable[Line], *, begun: float, ended: float) -> Iterator[Line]:
    """All of it as the judges want it. `told` is what the processes wrote themselves, and what was done to them."""
    for phase, at, balances in (("start", begun, found.opening), ("end", ended, found.balances)):
        for account, amount in balances.items():
            yield {"t": at, "kind": "balance", "phase": phase, "account": account, "amount": amount}
    yield from told
    for effect in found.effects:
        yield {"t": effect.t, "kind": effect.kind, "saga": effect.saga, "step": effect.step}
    for saga, (status, at) in found.ends.items():
        if status in ENDS:
            yield {"t": at, "kind": "saga_ended", "saga": saga, "status": status}
    yield {"t": ended, "kind": "end"}


def again(calls: Iterable[Line]) -> dict[str, int]:
    """How many calls were not the first of their kind for a step."""
    found = Counter((line["kind"], line["saga"], line["step"]) for line in calls)
    counts = {"steps tried again": 0, "compensations tried again": 0}
    for (kind, _, _), count in found.items():
        counts["steps tried again" if kind == "step_called" else "compensations tried again"] += count - 1
    return counts


def take_overs(
    losses: Iterable[float], leads: Sequence[Line], progress: Sequence[float]
) -> tuple[list[tuple[float, float]], int]:
    """From each loss of a leader, when it was and the seconds to the next entry in the journal, where another process took over;
    and how often it was the same one, started again.

    `leads` and `progress` are in order of time. A process that is dead or stopped writes nothing: what comes is its successor's.
    """
    times = [line["t"] for line in leads]
    others, same = [], 0
    for lost in losses:
        place = bisect_right(times, lost)
        entry = bisect_right(progress, lost)
        if not 0 < place < len(leads) or entry == len(progress):
            continue
        if leads[place]["name"] == leads[place - 1]["name"]:
            same += 1
        else:
            others.append((lost, progress[entry] - lost))
    return others, same
