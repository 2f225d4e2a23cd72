"""The channel that stubs are given when a service has several instances: gRPC's own in all that they do with it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from skerry.client.grpc.instances import SPOKEN, Instances, Spoken
from skerry.clock import Clock
from skerry.errors import Unreachable

LOOK_AGAIN = 0.1
"""Seconds between two looks at a state that is of many channels, for who waits until it changes."""

Serializer = Callable[[Any], bytes] | None
Deserializer = Callable[[bytes], Any] | None


class BalancedChannel(grpc.aio.Channel):
    """Makes calls over `front`, a channel that never connects: its interceptors hand each attempt to a channel of `instances`.

    It is READY when there is a connection to any instance, SHUTDOWN when it was closed, and IDLE otherwise.
    """

    def __init__(self, front: grpc.aio.Channel, instances: Instances, *, clock: Clock) -> None:
        self._front = front
        self._instances = instances
        self._clock = clock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Calls under way may end within `grace` seconds, and are cancelled then; no new ones are taken."""
        self._instances.closed = True
        try:
            await self._front.close(grace)
        finally:
            await self._instances.aclose()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT002, ARG002 - gRPC's signature
        """See the class. `try_to_connect` changes nothing: instances are connected to when they are called."""
        if self._instances.closed:
            return grpc.ChannelConnectivity.SHUTDOWN
        return grpc.ChannelConnectivity.READY if self._instances.connected else grpc.ChannelConnectivity.IDLE

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return when the state is another one."""
        while self.get_state() is last_observed_state:
            await self._clock.sleep(LOOK_AGAIN)

    async def channel_ready(self) -> None:
        """Return when there is a connection to an instance, however long that takes."""
        while not self._instances.closed:
            try:
                await self._instances.reach()
            except Unreachable:
                await self._clock.sleep(LOOK_AGAIN)
            else:
                break

    def unary_unary(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = None,
    ) -> Any:
        """See `grpc.aio.Channel`."""
        return self._multi_callable("unary_unary", method, request_serializer, response_deserializer)

    def unary_stream(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = None,
    ) -> Any:
        """See `grpc.aio.Channel`."""
        return self._multi_callable("unary_stream", method, request_serializer, response_deserializer)

    def stream_unary(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = None,
    ) -> Any:
        """See `grpc.aio.Channel`."""
        return self._multi_callable("stream_unary", method, request_serializer, response_deserializer)

    def stream_stream(
        self,
        method: str,
        request_serializer: Serializer = None,
        response_deserializer: Deserializer = None,
        _registered_method: bool | None = None,
    ) -> Any:
        """See `grpc.aio.Channel`."""
        return self._multi_callable("stream_stream", method, request_serializer, response_deserializer)

    def _multi_callable(self, kind: str, method: str, serializer: Serializer, deserializer: Deserializer) -> Any:
        calling = getattr(self._front, kind)(method, request_serializer=serializer, response_deserializer=deserializer)
        spoken = Spoken(kind, serializer, deserializer)

        def call(*args: Any, **options: Any) -> Any:
            token = SPOKEN.set(spoken)
            try:
                return calling(*args, **options)
            finally:
                SPOKEN.reset(token)

        return call
