"""An exclusive role in one MongoDB document, without a clock that both sides have to agree on.

The holder counts `beat` up while it lives; whoever waits takes over when the pair of epoch and beat has stood still for
`LEASE` seconds on its own clock, by a write that demands that very pair. A holder stops to trust its role `LEASE` seconds
after it has sent its last renewal, which is earlier than anybody else can have seen it.

Source: "How to do distributed locking", 2016; Chubby's sequencers, OSDI 2006.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from pymongo.errors import DuplicateKeyError

from skerry.clock import Clock
from skerry.errors import LeaseLost
from skerry.store.patience import cancellable

LEASE: Final = 3.0
"""Seconds after which a holder that was killed, stopped or cut off is followed by another."""
RENEW: Final = 0.75


class MongoLease:
    """A role held for a time. `epoch` grows with every holder; 0 while it is not held."""

    def __init__(self, role: str, roles: Any, clock: Clock) -> None:
        self.role = role
        self.epoch: int = 0
        self._roles = roles
        self._clock = clock
        self._beat = 0
        self._until = 0.0
        self._seen: tuple[int, int] | None = None
        self._seen_at = 0.0

    async def take(self) -> bool:
        """Take it if it is free, or has stood still for too long; whether it is ours now."""
        known = await self._roles.find_one({"_id": self.role})
        if known is None:
            known = {"_id": self.role, "epoch": 0, "beat": 0, "held": False}
            with contextlib.suppress(DuplicateKeyError):
                await self._roles.insert_one(dict(known))
        now, pair = self._clock.monotonic(), (known["epoch"], known["beat"])
        if pair != self._seen:
            self._seen, self._seen_at = pair, now
        if known["held"] and now - self._seen_at < LEASE:
            return False
        taken = {"epoch": known["epoch"] + 1, "beat": 0, "held": True}
        if not await self._write({"epoch": known["epoch"], "beat": known["beat"], "held": known["held"]}, taken):
            return False
        self.epoch, self._beat, self._until = taken["epoch"], 0, now + LEASE
        return True

    async def keep(self) -> None:
        """Renew until cancelled, or until somebody else has it. Trouble with the server is tried again."""
        while True:
            await self._clock.sleep(RENEW)
            asked = self._clock.monotonic()
            self._beat += 1  # never the same twice, also when nobody knows whether the last one arrived
            with contextlib.suppress(Exception):  # whatever it is, `check` notices when the time is over
                if not await self._write({"epoch": self.epoch, "held": True}, {"beat": self._beat}):
                    self._until = 0.0
                    return
                self._until = asked + LEASE

    async def give_back(self) -> None:
        """Let the next one have it at once."""
        await self._write({"epoch": self.epoch}, {"held": False})

    def check(self) -> None:
        """See `Lease.check`."""
        if self._clock.monotonic() >= self._until:
            raise LeaseLost(f"the role {self.role!r} was not renewed in time; another process may hold it")

    async def _write(self, expected: dict[str, Any], values: dict[str, Any]) -> bool:
        with cancellable():
            answer = await self._roles.update_one({"_id": self.role, **expected}, {"$set": values})
        return bool(answer.matched_count)
