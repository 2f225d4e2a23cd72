"""Whether a channel is connected. gRPC itself does not tell a request that was never sent from one whose answer was lost: both
are UNAVAILABLE. So nothing is handed to it before there is a connection; what fails until then was surely not sent.
"""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from skerry.client.network import CONNECT_TIMEOUT
from skerry.errors import Unreachable

_UP = {
    grpc.ChannelConnectivity.READY,
    grpc.ChannelConnectivity.SHUTDOWN,
}  # a closed channel tells of itself when it is used


class Connection:
    """The connection of one channel. However many calls wait for it, it is made once."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._channel: grpc.aio.Channel | None = None
        self._making: asyncio.Task[bool] | None = None

    def watch(self, channel: grpc.aio.Channel) -> None:
        """Look at this one."""
        self._channel = channel

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
