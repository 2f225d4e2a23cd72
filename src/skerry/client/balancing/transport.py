"""The transport that stands before the network when a service has several instances: each request goes to one of them."""

from __future__ import annotations

from skerry.client.balancing.balancer import Balancer
from skerry.client.balancing.call import InstanceCall
from skerry.client.balancing.instance import Instance
from skerry.client.discovery.address import Located
from skerry.client.discovery.directory import Directory
from skerry.client.transport import Request, Response, Transport
from skerry.clock import Clock
from skerry.errors import Unreachable

MOST_TRIED = 3
"""Instances that one attempt tries to connect to."""


class BalancedTransport:
    """Sends each request for a service to one of its instances, over another transport.

    When no connection could be made, nothing was sent, and the next instance is tried at once, until the caller's time is over.
    Whatever else goes wrong is for the policy to repeat; that goes to another instance as a rule, for the one that failed
    counts as slow. Requests to other origins, to which a redirect may lead, pass through.
    """

    def __init__(self, transport: Transport, *, service: str, located: Located, zone: str = "", clock: Clock) -> None:
        number = int.from_bytes(clock.random_bytes(4), "big")
        self.balancer: Balancer = Balancer(service, clock=clock, zone=zone, client=number)
        self._transport = transport
        self._located = located
        self._clock = clock
        self._directory = Directory(service, located.resolver, changed=self.balancer.update, clock=clock)

    async def send(self, request: Request) -> Response:
        """See `Transport`. Raises `Unreachable` also when no instance is known."""
        rest = self._located.rest_of(request.url)
        if rest is None:
            return await self._transport.send(request)
        await self._directory.ready()
        tried: list[Instance] = []
        unreachable: Unreachable | None = None
        while len(tried) < MOST_TRIED and (instance := self.balancer.choose(tried)) is not None:
            try:
                return await self._sent(request, rest, instance)
            except Unreachable as error:
                unreachable = error
                tried.append(instance)
        assert unreachable is not None, "a directory that is ready has an instance"
        raise unreachable

    async def aclose(self) -> None:
        """Close every connection, and stop looking for instances."""
        try:
            await self._directory.aclose()
        finally:
            await self._transport.aclose()

    async def _sent(self, request: Request, rest: str, instance: Instance) -> Response:
        url, host = self._located.at(instance.endpoint, rest)
        going = Request(request.service, request.method, url, request.headers, request.body, host)
        call = InstanceCall(self.balancer, instance, self._clock)
        try:
            response = await self._transport.send(going)
        except BaseException as error:
            call.ended(error)
            raise
        call.answered(status=response.status)
        return _Watched(response, call)


class _Watched(Response):
    """A reply whose end is told."""

    __slots__ = ("_call", "_response")

    def __init__(self, response: Response, call: InstanceCall) -> None:
        super().__init__(response.status, headers=response.headers)
        self._response = response
        self._call = call

    async def read(self) -> bytes:
        try:
            piece = await self._response.read()
        except BaseException as error:
            self._call.ended(error)
            raise
        if not piece:
            self._call.ended()
        return piece

    def close(self) -> None:
        self._response.close()
        self._call.ended()
