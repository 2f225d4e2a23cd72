"""Semantic locks: what a saga works on is marked as spoken for until the saga has gone on or back.

A saga has no isolation: between two steps everybody sees what is half way. A semantic lock is the countermeasure for what
must not be seen, or changed, half way: a mark in the participant's own database that outlives the transaction, and that
others respect. Source: "semantic lock" in Frank and Zahle, "Semantic ACID properties in multidatabases using remote procedure
calls and update propagations" (1998), and Richardson, "Microservices Patterns" (2018), section 4.3.
"""

from __future__ import annotations

from skerry.clock import SYSTEM, Clock
from skerry.errors import Locked
from skerry.saga.barrier import DO, UNDO
from skerry.store import Receipts, Tx, adapt

MAX_NAME = 255


class SemanticLock:
    """Locks that sagas hold from one step to another, in the database of the participant.

        async with service.transaction() as tx:

            async def effect() -> None:
                await lock.take(tx, f"order:{order_id}", by=key)
                await tx.execute("UPDATE orders SET state = 'changing' WHERE id = ?", (order_id,))

            await barrier.act(tx, key, effect)

    `take` belongs inside `Barrier.act`, `release` inside `Barrier.undo` of the same key and inside the `act` of the later step
    that ends the work: then a take that is repeated, or arrives after its release, is answered or refused by the barrier and
    locks nothing any more. `by` is the holder: the `ctx.key` of an action, of which the saga's part counts, so that every step
    of one saga is the same holder; any other text is a holder as it stands. `tx` is whatever `adapt` takes.

    It keeps out only those who ask: whoever must not see or change what is half way takes the lock too, or looks at `holder`.
    A lock is a receipt, and kept as long: 30 days after it was taken it is gone, released or not. Nothing is left to come
    then, for by that time a `Barrier` refuses every action of the saga that took it.
    """

    def __init__(self, *, scope: str = "lock", clock: Clock = SYSTEM) -> None:
        self._scope = scope
        self._receipts = Receipts(clock=clock)

    async def take(self, tx: object, *names: str, by: str) -> None:
        """Take all of `names`, or none of them and raise `Locked`, which has no effect and may be tried again.

        What `by` holds already stays held, as from the first time. Several are taken in one order, whatever the order in which
        they are named, so that two transactions do not wait for each other; names taken by several calls of one transaction
        have no such protection. `ValueError` for a name or holder that is empty or over 255 characters.
        """
        adapted, holder = adapt(tx), _holder(by)
        wanted = sorted({_checked(name) for name in names})
        missing = []
        for name in wanted:
            await adapted.lock(f"{self._scope}:{name}")
            held = await self._held(adapted, name)
            if held not in {None, holder}:
                raise Locked(name)
            if held is None:
                missing.append(name)
        for name in missing:
            # it fails where the transaction reads from a moment that is past, as some isolation levels have it
            if not await self._receipts.insert(adapted, self._scope, name, "held", fingerprint=holder):
                raise Locked(name)

    async def release(self, tx: object, *names: str, by: str) -> int:
        """Let go of those of `names` that `by` holds; how many that were. What another holds, or nobody, stays as it is."""
        adapted, holder = adapt(tx), _holder(by)
        released = 0
        for name in sorted({_checked(name) for name in names}):
            await adapted.lock(f"{self._scope}:{name}")
            released += await self._receipts.delete(adapted, self._scope, name, fingerprint=holder)
        return released

    async def holder(self, tx: object, name: str) -> str | None:
        """Who holds `name`, such as a saga's id; None when nobody does."""
        return await self._held(adapt(tx), _checked(name))

    async def _held(self, tx: Tx, name: str) -> str | None:
        receipt = await self._receipts.find(tx, self._scope, name)
        return None if receipt is None else receipt.fingerprint


def _holder(by: str) -> str:
    """The saga, when `by` is the key of an action; `by` itself otherwise."""
    saga_id, _, rest = by.partition(":")
    step, _, action = rest.rpartition(":")
    return _checked(saga_id if step and action in {DO, UNDO} else by)


def _checked(text: str) -> str:
    if not text.strip() or len(text) > MAX_NAME:
        raise ValueError(f"a lock's name and its holder are texts of 1 to {MAX_NAME} characters")
    return text
