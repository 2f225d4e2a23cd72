"""The consumer: one group's loop from the broker to its handlers.

It handles one event after the other, in one process at a time. Events that wait together share a transaction, and so one
flush; each has a savepoint of its own. A failure parks the event, so that other keys go on. An event that kills the process
is counted before it is handled again: the group writes down that it runs, and when it finds that mark at start, the first
events of each source and the first parked one are suspects, handled one by one. That costs nothing while nothing crashes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from skerry.clock import SYSTEM, Clock
from skerry.errors import (
    DuplicateValue,
    EventError,
    InvalidDocument,
    InvalidEvent,
    InvalidQuery,
    LeaseLost,
    NestedTransaction,
    NoTransaction,
    ReceiptConflict,
    StoreError,
    VersionConflict,
)
from skerry.events._loops import end, wait_for
from skerry.events.brokers import Broker, Delivery, Message, Position, Subscription
from skerry.events.brokers.wire import identity, kept
from skerry.events.envelope import Envelope
from skerry.events.gaps import Gaps
from skerry.events.inbox import Inbox, Registration
from skerry.events.outbox import SQL
from skerry.events.parking import DeadLetter, Parked, Parking
from skerry.resilience import Retry
from skerry.signals import ConsumerFailed, ConsumerLag, EventHandled, EventParked, HandlerFailed, emit
from skerry.store import Database, Lease, Transaction

FETCH = 250
POLL = 0.25
MAX_DEATHS = 5
TOGETHER = 0.02
"""Seconds after which a shared transaction takes no further event: others wait for the database too."""
PAUSE = 0.5
LAG_EVERY, LAG_SHARE = 15.0, 0.01
"""Seconds between two counts of what is not handled yet; where counting is slow, so many that it takes at most this share."""
_ITS_OWN_FAULT = (
    NoTransaction,
    NestedTransaction,
    ReceiptConflict,
    VersionConflict,
    DuplicateValue,
    InvalidDocument,
    InvalidQuery,
)
"""Store errors that a handler brings about itself. For any other the loop pauses and comes back to the event."""


class Consumer:
    """Handles the events of one group. `retry` counts all attempts; its delays are kept in the database.

    `behind` is how many events of its types it had not handled when that was last counted, which is every fifteen seconds,
    parked ones left out; None while another process reads for it, or nobody, and where the broker did not tell.
    `repeatable`: handlers do nothing but write through their transaction, so they may run again when another event that
    shares it fails. That spares the savepoints.
    """

    def __init__(
        self,
        group: str,
        broker: Broker,
        inbox: Inbox,
        *,
        retry: Retry,
        on_poison: DeadLetter,
        clock: Clock = SYSTEM,
        repeatable: bool = False,
        gaps: float = 0.0,
    ) -> None:
        self.group = group
        self.database: Database = inbox.database
        self.registrations: dict[str, Registration] = {}
        self.failure: str = ""
        self.behind: int | None = None
        self._broker = broker
        self._inbox = inbox
        self._retry = Retry(
            retry.attempts, base=retry.base, cap=retry.cap, retry_after_cap=retry.retry_after_cap, clock=clock
        )
        longest = max(retry.cap, retry.retry_after_cap, gaps)
        self._gaps = Gaps(group, seconds=gaps, clock=clock)
        self._parking = Parking(group, hold_key=on_poison.hold_key, longest=longest, clock=clock)
        self._clock = clock
        self._repeatable = repeatable
        self._alone = 0
        self._lease: Lease
        self._subscription: Subscription | None = None
        self._in_hand = 0
        self._may_be_due = True
        self._count_at = 0.0
        self._stopping = asyncio.Event()
        self._leads = False
        self._after_crash: bool | None = None
        self._doubted: Counter[str] = Counter()
        self._suspects: set[str] = set()

    async def run(self) -> None:
        """Handle events until `stop`. Trouble with broker or database is reported and tried again, for ever."""
        while not self._stopping.is_set():
            try:
                async with self.database.lead(f"events-{self.group}") as lease:
                    self._leads = True
                    await self._lead(lease)
            except LeaseLost:
                continue  # another process goes on from what is committed
            except asyncio.CancelledError:
                if not self._stopping.is_set():  # by a handler, or since the program ends
                    self.failure = "it was cancelled, by no stop: it handles nothing until the service starts again"
                raise
            except Exception as error:  # the lead cannot even be asked for
                await self._pause(error)
            finally:
                self._leads = False

    async def stop(self, task: asyncio.Task[None], *, within: float) -> None:
        """Finish the event in hand and end `task`; after `within` seconds it is cancelled and rolled back."""
        self._stopping.set()
        await end(task, within=within if self._leads else 0.0)

    async def lag(self) -> int | None:
        """How many events of its types the group has not fetched; None while another process reads for it, or nobody."""
        return None if self._subscription is None else await self._subscription.lag()

    async def caught_up(self) -> bool:
        """Whether this process reads for the group, and has handled all there was."""
        return await self.lag() == 0 and not self._in_hand and not self.failure

    async def _lead(self, lease: Lease) -> None:
        self._lease = lease
        try:
            while not self._stopping.is_set():
                try:
                    await self._follow()
                except LeaseLost:
                    raise
                except Exception as error:  # a loop that serves others must not die of one failure
                    await self._pause(error)
        except asyncio.CancelledError:
            await self._ended()
            raise
        await self._ended()

    async def _pause(self, error: Exception) -> None:
        self.failure = f"{type(error).__name__}: {error}"[:200]
        emit(ConsumerFailed(group=self.group, error=self.failure))
        await wait_for(self._stopping, PAUSE)

    async def _ended(self) -> None:
        """Say that this was no crash. Not so when a handler ends the process, by `SystemExit` or in another way."""
        with contextlib.suppress(StoreError):
            async with self.database.transaction() as tx:
                await tx.execute(SQL["run_end"], (self.group,))
                await tx.execute(SQL["acquit_all"], (self.group,))

    async def _follow(self) -> None:
        async with self.database.transaction() as tx:
            begun = await tx.execute(SQL["run_begin"], (self.group,)) == 1
            rows = await tx.fetch_all(SQL["positions"], (self.group,))
        if self._after_crash is None:
            self._after_crash = not begun
        positions = {row[0]: Position(row[1], row[2]) for row in rows}
        subscription = await self._broker.subscribe(self.group, self.registrations.keys(), positions)
        self._subscription = subscription
        self._may_be_due = True
        self._count_at = self._clock.monotonic() + LAG_EVERY  # who takes over reads first
        try:
            await self._loop(subscription)
        finally:
            self._subscription = self.behind = None
            await subscription.close()

    async def _loop(self, subscription: Subscription) -> None:
        while not self._stopping.is_set():
            due = await self._parking.next_due(self.database) if self._may_be_due else None
            if due == 0.0 and (parked := await self._parking.due(self.database)) is not None:
                await self._take(parked)
                continue
            deliveries = await subscription.fetch(FETCH, wait=POLL if due is None else min(POLL, due))
            self._may_be_due = self._may_be_due or not deliveries
            deliveries = await self._linger(subscription, deliveries)
            await self._tell_lag(subscription)
            self._lease.check()
            while deliveries and not self._stopping.is_set():
                done = await self._take_together(deliveries)
                if not done:
                    await self._take(deliveries[0])
                    done = 1
                await subscription.ack(deliveries[:done])
                deliveries = deliveries[done:]
                self._in_hand = len(deliveries)
                await self._tell_lag(subscription)
            self._note(subscription.trouble)

    def _note(self, trouble: str) -> None:
        """Say it once when a source cannot be read while the others go on, and tell health as long as that lasts."""
        if trouble and trouble[:200] != self.failure:
            emit(ConsumerFailed(group=self.group, error=trouble[:200]))
        self.failure = trouble[:200]

    async def _tell_lag(self, subscription: Subscription) -> None:
        """Count now and then what is not handled yet. Here, for a subscription is used by one task."""
        begun = self._clock.monotonic()
        if begun < self._count_at:
            return
        try:
            self.behind = await subscription.lag() + self._in_hand
        except Exception:  # reading meets the same trouble, and reports it
            self.behind = None
        else:
            emit(ConsumerLag(group=self.group, lag=self.behind))
        self._count_at = begun + max(LAG_EVERY, (self._clock.monotonic() - begun) / LAG_SHARE)

    async def _linger(self, subscription: Subscription, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """What was fetched and what comes soon, as long as the handler of each of them wants to wait and there is room."""
        begin = self._clock.monotonic()
        while True:
            self._in_hand = len(deliveries)
            handlers = [self.registrations.get(each.message.type) for each in deliveries]
            linger = min((0.0 if handler is None else handler.linger for handler in handlers), default=0.0)
            if linger <= 0:
                return deliveries
            most = min((FETCH, *(handler.batch for handler in handlers if handler is not None)))
            left = begin + linger - self._clock.monotonic()
            if left <= 0 or len(deliveries) >= most or self._stopping.is_set():
                return deliveries
            deliveries = [*deliveries, *await subscription.fetch(FETCH - len(deliveries), wait=min(POLL, left))]

    async def _take_together(self, deliveries: Sequence[Delivery]) -> int:
        """Handle in one transaction what goes well from the start of `deliveries`; how many that were.

        The first that fails, or must wait behind another of its key, ends it and has had no effect.
        """
        if self._suspects or self._alone or self._gaps.seconds or any(map(self._in_doubt, deliveries)):
            self._alone = max(0, self._alone - 1)
            return 0
        if not all(kept(delivery.message) for delivery in deliveries):
            self._alone = len(deliveries) - 1
            return 0
        try:
            return await self._share(deliveries)
        except Exception as error:
            if _is_trouble(error):
                raise
            self._alone = len(deliveries)
            return 0

    async def _share(self, deliveries: Sequence[Delivery]) -> int:
        shared = _Shared()
        with contextlib.suppress(_FirstError):
            async with self._lease.transaction(*self._inbox.doubt(self.group, deliveries)) as tx:
                self._may_be_due = tx.found > 0  # else nothing at all is parked
                known, parked = await self._inbox.known(tx, self.group, deliveries) if tx.found else (set[str](), False)
                await self._handle_in_turn(tx, deliveries, shared, known=known, parked=parked)
                await self._mark(tx, shared.fresh)
                for last in {delivery.source: delivery for delivery in deliveries[: shared.handled]}.values():
                    if (position := last.position) is not None:
                        tx.later(SQL["move"], (self.group, last.source, position.offset, position.epoch))
        for message in [delivery.message for delivery in deliveries[: shared.handled]]:
            duplicate = shared.fresh.pop(message.id, 0) == 0
            emit(EventHandled(group=self.group, type=message.type, id=message.id, duplicate=duplicate))
        if shared.failed is not None:
            await self._failed(*shared.failed)
            return shared.handled + 1
        return shared.handled

    async def _handle_in_turn(
        self, tx: Transaction, deliveries: Sequence[Delivery], shared: _Shared, *, known: Collection[str], parked: bool
    ) -> None:
        """Call handlers until one fails, an event must wait, or time is over."""
        fresh, end = shared.fresh, self._clock.monotonic() + TOGETHER
        while shared.handled < len(deliveries) and not self._stopping.is_set() and self._clock.monotonic() < end:
            if parked and await self._parking.holds(tx, deliveries[shared.handled].message):
                return
            run = self._one_call(deliveries, shared.handled, anything_parked=parked)
            new = _new(run, known, fresh)
            first = not shared.handled
            if new and (error := await self._failure_of(tx, new, first=first)) is not None:
                if len(run) > 1:
                    self._alone = len(run)
                else:
                    shared.failed = run[0], error
                if first:
                    raise _FirstError  # it had no savepoint: all of it goes
                return
            for message in new:
                fresh[message.id] = None
            shared.handled += len(run)

    def _one_call(self, deliveries: Sequence[Delivery], at: int, *, anything_parked: bool) -> Sequence[Delivery]:
        """Those from `at` on that one call of a handler takes."""
        first = deliveries[at].message.type
        registration = self.registrations.get(first)
        most = 1 if registration is None or anything_parked else registration.batch
        if most == 1:
            return (deliveries[at],)
        end = at + 1
        while end < min(at + most, len(deliveries)) and deliveries[end].message.type == first:
            end += 1
        return deliveries[at:end]

    async def _mark(self, tx: Transaction, fresh: Collection[str]) -> None:
        if self._repeatable:
            try:
                await tx.fetch_one("SELECT 1")  # have all writes that were left for later gone well?
            except Exception as error:
                if _is_trouble(error):
                    raise
                raise _OneByOneError from error
        self._inbox.mark(tx, self.group, fresh)

    async def _failure_of(self, tx: Transaction, messages: Sequence[Message], *, first: bool) -> Exception | None:
        """Call a handler once, inside a shared transaction; what it failed of. The first is spared the savepoint."""
        try:
            opened = [self._opened(message) for message in messages]
            envelopes, registration = [envelope for envelope, _ in opened], opened[0][1]
            await self._inbox.run(tx, envelopes, registration, group=self.group, alone=first or self._repeatable)
        except Exception as error:
            if _is_trouble(error):
                raise
            if self._repeatable:
                raise _OneByOneError from error
            return error
        return None

    async def _take(self, item: Delivery | Parked) -> None:
        """Handle one event, or hold or park it; only trouble with the database leaves it where it is."""
        self._may_be_due = True
        try:
            if not kept(item.message):
                self._opened(item.message)  # which raises: no envelope has such attributes
            if self._in_doubt(item):
                await self._count_death(item)
            if isinstance(item, Parked):
                await self._handle_parked(item)
            else:
                await self._handle_delivered(item)
        except Exception as error:
            if _is_trouble(error):
                raise
            await self._failed(item, error)
        self._suspects.discard(item.message.id)

    async def _handle_delivered(self, delivery: Delivery) -> None:
        message, fresh, state = delivery.message, False, ""
        async with self._lease.transaction() as tx:
            held = await self._parking.holds(tx, message)
            envelope = self._numbered(message)
            if held and not await self._gaps.goes_before(tx, envelope):
                reason = "an earlier event of this key is parked"
                state = await self._parking.add(tx, message, "held", reason=reason, sequence=envelope.sequence)
            elif missing := await self._gaps.missing(tx, envelope):
                held, reason, wait = True, f"number {missing} of this key has not come", self._gaps.seconds
                state = await self._parking.add(
                    tx, message, "retry", delay=wait, reason=reason, sequence=envelope.sequence
                )
            else:
                held = False
                fresh = await self._handle(tx, message)
            await self._settle(tx, delivery)
        if held:
            emit(EventParked(group=self.group, type=message.type, id=message.id, held=state != "dead", reason=state))
        else:
            emit(EventHandled(group=self.group, type=message.type, id=message.id, duplicate=not fresh))

    async def _handle_parked(self, parked: Parked) -> None:
        message = parked.message
        async with self._lease.transaction() as tx:
            number = self._numbered(message).sequence
            held = number > 0 and await self._parking.behind_dead(tx, message.key, number)
            if held or (wait := await self._must_wait(tx, parked)) > 0:
                state, delay = ("held", 0.0) if held else ("retry", wait)
                reason = "an earlier event of this key is parked" if held else "waits for another"
                await self._parking.keep(tx, parked, state, attempts=parked.attempts, delay=delay, reason=reason)
                return
            fresh = await self._handle(tx, message)
            await self._parking.release(tx, parked)
            await self._settle(tx, parked)
        emit(EventHandled(group=self.group, type=message.type, id=message.id, duplicate=not fresh))

    async def _must_wait(self, tx: Transaction, parked: Parked) -> float:
        """Seconds for which a parked event whose time has come waits on, for one that comes before it."""
        envelope = self._numbered(parked.message)
        if await self._gaps.has_lower(tx, envelope):
            return self._gaps.seconds
        if not await self._gaps.missing(tx, envelope):
            return 0.0
        return parked.parked_at + self._gaps.seconds - self._clock.now()

    async def _handle(self, tx: Transaction, message: Message) -> bool:
        envelope, registration = self._opened(message)
        fresh = await self._inbox.handle(tx, self.group, message.id, envelope, registration)
        await self._gaps.passed(tx, envelope)
        return fresh

    def _numbered(self, message: Message) -> Envelope:
        """The envelope, where its number counts; else one without. Raises `InvalidEvent`."""
        return self._opened(message)[0] if self._gaps.seconds else _WITHOUT_NUMBER

    def _number(self, message: Message) -> int:
        """Where it stands among those of its key; 0 for what is no event, whatever else it failed of."""
        try:
            return self._numbered(message).sequence
        except InvalidEvent:
            return 0

    def _opened(self, message: Message) -> tuple[Envelope, Registration]:
        envelope = Envelope.from_json(message.body)
        known_as = (envelope.id, identity(envelope))
        if message.id not in known_as or (envelope.type, envelope.key) != (message.type, message.key):
            raise InvalidEvent("the envelope is not the one the message was routed by")
        registration = self.registrations.get(message.type)
        if registration is None:
            raise InvalidEvent(f"the group {self.group!r} has no handler for {message.type} any more")
        return envelope, registration

    async def _failed(self, item: Delivery | Parked, error: Exception) -> None:
        """Park what was delivered, or put back what was parked."""
        self._may_be_due = True
        message, reason = item.message, _reason(error)
        attempt = item.attempts + 1 if isinstance(item, Parked) else 1
        dead = attempt >= self._retry.attempts or isinstance(error, InvalidEvent)
        state, delay = ("dead", 0.0) if dead else ("retry", self._retry.delay(attempt, error))
        async with self.database.transaction() as tx:
            if isinstance(item, Parked):
                await self._parking.keep(tx, item, state, attempts=attempt, delay=delay, reason=reason)
            else:
                number = self._number(message)
                state = await self._parking.add(
                    tx, message, state, attempts=attempt, delay=delay, reason=reason, sequence=number
                )
                dead = state == "dead"
            await self._settle(tx, item)
        emit(
            HandlerFailed(
                group=self.group,
                type=message.type,
                id=message.id,
                attempt=attempt,
                error=reason,
                delay=None if dead else delay,
            )
        )
        if dead:
            emit(EventParked(group=self.group, type=message.type, id=message.id, held=False, reason=reason))

    async def _settle(self, tx: Transaction, item: Delivery | Parked) -> None:
        """What belongs to every outcome: the source's position moves on, and the event is no suspect any more."""
        if isinstance(item, Delivery) and (position := item.position) is not None:
            await tx.execute(SQL["move"], (self.group, item.source, position.offset, position.epoch))
        if item.message.id in self._suspects:
            await tx.execute(SQL["acquit"], (self.group, item.message.id))

    def _in_doubt(self, item: Delivery | Parked) -> bool:
        """Whether the process may have died of it: it shared its transaction with at most `FETCH` of its source."""
        if not self._after_crash or item.message.id in self._suspects:
            return False
        return self._doubted[item.source] < (1 if isinstance(item, Parked) else FETCH)

    async def _count_death(self, item: Delivery | Parked) -> None:
        """Count a death for the suspect before it is handled again; raises `InvalidEvent` when it has killed too often."""
        async with self.database.transaction() as tx:
            deaths = (await tx.fetch_one(SQL["suspect"], (self.group, item.message.id)))[0]
        self._suspects.add(item.message.id)
        self._doubted[item.source] += 1
        if deaths >= MAX_DEATHS:
            raise InvalidEvent(f"the process died {deaths} times with this event in hand")


