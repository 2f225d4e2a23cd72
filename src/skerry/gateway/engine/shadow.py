"""Mirrors: copies of requests whose answers nobody sees. They delay nothing, and are the first to be left out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from skerry.gateway.engine import heads
from skerry.gateway.wire import BadMessage, ReplyHead, chunk
from skerry.gateway.wire.request import CHUNKED

if TYPE_CHECKING:
    from skerry.gateway.engine.exchange import Exchange
    from skerry.gateway.engine.plan import Plan
    from skerry.gateway.engine.upstream import Pool, Upstream
    from skerry.gateway.engine.worker import Worker

MAX_SHADOWS: Final = 64
"""At once in one worker; beyond it requests are not mirrored."""
PATIENCE: Final = 5.0
"""Seconds for the whole of one."""
_LAST: Final = b"0\r\n\r\n"


def cast_shadows(exchange: Exchange, plan: Plan) -> None:
    """Send copies of a whole request where the route says. One whose body is too long to be kept is not mirrored."""
    worker = exchange.worker
    if not exchange.kept_whole:
        return
    for share, target in plan.mirrors:
        if target.cluster is None or worker.shadows >= MAX_SHADOWS or worker.clock.random() >= share:
            continue
        pool = target.cluster.pick()
        if pool is None:
            continue
        data = heads.towards(exchange, target, pool, PATIENCE)
        body = exchange.kept or []
        if exchange.head.length == CHUNKED:
            body = [*(chunk(piece) for piece in body), _LAST]
        Shadow(worker, pool, b"".join([data, *body]), exchange.head.method)


class Shadow:
    """One copy on its way."""

    __slots__ = ("_key", "_over", "_slot", "_task", "_upstream", "_worker")

    def __init__(self, worker: Worker, pool: Pool, data: bytes, method: str) -> None:
        self._worker = worker
        self._over = False
        self._upstream: Upstream | None = None
        self._key = next(worker.numbers)
        self._slot = worker.wheel.slot(worker.now() + PATIENCE)
        self._slot[self._key] = self
        worker.shadows += 1
        self._task: asyncio.Task[None] = worker.loop.create_task(self._send(pool, data, method))

    async def _send(self, pool: Pool, data: bytes, method: str) -> None:
        try:
            upstream = pool.take() or await pool.open()
        except OSError:
            self._end()
            return
        self._upstream = upstream
        upstream.start(self, method)
        upstream.sent = True
        upstream.transport.write(data)

    def cancel(self) -> None:
        """Its time is over."""
        self._task.cancel()
        if self._upstream is not None:
            self._upstream.abandon()
        self._end()

    def reply_begins(self, upstream: Upstream, head: ReplyHead) -> None:
        """Nobody sees it."""

    def upgraded(self, upstream: Upstream, head: ReplyHead) -> None:  # noqa: ARG002
        upstream.abandon()
        self._end()

    def reply_piece(self, piece: bytes) -> None:
        """Nobody sees it."""

    def reply_ends(self) -> None:
        self._end()

    def flush(self) -> None:
        """Nothing is held back."""

    def upstream_lost(self, *, began: bool, why: BadMessage | None) -> None:  # noqa: ARG002
        self._end()

    def upstream_full(self, *, full: bool) -> None:
        """All of it was written at once: it is small."""

    def _end(self) -> None:
        self._upstream = None
        self._slot.pop(self._key, None)
        if not self._over:
            self._over = True
            self._worker.shadows -= 1
