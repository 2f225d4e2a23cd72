"""Time limits: how long a block may take, seen by everything it calls, and what happens when that is over."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Literal

from skerry.clock import SYSTEM, Clock
from skerry.context import CallContext, current, use
from skerry.errors import AttemptTimeout, DeadlineExceeded
from skerry.resilience._part import require
from skerry.signals import CallTimedOut, emit

Scope = Literal["total", "attempt"]


class TimeLimit:
    """One time limit of one call, never later than the deadline around it. It runs from when it is made.

    Raises `DeadlineExceeded` when it is over at once.
    """

    __slots__ = ("_binding", "_imposed", "_policy", "_scope", "context", "left")

    def __init__(
        self,
        seconds: float | None,
        *,
        policy: str,
        clock: Clock,
        scope: Scope = "total",
        outer: TimeLimit | None = None,
    ) -> None:
        now = clock.monotonic()
        around = current()
        self._policy = policy
        self._scope = scope
        self.context: CallContext = around if seconds is None else around.until(now + seconds)
        self.left: float | None = None if self.context.deadline is None else self.context.deadline - now
        # when the limit around this one ends first, that one is what the call ran into
        self._binding = outer if outer is not None and self.context is around else self
        self._imposed: bool = self.context is around if self._binding is self else self._binding._imposed
        if self.left is not None and self.left <= 0:
            raise self._over()

    @contextmanager
    def announced(self) -> Iterator[CallContext]:
        """Tell the block its deadline."""
        with use(self.context):
            yield self.context

    @contextmanager
    def enforced(self) -> Iterator[CallContext]:
        """Tell the running task its deadline and cancel the block there, by the rules of `asyncio.timeout`.

        Only a cancellation that this limit asked for, and nobody else, becomes its error; a `TimeoutError` of the block's own
        passes as it is.
        """
        task = asyncio.current_task()
        if self.left is None or task is None:
            with use(self.context):
                yield self.context
            return
        asked_before = task.cancelling()
        rang = False

        def ring() -> None:
            nonlocal rang
            rang = True
            task.cancel()

        timer = asyncio.get_running_loop().call_later(self.left, ring)
        try:
            with use(self.context):
                yield self.context
        except asyncio.CancelledError as error:
            if rang and task.cancelling() - 1 <= asked_before:
                raise self._over() from error
            raise
        finally:
            timer.cancel()
            if rang:
                task.uncancel()

    def _over(self) -> DeadlineExceeded:
        limit = self._binding
        seconds = limit.left or 0.0
        emit(CallTimedOut(policy=limit._policy, scope=limit._scope, seconds=seconds))
        if limit._scope == "attempt":
            error: DeadlineExceeded = AttemptTimeout(f"{limit._policy}: an attempt took longer than {seconds:.3g} s")
        else:
            error = DeadlineExceeded(f"{limit._policy}: the call took longer than the {max(0.0, seconds):.3g} s it had")
        error.imposed = self._imposed
        return error


class deadline:  # noqa: N801 - reads as a statement: `with deadline(1.5):`
    """Give a block at most `seconds`, or less when the deadline around it is earlier.

    `async with` cancels the block in time and raises `DeadlineExceeded`. `with` cannot interrupt: policies and clients inside
    see the deadline and keep to it. Entering a block whose time is over already raises `DeadlineExceeded` at once. Everything
    called inside, in this process and across the wire, sees the time that is left.

    Example: `async with deadline(1.5): await payments.call(charge, order)`
    """

    def __init__(self, seconds: float, *, clock: Clock = SYSTEM) -> None:
        require(0 <= seconds < math.inf, f"deadline({seconds}): give a number of seconds from 0")
        self._seconds = seconds
        self._clock = clock
        self._block: AbstractContextManager[CallContext] | None = None

    def __enter__(self) -> CallContext:
        return self._enter(self._time_limit().announced())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._block is not None
        return self._block.__exit__(kind, error, trace)

    async def __aenter__(self) -> CallContext:
        return self._enter(self._time_limit().enforced())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self.__exit__(kind, error, trace)

    def _time_limit(self) -> TimeLimit:
        return TimeLimit(self._seconds, policy="deadline", clock=self._clock)

    def _enter(self, block: AbstractContextManager[CallContext]) -> CallContext:
        self._block = block
        return block.__enter__()
