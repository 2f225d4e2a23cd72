"""Counts of one service or one edge over the last quarter of an hour, in slots of five seconds."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

SLOT: Final = 5.0
"""Seconds."""
SLOTS: Final = 180
"""A quarter of an hour."""
NOW: Final = 3
"""Slots, the one under way among them, that stand for "now"."""
MINUTE: Final = 12
PARTS: Final = 60
"""Parts that a history has, each a quarter of a minute."""
PER: Final = SLOTS // PARTS
"""Slots of each part."""
_FASTEST: Final = 0.001
_BINS: Final = 40
"""From a millisecond on, each half as wide again as the one before: the last begins after two hours."""
_GROWTH: Final = math.log(1.5)


class _Slot:
    __slots__ = ("bins", "count", "errors", "number", "retries", "shed")

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = self.errors = self.retries = self.shed = 0
        self.bins: dict[int, int] = {}


class Series:
    """Bounded: at most `SLOTS` slots with at most `_BINS` counts each, whatever comes."""

    __slots__ = ("_slots", "begun", "heard")

    def __init__(self, now: float) -> None:
        self._slots: deque[_Slot] = deque(maxlen=SLOTS)
        self.begun: float = now
        self.heard: float = 0.0

    def add(self, now: float, *, seconds: float, error: bool) -> None:
        """Count a request that took so long."""
        slot = self._at(now)
        slot.count += 1
        slot.errors += error
        place = 0 if seconds <= _FASTEST else min(_BINS - 1, 1 + int(math.log(seconds / _FASTEST) / _GROWTH))
        slot.bins[place] = slot.bins.get(place, 0) + 1

    def note(self, now: float, *, retries: int = 0, shed: int = 0) -> None:
        """Count repeated attempts, or requests that were refused before anything was done."""
        slot = self._at(now)
        slot.retries += retries
        slot.shed += shed

    def now(self, now: float, *, slots: int = NOW) -> tuple[float, float]:
        """Requests a second, and the share of them that failed, over the last slots."""
        rate, share, _ = self.lately(now, slots=slots)
        return rate, share

    def lately(self, now: float, *, slots: int = NOW) -> tuple[float, float, int]:
        """Requests a second, the share of them that failed, and how many failed, over the last slots."""
        count = errors = 0
        for slot in self._last(now, slots):
            count += slot.count
            errors += slot.errors
        return count / _lasting(now, slots), errors / count if count else 0.0, errors

    def noted(self, now: float) -> tuple[float, float]:
        """Repeated attempts a second, and refused requests a second, over the last minute."""
        found = self._last(now, MINUTE)
        length = _lasting(now, MINUTE)
        return sum(slot.retries for slot in found) / length, sum(slot.shed for slot in found) / length

    def p95(self, now: float) -> float | None:
        """Seconds that 95 of 100 requests of the last minute stayed below, to half as much again; None without any."""
        return _p95(self._last(now, MINUTE))

    def history(self, now: float) -> list[float | None]:
        """The share of failures in each quarter of a minute, the oldest first; None where nothing came."""
        return [sum(s.errors for s in part) / count if (count := _count(part)) else None for part in self._parts(now)]

    def traffic(self, now: float, *, since: float) -> list[float | None]:
        """Requests a second in each quarter of a minute, the oldest first; the last one is not over.

        None for those that were over at `since`: nobody counted then.
        """
        unknown = PARTS - 1 - (_number(now) // PER - _number(since) // PER) if since <= now else PARTS
        parts = self._parts(now)
        return [None if place < unknown else _count(part) / (PER * SLOT) for place, part in enumerate(parts)]

    def slowness(self, now: float) -> list[float | None]:
        """As `p95`, of each quarter of a minute, the oldest first."""
        return [_p95(part) for part in self._parts(now)]

    @property
    def size(self) -> int:
        """How many counts are kept."""
        return sum(1 + len(slot.bins) for slot in self._slots)

    def _at(self, now: float) -> _Slot:
        self.heard = max(self.heard, now)
        number = _number(now)
        for slot in reversed(self._slots):
            if slot.number == number:
                return slot
            if slot.number < number:
                break
        else:
            if self._slots:  # the clock was set back: what comes now is counted where we are
                return self._slots[-1]
        slot = _Slot(number)
        self._slots.append(slot)
        return slot

    def _parts(self, now: float) -> list[list[_Slot]]:
        """The slots of each quarter of a minute."""
        last = _number(now) // PER
        found: list[list[_Slot]] = [[] for _ in range(PARTS)]
        for slot in self._slots:
            place = PARTS - 1 - (last - slot.number // PER)
            if 0 <= place < PARTS:
                found[place].append(slot)
        return found

    def _last(self, now: float, slots: int) -> list[_Slot]:
        first = _number(now) - slots
        return [slot for slot in self._slots if first < slot.number]


def _count(slots: list[_Slot]) -> int:
    return sum(slot.count for slot in slots)


def _p95(slots: list[_Slot]) -> float | None:
    bins: dict[int, int] = {}
    for slot in slots:
        for place, count in slot.bins.items():
            bins[place] = bins.get(place, 0) + count
    left = math.ceil(sum(bins.values()) * 0.95)
    for place in sorted(bins):
        left -= bins[place]
        if left <= 0:
            return float(_FASTEST * math.exp(place * _GROWTH))
    return None


def _number(now: float) -> int:
    return int(now // SLOT)


def _lasting(now: float, slots: int) -> float:
    """Seconds that the last slots cover by now; the one under way is not over."""
    return (slots - 1) * SLOT + max(1.0, now % SLOT)
