"""A time-out for what hardly ever waits, and whose a cancellation is that comes out of a wait."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, call: Awaitable[T]) -> T:
    """Await `call`, by the rules of `asyncio.timeout`.

    It is begun without one: a call that never waits is over before anything could end it, and that is most of them.
    """
    if not isinstance(call, Coroutine):
        async with asyncio.timeout(seconds):
            return await call
    try:
        waits = call.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    async with asyncio.timeout(seconds):
        return await resumed(call, waits)


def cancelled_here() -> bool:
    """After a `CancelledError`: whether it was the running task that somebody cancelled, and not what it waited for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


@types.coroutine
def resumed(call: Coroutine[Any, Any, T], waits: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that has begun and waits for `waits`."""
    try:
        yield waits
    except GeneratorExit:
        call.close()
        raise
    except BaseException as error:
        return (yield from thrown(call, error))
    result: T = yield from call
    return result


@types.coroutine
def thrown(call: Coroutine[Any, Any, T], error: BaseException) -> Generator[Any, Any, T]:
    """Go on with a coroutine that waits, by raising `error` there."""
    try:
        while True:  # bounded by the call
            waits = call.throw(error)
            try:
                yield waits
            except GeneratorExit:
                call.close()
                raise
            except BaseException as again:
                error = again
            else:
                break
    except StopIteration as ended:
        result: T = ended.value
        return result
    result = yield from call
    return result
