"""Calls that tell of each attempt: a span below the request's own, whose place in the trace the service is told.

Only while somebody wants spans is a call made of one of these kinds; all others know nothing of it.

Source: OpenTelemetry semantic conventions 1.45.0, HTTP client spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from skerry.errors import ConnectionLost, StatusError
from skerry.gateway.engine import heads
from skerry.gateway.engine.call import Call
from skerry.gateway.engine.strangled import StrangledCall
from skerry.telemetry.conventions import MAX_PATH, request_of, span_name
from skerry.telemetry.spans import tell

if TYPE_CHECKING:
    from skerry.gateway.engine.exchange import Exchange
    from skerry.gateway.engine.plan import Choice, Plan
    from skerry.gateway.engine.upstream import Pool, Upstream


class Attempt:
    """One that is under way; `sent` counts how often the request went out."""

    __slots__ = ("begun", "own", "parent", "sent", "status")

    def __init__(self, own: str, parent: str, begun: float, sent: int) -> None:
        self.own: str = own
        self.parent: str = parent
        self.begun: float = begun
        self.sent: int = sent
        self.status: int = 0


class ToldCall(Call):
    """A call that tells of its attempts: each from looking for a connection to the end of the answer, or to what went wrong."""

    __slots__ = ()

    def __init__(self, exchange: Exchange, plan: Plan, choice: Choice) -> None:
        super().__init__(exchange, plan, choice)
        self._told: Attempt | None = None
        self._sent = 0

    async def _open(self, pool: Pool) -> None:
        self._attempt_begins()
        await super()._open(pool)

    def _send(self, upstream: Upstream, now: float, *, fresh: bool = False) -> None:
        if not fresh:  # else it began with looking for the connection
            self._attempt_begins()
        exchange, told = self._exchange, self._told
        assert told is not None
        exchange.context = told.own
        try:
            super()._send(upstream, now, fresh=fresh)
        finally:
            exchange.context = told.parent

    def _tell(self, status: int) -> None:
        if self._told is not None:
            self._told.status = status
        super()._tell(status)

    def _lost_ticket(self, error: BaseException) -> None:
        if self._told is not None and isinstance(error, StatusError):
            self._told.status = error.status
        self._attempt_over(type(error).__name__)
        super()._lost_ticket(error)

    def _leave(self) -> None:
        self._attempt_over("")
        super()._leave()

    def _attempt_begins(self) -> None:
        self._attempt_over(
            ConnectionLost.__name__
        )  # a connection that had waited was closed just then: it goes out once more
        worker = self._exchange.worker
        around = worker.trace(self._exchange)
        own = f"{around[:36]}{worker.clock.random_bytes(8).hex()}{around[52:]}"
        self._sent += 1
        self._told = Attempt(own, around, worker.now(), self._sent)

    def _attempt_over(self, error: str) -> None:
        exchange, pool, target = self._exchange, self._pool, self.target
        told, self._told = self._told, None
        if told is None or pool is None or target is None:
            return
        method, worker = exchange.head.method, exchange.worker
        attributes = request_of(method) | {
            "server.address": pool.host,
            "server.port": pool.port,
            "url.full": f"{pool.url}{heads.path_towards(exchange)}"[:MAX_PATH],
            "service.peer.name": target.service,
        }
        if told.sent > 1:
            attributes["http.request.resend_count"] = told.sent - 1
        if told.status:
            attributes["http.response.status_code"] = told.status
        tell(
            span_name(method, ""),
            "client",
            own=told.own,
            parent=told.parent,
            seconds=worker.now() - told.begun,
            error=str(told.status) if told.status >= 400 else error,
            attributes=attributes,
            clock=worker.clock,
        )


class ToldStrangledCall(ToldCall, StrangledCall):
    """The same of a call whose first attempt counts for its side."""

    __slots__ = ()


TOLD: Final[Mapping[type[Call], type[ToldCall]]] = {Call: ToldCall, StrangledCall: ToldStrangledCall}
