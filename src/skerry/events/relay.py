"""The relay: moves committed events from a service's outbox to the broker.

One leader per database reads unsent rows in the order of their commits, publishes a batch, and deletes it once the broker
has it. Killed in between, it publishes the batch again: at least once. There is no cursor that could skip a row.
"""

from __future__ import annotations

import asyncio
import contextlib

from skerry.clock import SYSTEM, Clock
from skerry.events.brokers import Broker, Message
from skerry.events.outbox import SQL, Bell, Outbox
from skerry.signals import EventsRelayed, RelayChanged, RelayFailed, emit
from skerry.store import Database

BATCH = 500
POLL = 0.25
"""Seconds between looks when nobody rings: covers events recorded through other connections."""
FIRST_DELAY, LAST_DELAY = 0.1, 5.0


class Relay:
    """Hands the events of one outbox to one broker, in order, until stopped."""

    def __init__(self, database: Database, outbox: Outbox, broker: Broker, *, clock: Clock = SYSTEM) -> None:
        self._database = database
        self._outbox = outbox
        self._broker = broker
        self._clock = clock
        self._bell = Bell()
        self._stopping = False
        self.failure = ""
        outbox.on_record(self._bell.ring)

    async def run(self) -> None:
        """Wait for the lead, then relay. Ends after `stop`, once the outbox is empty or the broker fails."""
        service = self._outbox.source
        emit(RelayChanged(service=service, state="waiting"))
        async with self._database.lead("relay"):
            emit(RelayChanged(service=service, state="leading"))
            delay = FIRST_DELAY
            while True:
                try:
                    sent = await self.pass_on()
                except Exception as error:  # whatever the broker raises: nothing is lost, so say it and go on
                    self.failure = type(error).__name__
                    emit(RelayFailed(service=service, error=f"{self.failure}: {error}"[:200], delay=delay))
                    if self._stopping:
                        break
                    await self._bell.wait(delay * (0.5 + self._clock.random() / 2))
                    delay = min(LAST_DELAY, delay * 2)
                    continue
                self.failure, delay = "", FIRST_DELAY
                if sent < BATCH:
                    if self._stopping:
                        break
                    await self._bell.wait(POLL)
        emit(RelayChanged(service=service, state="stopped"))

    async def pass_on(self) -> int:
        """Relay one batch; how many events it had."""
        rows = await self._database.fetch_all(SQL["outbox_read"], (BATCH,))
        if not rows:
            return 0
        await self._broker.publish([Message(row[1], row[2], row[3], row[4]) for row in rows])
        async with self._database.transaction() as tx:
            await tx.execute(SQL["outbox_delete"], (rows[0][0], rows[-1][0]))
        emit(EventsRelayed(service=self._outbox.source, count=len(rows)))
        return len(rows)

    async def stop(self, task: asyncio.Task[None], *, within: float) -> None:
        """Hand over what is left and end `task`; after `within` seconds it is cancelled, which loses nothing."""
        self._stopping = True
        self._bell.ring()
        await asyncio.wait({task}, timeout=within)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
