"""The services' side: connections that are kept, and what comes back on them."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, Protocol
from urllib.parse import urlsplit

from skerry.clock import Clock
from skerry.errors import ConfigurationError
from skerry.gateway.model import Service
from skerry.gateway.wire import BadMessage, Chunks, ReplyHead, read_reply
from skerry.gateway.wire.reply import CHUNKED, MAX_HEAD, UNTIL_CLOSE

EJECT_AFTER: Final = 5
"""Failures in a row that take an instance out, while there are others."""
EJECT_FOR: Final = 5.0
"""Seconds."""
MOST_INTERIM: Final = 100
"""Answers with 1xx before the one: each costs time in the event loop, and none of them ends a request."""
_DRAINED: Final = 64 * 1024
"""Bytes of an answer nobody wants that are read, so that its connection can be used again."""
_HEAD, _LENGTH, _CHUNKED, _UNTIL_CLOSE, _TUNNEL = range(5)


class Receiver(Protocol):
    """Whom an answer is for."""

    def reply_begins(self, upstream: Upstream, head: ReplyHead) -> None:
        """The head is there. Whoever does not want the rest calls `upstream.drain()`."""

    def reply_piece(self, piece: bytes) -> None:
        """A piece of the body, never empty."""

    def reply_ends(self) -> None:
        """The answer is whole, and the connection no longer the receiver's."""

    def flush(self) -> None:
        """For the moment nothing more has come."""

    def upgraded(self, upstream: Upstream, head: ReplyHead) -> None:
        """The connection speaks another protocol from now on: pieces are its bytes."""

    def upstream_lost(self, *, began: bool, why: BadMessage | None) -> None:
        """No whole answer will come; `began` when something of one did. `why` when it was not HTTP."""

    def upstream_full(self, *, full: bool) -> None:
        """Whether the service takes no more for the moment."""


