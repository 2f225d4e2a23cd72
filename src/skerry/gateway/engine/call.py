"""A request on its way to a service: attempts, and the policy around them, in the order that `Policy` has.

The total time-out stands around everything; then come the limit on requests at once, the retries, the breaker, the time-out of an
attempt.
"""

from __future__ import annotations

import asyncio
import math
from asyncio import CancelledError
from typing import TYPE_CHECKING, Final

from skerry.errors import AttemptTimeout, CircuitOpen, ConnectionLost, Refused, SkerryError, StatusError, Unreachable
from skerry.gateway.engine import heads
from skerry.gateway.engine.shadow import cast_shadows
from skerry.gateway.wire import BadMessage, ReplyHead, chunk
from skerry.gateway.wire.request import CHUNKED
from skerry.service import problem
from skerry.service.problem import Problem
from skerry.signals import RetryPlanned, emit

if TYPE_CHECKING:
    from skerry.gateway.engine.exchange import Exchange
    from skerry.gateway.engine.plan import Choice, Plan, Target
    from skerry.gateway.engine.upstream import Pool, Upstream
    from skerry.resilience._wheel import Slot
    from skerry.resilience.breaker import Ticket

SHORTEST_WAIT: Final = 1.0
"""Seconds. Calls cut short count against the service behind a route: a stranger must not be able to open its circuit."""
_LAST: Final = b"0\r\n\r\n"
_SOON: Final = 0.011
"""Seconds by which an alarm may ring early or late: one slot of the wheel."""


