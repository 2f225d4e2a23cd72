"""The relay: moves committed events from a service's outbox to the broker.

One leader per database reads unsent rows in the order of their commits, publishes a batch, and deletes it once the broker
has it. Killed in between, it publishes the batch again: at least once. There is no cursor that could skip a row: on
PostgreSQL a lower id may become visible after a higher one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

from skerry.clock import SYSTEM, Clock
from skerry.errors import LeaseLost, StoreError
from skerry.events._loops import Bell, end, wait_for
from skerry.events.brokers import Broker, Message
from skerry.events.envelope import with_sequence
from skerry.events.outbox import SQL, Outbox
from skerry.events.telling import sending
from skerry.signals import EventsRelayed, RelayChanged, RelayFailed, emit
from skerry.store import Database, Lease

BATCH = 500
POLL = 0.25
"""Seconds between looks when nobody rings: covers events recorded through other connections."""
MEASURE = 1.0
"""Seconds between looks whether the outbox is full."""
_BELL = "outbox"
FIRST_DELAY, LAST_DELAY = 0.1, 5.0


class Relay:
    """Hands the events of one outbox to one broker, in order, until stopped."""

    def __init__(self, database: Database, outbox: Outbox, broker: Broker, *, clock: Clock = SYSTEM) -> None:
        self._database = database
        self._outbox = outbox
        self._broker = broker
        self._clock = clock
        self._bell = Bell()
        self._stopping = asyncio.Event()
        self._leads = False
        self._delay = FIRST_DELAY
        self.failure: str = ""
        outbox.on_record(self._recorded)
        database.on_ring(_BELL, self._bell.ring)

    async def run(self) -> None:
        """Wait for the lead, then relay. Ends after `stop`, once the outbox is empty or the broker fails."""
        over = asyncio.Event()
        watching = asyncio.create_task(self._watch(over), name="outbox-room")
        try:
            await self._relay()
        finally:
            over.set()  # a driver may keep a cancellation to itself
            watching.cancel()
            await asyncio.wait({watching})

    async def _watch(self, over: asyncio.Event) -> None:
        """In every process, for each records."""
        while not over.is_set():
            with contextlib.suppress(StoreError):  # the loop beside this one reports it
                await self._outbox.measure(self._database)
            await wait_for(over, MEASURE)

    async def _relay(self) -> None:
        service = self._outbox.source
        self._outbox.heard_in(asyncio.get_running_loop())
        emit(RelayChanged(service=service, state="waiting"))
        while not self._stopping.is_set():
            try:
                async with self._database.lead("relay") as lease:
                    self._leads = True
                    emit(RelayChanged(service=service, state="leading"))
                    await self._drain(lease)
            except LeaseLost:
                emit(RelayChanged(service=service, state="waiting"))
            except Exception as error:  # the lead cannot even be asked for
                await self._failed(error)
            finally:
                self._leads = False
        emit(RelayChanged(service=service, state="stopped"))

    def _recorded(self) -> None:
        if self._leads:
            self._bell.ring()
        else:
            self._database.ring(_BELL)

    async def _drain(self, lease: Lease) -> None:
        while True:
            try:
                sent = await self.pass_on(lease)
            except LeaseLost:
                raise
            except Exception as error:  # whatever the broker raises: nothing is lost, so say it and go on
                if self._stopping.is_set():
                    self._report(error)
                    return
                await self._failed(error)
                continue
            self.failure, self._delay = "", FIRST_DELAY
            if sent < BATCH:
                if self._stopping.is_set():
                    return
                await self._bell.wait(POLL)

    async def _failed(self, error: Exception) -> None:
        """Say it and wait a while; new events do not cut the wait short, or each would be one more blow on a sick broker."""
        self._report(error)
        await wait_for(self._stopping, self._delay * (0.5 + self._clock.random() / 2))
        self._delay = min(LAST_DELAY, self._delay * 2)

    def _report(self, error: Exception) -> None:
        self.failure = type(error).__name__
        text = f"{self.failure}: {error}"[:200]
        emit(RelayFailed(service=self._outbox.source, error=text, delay=self._delay))

    async def pass_on(self, lease: Lease) -> int:
        """Relay one batch; how many events it had. Raises `LeaseLost` when another relay leads by now."""
        rows = await self._database.fetch_all(SQL["outbox_read"], (BATCH, self._clock.now()))
        if not rows:
            return 0
        lease.check()
        messages = [_message(*row[1:6]) for row in rows]
        with sending(messages, clock=self._clock):
            await self._broker.publish(messages)
        async with lease.transaction() as tx:
            tx.later(SQL["outbox_delete"], (json.dumps([row[0] for row in rows]),))
        emit(EventsRelayed(service=self._outbox.source, count=len(rows)))
        return len(rows)

    async def stop(self, task: asyncio.Task[None], *, within: float) -> None:
        """Hand over what is left and end `task`; after `within` seconds it is cancelled, which loses nothing."""
        self._stopping.set()
        self._bell.ring()
        await end(task, within=within if self._leads else 0.0)


def _message(event_id: str, event_type: str, key: str, body: str, sequence: int) -> Message:
    return Message(event_id, event_type, key, with_sequence(body, sequence) if sequence else body)
