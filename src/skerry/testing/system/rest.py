"""What a service still has to do, and what must not be left when a test ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from skerry.errors import StoreError
from skerry.events.backlog import backlog
from skerry.events.consumer import Consumer
from skerry.service import Service
from skerry.signals import EventHandled
from skerry.store import Database
from skerry.testing.system.log import Event
from skerry.testing.system.process import Process
from skerry.testing.system.timeline import Timeline

LEFT: Final = ("dead_letters", "stuck", "unsent", "unmet")
"""What a test may allow."""

_OPEN: Final = "SELECT count(*) AS n FROM skerry_sagas WHERE status IN ('running', 'compensating') AND due_at IS NULL"
_STUCK: Final = "SELECT count(*) AS n FROM skerry_sagas WHERE status = 'stuck'"
_RETRIED: Final = "SELECT count(*) AS n FROM skerry_parked WHERE state = 'retry'"


async def to_do(process: Process) -> str:
    """The first thing found that a service is about to do by itself; empty when it rests, or is down."""
    life = process.life
    database = _database(process)
    if life is None or database is None:
        return ""
    service = life.service
    try:
        if count := (await backlog(database, clock=service.clock)).waiting:
            return f"{count} events in the outbox"
        if groups := [each for each in _consumers(service) if not await each.caught_up()]:
            why = f" ({groups[0].failure})" if groups[0].failure else ""
            return f"the group {groups[0].group} has events to handle{why}"
        if count := await _number(database, _RETRIED):
            return f"{count} events that a handler failed on are tried again"
        count = await _number(database, _OPEN)
    except StoreError:  # it is being killed or restarted just now
        return "its database is not open"
    return f"{count} sagas under way" if count else ""


async def left_over(process: Process, allow: frozenset[str]) -> list[str]:
    """What must not be left at the end of a test, unless it is allowed."""
    database = _database(process)
    if process.life is None or database is None:
        return []
    found: list[str] = []
    dead = await process.service.dead_letters.count()
    if dead and "dead_letters" not in allow:
        reasons = sorted({f"{letter.type}: {letter.reason}" for letter in await process.service.dead_letters.dead()})
        found.append(f"{process.name} has {dead} dead letters ({'; '.join(reasons)[:300]})")
    if (stuck := await _number(database, _STUCK)) and "stuck" not in allow:
        found.append(f"{process.name} has {stuck} stuck sagas")
    if "unsent" not in allow and (unsent := (await backlog(database, clock=process.service.clock)).waiting):
        found.append(f"{process.name} has {unsent} events in its outbox")
    return found


def handled_twice(timeline: Timeline) -> list[str]:
    """Events whose handler took effect more than once."""
    seen: set[tuple[str, str, str]] = set()
    twice: list[str] = []
    for entry in timeline.entries:
        signal = entry.signal
        if isinstance(signal, EventHandled) and not signal.duplicate:
            what = (entry.service.partition("#")[0], signal.group, signal.id)
            if what in seen:
                twice.append(
                    f"{what[0]} handled the event {signal.id} ({signal.type}) twice in the group {signal.group}"
                )
            seen.add(what)
    return twice


def disordered(timeline: Timeline, published: Sequence[Event]) -> list[str]:
    """Events that a group handled before an earlier one of the same producer and key."""
    places: dict[str, tuple[int, Event]] = {}
    for place, event in enumerate(published):
        places.setdefault(event.id, (place, event))
    last: dict[tuple[str, str, str, str], int] = {}
    wrong: list[str] = []
    for entry in timeline.entries:
        signal = entry.signal
        if not isinstance(signal, EventHandled) or signal.duplicate or signal.id not in places:
            continue
        place, event = places[signal.id]
        line = (entry.service.partition("#")[0], signal.group, event.source, event.key)
        if place < last.get(line, -1):
            wrong.append(f"{line[0]} handled {event.type} of the key {event.key} after a later one in {signal.group}")
        last[line] = max(place, last.get(line, -1))
    return wrong


def _database(process: Process) -> Database | None:
    return process.service._database if process.lives else None


def _consumers(service: Service) -> list[Consumer]:
    own = list(service._bus.consumers.values()) if service._bus is not None else []
    return [*own, *(consumer for builder in service._builders for consumer, _ in builder._consumers.values())]


async def _number(database: Database, sql: str) -> int:
    return int((await database.fetch_one(sql))["n"])
