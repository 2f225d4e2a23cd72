"""What is told of each attempt of a call over HTTP: a span, and how long it took, while anybody wants to know.

Source: OpenTelemetry semantic conventions 1.45.0, HTTP client spans and metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from skerry import context
from skerry.client.policy import BadReply
from skerry.client.transport import Request
from skerry.clock import Clock
from skerry.context import CallContext
from skerry.signals import HUB
from skerry.signals.calls import request_sent
from skerry.telemetry.conventions import MAX_PATH, METHODS, request_of, span_name
from skerry.telemetry.encoding import Value
from skerry.telemetry.spans import TRACING, report, span


def around_attempt(before: Sequence[CallContext]) -> CallContext:
    """What an attempt stands below, after those of its call that came `before`: the task's context.

    Where that has no trace it is the first attempt, so that a call is one trace however often it is repeated.
    """
    here = context.current()
    if here.traceparent or not before:
        return here
    first = before[0]
    return replace(here, traceparent=first.traceparent, tracestate=first.tracestate)


class Attempt:
    """One attempt to send `request`. Its `context` is what travels; `status` is set when the answer is there.

    The span has the URL without its query, in which people put what nobody else should read. `before` are the contexts of the
    attempts before it; its own is added.
    """

    __slots__ = (
        "_address",
        "_around",
        "_began",
        "_clock",
        "_port",
        "_request",
        "_resent",
        "_work",
        "context",
        "status",
    )

    def __init__(self, request: Request, address: str, port: int, *, before: list[CallContext], clock: Clock) -> None:
        self.status: int = 0
        self._request = request
        self._address = address
        self._port = port
        self._resent = len(before)
        self._clock = clock
        above = around_attempt(before)
        self._around = above
        self._work: span | None = None
        self._began: float | None = None
        if TRACING.tracer is not None:
            name = span_name(request.method, "")
            self._work = span(name, "client", above, attributes=self._asked(), clock=clock)
            self.context: CallContext = self._work.context
        else:
            self.context = above.child(clock)
            if HUB.traced or HUB.measured:
                self._began = clock.monotonic()
        before.append(self.context)

    def _asked(self) -> dict[str, Value]:
        request = self._request
        told: dict[str, Value] = {
            "http.request.method": request.method,
            "server.address": self._address,
            "server.port": self._port,
            "url.full": request.url.partition("?")[0][:MAX_PATH],
            "service.peer.name": request.service,
        }
        if request.method not in METHODS:
            told |= request_of(request.method)
        if self._resent:
            told["http.request.resend_count"] = self._resent
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BadReply):
            self.status = error.status
        work, began = self._work, self._began
        if work is None and began is None:
            return
        failed = "" if kind is None else kind.__name__
        if self.status:
            failed = str(self.status) if self.status >= 400 else failed
        if work is not None:
            self._answered(work.attributes)
            work.end(failed)
            seconds = work.seconds
        else:
            assert began is not None
            seconds = self._clock.monotonic() - began
            if HUB.traced and TRACING.tracer is None:
                self._tell(seconds, failed)
        if HUB.measured:
            asked = self._request
            HUB.emit(request_sent(asked.service, asked.method, self._address, self._port, self.status, seconds, failed))

    def _answered(self, told: dict[str, Value]) -> None:
        if self.status:
            told["http.response.status_code"] = self.status

    def _tell(self, seconds: float, failed: str) -> None:
        """Its span, where no tracer wanted one from the beginning."""
        told = self._asked()
        self._answered(told)
        own, parent, began = self.context.traceparent, self._around.traceparent, self._clock.now() - seconds
        report(span_name(self._request.method, ""), "client", own, parent, began, seconds, failed, told)
