"""A participant's barrier without a database, for the worlds of simulations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skerry.errors import LateAction
from skerry.saga.barrier import action_pair


class FakeBarrier:
    """Does in memory what `Barrier` does in a participant's transaction: once for a key, and never after its compensation.

    bank.barrier.act(ctx.key, lambda: bank.move("ann", "pot", 10))
    """

    def __init__(self) -> None:
        self._done: dict[str, Any] = {}
        self._undone: set[str] = set()

    def act(self, key: str, action: Callable[[], Any]) -> Any:
        """See `Barrier.act`. What `action` raises has no effect, so it has to raise before it changes anything."""
        name = action_pair(key)
        if name in self._undone:
            raise LateAction(f"{key} was compensated before it arrived; it has no effect")
        if name not in self._done:
            self._done[name] = action()
        return self._done[name]

    def undo(self, key: str, compensation: Callable[[Any], object]) -> bool:
        """See `Barrier.undo`."""
        name = action_pair(key)
        if name in self._undone or name not in self._done:
            self._undone.add(name)
            return False
        compensation(self._done[name])
        self._undone.add(name)
        return True
