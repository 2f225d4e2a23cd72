"""The service's HTTP border: health, limits on what comes in, the caller's context and deadline, unexpected errors."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from skerry import context
from skerry.clock import Clock
from skerry.health import HealthReport
from skerry.health.report import MEDIA_TYPE
from skerry.service.framework import unexpected
from skerry.service.problem import Answer, Problem, of
from skerry.service.server import ASGIApp, Message, Receive, Scope, Send
from skerry.service.shedding import Shedding
from skerry.signals import HUB, RequestFailed, RequestServed, emit
from skerry.signals.changes import request_served
from skerry.telemetry.conventions import MAX_PATH, METHODS, request_of, span_name
from skerry.telemetry.encoding import Value
from skerry.telemetry.metrics import CONTENT_TYPE
from skerry.telemetry.spans import span, wanted

MAX_DIGITS = 18
"""Of a Content-Length that is worth converting."""
_CLOSE = [(b"connection", b"close")]

_log = logging.getLogger("skerry.service")
_HEALTH = frozenset(["/health/live", "/health/ready", "/health/startup"])


class Owner(Protocol):
    """What the border asks of its service."""

    name: str

    async def readiness(self) -> HealthReport:
        """The report behind `/health/ready`."""
        ...

    def liveness(self) -> HealthReport:
        """The report behind `/health/live`."""
        ...

    def startup(self) -> HealthReport:
        """The report behind `/health/startup`."""
        ...

    def metrics(self) -> bytes | None:
        """The page behind `/metrics`; None where there is none, and the path is the application's."""
        ...


class Border:
    """An ASGI application in front of the user's.

    `max_body` is in bytes; a larger request is answered 413 without being read. `timeout` (seconds) bounds a request whose
    caller names no time; at the deadline the work is cancelled and the caller gets 504. What `shedding` does not take is
    answered before the application sees it; health and metrics always answer.
    """

    def __init__(
        self, owner: Owner, app: ASGIApp, *, max_body: int, timeout: float, shedding: Shedding, clock: Clock
    ) -> None:
        self._owner = owner
        self._app = app
        self._max_body = max_body
        self._timeout = timeout
        self._shedding = shedding
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] in _HEALTH and scope["method"] in {"GET", "HEAD"}:
            await _send(send, _health(await self._health_at(scope["path"])))
            return
        if scope["path"] == "/metrics" and scope["method"] == "GET" and (page := self._owner.metrics()) is not None:
            await _send(
                send, Answer(200, [(b"content-type", CONTENT_TYPE.encode()), (b"cache-control", b"no-store")], page)
            )
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        arriving = context.extract(headers, clock=self._clock, default=self._timeout)
        method, told = scope["method"], wanted()
        work = span(method, "server", arriving, attributes=_asked(scope) if told else None, clock=self._clock)
        with context.use(work.context):
            exchange = _Exchange(receive, send, self._max_body)
            status = 0
            with work:
                try:
                    problem, status = await self._answer(scope, exchange, headers), exchange.status
                    if problem is not None and not exchange.answered:
                        status = problem.status
                        trace_id = work.context.trace_id
                        await _send(send, problem.answer(instance=scope["path"], trace_id=trace_id))
                    if status >= 500:
                        work.error = str(status) if problem is None else problem.code
                finally:
                    route = _route(scope)
                    if told:
                        work.name = span_name(method, route)
                        _answered(work.attributes, route, status)
            if HUB.hears(RequestServed):
                scheme = scope.get("scheme", "http")
                emit(request_served(self._owner.name, method, route, status, work.seconds, scheme))

    async def _health_at(self, path: str) -> HealthReport:
        if path == "/health/ready":
            return await self._owner.readiness()
        return self._owner.liveness() if path == "/health/live" else self._owner.startup()

    async def _answer(self, scope: Scope, exchange: _Exchange, headers: dict[str, str]) -> Problem | None:
        """Let the application answer; what is left to say when it did not."""
        limit = asyncio.timeout(context.current().remaining(self._clock))
        try:
            self._demand_small(headers)
            async with limit:
                await self._serve(scope, exchange)
        except Exception as error:
            timed_out = isinstance(error, TimeoutError) and limit.expired()
            return self._problem(scope, error, timed_out=timed_out)
        return _too_large(self._max_body) if exchange.too_large else None

    async def _serve(self, scope: Scope, exchange: _Exchange) -> None:
        """Hand the request to the application, when its turn comes."""
        await self._shedding.enter()
        began = self._clock.monotonic()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            self._shedding.leave(self._clock.monotonic() - began, answered=exchange.status < 400)

    def _demand_small(self, headers: dict[str, str]) -> None:
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise Problem(400, "bad_request", "Content-Length: a number of bytes, please.", headers=_CLOSE)
        if len(length) > MAX_DIGITS or int(length) > self._max_body:
            raise _too_large(self._max_body)

    def _problem(self, scope: Scope, error: Exception, *, timed_out: bool) -> Problem:
        if timed_out:
            return Problem(504, "timed_out", "The time for this request is over; what it began may have taken effect.")
        problem = of(error)
        if problem is not None:
            return problem
        self._report(scope, error)
        return unexpected()

    def _report(self, scope: Scope, error: Exception) -> None:
        route = _route(scope)
        name = type(error).__name__
        emit(RequestFailed(service=self._owner.name, method=scope["method"], route=route, error=name))
        _log.error("an unexpected error in %s %s", scope["method"], route or "an unknown route", exc_info=error)


class _Exchange:
    """One request's two directions: counts the body, remembers whether an answer has begun.

    Frameworks answer 400 when a body cannot be read. Where it was too large that answer is dropped, and the border's 413 sent.
    """

    def __init__(self, receive: Receive, send: Send, max_body: int) -> None:
        self._receive = receive
        self._send = send
        self._max_body = max_body
        self._left = max_body
        self.answered = False
        self.status = 500  # until an answer has begun
        self.too_large = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.too_large = not self.answered
                raise _too_large(self._max_body)
        return message

    async def send(self, message: Message) -> None:
        if not self.too_large:
            self.answered = True
            self.status = message.get("status", self.status)
            await self._send(message)


def _asked(scope: Scope) -> dict[str, Value]:
    """What a span tells of a request from its beginning: not its query, in which people put what nobody else should read."""
    method = scope["method"]
    told: dict[str, Value] = {
        "http.request.method": method,
        "url.path": scope["path"][:MAX_PATH],
        "url.scheme": scope.get("scheme", "http"),
    }
    return told if method in METHODS else told | request_of(method)


def _answered(told: dict[str, Value], route: str, status: int) -> None:
    if route:
        told["http.route"] = route
    if status:
        told["http.response.status_code"] = status


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", ""))


def _too_large(limit: int) -> Problem:
    detail = f"The request body is larger than {limit} bytes."
    return Problem(413, "too_large", detail, headers=_CLOSE)


def _health(report: HealthReport) -> Answer:
    body = report.body()
    length = (b"content-length", b"%d" % len(body))
    kind = (b"content-type", MEDIA_TYPE.encode())
    return Answer(200 if report.ok else 503, [kind, length, (b"cache-control", b"no-store")], body)


async def _send(send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
    await send({"type": "http.response.body", "body": answer.body})
