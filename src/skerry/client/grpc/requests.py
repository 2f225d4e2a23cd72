"""The requests of a stream, as the caller makes them one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from skerry.resilience.within import cancelled_here

Reading = Callable[[Any], Awaitable[Any]]
"""Awaits what a call answers next."""


class Requests:
    """Hands them to gRPC, and keeps in mind what making them failed of.

    gRPC cancels the call then, and says no more: the caller would find its own task cancelled though nobody wanted that.
    """

    def __init__(self, given: AsyncIterable[Any] | Iterable[Any]) -> None:
        self._given = given
        self._failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            if isinstance(self._given, AsyncIterable):
                async for each in self._given:
                    yield each
            else:
                for each in self._given:
                    yield each
        except Exception as error:
            self._failure = error
            raise

    def reading(self, read: Reading) -> Reading:
        """The same, but for the call that ends because a request could not be made: it raises what that failed of."""

        async def reads(call: Any) -> Any:
            try:
                return await read(call)
            except asyncio.CancelledError:
                if self._failure is None or cancelled_here():
                    raise
                raise self._failure  # noqa: B904 - it has causes of its own

        return reads
