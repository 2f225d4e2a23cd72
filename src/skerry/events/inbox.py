"""The inbox: the effect of an event, its receipt and the group's position commit together.

A delivery that comes again finds its receipt and does nothing, so effects inside the transaction happen once although
delivery is at least once.

Source: "Idempotent consumer", microservices.io.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from skerry import context
from skerry.clock import SYSTEM, Clock
from skerry.errors import EventError, LeaseLost
from skerry.events.brokers import Delivery
from skerry.events.envelope import Envelope
from skerry.events.event import DomainEvent
from skerry.events.outbox import SQL, cause
from skerry.events.telling import handling
from skerry.resilience.within import cancelled_here, within
from skerry.store import Database, Receipts, Transaction
from skerry.store.tx import Parameters

EventHandler = Callable[[Any, Transaction], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Registration:
    """A handler and the event class it takes. `timeout` is in seconds: a handler holds the database's one writer.

    With a `batch` above 1 the handler takes a list of at most so many events; `linger` is for how many seconds fewer may wait for
    more.
    """

    event: type[DomainEvent]
    handler: EventHandler
    timeout: float
    batch: int = 1
    linger: float = 0.0


class Inbox:
    """Receipts of handled events in a service's own database."""

    def __init__(self, database: Database, *, clock: Clock = SYSTEM) -> None:
        self.database = database
        self._receipts = Receipts(clock=clock)

    async def handle(
        self, tx: Transaction, group: str, event_id: str, envelope: Envelope, registration: Registration
    ) -> bool:
        """Run the handler inside `tx`, once per group and `event_id`; False when it ran before.

        Raises what the handler raises, `TimeoutError` when it takes too long, `InvalidEvent` when the data does not fit,
        `EventError` when the handler was cancelled by something of its own rather than by who runs it, lost a role that
        it held itself, or raised what is no `Exception`; `SystemExit` and `KeyboardInterrupt` are raised as they are.
        """
        if not await self._receipts.insert(tx, f"inbox:{group}", event_id, "handled"):
            return False
        await self._call(tx, [envelope], registration, group)
        return True

    async def run(
        self, tx: Transaction, envelopes: Sequence[Envelope], registration: Registration, *, group: str, alone: bool
    ) -> None:
        """Call the handler once for all of `envelopes`; `known` and `mark` are the receipts.

        It has a savepoint of its own, whose effect goes when it fails. One that is `alone` goes without: then all of `tx`
        has to go.
        """
        if alone:
            await self._call(tx, envelopes, registration, group)
            return
        async with tx.savepoint():
            await self._call(tx, envelopes, registration, group)

    def doubt(self, group: str, deliveries: Sequence[Delivery]) -> tuple[str, Parameters]:
        """The query that finds nothing when the group has handled none of these, and has parked nothing at all."""
        if len(deliveries) == 1:
            return SQL["one_known_or_parked"], (f"inbox:{group}", deliveries[0].message.id, group)
        ids = json.dumps([delivery.message.id for delivery in deliveries])
        return SQL["known_or_parked"], (f"inbox:{group}", ids, group)

    async def known(self, tx: Transaction, group: str, deliveries: Sequence[Delivery]) -> tuple[set[str], bool]:
        """Which of these events the group has handled, and whether it has parked anything at all."""
        rows = await tx.fetch_all(*self.doubt(group, deliveries))
        found = {row[0] for row in rows}
        return found - {""}, "" in found

    def mark(self, tx: Transaction, group: str, ids: Collection[str]) -> None:
        """Write, with the next statement or the commit, the receipts of events that `run` has handled in `tx`."""
        self._receipts.insert_later(tx, f"inbox:{group}", ids, "handled")

    async def _call(
        self, tx: Transaction, envelopes: Sequence[Envelope], registration: Registration, group: str
    ) -> None:
        alone = envelopes[0] if len(envelopes) == 1 else None  # many causes are none
        token = cause.set(alone.id if alone else "")
        try:
            events = [registration.event.from_envelope(envelope) for envelope in envelopes]
            with handling(envelopes, group) as own, context.use(own):
                handled = registration.handler(events if registration.batch > 1 else events[0], tx)
                await within(registration.timeout, handled)
        except asyncio.CancelledError:
            if cancelled_here():
                raise
            raise EventError("the handler was cancelled from within") from None
        except LeaseLost as error:
            # of a role that the handler asked for: the group has its own, and would ask for that anew
            raise EventError("the handler lost a role that it held") from error
        except (Exception, GeneratorExit, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # such as a panic in a library written in Rust, which would end the group for good
            raise EventError(f"the handler raised {type(error).__name__}, which is no Exception") from error
        finally:
            cause.reset(token)

    async def has(self, group: str, event_id: str) -> bool:
        """Whether the group has handled the event."""
        row = await self.database.fetch_one(
            "SELECT 1 FROM skerry_receipts WHERE scope = ? AND key = ?", (f"inbox:{group}", event_id)
        )
        return row is not None
