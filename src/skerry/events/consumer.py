"""The consumer: one group's loop from the broker to its handlers.

It handles one event after the other, each in a transaction of its own. A failure parks the event, so that other keys go on.
An event that kills the process is counted before it is handled again: the group writes down that it runs, and when it finds
that mark at start, the first event of each source is a suspect. That costs nothing while nothing crashes.
"""

from __future__ import annotations

import asyncio
import contextlib

from skerry.clock import SYSTEM, Clock
from skerry.errors import InvalidEvent, StoreError
from skerry.events.brokers import Broker, Delivery, Position, Subscription
from skerry.events.envelope import Envelope
from skerry.events.inbox import Inbox, Registration
from skerry.events.outbox import SQL
from skerry.events.parking import DeadLetter, Parking
from skerry.resilience import Retry
from skerry.signals import ConsumerFailed, EventHandled, EventParked, HandlerFailed, emit
from skerry.store import Transaction

FETCH = 100
POLL = 0.25
MAX_DEATHS = 5
PAUSE = 0.5


class Consumer:
    """Handles the events of one group. `retry` counts all attempts; its delays are kept in the database."""

    def __init__(
        self,
        group: str,
        broker: Broker,
        inbox: Inbox,
        *,
        retry: Retry,
        on_poison: DeadLetter,
        clock: Clock = SYSTEM,
    ) -> None:
        self.group = group
        self.registrations: dict[str, Registration] = {}
        self.failure = ""
        self._broker = broker
        self._inbox = inbox
        self._database = inbox.database
        self._retry = retry
        self._parking = Parking(group, hold_key=on_poison.hold_key, clock=clock)
        self._clock = clock
        self._stopping = asyncio.Event()
        self._trusted: set[str] = set()
        self._after_crash = False

    async def run(self) -> None:
        """Handle events until `stop`. Trouble with broker or database is reported and tried again, for ever."""
        while not self._stopping.is_set():
            subscription: Subscription | None = None
            try:
                subscription = await self._begin()
                await self._loop(subscription)
            except Exception as error:  # a loop that serves others must not die of one failure
                self.failure = f"{type(error).__name__}: {error}"[:200]
                emit(ConsumerFailed(group=self.group, error=self.failure))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE):
                        await self._stopping.wait()
            finally:
                if subscription is not None:
                    await subscription.close()
        with contextlib.suppress(StoreError):
            async with self._database.transaction() as tx:
                await tx.execute(SQL["run_end"], (self.group,))

    async def stop(self, task: asyncio.Task[None], *, within: float) -> None:
        """Finish the event in hand and end `task`; after `within` seconds it is cancelled and rolled back."""
        self._stopping.set()
        await asyncio.wait({task}, timeout=within)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _begin(self) -> Subscription:
        async with self._database.transaction() as tx:
            if not self._trusted:
                self._after_crash = await tx.execute(SQL["run_begin"], (self.group,)) == 0
            rows = await tx.fetch_all(SQL["positions"], (self.group,))
        positions = {row[0]: Position(row[1], row[2]) for row in rows}
        return await self._broker.subscribe(self.group, self.registrations.keys(), positions)

    async def _loop(self, subscription: Subscription) -> None:
        while not self._stopping.is_set():
            while not self._stopping.is_set() and await self._try_parked():
                pass
            due = await self._parking.next_due(self._database)
            deliveries = await subscription.fetch(FETCH, wait=POLL if due is None else min(POLL, due))
            for delivery in deliveries:
                if self._stopping.is_set():
                    return
                await self._deliver(delivery)
                await subscription.ack([delivery])
            self.failure = ""

    async def _deliver(self, delivery: Delivery) -> None:
        message = delivery.message
        suspect = self._after_crash and delivery.source not in self._trusted
        if suspect and await self._is_deadly(delivery):
            return
        try:
            async with self._database.transaction() as tx:
                if await self._parking.holds(tx, message.key):
                    await self._parking.add(tx, message, "held", reason="an earlier event of this key is parked")
                    await self._move(tx, delivery)
                    held = True
                else:
                    held = False
                    fresh = await self._handle(tx, message.type, message.body)
                    await self._move(tx, delivery)
                if suspect:
                    await tx.execute(SQL["acquit"], (self.group, message.id))
        except StoreError:
            raise  # not the event's fault: the loop pauses and comes back to it
        except Exception as error:
            await self._failed(delivery, error)
            return
        finally:
            self._trusted.add(delivery.source)
        if held:
            emit(EventParked(group=self.group, type=message.type, id=message.id, held=True, reason="held"))
        else:
            emit(EventHandled(group=self.group, type=message.type, id=message.id, duplicate=not fresh))

    async def _handle(self, tx: Transaction, event_type: str, body: str) -> bool:
        envelope = Envelope.from_json(body)
        return await self._inbox.handle(tx, self.group, envelope, self.registrations[event_type])

    async def _move(self, tx: Transaction, delivery: Delivery) -> None:
        position = delivery.position
        await tx.execute(SQL["move"], (self.group, delivery.source, position.offset, position.epoch))

    async def _failed(self, delivery: Delivery, error: Exception) -> None:
        message = delivery.message
        state, delay = self._verdict(1, error)
        async with self._database.transaction() as tx:
            await self._parking.add(tx, message, state, attempts=1, delay=delay, reason=_reason(error))
            await self._move(tx, delivery)
        self._report(message.type, message.id, 1, error, state, delay)

    async def _try_parked(self) -> bool:
        """Give the next parked event whose time has come another try; False when none is due."""
        if await self._parking.next_due(self._database) != 0.0:
            return False
        async with self._database.transaction() as tx:  # the try is counted before it is made: it may kill the process
            parked = await self._parking.take(tx)
        if parked is None:
            return False
        message = parked.message
        try:
            if parked.attempts > self._retry.attempts:
                raise InvalidEvent("the process died during the last attempt")
            async with self._database.transaction() as tx:
                fresh = await self._handle(tx, message.type, message.body)
                await self._parking.release(tx, parked)
        except StoreError:
            raise
        except Exception as error:
            state, delay = self._verdict(parked.attempts, error)
            async with self._database.transaction() as tx:
                await self._parking.keep(tx, parked, state, delay=delay, reason=_reason(error))
            self._report(message.type, message.id, parked.attempts, error, state, delay)
            return True
        emit(EventHandled(group=self.group, type=message.type, id=message.id, duplicate=not fresh))
        return True

    def _verdict(self, attempt: int, error: Exception) -> tuple[str, float]:
        if attempt >= self._retry.attempts or isinstance(error, InvalidEvent):
            return "dead", 0.0
        return "retry", self._retry.delay(attempt, error)

    def _report(self, event_type: str, event_id: str, attempt: int, error: Exception, state: str, delay: float) -> None:
        emit(
            HandlerFailed(
                group=self.group,
                type=event_type,
                id=event_id,
                attempt=attempt,
                error=_reason(error),
                delay=None if state == "dead" else delay,
            )
        )
        if state == "dead":
            emit(EventParked(group=self.group, type=event_type, id=event_id, held=False, reason=_reason(error)))

    async def _is_deadly(self, delivery: Delivery) -> bool:
        """Count a death for the suspect before it is handled; park it when it has killed too often."""
        message = delivery.message
        async with self._database.transaction() as tx:
            deaths = (await tx.fetch_all(SQL["suspect"], (self.group, message.id)))[0][0]
            if deaths <= MAX_DEATHS:
                return False
            reason = f"the process died {MAX_DEATHS} times with this event in hand"
            await self._parking.add(tx, message, "dead", attempts=deaths, reason=reason)
            await self._move(tx, delivery)
            await tx.execute(SQL["acquit"], (self.group, message.id))
        emit(EventParked(group=self.group, type=message.type, id=message.id, held=False, reason=reason))
        return True


def _reason(error: Exception) -> str:
    """The error's class and text, without anything that may hold the payload."""
    return f"{type(error).__name__}: {error}"[:300] if isinstance(error, InvalidEvent) else type(error).__name__
