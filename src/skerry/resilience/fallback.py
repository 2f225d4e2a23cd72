"""A fallback: something worse than the answer and better than an error, said openly."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

from skerry.clock import Clock
from skerry.errors import CallError, DeadlineExceeded, Refused
from skerry.resilience._part import Matcher, P, Part, T, matches, names, plain
from skerry.signals import FallbackUsed, emit

FAILED_CALLS: tuple[type[Exception], ...] = (CallError, Refused, DeadlineExceeded, OSError)
"""What a call to something else may fail with. A bug of one's own is none of these, and is not hidden."""


class Fallback(Part):
    """Answers for a call that failed: with `instead`, or with what `instead` returns for the same arguments.

    `on` says which exceptions are answered for; by default those of a failed call (`CallError`, `Refused`, `DeadlineExceeded`,
    `OSError`). Anything else passes, a cancellation always. What `instead` raises passes too, with the first error as its
    context. An async function may stand in for an async call only; each use is told by a signal.

    Example: `Fallback(last_known_price)`, or `Fallback([])` for a list that may be empty
    """

    def __init__(self, instead: Any, *, on: Matcher = FAILED_CALLS, name: str = "", clock: Clock | None = None) -> None:
        super().__init__(name, clock)
        self.instead = instead
        self.on = on
        self._matches = matches(on)

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)`; when that fails, return what stands in for it."""
        try:
            return await fn(*args, **kwargs)
        except Exception as error:
            self._demand(error)
            answer = self._answer(args, kwargs)
            return cast("T", await answer if inspect.isawaitable(answer) else answer)

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`; when that fails, what stands in for it."""
        try:
            return plain(fn(*args, **kwargs))
        except Exception as error:
            self._demand(error)
            return plain(cast("T", self._answer(args, kwargs)))

    def describe(self) -> str:
        """What is answered for, in words."""
        what = getattr(self.instead, "__name__", "a function") if callable(self.instead) else "a value"
        return f"fallback: {what} on {names(self.on)}"

    def _demand(self, error: Exception) -> None:
        if not self._matches(error):
            raise error
        emit(FallbackUsed(policy=self.name, error=type(error).__name__))

    def _answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.instead(*args, **kwargs) if callable(self.instead) else self.instead
