"""A time-out for what hardly ever waits."""

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
        return await _resumed(call, waits)


@types.coroutine
def _resumed(call: Coroutine[Any, Any, T], waits: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that has begun and waits for `waits`."""
    try:
        while True:  # bounded by the call
            try:
                sent = yield waits
            except GeneratorExit:
                call.close()
                raise
            except BaseException as error:
                waits = call.throw(error)
            else:
                waits = call.send(sent)
    except StopIteration as ended:
        result: T = ended.value
        return result
