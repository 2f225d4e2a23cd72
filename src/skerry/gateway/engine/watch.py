"""Whoever is slow on purpose: looked at a few times a second, so that it costs a request nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from skerry.gateway.engine.client import LINGER
from skerry.gateway.wire import BadMessage

if TYPE_CHECKING:
    from skerry.gateway.engine.client import Client
    from skerry.gateway.engine.worker import Worker

EVERY: Final = 0.25
"""Seconds."""
_RATE_SPAN: Final = 5.0
"""Seconds over which a body has to be quick enough."""


class Watch:
    """Looks at all clients of a worker, and closes those that take too long."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._timer: asyncio.TimerHandle | None = None
        self._bodies: dict[Client, _Body] = {}

    def start(self) -> None:
        """Begin."""
        self._timer = self._worker.loop.call_later(EVERY, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        worker = self._worker
        now = worker.now()
        for client in list(worker.clients):
            self._look_at(client, now)
        self._bodies = {client: body for client, body in self._bodies.items() if client in worker.clients}
        for cluster in worker.runtime.clusters.values():
            for pool in cluster.pools:
                pool.sweep(now)
        self._timer = worker.loop.call_later(EVERY, self._look)

    def _look_at(self, client: Client, now: float) -> None:
        limits = self._worker.limits
        waited = now - client.since
        if client.lingers:
            if waited > LINGER:
                client.transport.abort()
        elif client.full:
            if waited > limits.body_timeout:
                client.cut()
        elif client.exchange is None:
            if client.got and waited > limits.head_timeout:
                self._worker.refuse(
                    client, BadMessage(408, "head_too_slow", "The request's head did not arrive in time.")
                )
            elif not client.got and waited > limits.idle_timeout:
                client.linger()
        elif client.body_left and not client.waits:
            self._look_at_body(client, now)
        else:
            self._bodies.pop(client, None)

    def _look_at_body(self, client: Client, now: float) -> None:
        limits = self._worker.limits
        body = self._bodies.get(client)
        if body is None:
            self._bodies[client] = _Body(now, client.moved)
            return
        if client.moved != body.seen:
            body.seen, body.moved = client.moved, now
        span = now - body.since
        slow = span >= _RATE_SPAN and body.seen - body.had < limits.body_rate * span
        if slow or now - body.moved > limits.body_timeout:
            del self._bodies[client]
            assert client.exchange is not None
            client.exchange.spoiled(BadMessage(408, "body_too_slow", "The request's body did not arrive in time."))
        elif span >= _RATE_SPAN:
            body.since, body.had = now, body.seen


class _Body:
    """A request's body on its way: how much of it was there at `since`, how much when it last moved, and when that was."""

    __slots__ = ("had", "moved", "seen", "since")

    def __init__(self, now: float, had: int) -> None:
        self.since = self.moved = now
        self.had = self.seen = had