class Call:
    """Attempts one after the other until one gives an answer to pass on, or no more are allowed."""

    __slots__ = (
        "_again",
        "_choice",
        "_deadline",
        "_exchange",
        "_failed",
        "_inside",
        "_key",
        "_last",
        "_plan",
        "_pool",
        "_raced",
        "_sent",
        "_since",
        "_slot",
        "_task",
        "_ticket",
        "_told",
        "attempts",
        "sending",
        "target",
        "upstream",
    )

    def __init__(self, exchange: Exchange, plan: Plan, choice: Choice) -> None:
        self._exchange = exchange
        self._plan = plan
        self._choice = choice
        self.sending: bool = False
        """Whether the request's body goes straight on to a service."""
        self.upstream: Upstream | None = None
        self._again: asyncio.TimerHandle | None = None
        self.attempts: int = 0
        """How many were begun."""
        self._deadline = math.inf
        self._failed: bool | None = False
        self._inside = False
        self._key = 0
        self._last: SkerryError | None = None
        """Why the attempt before this one failed."""
        self._pool: Pool | None = None
        self._raced = False
        self._since = 0.0
        self._slot: Slot | None = None
        self.target: Target | None = None
        """Where the last attempt went."""
        self._task: asyncio.Task[None] | None = None
        self._ticket: Ticket = None

    @property
    def service(self) -> str:
        """The service of the last attempt."""
        return "" if self.target is None else self.target.service

    def start(self, since: float = 0.0) -> None:
        """Begin as soon as the route has a place for it; its time runs from `since`, or from when the request came."""
        exchange, plan = self._exchange, self._plan
        now = since or exchange.started
        total = plan.policy.total
        if exchange.head.context:
            total = exchange.worker.patience(exchange, total)
        if total is not None:
            self._deadline = now + total
        plan.budget.deposit(now)
        if plan.limit.enter():
            self._inside = True
            self._try(now)
        else:
            self._set_alarm(self._deadline)
            self._task = exchange.worker.loop.create_task(self._wait())

    async def _wait(self) -> None:
        try:
            await self._plan.limit.wait(self._plan.route.name, self._plan.route.priority)
        except SkerryError as error:
            self._task = None
            self._refuse(error)
            return
        self._task, self._inside = None, True
        if self._exchange.over:
            self._leave()
        else:
            self._try(self._exchange.worker.now())

    def _try(self, now: float) -> None:
        """One attempt."""
        worker = self._exchange.worker
        self.attempts += 1
        self._since = now
        target = self.target = self._pick()
        if target is None or target.cluster is None:
            self._end(Problem(500, "no_backend", "This path has no service behind it."))
            return
        breaker = target.breaker
        if breaker is not None:
            window = breaker.counting
            if window is None or now >= window.turn:
                try:
                    self._ticket = breaker.admit(breaker.name, now)
                except CircuitOpen as error:
                    self._unavailable(self._last or error)
                    return
            else:
                self._ticket = window
        pool = self._pool = target.cluster.pick()
        if pool is None:
            self._lost_ticket(CancelledError())
            self._unavailable(
                Problem(503, "no_instance", "No instance of the service behind this path is known right now.")
            )
            return
        upstream = pool.take()
        if upstream is None:
            self._arm(now)
            self._task = worker.loop.create_task(self._open(pool))
        else:
            self._send(upstream, now)

    def _pick(self) -> Target | None:
        """Where this attempt goes."""
        choice = self._choice
        if choice.only is not None:
            return choice.only
        return choice.pick(None if choice.sticky is None else heads.sticky_key(choice.sticky, self._exchange.head))

    async def _open(self, pool: Pool) -> None:
        try:
            upstream = await pool.open()
        except OSError as error:
            self._task = None
            self._attempt_failed("connect", Unreachable(self.service, f"no connection ({type(error).__name__})"))
            return
        self._task = None
        if self._exchange.over:
            pool.give_back(upstream)
        else:
            self._send(upstream, self._exchange.worker.now(), fresh=True)

    def _send(self, upstream: Upstream, now: float, *, fresh: bool = False) -> None:
        exchange, target = self._exchange, self.target
        assert target is not None
        head = exchange.head
        self.upstream = upstream
        self._raced = self._raced or fresh
        upstream.start(self, head.method)
        data = heads.towards(exchange, target, upstream.pool, self._deadline - now)
        if exchange.kept:
            body = [chunk(piece) for piece in exchange.kept] if head.length == CHUNKED else exchange.kept
            data = b"".join([data, *body])
        if exchange.body_done:
            upstream.sent = True
            if head.length == CHUNKED:
                data += _LAST
            self._arm(now)
        else:
            self.sending = True
            self._set_alarm(self._deadline)
        upstream.transport.write(data)
        if not exchange.body_done:
            exchange.client.resume()
        elif self._plan.mirrors and self.attempts == 1:
            cast_shadows(exchange, self._plan)

    # The request's body.

    def body_piece(self, piece: bytes) -> None:
        """Send a piece on, if it is known where to; else it is kept."""
        upstream = self.upstream
        if upstream is not None and self.sending:
            upstream.transport.write(chunk(piece) if self._exchange.head.length == CHUNKED else piece)

    def body_ends(self) -> None:
        """It is whole: from here the service has the time of an attempt."""
        upstream = self.upstream
        if upstream is not None and self.sending:
            self.sending = False
            if self._exchange.head.length == CHUNKED:
                upstream.transport.write(_LAST)
            upstream.sent = True
            if not self._exchange.replied:
                self._arm(self._exchange.worker.now())
        if self._plan.mirrors:
            cast_shadows(self._exchange, self._plan)

    # What the service's connection tells.

    def upstream_full(self, *, full: bool) -> None:
        client = self._exchange.client
        if full:
            client.pause()
        else:
            client.resume()

    def reply_begins(self, upstream: Upstream, head: ReplyHead) -> None:
        plan, exchange, target = self._plan, self._exchange, self.target
        assert target is not None
        status = head.status
        if status >= 500 and status in plan.policy.retry.statuses and self._may_try_again("status"):
            self._pass_over(upstream)
            failure = StatusError(self.service, status)
            self._lost_ticket(failure)
            self._pause(failure)
            return
        self._tell(status)
        location = None if plan.rewrite is None else heads.public_location(exchange, head, self._pool)
        exchange.reply(head, target.response, location=location)
        if exchange.client.full:
            upstream.transport.pause_reading()

    def _pass_over(self, upstream: Upstream) -> None:
        """Its answer is not the one to be passed on."""
        upstream.drain()
        self.upstream = None

    def _tell(self, status: int) -> None:
        """The breaker and the limit learn how the attempt ended."""
        target, ticket = self.target, self._ticket
        assert target is not None
        breaker = target.breaker
        self._ticket = None
        if status < 500:
            if breaker is not None and ticket is not None:
                if ticket is breaker.counting:
                    next(ticket.calls)
                else:
                    breaker.passed(ticket, None, self._since)
        else:
            self._failed = status in {503, 504}
            if breaker is not None:
                breaker.failed(ticket, StatusError(self.service, status), self._since)
        if self._pool is not None and not self._pool.alone:
            self._pool.told(failed=status >= 500)

    def reply_piece(self, piece: bytes) -> None:
        if self._exchange.tunnel is not None:
            self._exchange.client.send(piece)
        else:
            self._exchange.piece(piece)

    def reply_ends(self) -> None:
        self.upstream = None
        self._leave()
        self._exchange.end()

    def flush(self) -> None:
        exchange = self._exchange
        if exchange.tunnel is None:
            exchange.flush()
            if exchange.replied:
                self._set_alarm(exchange.worker.now() + self._quiet())

    def upgraded(self, upstream: Upstream, head: ReplyHead) -> None:
        exchange = self._exchange
        if exchange.head.upgrade != "websocket":
            upstream.abandon()
            self.upstream = None
            self._attempt_failed("reply", ConnectionLost(self.service, "changed the protocol unasked"))
            return
        self._tell(101)
        self._clear_alarm()
        exchange.open_tunnel(upstream, head)

    def upstream_lost(self, *, began: bool, why: BadMessage | None) -> None:
        self.upstream = None
        exchange = self._exchange
        if exchange.tunnel is not None:
            self._leave()
            exchange.close_tunnel()
            return
        if exchange.replied:
            self._lost_ticket(ConnectionLost(self.service, "the answer broke off"))
            self._leave()
            exchange.cut("connection_lost")
            return
        reused_and_raced = not began and why is None and not self._raced and self.attempts >= 1
        if reused_and_raced and exchange.kept_whole and exchange.repeatable:
            self._race_again()
            return
        error = ConnectionLost(self.service, "no answer came" if why is None else why.detail)
        self._attempt_failed("reset" if why is None else "reply", error)

    def _race_again(self) -> None:
        """The service closed a connection that had waited, just as the request was sent: nobody is to blame.

        So it goes out at once on a fresh one, once.
        """
        self._raced = True
        assert self._pool is not None
        self._task = self._exchange.worker.loop.create_task(self._open(self._pool))

    # What becomes of a failure.

    def _attempt_failed(self, kind: str, error: SkerryError) -> None:
        self._lost_ticket(error)
        self.sending = False
        if self._may_try_again(kind):
            self._pause(error)
            return
        self._failed = kind == "timeout"
        known = problem.of(error, what="The service behind this path")
        assert known is not None
        self._end(known)

    def _may_try_again(self, kind: str) -> bool:
        """Whether another attempt is allowed, its share of the budget taken."""
        exchange, retry = self._exchange, self._plan.policy.retry
        if self.attempts >= retry.attempts or exchange.replied or not exchange.kept_whole or kind == "reply":
            return False
        if kind != "connect" and not exchange.repeatable:
            return False
        now = exchange.worker.now()
        breaker = None if self.target is None else self.target.breaker
        if now >= self._deadline or (breaker is not None and breaker.refuses()):
            return False
        return self._plan.budget.withdraw(now)

    def _pause(self, error: SkerryError) -> None:
        exchange, retry = self._exchange, self._plan.policy.retry
        self._last = error
        longest = min(retry.longest, retry.backoff * 2.0 ** min(self.attempts - 1, 30))
        delay = longest * (0.5 + 0.5 * exchange.worker.clock.random())
        emit(RetryPlanned(policy=self._plan.route.name, attempt=self.attempts, delay=delay, error=type(error).__name__))
        self._set_alarm(self._deadline)
        self._again = exchange.worker.loop.call_later(delay, self._go_on)

    def _go_on(self) -> None:
        self._again = None
        now = self._exchange.worker.now()
        self._plan.budget.settle(now, used=True)
        self._try(now)

    def _unavailable(self, error: Exception) -> None:
        """Nothing was sent, for the service is known to be away."""
        self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        known = problem.of(error, what="The service behind this path")
        assert known is not None
        self._end(known)

    def _end(self, error: Problem) -> None:
        self._leave()
        self._exchange.fail(error)

    def _lost_ticket(self, error: BaseException) -> None:
        target, ticket, self._ticket = self.target, self._ticket, None
        if target is None:
            return
        if target.breaker is not None and ticket is not None:
            target.breaker.failed(ticket, error, self._since)
        if self._pool is not None and not isinstance(error, (CancelledError, Refused)):
            self._pool.told(failed=True)

    # Time.

    def _arm(self, now: float) -> None:
        attempt = self._plan.policy.attempt
        self._set_alarm(self._deadline if attempt is None else min(self._deadline, now + attempt))

    def _set_alarm(self, deadline: float) -> None:
        if self._slot is not None:
            self._slot.pop(self._key, None)
            self._slot = None
        if deadline != math.inf:
            worker = self._exchange.worker
            self._key = next(worker.numbers)
            slot = self._slot = worker.wheel.slot(deadline)
            slot[self._key] = self

    def _quiet(self) -> float:
        """Seconds in which nothing of an answer need come, once it has begun."""
        return max(self._exchange.worker.limits.body_timeout, self._plan.policy.total or 0.0)

    def _clear_alarm(self) -> None:
        if self._slot is not None:
            self._slot.pop(self._key, None)
            self._slot = None

    def cancel(self) -> None:
        """The alarm rang."""
        self._slot = None
        exchange = self._exchange
        if exchange.over:
            return
        if exchange.replied and exchange.client.full:  # it is the client that is slow, which is watched elsewhere
            self._set_alarm(exchange.worker.now() + self._quiet())
            return
        error = AttemptTimeout(f"{self.service or self._plan.route.name} did not answer in time")
        late = exchange.worker.now() >= self._deadline - _SOON
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._drop_upstream()
        if exchange.replied:
            self._lost_ticket(error)
            self._leave()
            exchange.cut("timed_out")
        elif late and not exchange.body_done and not exchange.client.waits:
            # the service had nothing to answer yet: it is the client that is late, and nobody may open a circuit that way
            exchange.spoiled(BadMessage(408, "body_too_slow", "The request's body did not arrive in time."))
        elif late:
            self._withdraw()
            self._lost_ticket(error)
            self._failed = True
            self._end(Problem(504, "timed_out", "The service behind this path did not answer in time."))
        else:
            self._attempt_failed("timeout", error)

    def gone(self) -> None:
        """The client has left, or was answered already: stop whatever is under way."""
        self._clear_alarm()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._withdraw()
        self._drop_upstream()
        self._lost_ticket(CancelledError())
        self._failed = None
        self._leave()

    def _withdraw(self) -> None:
        """No attempt follows the pause."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
            self._plan.budget.settle(self._exchange.worker.now(), used=False)

    def _drop_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.abandon()

    def _leave(self) -> None:
        if self._slot is not None:
            self._clear_alarm()
        if self._inside:
            self._inside = False
            plan = self._plan
            plan.limit.leave(self._exchange.worker.now() - self._exchange.started if plan.timed else 0.0, self._failed)
