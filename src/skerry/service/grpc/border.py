"""The service's border for gRPC: the caller's context and deadline, shedding, errors; the twin of `service.border`."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio

from skerry import context
from skerry.clock import Clock
from skerry.context import CallContext
from skerry.service.framework import unexpected
from skerry.service.grpc.health import HEALTH
from skerry.service.grpc.status import told
from skerry.service.problem import Problem, of
from skerry.service.shedding import Shedding
from skerry.signals import HUB, RequestFailed, RpcServed, emit
from skerry.telemetry.conventions import SERVER_FAULTS, rpc_of
from skerry.telemetry.spans import span, wanted

_MAKE: dict[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler[Any, Any]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
_log = logging.getLogger("skerry.service")


class GrpcBorder(grpc.aio.ServerInterceptor):
    """Stands around every method but those of health.

    `timeout` (seconds) bounds a call whose caller names no time; at the deadline the handler is cancelled and the caller gets
    DEADLINE_EXCEEDED. What `shedding` does not take is answered UNAVAILABLE before the handler sees it. skerry's errors become
    statuses (see `status.told`); a handler's own `abort` passes unchanged.
    """

    def __init__(self, service: str, *, timeout: float, shedding: Shedding, clock: Clock) -> None:
        self._service = service
        self._timeout = timeout
        self._shedding = shedding
        self._clock = clock

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a method, with this border around it."""
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith(f"/{HEALTH}/"):
            return handler  # type: ignore[no-any-return]
        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        answer = _answers if handler.response_streaming else _answer

        async def serve(request: Any, call: Any) -> Any:
            return await self._serve(method, call, lambda: answer(behaviour, request, call))

        async def stream(request: Any, call: Any) -> AsyncIterator[Any]:
            # A generator, for that is what other interceptors take a stream to be; its answers are written, and none is left.
            for rest in await serve(request, call) or ():
                yield rest

        make = _MAKE[handler.request_streaming, handler.response_streaming]
        served = stream if handler.response_streaming else serve
        return make(served, handler.request_deserializer, handler.response_serializer)

    async def _serve(self, method: str, call: Any, act: Callable[[], Awaitable[Any]]) -> Any:
        name = method.lstrip("/")
        attributes = rpc_of(name) if wanted() else None
        with self._told(
            name, call, span(name, "server", self._context(call), attributes=attributes, clock=self._clock)
        ):
            limit = asyncio.timeout(context.current().remaining(self._clock))
            try:
                async with limit:
                    return await self._admitted(act)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                timed_out = isinstance(error, TimeoutError) and limit.expired()
                problem = self._problem(method, error, timed_out=timed_out)
            return await call.abort(*told(problem))

    @contextmanager
    def _told(self, method: str, call: Any, work: span) -> Iterator[None]:
        """Inside the block the call has its own place in its trace; what it ended with is told."""
        cancelled, code = True, ""
        try:
            with work, context.use(work.context):
                try:
                    yield
                    cancelled = False
                except Exception:
                    cancelled = False
                    raise
                finally:
                    code = "CANCELLED" if cancelled else _code(call)
                    work.error = code if code in SERVER_FAULTS else ""
                    if wanted():
                        work.attributes["rpc.status_code"] = code
        finally:
            if HUB.measured:
                emit(RpcServed(service=self._service, method=method, code=code, seconds=work.seconds))

    async def _admitted(self, act: Callable[[], Awaitable[Any]]) -> Any:
        """Hand the call to its handler, when its turn comes."""
        await self._shedding.enter()
        began = self._clock.monotonic()
        answered = False
        try:
            answer = await act()
            answered = True
        finally:
            self._shedding.leave(self._clock.monotonic() - began, answered=answered)
        return answer

    def _context(self, call: Any) -> CallContext:
        """What came along. Of skerry's time-out and gRPC's own the earlier holds."""
        headers = {name: value for name, value in call.invocation_metadata() or () if isinstance(value, str)}
        left: float | None = call.time_remaining()
        default = self._timeout if left is None else min(max(0.0, left), context.MAX_TIMEOUT)
        ambient = context.extract(headers, clock=self._clock, default=default)
        return ambient.until(self._clock.monotonic() + default if left is not None else None)

    def _problem(self, method: str, error: Exception, *, timed_out: bool) -> Problem:
        if timed_out:
            return Problem(504, "timed_out", "The time for this call is over; what it began may have taken effect.")
        problem = of(error)
        if problem is not None:
            return problem
        emit(RequestFailed(service=self._service, method="gRPC", route=method, error=type(error).__name__))
        _log.error("an unexpected error in gRPC %s", method, exc_info=error)
        return unexpected()


def _code(call: Any) -> str:
    """The name of what a call ended with: gRPC has it as a number, or as what the handler gave; nothing is OK."""
    code = call.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return next((each.name for each in grpc.StatusCode if each.value[0] == code), "OK")


async def _answer(behaviour: Any, request: Any, call: Any) -> Any:
    answer = behaviour(request, call)
    if not inspect.isawaitable(answer):
        raise TypeError(f"{behaviour!r} is not async: it would hold up every other call")
    return await answer


async def _answers(behaviour: Any, request: Any, call: Any) -> None:
    """Either style of a handler: an async generator, or a coroutine that writes."""
    answers = behaviour(request, call)
    if inspect.isawaitable(answers):
        await answers
        return
    async for each in answers:
        await call.write(each)
