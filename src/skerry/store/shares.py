"""A role in parts, of which every process gets its share.

Who takes part has a seat, which is an exclusive role like each part. The seats that are taken say whose a part is, so that
processes need not speak to each other: the one on the second of three seats has every third part, from the second on. Who comes
later takes a seat, the others give back what is not theirs any more once they are done with it, and when a seat is free again,
however its process has ended, its parts go to the others.

The first seat is the role as a whole, by its own name: a release that knows no parts leads it all. So the others take parts only
while somebody holds part 0, which always belongs to the first seat: whoever sits there knows parts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from skerry.store.port import Database, Transaction

LOOK: Final = 0.25
"""Seconds between looks for what others have left, while there are others."""
RENEW: Final = 0.75
"""Seconds between looks of who holds all."""
LAST_DELAY: Final = 5.0
"""Seconds between looks while they fail."""


class Roles(Protocol):
    """Exclusive roles that this process holds in a database; `held` has their names."""

    @property
    def held(self) -> Collection[str]:
        """The names of what is held."""
        ...

    async def look(self, roles: Iterable[str]) -> set[str]:
        """Hold for longer what is held, forget what is lost; which of `roles` anybody holds."""
        ...

    async def take(self, roles: Iterable[str]) -> None:
        """Take those that are free."""
        ...

    async def give_back(self, roles: Iterable[str]) -> None:
        """Let others have them at once."""
        ...

    def check(self) -> None:
        """See `Lease.check`."""
        ...

    def transaction(self, roles: Iterable[str]) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that is not committed, and raises `LeaseLost`, when one of `roles` is somebody else's by then."""
        ...


class DealtShare:
    """The parts of a role that this process holds, see `Share`."""

    def __init__(self, roles: Roles, role: str, count: int, *, changed: Callable[[], None]) -> None:
        self._roles = roles
        self._seats = [role, *(f"{role}-seat-{number}" for number in range(1, count))]
        self._parts = [f"{role}-{number}" for number in range(count)] if count > 1 else [role]
        self._changed = changed
        self._due: frozenset[int] = frozenset()
        self._bell = asyncio.Event()
        self._left = False
        self._trouble: Exception | None = None

    @property
    def parts(self) -> tuple[int, ...]:
        """The numbers of those that are held."""
        return tuple(number for number, name in enumerate(self._parts) if name in self._roles.held)

    @property
    def whole(self) -> bool:
        """Whether all are held."""
        return len(self.parts) == len(self._parts)

    async def settle(self) -> None:
        """Give back what is another process's now. To be called between two pieces of work, never inside one.

        Raises what keeps this process from getting any part.
        """
        if self._trouble is not None and not self.parts:
            raise self._trouble
        if surplus := [self._parts[part] for part in self.parts if part not in self._due]:
            await self._roles.give_back(surplus)
            self._changed()

    def check(self) -> None:
        """See `Lease.check`."""
        self._roles.check()

    def transaction(self, parts: Iterable[int]) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that raises `LeaseLost` instead of committing when one of `parts` is another process's by then."""
        return self._roles.transaction([self._parts[part] for part in parts])

    def look(self) -> None:
        """Somebody has come or gone: look now."""
        self._bell.set()

    async def turn(self) -> None:
        """Look who is there, take what is due and free; what is no more due is left to `settle`."""
        taken = await self._roles.look({*self._seats, *self._parts})
        seats = await self._sit(taken)
        due = self._dealt(seats, taken)
        told = self._due != due
        self._due = due
        free = [name for name in (self._parts[part] for part in due) if name not in {*taken, *self._roles.held}]
        if free:
            await self._roles.take(free)
            told = told or any(name in self._roles.held for name in free)
        if told:
            self._changed()

    async def keep(self) -> None:
        """Take turns until `end`. Trouble is tried again, later and later; `settle` tells of it."""
        delay = 0.0
        while not self._left:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay or (RENEW if self.whole else LOOK)):
                    await self._bell.wait()
            self._bell.clear()
            try:
                await self.turn()
                self._trouble, delay = None, 0.0
            except Exception as error:  # whatever it is
                self._trouble, delay = error, min(LAST_DELAY, delay * 2 or LOOK)

    def end(self) -> None:
        """Take no more turns."""
        self._left = True  # a driver may keep a cancellation to itself

    async def leave(self) -> None:
        """Give everything back."""
        await self._roles.give_back(list(self._roles.held))
        self._changed()

    async def _sit(self, taken: Collection[str]) -> list[str]:
        """Take the first seat when it is free, or any when there is none yet; those that are taken now."""
        ours = [seat for seat in self._seats if seat in self._roles.held]
        free = [seat for seat in self._seats if seat not in taken]
        if free and (not ours or free[0] == self._seats[0]):
            await self._roles.take(free[:1])
            if free[0] in self._roles.held:
                await self._roles.give_back(ours)
                self._changed()
        return [seat for seat in self._seats if seat in self._roles.held or (seat in taken and seat not in ours)]

    def _dealt(self, seats: list[str], taken: Collection[str]) -> frozenset[int]:
        """The parts that are ours by now."""
        ours = [number for number, seat in enumerate(seats) if seat in self._roles.held]
        if not ours or (seats[ours[0]] != self._seats[0] and self._parts[0] not in taken):
            return frozenset()
        return frozenset(range(ours[0], len(self._parts), len(seats)))


@asynccontextmanager
async def shared(
    database: Database, roles: Roles, role: str, count: int, *, changed: Callable[[], None]
) -> AsyncIterator[DealtShare]:
    """Take part inside the block, then give everything back."""
    bell = f"{role}-share"

    def told() -> None:
        changed()
        database.ring(bell)

    share = DealtShare(roles, role, count, changed=told)
    database.on_ring(bell, share.look)
    try:
        await share.turn()
        keeping = asyncio.create_task(share.keep(), name=bell)
        try:
            yield share
        finally:
            share.end()
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
    finally:
        with contextlib.suppress(Exception):  # the others take over when it runs out
            await asyncio.shield(share.leave())
