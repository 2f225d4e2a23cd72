"""Gaps: events of a key that come before one of a lower number, for groups that want to wait for that one.

A producer numbers the events of a key without gaps, whatever their types are. So only a group that handles all types of its keys
can tell that one is missing. Brokers that keep the order need none of this; one that may let an event be overtaken does, such as
a queue to which something was published again.
"""

from __future__ import annotations

from skerry.clock import SYSTEM, Clock
from skerry.events.envelope import Envelope
from skerry.events.outbox import SQL
from skerry.store import Tx


class Gaps:
    """What one group has seen of each producer and key. It waits `seconds` for an event that is missing; 0 looks at nothing.

    Each method stays inside the caller's transaction.
    """

    def __init__(self, group: str, *, seconds: float, clock: Clock = SYSTEM) -> None:
        self.group = group
        self.seconds = seconds
        self._clock = clock

    async def missing(self, tx: Tx, envelope: Envelope) -> int:
        """The number of the first event that should have come before this one and has not; 0 when there is none."""
        if not self.seconds or not envelope.sequence:
            return 0
        rows = await tx.fetch_all(SQL["number"], (self.group, envelope.source, envelope.key))
        expected = (int(rows[0][0]) if rows else 0) + 1
        return expected if envelope.sequence > expected else 0

    async def goes_before(self, tx: Tx, envelope: Envelope) -> bool:
        """Whether it was only missed: all that is parked of its key comes after it."""
        if not self.seconds or not envelope.sequence:
            return False
        rows = await tx.fetch_all(SQL["lowest_parked"], (self.group, envelope.key))
        return rows[0][0] is not None and int(rows[0][0]) > envelope.sequence

    async def has_lower(self, tx: Tx, envelope: Envelope) -> bool:
        """Whether an event before this one is parked, which then goes next."""
        if not self.seconds or not envelope.sequence:
            return False
        now = self._clock.now()
        return await tx.execute(SQL["lower_first"], (now, self.group, envelope.key, envelope.sequence)) > 0

    async def passed(self, tx: Tx, envelope: Envelope) -> None:
        """It is handled: the one after it, if it waits, goes next."""
        if self.seconds and envelope.sequence:
            await tx.execute(SQL["number_passed"], (self.group, envelope.source, envelope.key, envelope.sequence))
            await tx.execute(SQL["next_goes"], (self._clock.now(), self.group, envelope.key, envelope.sequence + 1))
