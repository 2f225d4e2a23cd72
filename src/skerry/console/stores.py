"""What the services' own databases say: events that wait, sagas under way, what waits for a person. They are only read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Final

from skerry.clock import SYSTEM, Clock
from skerry.console.facts import OutboxFact, SagaFact
from skerry.errors import SkerryError, StoreError, StoreUnavailable
from skerry.events import Backlog, Dead, DeadLetters, backlog
from skerry.saga import Journal, SagaLine, Sagas
from skerry.store import Database, schema_status

PATIENCE: Final = 5.0
"""Seconds in which a database has to answer."""
SHOWN: Final = 20
"""Stuck sagas, and dead letters, of one service that are shown."""

Open = Callable[[str], AbstractAsyncContextManager[Database]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one service's database said last; `reached` is False since `since` when it does not answer, None when it never had
    anything to say.
    """

    service: str
    reached: bool | None
    since: float
    outbox: Backlog | None = None
    running: int = 0
    compensating: int = 0
    stuck: int = 0
    stuck_sagas: tuple[SagaLine, ...] = ()
    dead: int = 0
    letters: tuple[Dead, ...] = ()
    error: str = ""


class Stores:
    """Looks into every database, one after the other, so that looking costs the system next to nothing."""

    def __init__(self, services: Sequence[str], opened: Open, *, clock: Clock = SYSTEM) -> None:
        self._services = tuple(services)
        self._open = opened
        self._clock = clock
        self.looks: dict[str, Look] = {}

    async def look(self) -> None:
        """Ask each database once."""
        for service in self._services:
            self.looks[service] = await self._ask(service)

    def outboxes(self) -> tuple[OutboxFact, ...]:
        """What waits in each service."""
        return tuple(
            OutboxFact(service=look.service, rows=look.outbox.waiting, oldest=look.outbox.oldest)
            for look in self.looks.values()
            if look.outbox is not None
        )

    def sagas(self) -> SagaFact | None:
        """The sagas of all services; None when no database was asked."""
        if not self.looks:
            return None
        found = self.looks.values()
        return SagaFact(
            running=sum(look.running for look in found),
            compensating=sum(look.compensating for look in found),
            stuck=sum(look.stuck for look in found),
        )

    def dead(self) -> int | None:
        """Dead letters in all services; None when no database was asked."""
        return sum(look.dead for look in self.looks.values()) if self.looks else None

    async def _ask(self, service: str) -> Look:
        before = self.looks.get(service)
        now = self._clock.now()
        try:
            async with asyncio.timeout(PATIENCE), self._open(service) as database:
                found = await _read(service, database, now, clock=self._clock)
        except (SkerryError, OSError, TimeoutError) as error:
            reached = False if _is_away(error) else None
            since = before.since if before is not None and before.reached is reached else now
            # what waited when it was last asked still waits: events, sagas and letters
            known = before or Look(service=service, reached=reached, since=since)
            return replace(known, reached=reached, since=since, error=str(error)[:300])
        return found


async def _read(service: str, database: Database, now: float, *, clock: Clock) -> Look:
    waiting = await backlog(database, clock=clock)
    letters = DeadLetters(database, clock=clock)
    dead = await letters.count()
    shown = tuple(await letters.dead(limit=SHOWN)) if dead else ()
    counts = {"running": 0, "compensating": 0, "stuck": 0}
    stuck: tuple[SagaLine, ...] = ()
    if not (await schema_status(database, Journal.schema.component, Journal.schema.folder)).due(after=False):
        sagas = Sagas(database, clock=clock)
        for each in await sagas.stats():
            if each.status in counts:
                counts[each.status] += each.sagas
        stuck = tuple(await sagas.found(statuses=["stuck"], limit=SHOWN)) if counts["stuck"] else ()
    return Look(
        service=service,
        reached=True,
        since=now,
        outbox=waiting,
        running=counts["running"],
        compensating=counts["compensating"],
        stuck=counts["stuck"],
        stuck_sagas=stuck,
        dead=dead,
        letters=shown,
    )


def _is_away(error: BaseException) -> bool:
    """Whether the database's server does not answer; one that was never made, or is of another release, is not away."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return False
        if isinstance(seen, TimeoutError | StoreUnavailable) or type(seen) is StoreError:
            return True
        seen = seen.__cause__
    return False
