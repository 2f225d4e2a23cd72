"""The relay: moves committed events from a service's outbox to the broker.

The outbox has four parts, split by key. Each has one leader, which reads its unsent rows in the order of their commits, publishes
a batch, and deletes it once the broker has it. The processes of a service share the parts; one that is alone leads all, with one
query. Killed in between, it publishes the batch again: at least once. There is no cursor that could skip a row: on PostgreSQL a
lower id may become visible after a higher one. Where the log of a service has one writer at a time (`Features.shared`), the
outbox is one part.

Two leaders of one part, one of which does not know yet that it leads no more, change no order: each publishes the events of a
key from the first that is not deleted, and deletes only what the broker has.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from skerry.clock import SYSTEM, Clock
from skerry.errors import LeaseLost, StoreError
from skerry.events._loops import Bell, end, wait_for
from skerry.events.brokers import Broker, Message
from skerry.events.envelope import with_sequence
from skerry.events.outbox import SQL, Outbox
from skerry.events.telling import sending
from skerry.signals import EventsRelayed, RelayChanged, RelayFailed, emit
from skerry.store import Database, Holding, Share

BATCH = 500
POLL = 0.25
"""Seconds between looks when nobody rings: covers events recorded through other connections."""
PARTS = 4
"""`outbox_read_parts` counts on it, and releases that run side by side have to agree on it."""
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
        self._led: tuple[int, ...] = ()
        self._whole = False
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
                await self._follow()
            except LeaseLost:
                emit(RelayChanged(service=service, state="waiting"))
            except Exception as error:  # the lead cannot even be asked for
                await self._failed(error)
            finally:
                self._led, self._whole = (), False
        emit(RelayChanged(service=service, state="stopped"))

    async def _follow(self) -> None:
        """Relay what is led from now on, until `stop`."""
        count = PARTS if self._broker.features.shared else 1
        async with self._database.share("relay", count, changed=self._bell.ring) as share:
            await self._drain(share, partial(self.pass_on, share))

    def _recorded(self) -> None:
        if self._whole:
            self._bell.ring()
        else:
            self._database.ring(_BELL)

    async def _drain(self, held: Holding, pass_on: Callable[[], Awaitable[int]]) -> None:
        while True:
            try:
                await held.settle()
                self._lead(held)
                sent = await pass_on() if self._led else 0
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

    def _lead(self, held: Holding) -> None:
        """Say which parts are led from now on."""
        parts, self._whole = held.parts, held.whole
        if parts != self._led:
            self._led = parts
            told = "all" if held.whole else " ".join(map(str, parts))
            emit(RelayChanged(service=self._outbox.source, state="leading" if parts else "waiting", parts=told))

    async def _failed(self, error: Exception) -> None:
        """Say it and wait a while; new events do not cut the wait short, or each would be one more blow on a sick broker."""
        self._report(error)
        await wait_for(self._stopping, self._delay * (0.5 + self._clock.random() / 2))
        self._delay = min(LAST_DELAY, self._delay * 2)

    def _report(self, error: Exception) -> None:
        self.failure = type(error).__name__
        text = f"{self.failure}: {error}"[:200]
        emit(RelayFailed(service=self._outbox.source, error=text, delay=self._delay))

    async def pass_on(self, share: Share) -> int:
        """Relay one batch; how many events it had. Raises `LeaseLost` when another relay leads one of its parts by now."""
        parts, now = share.parts, self._clock.now()
        if share.whole:
            rows = await self._database.fetch_all(SQL["outbox_read"], (BATCH, now))
        else:
            rows = await self._database.fetch_all(
                SQL["outbox_read_parts"], (BATCH, now, sum(1 << part for part in parts))
            )
        if not rows:
            return 0
        share.check()
        messages = [_message(*row[1:6]) for row in sorted(rows, key=_turn)]
        with sending(messages, clock=self._clock):
            await self._broker.publish(messages)
        async with share.transaction(parts) as tx:
            tx.later(SQL["outbox_delete"], (json.dumps([row[0] for row in rows]),))
        emit(EventsRelayed(service=self._outbox.source, count=len(rows)))
        return len(rows)

    async def stop(self, task: asyncio.Task[None], *, within: float) -> None:
        """Hand over what is left and end `task`; after `within` seconds it is cancelled, which loses nothing."""
        self._stopping.set()
        self._bell.ring()
        await end(task, within=within if self._led else 0.0)


def _turn(row: Sequence[Any]) -> tuple[float, int]:
    """Where an event stands: delayed ones come last, as they are due; they are outside any order."""
    return -math.inf if row[6] is None else row[6], row[0]


def _message(event_id: str, event_type: str, key: str, body: str, sequence: int) -> Message:
    return Message(event_id, event_type, key, with_sequence(body, sequence) if sequence else body)
