"""Whether a channel is connected. gRPC itself does not tell a request that was never sent from one whose answer was lost: both
are UNAVAILABLE. So nothing is handed to it before there is a connection; what fails until then was surely not sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import grpc
import grpc.aio

from skerry.client.network import CONNECT_TIMEOUT
from skerry.errors import Unreachable

_UP = {
    grpc.ChannelConnectivity.READY,
    grpc.ChannelConnectivity.SHUTDOWN,
}  # a closed channel tells of itself when it is used


Continuation = Callable[[Any, Any], Awaitable[Any]]


class Place:
    """Where one attempt goes, now that there is a connection. `send` hands it to gRPC; the rest is for who keeps count."""

    def __init__(self, send: Continuation) -> None:
        self.send: Continuation = send

    def answered(self) -> None:
        """The first answer of a stream is here."""

    def ended(self, error: BaseException | None = None) -> None:
        """It is over, well or by this error. Only the first end counts."""

    def closed(self, code: grpc.StatusCode) -> None:
        """A stream is over, with this status."""


class Route(Protocol):
    """Finds the place of an attempt."""

    async def place(self, continuation: Continuation) -> Place:
        """Where it goes. Raises `Unreachable` when there is no connection to be had: then nothing was sent."""
        ...


class Connection:
    """The connection of one channel. However many calls wait for it, it is made once."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._channel: grpc.aio.Channel | None = None
        self._making: asyncio.Task[bool] | None = None

    def watch(self, channel: grpc.aio.Channel) -> None:
        """Look at this one."""
        self._channel = channel

    async def place(self, continuation: Continuation) -> Place:
        """See `Route`: there is the one."""
        await self.ready()
        return Place(continuation)

    async def ready(self) -> None:
        """Return when it is there. Raises `Unreachable` when it cannot be made, at once while gRPC waits to try again."""
        assert self._channel is not None
        if self._channel.get_state() in _UP:
            return
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make(self._channel))
        if not await asyncio.shield(self._making):
            raise Unreachable(self._service, "no connection could be made")

    async def _make(self, channel: grpc.aio.Channel) -> bool:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                while (state := channel.get_state(try_to_connect=True)) not in _UP:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        return False
                    await channel.wait_for_state_change(state)
        except TimeoutError:
            return False
        return True
