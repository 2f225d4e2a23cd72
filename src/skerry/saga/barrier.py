"""The participant's side of a saga: each action has its effect once, and never after its compensation.

A receipt is written in the transaction of the effect. A repeated action finds it and gets the stored answer. A compensation
whose action never came leaves a tombstone, so that the action, should it arrive late, is refused. Source: the "empty
compensation", "hanging" and idempotence cases of the DTM and Seata projects' TCC documentation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from skerry.clock import SYSTEM, Clock
from skerry.errors import LateAction, Rejected
from skerry.store import RETENTION, Receipts, adapt

DO, UNDO = "do", "undo"
MAX_KEY = 255


def action_key(saga_id: str, step: str, action: str) -> str:
    """The idempotency key of one action: `saga:step:action`."""
    return f"{saga_id}:{step}:{action}"


class Barrier:
    """Guards the actions that sagas ask of this service.

        async with service.transaction() as tx:
            return await barrier.act(tx, key, lambda: charge(tx, amount))

    `tx` is whatever `adapt` takes. `key` is the `ctx.key` that the saga sent along; an action and its compensation share all
    of it but the last part.
    """

    def __init__(self, *, scope: str = "barrier", clock: Clock = SYSTEM) -> None:
        self._scope = scope
        self._clock = clock
        self._receipts = Receipts(clock=clock)

    async def act(self, tx: object, key: str, action: Callable[[], Awaitable[Any]], *, given: Any = None) -> Any:
        """Run `action` unless it ran before; its answer (plain JSON) either way.

        Raises `LateAction` when it was compensated already or the key is older than 30 days, `ReceiptConflict` when the key
        came before with another `given`, the action's input, `Rejected` for a key that is empty or over 255 characters.
        """
        pair = action_pair(key)
        self._demand_usable(pair)
        adapted = adapt(tx)
        await adapted.lock(f"{self._scope}:{pair}")
        seen = await self._receipts.find(adapted, self._scope, pair)
        if seen is not None:
            if seen.state == "undone":
                raise LateAction(f"{key} was compensated before it arrived; it has no effect")
            seen = await self._receipts.find(adapted, self._scope, pair, fingerprint=_fingerprint(given))
            assert seen is not None
            return json.loads(seen.result or "null")
        result = json.dumps(await action())
        await self._receipts.insert(adapted, self._scope, pair, "done", fingerprint=_fingerprint(given), result=result)
        return json.loads(result)

    async def undo(self, tx: object, key: str, compensation: Callable[[Any], Awaitable[None]]) -> bool:
        """Run `compensation(answer)` if the action had its effect and was not undone before; whether it ran.

        Otherwise leave a tombstone, so that the action can never have its effect any more.
        """
        pair = action_pair(key)
        self._demand_usable(pair)
        adapted = adapt(tx)
        await adapted.lock(f"{self._scope}:{pair}")
        seen = await self._receipts.find(adapted, self._scope, pair)
        if seen is None:
            await self._receipts.insert(adapted, self._scope, pair, "undone")
            return False
        if seen.state == "undone":
            return False
        await compensation(json.loads(seen.result or "null"))
        await self._receipts.update(adapted, self._scope, pair, "undone", result=seen.result)
        return True

    def _demand_usable(self, pair: str) -> None:
        """Refuse keys that are none, and those whose receipt may be gone already; a saga's id tells when it began."""
        if not pair.strip() or len(pair) > MAX_KEY:
            raise Rejected(f"an action needs a key of 1 to {MAX_KEY} characters, such as the `ctx.key` of a step")
        try:
            identifier = UUID(pair.partition(":")[0])
        except ValueError:
            return
        if identifier.version == 7 and (identifier.int >> 80) / 1000 < self._clock.now() - RETENTION:
            raise LateAction(f"{pair} is older than receipts are kept; it is refused")


def action_pair(key: str) -> str:
    """What an action and its compensation have in common in their keys."""
    stem, _, action = key.rpartition(":")
    return stem if stem and action in {DO, UNDO} else key


def _fingerprint(given: Any) -> str:
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()[:32]
