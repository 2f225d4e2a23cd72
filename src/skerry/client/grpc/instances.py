"""Calls over gRPC to a service with several instances: a channel to each, and each call by the balancer that HTTP has too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import grpc
import grpc.aio

from skerry.client.balancing.balancer import Balancer
from skerry.client.balancing.call import InstanceCall
from skerry.client.balancing.instance import Instance
from skerry.client.balancing.transport import MOST_TRIED
from skerry.client.discovery.address import Located
from skerry.client.discovery.directory import Directory
from skerry.client.discovery.endpoint import Endpoint, is_address
from skerry.client.grpc.connection import Connection, Continuation, Place
from skerry.client.grpc.status import HTTP_STATUS
from skerry.clock import Clock
from skerry.errors import StatusError, Unreachable

MOST_CHANNELS = 256
"""To instances in use at once; the one that was made first goes beyond it."""
MOST_LEAVING = 100
"""Channels to instances that have gone, kept for the calls under way on them; the one that left first is closed beyond it."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """How a stub's method is spoken, which gRPC does not tell interceptors: its kind, and how messages become bytes and back."""

    kind: str
    serializer: Callable[[Any], bytes] | None
    deserializer: Callable[[bytes], Any] | None

    def sent(self, channel: grpc.aio.Channel, details: Any, request: Any) -> Any:
        """The call that gRPC makes of it over `channel`."""
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        calling = getattr(channel, self.kind)(
            method, request_serializer=self.serializer, response_deserializer=self.deserializer
        )
        return calling(
            request,
            timeout=details.timeout,
            metadata=details.metadata,
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
        )


SPOKEN: ContextVar[Spoken] = ContextVar("skerry_grpc_spoken")
"""Of the call that is being made: set around it, and so in the task that gRPC starts for its interceptors."""


@dataclass(slots=True)
class _Line:
    channel: grpc.aio.Channel
    connection: Connection


class Instances:
    """The instances of one service, each with a channel that is made when it is first chosen and closed when it has gone.

    An attempt goes to the instance that the balancer chooses, and to the next when there is no connection to be had. A stream
    stays where it began, also when its instance is no longer told of. It belongs to one event loop. `opens` makes a channel.
    """

    def __init__(
        self,
        service: str,
        located: Located,
        *,
        opens: Callable[[Endpoint], grpc.aio.Channel],
        zone: str = "",
        clock: Clock,
    ) -> None:
        number = int.from_bytes(clock.random_bytes(4), "big")
        self.balancer: Balancer = Balancer(service, clock=clock, zone=zone, client=number)
        self.service = service
        self._opens = opens
        self._clock = clock
        self._directory = Directory(service, located.resolver, changed=self._changed, clock=clock)
        self._lines: dict[Instance, _Line] = {}
        self._leaving: dict[Instance, _Line] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.closed: bool = False

    @property
    def channels(self) -> int:
        """How many there are now, to instances in use and to those that calls are leaving."""
        return len(self._lines) + len(self._leaving)

    @property
    def connected(self) -> bool:
        """Whether there is a connection to any instance."""
        return any(line.channel.get_state() is grpc.ChannelConnectivity.READY for line in self._lines.values())

    async def place(self, continuation: Continuation) -> Place:
        """See `Route`. Raises `Unreachable` also when no instance is known."""
        if self.closed:
            return Place(continuation)  # where gRPC says so in its own words
        call, line = await self._reached()
        return _Chosen(self, call, line.channel, SPOKEN.get())

    async def reach(self) -> None:
        """Return when there is a connection to some instance. Raises `Unreachable` when there is none to be had."""
        call, _ = await self._reached()
        self.end(call, asyncio.CancelledError())  # which tells nothing of the instance

    def end(self, call: InstanceCall, error: BaseException | None) -> None:
        """A call is over: it counts, and a channel that waited for it alone is closed."""
        call.ended(error)
        if not call.instance.busy and (line := self._leaving.pop(call.instance, None)) is not None:
            self._close(line)

    async def aclose(self) -> None:
        """Stop looking for instances, and close every channel with the calls on it."""
        self.closed = True
        try:
            await self._directory.aclose()
        finally:
            for line in [*self._lines.values(), *self._leaving.values()]:
                self._close(line)
            self._lines.clear()
            self._leaving.clear()
            if self._closing:
                await asyncio.wait(self._closing)

    async def _reached(self) -> tuple[InstanceCall, _Line]:
        await self._directory.ready()
        tried: list[Instance] = []
        unreachable: Unreachable | None = None
        while len(tried) < MOST_TRIED and (instance := self.balancer.choose(tried)) is not None:
            line = self._lines.get(instance) or self._opened(instance)
            call = InstanceCall(self.balancer, instance, self._clock)
            try:
                await line.connection.ready()
            except Unreachable as error:
                unreachable = error
                tried.append(instance)
                self.end(call, error)
            except BaseException as error:
                self.end(call, error)
                raise
            else:
                return call, line
        assert unreachable is not None, "a directory that is ready has an instance"
        raise unreachable

    def _opened(self, instance: Instance) -> _Line:
        if len(self._lines) >= MOST_CHANNELS:
            self._retire(next(iter(self._lines)))
        line = _Line(self._opens(instance.endpoint), Connection(self.service))
        line.connection.watch(line.channel)
        self._lines[instance] = line
        return line

    def _changed(self, endpoints: Sequence[Endpoint]) -> None:
        self.balancer.update(endpoints)
        there = set(self.balancer.instances)
        for instance in [each for each in self._lines if each not in there]:
            self._retire(instance)

    def _retire(self, instance: Instance) -> None:
        line = self._lines.pop(instance)
        if not instance.busy:
            self._close(line)
            return
        if len(self._leaving) >= MOST_LEAVING:
            self._close(self._leaving.pop(next(iter(self._leaving))))
        self._leaving[instance] = line

    def _close(self, line: _Line) -> None:
        task = asyncio.get_running_loop().create_task(line.channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class _Chosen(Place):
    """An attempt at the instance that was chosen for it, which learns from its end."""

    def __init__(self, instances: Instances, call: InstanceCall, channel: grpc.aio.Channel, spoken: Spoken) -> None:
        super().__init__(self._sent)
        self._instances = instances
        self._call = call
        self._channel = channel
        self._spoken = spoken

    async def _sent(self, details: Any, request: Any) -> Any:
        return self._spoken.sent(self._channel, details, request)

    def answered(self) -> None:
        self._call.answered()

    def ended(self, error: BaseException | None = None) -> None:
        self._instances.end(self._call, error)

    def closed(self, code: grpc.StatusCode) -> None:
        failed = None if code is grpc.StatusCode.OK else StatusError(self._instances.service, HTTP_STATUS[code])
        self._instances.end(self._call, failed)


def target_of(endpoint: Endpoint) -> str:
    """Where gRPC connects to for it (gRPC, doc/naming.md)."""
    if not is_address(endpoint.host):
        return f"dns:///{endpoint.address}"
    return f"ipv{ip_address(endpoint.host).version}:{endpoint.address}"
