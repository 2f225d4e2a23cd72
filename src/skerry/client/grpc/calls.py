"""The interceptors of a channel: each of gRPC's four kinds of call, within the policy."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import grpc.aio
from grpc.aio import AioRpcError

from skerry import context
from skerry.client.grpc.answers import Answer, Answers
from skerry.client.grpc.connection import Continuation, Place, Route
from skerry.client.grpc.requests import Reading, Requests
from skerry.client.grpc.status import told
from skerry.client.grpc.telling import Attempt, Peer
from skerry.client.plan import CARRIED, KEY_HEADER
from skerry.client.policy import UNSENT, lost, only_unsent
from skerry.client.telling import around_attempt
from skerry.clock import Clock
from skerry.context import CallContext
from skerry.errors import AttemptTimeout, CallError, SkerryError
from skerry.resilience import Policy, deadline
from skerry.resilience.timeout import ran_out

GRACE = 0.1
"""Seconds. When gRPC or the service says so close to a limit of ours that time is over, ours may say which limit it was."""
_NAME, _TEXT = re.compile(r"[0-9a-z_.-]+"), re.compile(r"[ -~]*")
"""Metadata as they may be sent: a name, and a value where the name does not end in -bin (gRPC, PROTOCOL-HTTP2.md)."""


def interceptors(
    peer: Peer, *, policy: Policy, safe: frozenset[str], route: Route, clock: Clock
) -> Sequence[grpc.aio.ClientInterceptor]:
    """One for each kind of call: gRPC takes an object for one kind only."""
    calls = _Calls(peer, policy, safe, route, clock)
    return [_OneForOne(calls), _ManyForOne(calls), _OneForMany(calls), _ManyForMany(calls)]


@dataclass(frozen=True, slots=True)
class _Limit:
    """Until when a stream may last: for it gRPC watches, since the policy ends with the first answer."""

    begun: float
    until: float | None
    imposed: bool


class _Calls:
    """What the kinds of call have in common."""

    def __init__(self, peer: Peer, policy: Policy, safe: frozenset[str], route: Route, clock: Clock) -> None:
        self._peer = peer
        self._service = peer.service
        self._policy = policy
        self._safe = safe
        self._route = route
        self._clock = clock

    async def answered(self, continuation: Continuation, details: Any, request: Any) -> Any:
        """A call with one request and one answer, when the answer is there."""
        self._check(details.metadata)
        repeatable = self._repeatable(details)
        marked = repeatable or context.current().retries_above

        before: list[CallContext] = []
        maybe_arrived = False

        async def attempt() -> Any:
            nonlocal maybe_arrived
            around, resent = around_attempt(before), len(before)
            with Attempt(self._peer, details.method, around, resent=resent, clock=self._clock) as work:
                before.append(work.context)
                place = await self._route.place(continuation)
                try:
                    call = await place.send(self._going(details, work.context, marked=marked), request)
                    await call
                    work.code = "OK"
                except AioRpcError as error:
                    work.code, maybe_arrived = error.code().name, True
                    raise await self._judged(error, place) from error
                except BaseException as error:
                    place.ended(error)
                    maybe_arrived = True
                    raise
                place.ended()
                return call

        policy = self._policy if repeatable else only_unsent(self._policy)
        with self._within(details.timeout):
            try:
                return await policy.call(attempt)
            except UNSENT as error:
                if maybe_arrived:
                    raise lost(self._service, error) from error
                raise

    async def begun(
        self, continuation: Continuation, details: Any, requests: Any, answer: Reading
    ) -> tuple[Any, asyncio.Task[Any], _Limit]:
        """A stream that was sent, and what its `answer` will be. The policy holds until then, in a task of its own, because the
        caller may still have requests to write.
        """
        self._check(details.metadata)
        sent: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        marked = context.current().retries_above

        work = Attempt(self._peer, details.method, context.current(), ambient=False, clock=self._clock)

        async def attempt() -> Any:
            place = await self._route.place(continuation)
            whole = replace(work.context, deadline=limit.until, retries_above=context.current().retries_above)
            try:
                call = await place.send(self._going(details, whole, marked=marked), requests)
            except BaseException as error:
                place.ended(error)
                raise
            work.follow(call, then=place.closed)
            sent.set_result(call)
            return await self._first(call, place, answer)

        with self._within(details.timeout):
            limit = self._limit()
            answering = asyncio.create_task(only_unsent(self._policy).call(attempt))
        answering.add_done_callback(_seen)
        answering.add_done_callback(work.unless_sent)
        try:
            await asyncio.wait({sent, answering}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            answering.cancel()
            raise
        return sent.result() if sent.done() else await answering, answering, limit

    async def _first(self, call: Any, place: Place, answer: Reading) -> Any:
        """What a stream is awaited for within the policy."""
        try:
            first = await answer(call)
        except AioRpcError as error:
            raise await self._judged(error, place) from error
        except BaseException as error:
            place.ended(error)
            call.cancel()
            raise
        place.answered()
        return first

    async def messages(self, call: Any, first: asyncio.Task[Any], limit: _Limit, answer: Reading) -> AsyncIterator[Any]:
        """The answers of a stream, its errors in skerry's words."""
        message = await first
        while message is not grpc.aio.EOF:
            yield message
            try:
                message = await answer(call)
            except AioRpcError as error:
                raise self._ended(error, limit) from error

    def _check(self, metadata: Any) -> None:
        """Raises `CallError` for what gRPC would not send, and tell of as if the service had failed."""
        for name, value in metadata or ():
            text = value if isinstance(value, str) else value.decode("latin-1")
            if not _NAME.fullmatch(name) or not (name.endswith("-bin") or _TEXT.fullmatch(text)):
                raise CallError(self._service, f"the metadata {name[:80]!r} are not valid in gRPC, so nothing was sent")

    def _repeatable(self, details: Any) -> bool:
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        return method in self._safe or any(name.lower() == KEY_HEADER for name, _ in details.metadata or ())

    def _within(self, timeout: float | None) -> AbstractContextManager[CallContext | None]:
        return nullcontext() if timeout is None else deadline(max(0.0, timeout), clock=self._clock)

    def _going(self, details: Any, around: CallContext, *, marked: bool) -> Any:
        """What gRPC is told of the call. `marked`: layers below may take it that a failure is repeated here, or further out."""
        carried: dict[str, str] = {}
        context.inject(carried, around, clock=self._clock)
        if not marked:
            carried.pop(context.RETRIED_HEADER, None)
        own = [(name, value) for name, value in details.metadata or () if name.lower() not in CARRIED]
        metadata = grpc.aio.Metadata(*own, *carried.items())
        return details._replace(timeout=around.remaining(self._clock), metadata=metadata)

    async def _judged(self, error: AioRpcError, place: Place) -> SkerryError:
        """The error of an attempt that gRPC ended."""
        ended = told(self._service, error)
        place.ended(ended)
        left = context.current().remaining(self._clock)
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and left is not None and left < GRACE:
            for wait in (left + GRACE, GRACE, GRACE):  # an event loop that was held up may owe the policy its turn
                await self._clock.sleep(wait)  # the policy ends this in between, and tells whose limit it was
        return ended

    def _ended(self, error: AioRpcError, limit: _Limit) -> SkerryError:
        """The error of a stream that gRPC ended after its first answer."""
        ended = told(self._service, error)
        if not isinstance(ended, AttemptTimeout) or limit.until is None:
            return ended
        return ran_out(self._service, scope="total", seconds=limit.until - limit.begun, imposed=limit.imposed)

    def _limit(self) -> _Limit:
        now, around = self._clock.monotonic(), context.current().deadline
        own = None if self._policy.total is None else now + self._policy.total
        imposed = around is not None and (own is None or around < own)
        return _Limit(now, around if imposed else own, imposed)


class _OneForOne(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._calls.answered(continuation, client_call_details, request)


class _ManyForOne(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        call, first, limit = await self._calls.begun(continuation, client_call_details, request, _next)
        return Answers(call, self._calls.messages(call, first, limit, _next))


class _OneForMany(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        requests = Requests(request_iterator)
        whole = requests.reading(_whole)
        call, answering, _ = await self._calls.begun(continuation, client_call_details, requests, whole)
        return Answer(call, answering)


class _ManyForMany(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        requests = Requests(request_iterator)
        next_one = requests.reading(_next)
        call, first, limit = await self._calls.begun(continuation, client_call_details, requests, next_one)
        return Answers(call, self._calls.messages(call, first, limit, next_one))


async def _next(call: Any) -> Any:
    return await call.read()


async def _whole(call: Any) -> Any:
    return await call


def _seen(answering: asyncio.Task[Any]) -> None:
    """Whoever reads the answer gets its error; a caller that never does shall not be told of by the event loop."""
    if not answering.cancelled():
        answering.exception()
