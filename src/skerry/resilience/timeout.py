"""Time limits: how long a block may take, seen by everything it calls, and what happens when that is over."""

from __future__ import annotations

import asyncio
import math
import types
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Literal, TypeVar, cast

from skerry.clock import SYSTEM, Clock
from skerry.context import CallContext, current, use
from skerry.errors import AttemptTimeout, DeadlineExceeded
from skerry.resilience._part import require
from skerry.resilience._wheel import PER_SECOND, Here, Slot, here, numbers
from skerry.resilience.within import thrown
from skerry.signals import CallTimedOut, emit

T = TypeVar("T")
Scope = Literal["total", "attempt"]


def ran_out(policy: str, *, scope: Scope, seconds: float, imposed: bool = False) -> DeadlineExceeded:
    """Tell that a limit of `seconds` was over, and make its error. `imposed`: it was the caller's."""
    emit(CallTimedOut(policy=policy, scope=scope, seconds=seconds))
    if scope == "attempt":
        return AttemptTimeout(f"{policy}: an attempt took longer than {seconds:.3g} s")
    error = DeadlineExceeded(f"{policy}: the call took longer than the {max(0.0, seconds):.3g} s it had")
    error.imposed = imposed
    return error


def rung(slot: Slot, number: int, task: asyncio.Task[object], asked_before: int, error: BaseException | None) -> bool:
    """Take back an alarm; true when it has rung and the block ended for that reason, and no other, in `error`.

    By the rules of `asyncio.timeout`: a cancellation that somebody else asked for too stays one, and after an alarm that rang and
    was not listened to nothing of it stays with the task.
    """
    if slot.pop(number, None) is not None:
        return False
    return task.uncancel() <= asked_before and isinstance(error, asyncio.CancelledError)


@types.coroutine
def _kept(call: Coroutine[Any, Any, T], results: list[T]) -> Generator[Any, Any, None]:
    """Await `call` and put its result aside.

    What ends without a result is over when a loop over it is. To be told of one takes an exception, which costs twice as much as
    all of this, and that for each call that never waits.
    """
    results.append((yield from call))


kept: Callable[[Coroutine[Any, Any, Any], list[Any]], Generator[Any, Any, None]] = cast("Any", _kept)


@types.coroutine
def ended_by(
    deadline: float,
    alarms: Here,
    call: Generator[Any, Any, T],
    waits: Any,
    over: Callable[..., BaseException],
    about: tuple[float, ...],
) -> Generator[Any, Any, T]:
    """Go on with a coroutine that has begun and waits for `waits`; cancel it at `deadline` and raise `over(*about)`.

    `deadline` may be `math.inf`.
    """
    wheel = alarms.wheel
    slot, task = wheel.slots.get(deadline * PER_SECOND // 1.0), asyncio.current_task(wheel.loop)
    if slot is None or task is None:
        slot, task = alarms.alarm(deadline)
    asked_before = task.cancelling()
    number = next(numbers)
    slot[number] = task
    try:
        try:
            yield waits
        except GeneratorExit:
            call.close()
            raise
        except BaseException as error:
            result: T = yield from thrown(cast("Coroutine[Any, Any, T]", call), error)
        else:
            result = yield from call
    except BaseException as error:
        if rung(slot, number, task, asked_before, error):
            raise over(*about) from error
        raise
    if slot.pop(number, None) is None:
        task.uncancel()
    return result


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
        self._imposed = False
        self._left = 0.0
        self._block: use | None = None
        self._task: asyncio.Task[object] | None = None
        self._asked_before = 0
        self._slot: Slot = {}
        self._number = 0

    def __enter__(self) -> CallContext:
        now = self._clock.monotonic()
        around = current()
        context = around.until(now + self._seconds)
        assert context.deadline is not None
        self._imposed = context is around
        self._left = context.deadline - now
        if self._left <= 0:
            raise self._over()
        self._block = use(context)
        return self._block.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._block is not None
        self._block.__exit__()

    async def __aenter__(self) -> CallContext:
        context = self.__enter__()
        assert context.deadline is not None
        self._slot, self._task = here(self._clock).alarm(context.deadline)
        self._asked_before = self._task.cancelling()
        self._number = next(numbers)
        self._slot[self._number] = self._task
        return context

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
        assert self._task is not None
        if rung(self._slot, self._number, self._task, self._asked_before, error):
            raise self._over() from error

    def _over(self) -> DeadlineExceeded:
        return ran_out("deadline", scope="total", seconds=self._left, imposed=self._imposed)