class Upstream(asyncio.Protocol):
    """One connection to one instance of a service, used for one request after the other."""

    __slots__ = (
        "_buffer",
        "_chunks",
        "_interim",
        "_keep",
        "_left",
        "_method",
        "_state",
        "pool",
        "receiver",
        "sent",
        "since",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, pool: Pool) -> None:
        self.pool: Pool = pool
        self.receiver: Receiver | None = None
        self.sent: bool = False
        self.since: float = 0.0
        self._buffer = b""
        self._chunks: Chunks | None = None
        self._interim = 0
        self._keep = True
        self._left = 0
        self._method = "GET"
        self._state = _HEAD

    def start(self, receiver: Receiver, method: str) -> None:
        """From now on the answer is for `receiver`. It sets `sent` when its request is whole."""
        self.receiver = receiver
        self._method = method
        self._state = _HEAD
        self._interim = 0
        self.sent = False

    def drain(self) -> None:
        """The receiver does not want the rest of the answer."""
        self.receiver = _Nobody(self)

    def abandon(self) -> None:
        """The receiver goes away: nothing of this connection can be used again."""
        self.receiver = None
        self.pool.left(self)
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        receiver = self.receiver
        if receiver is None:  # nobody asked: not HTTP, or an answer beyond an answer
            self.transport.abort()
            return
        try:
            if self._state == _HEAD:
                self._read_head(data)
            else:
                self._read_body(data)
        except BadMessage as error:
            self._fail(began=self._state != _HEAD, why=error)
            return
        receiver = self.receiver
        if receiver is not None:
            receiver.flush()

    def _read_head(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        while True:
            end = data.find(b"\r\n\r\n", 0, MAX_HEAD)
            if end < 0:
                if len(data) >= MAX_HEAD:
                    raise BadMessage(502, "bad_reply", "The service behind this path sent a head that is too large.")
                self._buffer = data
                return
            end += 4
            head = read_reply(data if len(data) == end else data[:end], method=self._method)
            data = data[end:]
            if head.status >= 200 or head.status == 101:
                break
            self._interim += 1
            if self._interim > MOST_INTERIM:
                raise BadMessage(502, "bad_reply", "The service behind this path announces an answer without end.")
        self._buffer = b""
        if head.status == 101:
            self._upgraded(head, data)
        else:
            self._begin_body(head, data)

    def _upgraded(self, head: ReplyHead, data: bytes) -> None:
        assert self.receiver is not None
        self._state, self._keep = _TUNNEL, False
        self.receiver.upgraded(self, head)
        if data and self.receiver is not None:
            self.receiver.reply_piece(data)

    def _begin_body(self, head: ReplyHead, data: bytes) -> None:
        receiver = self.receiver
        assert receiver is not None
        self._keep = head.keep_alive
        length = head.length
        if 0 <= length <= len(data):
            self._whole(receiver, head, data)
            return
        if length > 0:
            self._state, self._left = _LENGTH, length
        elif length == CHUNKED:
            self._state, self._chunks = _CHUNKED, Chunks()
        elif length == UNTIL_CLOSE:
            self._state = _UNTIL_CLOSE
        receiver.reply_begins(self, head)
        if data and self.receiver is not None:
            self._read_body(data)

    def _whole(self, receiver: Receiver, head: ReplyHead, data: bytes) -> None:
        """The answer came in one piece, as most do."""
        length = head.length
        receiver.reply_begins(self, head)
        taker = self.receiver
        if taker is None:
            return
        if length:
            taker.reply_piece(data if length == len(data) else data[:length])
        self._finish(rest=data[length:])

    def _read_body(self, data: bytes) -> None:
        receiver = self.receiver
        assert receiver is not None
        if self._state == _LENGTH:
            size = len(data)
            if size < self._left:
                self._left -= size
                receiver.reply_piece(data)
                return
            rest = data[self._left :]
            receiver.reply_piece(data[: self._left] if rest else data)
            self._finish(rest=rest)
        elif self._state == _CHUNKED:
            assert self._chunks is not None
            for piece in self._chunks.feed(data):
                receiver.reply_piece(piece)
            if self._chunks.done:
                self._finish(rest=self._chunks.rest)
        else:
            receiver.reply_piece(data)

    def _finish(self, *, rest: bytes) -> None:
        receiver, self.receiver, self._chunks = self.receiver, None, None
        if receiver is None:
            return
        if self._keep and self.sent and not rest:
            self.pool.give_back(self)
        else:
            self.pool.left(self)
            self.transport.close()
        receiver.reply_ends()

    def _fail(self, *, began: bool, why: BadMessage | None) -> None:
        receiver, self.receiver = self.receiver, None
        self.transport.abort()
        if receiver is not None:
            self.pool.left(self)
            receiver.upstream_lost(began=began, why=why)

    def connection_lost(self, exc: Exception | None) -> None:
        receiver, self.receiver = self.receiver, None
        if receiver is None:
            self.pool.forget(self)
            return
        self.pool.left(self)
        if self._state == _UNTIL_CLOSE and exc is None:
            receiver.reply_ends()
        else:
            receiver.upstream_lost(began=self._state != _HEAD or bool(self._buffer), why=None)

    def pause_writing(self) -> None:
        if self.receiver is not None:
            self.receiver.upstream_full(full=True)

    def resume_writing(self) -> None:
        if self.receiver is not None:
            self.receiver.upstream_full(full=False)


class _Nobody:
    """Takes the rest of an answer that nobody wants."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._left = _DRAINED

    def reply_begins(self, upstream: Upstream, head: ReplyHead) -> None:
        """Cannot be: it takes over after the head."""

    def upgraded(self, upstream: Upstream, head: ReplyHead) -> None:
        """Cannot be either."""

    def reply_piece(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            self._upstream.abandon()

    def reply_ends(self) -> None:
        """The connection is free again."""

    def flush(self) -> None:
        """Nothing is held back."""

    def upstream_lost(self, *, began: bool, why: BadMessage | None) -> None:
        """Nobody waits for it."""

    def upstream_full(self, *, full: bool) -> None:
        """Nothing more is sent."""


def _believing(service: Service) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=service.ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"the authorities of {service.name} in {service.ca} cannot be used: {error.strerror or error}"
        ) from error


class Pool:
    """The connections to one instance. `active` counts those in use and those being opened."""

    def __init__(self, url: str, service: Service, clock: Clock) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
            raise ConfigurationError(
                f"the address of {service.name} is {url!r}; use http://HOST:PORT or https://HOST:PORT"
            )
        self.host: str = parts.hostname
        self.port: int = parts.port or (443 if parts.scheme == "https" else 80)
        self.authority: bytes = parts.netloc.rpartition("@")[2].encode("ascii")
        self.url: str = f"{parts.scheme}://{parts.netloc}"
        self.active: int = 0
        self.ejected_until: float = 0.0
        self._tls = _believing(service) if parts.scheme == "https" else None
        self._service = service
        self._clock = clock
        self.alone: bool = True
        """Whether it is the service's only instance: then it is never passed over."""
        self._failures = 0
        self._idle: list[Upstream] = []
        self._closed = False

    def take(self) -> Upstream | None:
        """A connection that waits for work, or None."""
        idle = self._idle
        while idle:
            upstream = idle.pop()
            if not upstream.transport.is_closing():
                self.active += 1
                return upstream
        return None

    async def open(self) -> Upstream:
        """A new connection. Raises `OSError` (`TimeoutError` among them) when there is none within `Service.connect` seconds."""
        loop = asyncio.get_running_loop()
        self.active += 1
        try:
            async with asyncio.timeout(self._service.connect):
                _, upstream = await loop.create_connection(
                    lambda: Upstream(self),
                    self.host,
                    self.port,
                    ssl=self._tls,
                    server_hostname=self.host if self._tls else None,
                )
        except BaseException:
            self.active -= 1
            raise
        return upstream

    def give_back(self, upstream: Upstream) -> None:
        """Keep it for the next request."""
        self.active -= 1
        if self._closed or len(self._idle) >= self._service.connections:
            upstream.transport.close()
        else:
            upstream.since = self._clock.monotonic()
            self._idle.append(upstream)

    def left(self, upstream: Upstream) -> None:  # noqa: ARG002 - all of them count the same
        """A connection in use is gone."""
        self.active -= 1

    def forget(self, upstream: Upstream) -> None:
        """An idle one is gone."""
        if upstream in self._idle:
            self._idle.remove(upstream)

    def told(self, *, failed: bool) -> None:
        """How a request ended. After several failures in a row the instance is passed over for a while."""
        if not failed:
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= EJECT_AFTER:
            self._failures = 0
            self.ejected_until = self._clock.monotonic() + EJECT_FOR

    def sweep(self, now: float) -> None:
        """Close what has waited too long: the service is about to do so itself."""
        oldest = now - self._service.idle
        while self._idle and self._idle[0].since < oldest:
            self._idle.pop(0).transport.close()

    def close(self) -> None:
        """Close what waits; what is in use closes when it is done."""
        self._closed = True
        while self._idle:
            self._idle.pop().transport.close()


class Cluster:
    """All instances of a service. Of two drawn ones, the one with fewer requests under way is taken."""

    def __init__(self, name: str, pools: tuple[Pool, ...], clock: Clock) -> None:
        self.name: str = name
        for pool in pools:
            pool.alone = len(pools) == 1
        self.pools: tuple[Pool, ...] = pools
        self._clock = clock

    def pick(self) -> Pool | None:
        """Where the next request goes, None while no instance is known. When all are ejected, as if none were."""
        pools = self.pools
        if len(pools) < 2:
            return pools[0] if pools else None
        now = self._clock.monotonic()
        fit = [pool for pool in pools if pool.ejected_until <= now] or pools
        one = fit[int(self._clock.random() * len(fit))]
        other = fit[int(self._clock.random() * len(fit))]
        return one if one.active <= other.active else other
