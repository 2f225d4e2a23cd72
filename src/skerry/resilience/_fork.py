"""What locks and counts become in a process that was forked.

A fork copies a lock that another thread holds, and the thread that would release it does not come along; calls of other threads
that were under way never end there.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import ClassVar
from weakref import WeakSet

LOOKS = 10
"""At most, at a set that other threads add to."""


class Forked(ABC):
    """Something that is told, in the child, that the process was forked. A mixin: call `survive_forks` at construction."""

    __slots__ = ("__weakref__",)

    _living: ClassVar[WeakSet[Forked] | None] = None

    def survive_forks(self) -> None:
        """Have `after_fork` called in each child from now on, as long as this lives."""
        if Forked._living is None:  # not at import: who never makes one pays nothing
            Forked._living = WeakSet()
            os.register_at_fork(after_in_child=Forked._in_child)
        Forked._living.add(self)

    @abstractmethod
    def after_fork(self) -> None:
        """Begin anew with what only the parent's threads could have ended. No other thread runs yet."""

    @staticmethod
    def _in_child() -> None:
        for each in living():
            each.after_fork()


def living() -> list[Forked]:
    """All that there are in this process; one that another thread makes meanwhile may be missing."""
    for _ in range(LOOKS):
        try:
            return list(Forked._living or ())
        except RuntimeError:  # another thread made one while we looked
            continue
    return []
