"""The rules of delivery: nothing lost, nothing invented, in order per aggregate, each effect once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

Line = dict[str, Any]
Key = tuple[str, str]


class Deliveries:
    """What a history says about events. A key is a consumer and an event."""

    def __init__(self, lines: list[Line]) -> None:
        of: dict[str, list[Line]] = defaultdict(list)
        for line in lines:
            of[line["kind"]].append(line)
        self.acknowledged = {line["event_id"] for line in of["publish_ok"]}
        self.unknown = {line["event_id"] for line in of["publish_unknown"]}
        self.failed = {line["event_id"] for line in of["publish_fail"]} - self.acknowledged - self.unknown
        self.consumers = {line["consumer"] for line in [*of["consumer"], *of["handled"]]}
        self.dead = {_key(line) for line in of["dead"]}
        self.effects = of["effect"]
        self.seen = [*of["handled"], *of["dead"], *of["effect"]]
        self.first: dict[Key, int] = {}
        for place, line in enumerate(of["handled"]):
            self.first.setdefault(_key(line), place)
        self.numbers: dict[str, tuple[str, int]] = {}
        for line in [*of["handled"], *of["publish_unknown"], *of["publish_ok"]]:
            if "seq" in line:
                self.numbers[line["event_id"]] = (line["aggregate"], line["seq"])

    def queues(self) -> Iterator[tuple[str, str, list[tuple[int, str]]]]:
        """For each consumer and aggregate, the numbered events in their order."""
        aggregates: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for event, (aggregate, number) in self.numbers.items():
            aggregates[aggregate].append((number, event))
        for aggregate, events in sorted(aggregates.items()):
            for consumer in sorted(self.consumers):
                yield consumer, aggregate, sorted(events)


def _key(line: Line) -> Key:
    return line["consumer"], line["event_id"]


def lost(found: Deliveries) -> Iterator[str]:
    """D1: an acknowledged event reached each consumer, or lies where an operator sees it."""
    for consumer in sorted(found.consumers) or ["default"]:
        for event in sorted(found.acknowledged):
            if (consumer, event) not in found.first and (consumer, event) not in found.dead:
                yield f"{event} never reached {consumer}"


def phantom(found: Deliveries) -> Iterator[str]:
    """D2: nothing appears that surely failed, or that nobody published."""
    known = found.acknowledged | found.unknown
    for line in found.seen:
        event = line["event_id"]
        if event in found.failed:
            yield f"{event} was refused, but {line['consumer']} has it ({line['kind']})"
        elif event not in known:
            yield f"{event} was never published, but {line['consumer']} has it ({line['kind']})"


def disorder(found: Deliveries) -> Iterator[str]:
    """D3: for each consumer, the events of an aggregate come first in the order of their numbers."""
    for consumer, aggregate, events in found.queues():
        latest = -1
        for number, event in events:
            place = found.first.get((consumer, event), latest)
            if place < latest:
                yield f"{consumer}, {aggregate}: {event} (number {number}) came after a later one"
            latest = max(latest, place)


def overtaken(found: Deliveries) -> Iterator[str]:
    """D3, without gaps: what is missing before a handled event may still become a dead letter, but not be handled."""
    for consumer, aggregate, events in found.queues():
        skipped = ""
        for number, event in events:
            if (consumer, event) in found.first:
                if skipped:
                    yield f"{consumer}, {aggregate}: {event} (number {number}) overtook {skipped}"
                skipped = ""
            elif event in found.acknowledged and (consumer, event) not in found.dead:
                skipped = event


def twice(found: Deliveries) -> Iterator[str]:
    """D4: an effect happens once."""
    for (consumer, key), count in Counter((line["consumer"], line["key"]) for line in found.effects).items():
        if count > 1:
            yield f"{consumer} has the effect of {key} {count} times"


def no_effect(found: Deliveries) -> Iterator[str]:
    """D5: what was handled had its effect."""
    have = {_key(line) for line in found.effects}
    for consumer, event in found.first:
        if (consumer, event) not in have and (consumer, event) not in found.dead:
            yield f"{consumer} handled {event} without an effect"


DELIVERY_RULES: dict[str, Callable[[Deliveries], Iterator[str]]] = {
    "D1": lost,
    "D2": phantom,
    "D3": disorder,
    "D3 gap": overtaken,
    "D4": twice,
    "D5": no_effect,
}
