"""gRPC without sockets: a channel that hands calls to the servicers of another service in this process.

gRPC's own event loop is a thread in C that knows no virtual time. So nothing of it runs here but what is pure Python: the
policy around a call on the one side, the service's border on the other. Calls with one request and one answer; a stream
needs the real thing, and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, Unreachable
from skerry.resilience import Policy
from skerry.service import Service
from skerry.testing.system.loop import LIFE, never
from skerry.testing.system.wiring import address_of, host_of

if TYPE_CHECKING:
    from skerry.client.grpc.connection import Place
    from skerry.testing.system.network import Network
    from skerry.testing.system.process import Life, Process

Metadata = Sequence[tuple[str, str | bytes]]


def take_over(service: Service) -> None:
    """Have the service answer gRPC here instead of on a port."""
    server = service._grpc
    if server is not None:
        setattr(server, "start", _nowhere)  # noqa: B010 - of this one server
        setattr(server, "stop", _nowhere)  # noqa: B010


def channel(
    network: Network,
    service: str,
    *,
    policy: Policy | None = None,
    safe: Collection[str] = (),
    clock: Clock = SYSTEM,
    **_options: Any,
) -> InProcessChannel:
    """What `grpc_channel` makes, over the network of the test."""
    return InProcessChannel(network, service, policy=policy, safe=frozenset(safe), clock=clock)


class InProcessChannel:
    """As much of a `grpc.aio.Channel` as stubs ask for."""

    def __init__(
        self, network: Network, service: str, *, policy: Policy | None, safe: frozenset[str], clock: Clock
    ) -> None:
        from skerry.client.grpc.calls import interceptors
        from skerry.client.grpc.telling import Peer
        from skerry.client.policy import default_policy

        self._network = network
        self._service = service
        self._clock = clock
        around = interceptors(
            Peer(service, host_of(service), 80),
            policy=policy or default_policy(service, clock=clock),
            safe=safe,
            route=self,
            clock=clock,
        )
        self._one_for_one: Any = around[0]

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = None,
    ) -> Callable[..., Awaitable[Any]]:
        """A method with one request and one answer."""
        from grpc.aio import ClientCallDetails

        async def sent(details: Any, request: Any) -> Any:
            body = request if request_serializer is None else request_serializer(request)
            # a task, for the interceptor waits for it and so does who called it
            return asyncio.ensure_future(self._sent(method, body, details, response_deserializer))

        def call(request: Any, *, timeout: float | None = None, metadata: Any = None, **_: Any) -> Awaitable[Any]:
            details = ClientCallDetails(method, timeout, metadata, None, None)

            async def whole() -> Any:
                return await (await self._one_for_one.intercept_unary_unary(sent, details, request))

            return asyncio.ensure_future(whole())

        return call

    def unary_stream(self, method: str, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise _no_stream(method)

    def stream_unary(self, method: str, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise _no_stream(method)

    def stream_stream(self, method: str, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise _no_stream(method)

    async def __aenter__(self) -> InProcessChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """There is nothing to close."""

    async def place(self, continuation: Any) -> Place:
        """Where calls go, if there is somebody to talk to: the `Route` of the interceptors."""
        from skerry.client.grpc.connection import Place

        if self._network.process(self._service, address_of(self._service)).life is None:
            raise Unreachable(self._service, "no connection could be made: the service is down")
        return Place(continuation)

    async def _sent(self, method: str, body: bytes, details: Any, deserialize: Callable[[bytes], Any] | None) -> Any:
        import grpc

        network, route = self._network, f"GRPC {method}"
        process = network.process(self._service, address_of(self._service))
        caller = LIFE.get()
        if caller is not None and caller.reached(f"before {route} to {process.name}"):
            await never()
        try:
            with network.call_of(caller):
                async with asyncio.timeout(details.timeout):
                    answer = await self._carried(process, method, body, details)
        except TimeoutError:
            raise _failed(grpc.StatusCode.DEADLINE_EXCEEDED, "the time for this call is over") from None
        if caller is not None and caller.reached(f"after {route} to {process.name}"):
            await never()
        return answer if deserialize is None else deserialize(answer)

    async def _carried(self, process: Process, method: str, body: bytes, details: Any) -> bytes:
        import grpc

        struck = self._network.struck(process, f"GRPC {method}")
        await self._network.held_up(struck)
        metadata = tuple(details.metadata or ())
        answer = await _answered(process, method, body, metadata, details.timeout, self._clock)
        if "duplicate" in struck:
            await _answered(process, method, body, metadata, details.timeout, self._clock)
        if "lost_reply" in struck:
            raise _failed(grpc.StatusCode.UNAVAILABLE, "the reply was lost, as the test ordered")
        if isinstance(answer, _Refusal):
            raise _failed(answer.code, answer.details, answer.trailing)
        return answer


@dataclass(frozen=True, slots=True)
class _Refusal:
    code: Any
    details: str
    trailing: Metadata


class _Call:
    """As much of a `ServicerContext` as one answer needs."""

    def __init__(self, metadata: Metadata, timeout: float | None, clock: Clock) -> None:
        self._metadata = metadata
        self._until = None if timeout is None else clock.monotonic() + timeout
        self._clock = clock
        self._code: Any = None
        self._details = ""
        self._trailing: Metadata = ()

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    def time_remaining(self) -> float | None:
        return None if self._until is None else max(0.0, self._until - self._clock.monotonic())

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        self._trailing = trailing_metadata

    def set_code(self, code: Any) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._details = details

    def code(self) -> Any:
        return self._code

    @property
    def refusal(self) -> _Refusal | None:
        """What a handler said by `abort`, or by `set_code` and then returned all the same."""
        fine = self._code is None or self._code.name == "OK"
        return None if fine else _Refusal(self._code, self._details, self._trailing)

    async def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        """Nobody asks for it."""

    async def abort(self, code: Any, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        from grpc.aio import AbortError

        self._code, self._details = code, details
        self._trailing = trailing_metadata or self._trailing
        raise AbortError


async def _answered(
    process: Process, method: str, body: bytes, metadata: Metadata, limit: float | None, clock: Clock
) -> bytes | _Refusal:
    import grpc

    life = process.life
    if life is None:
        raise _failed(grpc.StatusCode.UNAVAILABLE, "the service is down")
    call = _Call(metadata, limit, clock)
    answer = await life.run(LIFE.get(), lambda: _handled(life, method, body, metadata, call))
    if answer is None:
        raise _failed(grpc.StatusCode.UNAVAILABLE, "the service ended with the call in hand")
    return answer  # type: ignore[no-any-return]


async def _handled(life: Life, method: str, body: bytes, metadata: Metadata, call: _Call) -> bytes | _Refusal:
    import grpc
    from grpc.aio import AbortError

    server = life.service._grpc
    details = _Details(method, tuple(metadata))

    async def find(_details: Any) -> Any:
        found = (handler.service(details) for handler in (server._handlers if server is not None else ()))
        return next((each for each in found if each is not None), None) or _registered(server, method)

    handler: Any = await find(details) if server is None else await server._border.intercept_service(find, details)
    if handler is None or handler.unary_unary is None:
        return _Refusal(grpc.StatusCode.UNIMPLEMENTED, f"there is no method {method} with one answer here", ())
    request = body if handler.request_deserializer is None else handler.request_deserializer(body)
    try:
        answer = await handler.unary_unary(request, call)
    except AbortError:
        return call.refusal or _Refusal(grpc.StatusCode.UNKNOWN, "", ())
    if call.refusal is not None:
        return call.refusal
    return answer if handler.response_serializer is None else handler.response_serializer(answer)  # type: ignore[no-any-return]


@dataclass(slots=True)
class _Details:
    method: str
    invocation_metadata: tuple[tuple[str, str | bytes], ...]


def _registered(server: Any, method: str) -> Any:
    service, _, name = method.lstrip("/").rpartition("/")
    return None if server is None else server._methods.get(service, {}).get(name)


def _failed(code: Any, details: str, trailing: Metadata = ()) -> Exception:
    from grpc.aio import AioRpcError
    from grpc.aio import Metadata as Sent

    return AioRpcError(code, Sent(), Sent(*trailing), details)


def _no_stream(method: str) -> ConfigurationError:
    return ConfigurationError(
        f"{method}: in one process a call over gRPC has one request and one answer; use real servers"
    )


async def _nowhere(**_: float) -> None:
    """It listens on no port."""
