"""Faults that a test orders: by service and route or by event, for a share or a count, drawn from the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal, get_args

from skerry.clock import Clock
from skerry.events import DomainEvent
from skerry.testing.system.names import is_event, told
from skerry.testing.system.timeline import Timeline

if TYPE_CHECKING:
    from skerry.testing.system.system import System

Kind = Literal["delay", "drop", "duplicate", "lost_reply"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""In the order in which they strike."""


@dataclass(slots=True)
class Rule:
    """One order. `left` is how often it may still strike; None for always."""

    kind: Kind
    service: str
    route: str
    event: str | type[DomainEvent]
    share: float
    left: int | None
    seconds: float
    met: bool = False
    """Whether it has met anything that it is about, struck or not."""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.service, self.route, told(self.event))))

    def meets_call(self, service: str, route: str) -> bool:
        """Whether it is about this call. A route is `METHOD /path`, with `*` for anything."""
        if self.event or self.service not in {"", service}:
            return False
        return not self.route or fnmatchcase(route, self.route)

    def meets_event(self, source: str, event_type: str) -> bool:
        """Whether it is about this event."""
        return bool(self.event) and self.service in {"", source} and is_event(event_type, self.event)


class Faults:
    """What goes wrong in a system, and when.

    `kill` ends a service at once. The others meet calls to a service, `faults.drop("payment", route="POST /payments")`, or
    events on their way into the log, `faults.duplicate(event="OrderPlaced")`, where `service` is who publishes. `share` is the
    probability for each call, or for each batch of events that a relay publishes at once; `count` how often at most. The same
    seed meets the same ones.
    """

    def __init__(self, clock: Clock, timeline: Timeline, running: Callable[[], System | None]) -> None:
        self._clock = clock
        self._timeline = timeline
        self._running = running
        self._rules: list[Rule] = []

    def kill(self, service: str, *, at: int | None = None, restart_after: float | None = None) -> None:
        """End a service at once: what it has in hand is lost, what it has committed stays. Who calls it finds nobody there.

        With `at` it dies when it reaches its so-manieth crash point from now on, counted from 1: right before and right after
        each commit, each call it makes and each batch it publishes. With `restart_after` it is back after so many seconds.
        """
        self._system().find_demanded(service).kill(at, restart_after)

    async def restart(self, service: str) -> None:
        """Bring a service back from its database; one that lives is killed first. Returns when it has started, or is killed
        before that.
        """
        await self._system().restart(service)

    def reached(self, service: str) -> int:
        """How many crash points a service has passed, over all its lives, since each of them had started."""
        return self._system().find_demanded(service).passed

    def delay(
        self,
        service: str = "",
        *,
        seconds: float,
        route: str = "",
        event: str | type[DomainEvent] = "",
        share: float = 1.0,
        count: int | None = None,
    ) -> None:
        """Calls arrive, or batches of events are published, so many seconds later."""
        self._add("delay", service, route, event, share, count, seconds)

    def drop(
        self,
        service: str = "",
        *,
        route: str = "",
        event: str | type[DomainEvent] = "",
        share: float = 1.0,
        count: int | None = None,
    ) -> None:
        """Calls never arrive, and nobody tells the caller. Events do not reach the log, and the relay is told so."""
        self._add("drop", service, route, event, share, count)

    def duplicate(
        self,
        service: str = "",
        *,
        route: str = "",
        event: str | type[DomainEvent] = "",
        share: float = 1.0,
        count: int | None = None,
    ) -> None:
        """Calls arrive twice, one after the other; the caller gets the first answer. The batch stands in the log twice."""
        self._add("duplicate", service, route, event, share, count)

    def lost_reply(
        self,
        service: str = "",
        *,
        route: str = "",
        event: str | type[DomainEvent] = "",
        share: float = 1.0,
        count: int | None = None,
    ) -> None:
        """Calls take effect and their answer is lost. Events reach the log, and the relay is told that it may be otherwise."""
        self._add("lost_reply", service, route, event, share, count)

    def clear(self) -> None:
        """From now on nothing goes wrong any more, and nobody dies at a crash point; who is dead stays so."""
        self._rules.clear()
        if (system := self._running()) is not None:
            system.disarm()

    def unmet(self) -> list[str]:
        """Orders that have met nothing they are about, such as for a route that nobody has called. At the end of a test they fail
        it, for it has not shown what it was to show.
        """
        return [str(rule) for rule in self._rules if not rule.met]

    def of_call(self, service: str, route: str) -> dict[Kind, float]:
        """For the system: what strikes this call, with the seconds of a delay."""
        return self._strike([rule for rule in self._rules if rule.meets_call(service, route)], f"{service} {route}")

    def of_batch(self, source: str, types: Sequence[str]) -> dict[Kind, float]:
        """For the system: what strikes a batch of events of these types, which are published together, and so fail together."""
        rules = [rule for rule in self._rules if any(rule.meets_event(source, each) for each in types)]
        return self._strike(rules, f"events {', '.join(sorted(set(types)))}")

    def _system(self) -> System:
        system = self._running()
        if system is None:
            raise RuntimeError("no system runs: start one that skerry_system(...) made")
        return system

    def _add(
        self,
        kind: Kind,
        service: str,
        route: str,
        event: str | type[DomainEvent],
        share: float,
        count: int | None,
        seconds: float = 0.0,
    ) -> None:
        if not service and not event:
            raise ValueError(f"{kind}: say which service, or which event")
        if route and event:
            raise ValueError(f"{kind}: a fault is about calls or about events: give a route or an event, not both")
        if not 0.0 < share <= 1.0 or (count is not None and count < 1) or seconds < 0.0:
            raise ValueError(f"{kind}: a share is above 0 and at most 1, a count at least 1, seconds at least 0")
        self._rules.append(Rule(kind, service, route, event, share, count, seconds))

    def _strike(self, rules: list[Rule], what: str) -> dict[Kind, float]:
        struck: dict[Kind, float] = {}
        for rule in sorted(rules, key=lambda rule: KINDS.index(rule.kind)):
            if "drop" in struck:  # what never arrives meets nothing further
                break
            rule.met = True
            if rule.left == 0 or (rule.share < 1.0 and self._clock.random() >= rule.share):
                continue
            if rule.left is not None:
                rule.left -= 1
            struck[rule.kind] = struck.get(rule.kind, 0.0) + rule.seconds
            self._timeline.note(f"fault: {rule.kind} {what}" + (f" {rule.seconds:g} s" if rule.seconds else ""))
        return struck
