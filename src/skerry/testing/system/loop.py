"""An event loop for several services that can die one by one.

Each task, timer and callback belongs to the life of the service that made it, which travels in the context. Once a life has
ended nothing of it runs any more: no `finally`, no `except`, as after SIGKILL. What others have to do goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, Protocol, TypeVar, TypeVarTuple

from skerry.testing.virtual_time import VirtualLoop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


Step = tuple[Context, Callable[..., object], tuple[Any, ...]]
"""What a life would have done next: a callback, its arguments and its context."""


class Life(Protocol):
    """What the loop asks of a service between its start and its end."""

    tasks: list[asyncio.Task[Any]]
    waiting: list[asyncio.Future[Any]]
    kept: list[Step]
    frozen: bool
    gone: asyncio.Future[None]

    def reached(self, what: str) -> bool:
        """A moment has come at which a crash would make a difference; whether the service dies of it."""
        ...


LIFE: ContextVar[Life | None] = ContextVar("skerry_testing_life", default=None)
"""Whose code is running; None for the test's own."""


class SystemLoop(VirtualLoop):
    """See the module. What goes to a thread runs at once, as in `VirtualLoop`, and commits are moments to die at."""

    def __init__(self) -> None:
        super().__init__()
        self.set_task_factory(_task_of_a_life)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As in asyncio, unless the life that it belongs to ends before."""
        context = contextvars.copy_context() if context is None else context
        life = context.get(LIFE)
        if life is None:
            return super().call_soon(callback, *args, context=context)
        return super().call_soon(_kept_if_frozen, life, (context, callback, args), context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As in asyncio, unless the life that it belongs to ends before."""
        context = contextvars.copy_context() if context is None else context
        life = context.get(LIFE)
        if life is None:
            return super().call_at(when, callback, *args, context=context)
        return super().call_at(when, _dropped_if_frozen, life, callback, args, context=context)

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run `func` now; where it commits, the service may die right before it or right after it."""
        life = LIFE.get()
        if life is None or not _commits(args):
            return super().run_in_executor(executor, func, *args)
        if life.reached("before a commit"):
            return self._without_end(life)
        done = super().run_in_executor(executor, func, *args)
        return self._without_end(life) if life.reached("after a commit") else done

    def _without_end(self, life: Life) -> asyncio.Future[Any]:
        """What the life that just died waits for."""
        waiting: asyncio.Future[Any] = self.create_future()
        life.waiting.append(waiting)
        return waiting


def outside() -> Context:
    """A context in which no service runs."""
    context = Context()
    context.run(LIFE.set, None)
    return context


async def never() -> Any:
    """Wait for what does not come, as the code of a life that has ended does."""
    await asyncio.get_running_loop().create_future()


def _dropped_if_frozen(life: Life, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
    if not life.frozen:
        callback(*args)


def _kept_if_frozen(life: Life, step: Step) -> None:
    """Kept until the end of the test: a task whose waking was lost could not even be cancelled."""
    if life.frozen:
        life.kept.append(step)
    else:
        _, callback, args = step
        callback(*args)


def _task_of_a_life(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: Context | None = None,
    **options: Any,
) -> asyncio.Task[Any]:
    # one that begins with nothing belongs to whoever began it all the same
    if context is not None and LIFE not in context:
        context.run(LIFE.set, LIFE.get())
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context, **options)
    life = LIFE.get() if context is None else context[LIFE]
    if life is not None:
        life.tasks.append(task)
        task.add_done_callback(life.tasks.remove, context=outside())
    return task


def _commits(args: tuple[Any, ...]) -> bool:
    """Whether it is the end of a transaction that goes to the database's thread."""
    return bool(args) and getattr(args[-1], "__name__", "") == "commit"
