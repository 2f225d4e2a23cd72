"""What an interceptor hands back for a stream: the call that gRPC made, with its answers read through the policy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import grpc
import grpc.aio


class Answer:
    """A call with a stream of requests and one answer, which the policy is waiting for."""

    def __init__(self, call: Any, answering: asyncio.Task[Any]) -> None:
        self._call = call
        self._answering = answering

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._answering.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class Answers(grpc.aio.UnaryStreamCall[Any, Any], grpc.aio.StreamStreamCall[Any, Any]):
    """A call with a stream of answers. All but those is gRPC's call, whichever channel that is on.

    gRPC would pair a bare iterator with the call that it made itself last, and there is none when the call is another channel's.
    """

    def __init__(self, call: Any, messages: AsyncIterator[Any]) -> None:
        self._call = call
        self._messages = messages

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._messages

    async def read(self) -> Any:
        """The next answer, or `grpc.aio.EOF`."""
        return await anext(self._messages, grpc.aio.EOF)

    async def write(self, request: Any) -> None:
        """Send one more request. What stubs write comes in the iterator of requests, so this is for other interceptors."""
        await self._call.write(request)

    async def done_writing(self) -> None:
        """There are no more requests."""
        await self._call.done_writing()

    def cancel(self) -> bool:
        """End it here and there."""
        return bool(self._call.cancel())

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return bool(self._call.cancelled())

    def done(self) -> bool:
        """Whether it is over."""
        return bool(self._call.done())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call back when it is over."""
        self._call.add_done_callback(callback)

    def time_remaining(self) -> float | None:
        """Seconds until its deadline."""
        left: float | None = self._call.time_remaining()
        return left

    async def initial_metadata(self) -> Any:
        """What came before the first answer."""
        return await self._call.initial_metadata()

    async def trailing_metadata(self) -> Any:
        """What came with the status."""
        return await self._call.trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        """Its status, when it is over."""
        code: grpc.StatusCode = await self._call.code()
        return code

    async def details(self) -> str:
        """What the status says in words."""
        return str(await self._call.details())

    async def wait_for_connection(self) -> None:
        """There was one before it was sent."""
        await self._call.wait_for_connection()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)