_WITHOUT_NUMBER: Final = Envelope(id="", source="", type="", time="", key="", version=1, data={})


@dataclass(slots=True)
class _Shared:
    """What has come of the events of one transaction: so many are handled, these for the first time, and this one failed."""

    handled: int = 0
    fresh: dict[str, None] = field(default_factory=dict)
    failed: tuple[Delivery, Exception] | None = None


def _new(run: Sequence[Delivery], known: Collection[str], fresh: Collection[str]) -> list[Message]:
    """What of `run` is to be handled: each once, and nothing that was."""
    if len(run) == 1:
        message = run[0].message
        return [] if message.id in known or message.id in fresh else [message]
    messages = {each.message.id: each.message for each in run}
    return [message for identifier, message in messages.items() if identifier not in known and identifier not in fresh]


class _FirstError(Exception):
    """Roll back what began with the failure of a handler."""


class _OneByOneError(Exception):
    """Roll all of it back, and handle each event in a transaction of its own."""


def _is_trouble(error: Exception) -> bool:
    """Whether it is the database's trouble, not the event's."""
    return isinstance(error, StoreError) and not isinstance(error, _ITS_OWN_FAULT)


def _reason(error: Exception) -> str:
    """The error's class and text, without anything that may hold the payload."""
    if isinstance(error, InvalidEvent):
        return f"{type(error).__name__}: {error}"[:300]
    told = error.__cause__ if type(error) is EventError and error.__cause__ else error  # see `Inbox.handle`
    return type(told).__name__
