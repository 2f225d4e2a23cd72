"""Where events wait that a group could not handle: for another try, behind an earlier event of their key, or for a person.

An event that failed leaves the way free for other keys, but never for its own: later events of the same key are held behind
it, in order. After its last attempt it is a dead letter; with `hold_key` those behind it stay until a person decides.
"""

from __future__ import annotations

import builtins
import math
import zlib
from dataclasses import dataclass, replace
from typing import ClassVar

from skerry.clock import SYSTEM, Clock
from skerry.events.brokers import Message
from skerry.events.brokers.wire import keepable, plain
from skerry.events.outbox import SQL
from skerry.store import Database, Tx


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What to do with an event that failed for good. `hold_key`: keep later events of its key behind it."""

    hold_key: bool = True


@dataclass(frozen=True, slots=True)
class Parked:
    """A parked event in hand; `attempts` counts the tries that failed. It comes from no log: its `source` is empty."""

    id: int
    message: Message
    attempts: int
    parked_at: float = 0.0
    source: ClassVar[str] = ""


class Parking:
    """The parked events of one group. Each method stays inside the caller's transaction.

    No delay is longer than `longest` seconds; an event that seems to wait longer is due, for the clock was set back.
    """

    def __init__(self, group: str, *, hold_key: bool, longest: float = math.inf, clock: Clock = SYSTEM) -> None:
        self.group = group
        self._hold_key = hold_key
        self._longest = longest
        self._clock = clock

    async def holds(self, tx: Tx, message: Message) -> bool:
        """Whether a delivered event must wait: behind a parked one of its key, or because it is parked itself.

        What has no key, since it is no envelope, waits for nobody.
        """
        rows = await tx.fetch_all(
            SQL["is_held"], (self.group, message.key, int(self._hold_key), self.group, message.id)
        )
        return bool(rows)

    async def add(
        self, tx: Tx, message: Message, state: str, *, attempts: int = 0, delay: float = 0.0, reason: str,
        sequence: int = 0,
    ) -> str:  # fmt: skip
        """Park a message; `delay` is in seconds. Returns the state it has got, for one that is parked already stays as it is.

        Another one with the id of a parked one is a dead letter at once, under an id of its own.
        """
        message, now = keepable(message), self._clock.now()

        async def park(one: Message, state: str, reason: str) -> bool:
            columns = (self.group, one.id, one.type, one.key, one.body)
            how = (state, attempts, now + delay, plain(reason[:500]), now, sequence)
            return await tx.execute(SQL["park"], (*columns, *how)) == 1

        if await park(message, state, reason):
            return state
        known = await tx.fetch_all(SQL["parked_body"], (self.group, message.id))
        if all(row["body"] == message.body for row in known):
            return state
        another = replace(message, id=f"{message.id} {zlib.crc32(message.body.encode()):08x}")
        await park(another, "dead", f"another event with the id {message.id[:255]} is parked already")
        return "dead"

    async def due(self, database: Database) -> Parked | None:
        """The event whose time for another try has come first."""
        now = self._clock.now()
        row = await database.fetch_one(SQL["due"], (self.group, now, now + self._longest))
        return None if row is None else Parked(row[0], Message(*row[1:5]), row[5], row[6])

    async def next_due(self, database: Database) -> float | None:
        """Seconds until the next try; None when nothing waits for one."""
        at = (await database.fetch_one(SQL["next_due"], (self.group,)))[0]
        if at is None:
            return None
        left = float(at - self._clock.now())
        return 0.0 if left <= 0 or left > self._longest else left  # longer than any delay: the clock was set back

    async def release(self, tx: Tx, parked: Parked) -> None:
        """Take an event out, and let the one held behind it go next."""
        await tx.execute(SQL["unpark"], (parked.id,))
        await self.promote(tx, parked.message.key)

    async def keep(self, tx: Tx, parked: Parked, state: str, *, attempts: int, delay: float, reason: str) -> None:
        """Put an event back: for another try in `delay` seconds, or as a dead letter."""
        await tx.execute(SQL["repark"], (state, attempts, self._clock.now() + delay, plain(reason[:500]), parked.id))
        if state == "dead" and not self._hold_key:
            await self.promote(tx, parked.message.key)

    async def behind_dead(self, tx: Tx, key: str, sequence: int) -> bool:
        """Whether a dead letter of a lower number, which came after this event, holds its key."""
        return self._hold_key and bool(await tx.fetch_all(SQL["lower_dead"], (self.group, key, sequence)))

    async def promote(self, tx: Tx, key: str) -> None:
        """Let the first event that is held of this key go next, unless one of the key is about to be tried, or holds it."""
        rows = await tx.fetch_all(SQL["next_held"], (self.group, key, int(self._hold_key)))
        if rows:
            await tx.execute(SQL["repark"], ("retry", 0, self._clock.now(), "released", rows[0][0]))


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead or held event as an operator sees it. `body` is the envelope: it may hold personal data."""

    id: int
    group: str
    event_id: str
    type: str
    key: str
    body: str
    state: str
    attempts: int
    reason: str
    parked_at: float


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter without what is in it; `held` later events of its key wait behind it."""

    id: int
    group: str
    event_id: str
    type: str
    key: str
    attempts: int
    reason: str
    parked_at: float
    held: int


class DeadLetters:
    """What a service could not handle, for a person to look at, try again or drop.

    All of it may be done beside the running service, from another process: the service goes on from there within half a second.
    `group`, `event_type` and `key` restrict what is meant; `limit` bounds it, the oldest first.
    """

    def __init__(self, database: Database, *, clock: Clock = SYSTEM) -> None:
        self._database = database
        self._clock = clock

    async def list(
        self, *, limit: int = 100, group: str | None = None, event_type: str | None = None, key: str | None = None
    ) -> list[Letter]:
        """Dead and held events with their bodies, which may be a MiB each."""
        wanted = (group, event_type, key, limit)
        return [Letter(*row) for row in await self._database.fetch_all(SQL["parked_filtered"], wanted)]

    async def dead(
        self, *, limit: int = 100, group: str | None = None, event_type: str | None = None, key: str | None = None
    ) -> builtins.list[Dead]:
        """Dead letters without their bodies, each with the number of events that wait behind it."""
        wanted = (group, event_type, key, limit)
        return [Dead(*row) for row in await self._database.fetch_all(SQL["dead_list"], wanted)]

    async def count(self, *, group: str | None = None, event_type: str | None = None, key: str | None = None) -> int:
        """How many dead letters there are."""
        return int((await self._database.fetch_one(SQL["dead_count"], (group, event_type, key)))[0])

    async def get(self, letter_id: int) -> Letter | None:
        """The parked event of that id, whatever its state: `dead`, `held`, or `retry` when its next try is near."""
        row = await self._database.fetch_one(SQL["parked_find"], (letter_id,))
        return None if row is None else Letter(*row)

    async def behind(self, letter_id: int) -> int:
        """How many events wait behind a dead letter; 0 when there is none of that id."""
        return int((await self._database.fetch_one(SQL["held_behind"], (letter_id,)))[0])

    async def retry(self, letter_id: int) -> bool:
        """Try a dead letter again, with all its attempts; False when there is none of that id."""
        async with self._database.transaction() as tx:
            return await tx.execute(SQL["dead_retry"], (self._clock.now(), letter_id)) == 1

    async def retry_all(
        self, *, limit: int = 100, group: str | None = None, event_type: str | None = None, key: str | None = None
    ) -> builtins.list[int]:
        """Try dead letters again, with all their attempts; the ids of those that will be, in one transaction."""
        async with self._database.transaction() as tx:
            found = [row["id"] for row in await tx.fetch_all(SQL["dead_list"], (group, event_type, key, limit))]
            now = self._clock.now()
            return [each for each in found if await tx.execute(SQL["dead_retry"], (now, each)) == 1]

    async def drop(self, letter_id: int) -> bool:
        """Give a dead letter up and let the events behind it go on; False when there is none of that id."""
        async with self._database.transaction() as tx:
            for row in await tx.fetch_all(SQL["dead_drop"], (letter_id,)):
                await Parking(row["consumer"], hold_key=True, clock=self._clock).promote(tx, row["key"])
                return True
        return False
