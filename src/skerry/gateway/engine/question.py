"""A request of the gateway's own to a service, whose answer is read whole: nobody waits for it but a comparison."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from skerry.gateway.strangler.comparing import Answer
from skerry.gateway.wire import BadMessage, ReplyHead

if TYPE_CHECKING:
    from skerry.gateway.engine.upstream import Pool, Upstream


class Question:
    """Asked once. Of an answer longer than `most` bytes nothing is kept."""

    __slots__ = ("_began", "_future", "_head", "_method", "_most", "_pieces", "_size", "_upstream")

    def __init__(self, method: str, most: int) -> None:
        self._method = method
        self._most = most
        self._began = False
        self._head: ReplyHead | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._upstream: Upstream | None = None
        self._future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

    async def ask(self, pool: Pool, data: bytes, *, again: bool) -> Answer | None:
        """The answer, None when none came or it was too long. Raises `OSError` when there is no connection.

        With `again` it goes out once more when a connection that had waited was closed just as it was used.
        """
        waiting = pool.take()
        answer = await self._over(waiting or await pool.open(), data)
        if answer is None and again and waiting is not None and not self._began:
            self._future = asyncio.get_running_loop().create_future()
            answer = await self._over(await pool.open(), data)
        return answer

    async def _over(self, upstream: Upstream, data: bytes) -> Answer | None:
        self._upstream = upstream
        upstream.start(self, self._method)
        upstream.sent = True
        upstream.transport.write(data)
        try:
            return await self._future
        finally:
            if self._upstream is not None:
                self._upstream.abandon()
                self._upstream = None

    def _told(self, answer: Answer | None) -> None:
        self._upstream = None
        if not self._future.done():
            self._future.set_result(answer)

    def reply_begins(self, upstream: Upstream, head: ReplyHead) -> None:  # noqa: ARG002
        self._began, self._head = True, head

    def upgraded(self, upstream: Upstream, head: ReplyHead) -> None:  # noqa: ARG002
        self._began = True
        upstream.abandon()
        self._told(None)

    def reply_piece(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._most:
            self._pieces.append(piece)
            return
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abandon()
        self._told(None)

    def reply_ends(self) -> None:
        head = self._head
        whole = head is not None and self._size <= self._most
        self._told(Answer(head.status, tuple(head.headers), b"".join(self._pieces)) if head and whole else None)

    def flush(self) -> None:
        """Nothing is held back."""

    def upstream_lost(self, *, began: bool, why: BadMessage | None) -> None:  # noqa: ARG002
        self._began = self._began or began
        self._told(None)

    def upstream_full(self, *, full: bool) -> None:
        """All of it was written at once: it is small."""
