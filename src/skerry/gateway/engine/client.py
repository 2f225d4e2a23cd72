"""The clients' side: one connection, its requests one after the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from skerry.gateway.engine.exchange import Exchange
from skerry.gateway.wire import BadMessage, Chunks, read_request
from skerry.gateway.wire.request import CHUNKED

if TYPE_CHECKING:
    from skerry.gateway.engine.worker import Worker

LINGER: Final = 1.0
"""Seconds for which the rest of a refused request is read and thrown away: closing at once would reset the connection, and a
client still sending would lose the answer."""
MOST_HELD: Final = 24 * 1024**2
"""Bytes of heads that are there in part, and of requests that came early, in one worker. Beyond it such requests are refused."""
_BLANK_LINES: Final = 8
_PRINTABLE: Final = 0x20
_NOTHING: Final = 0
"""No body is expected."""


class Client(asyncio.Protocol):
    """Reads requests from one client and gives each to an exchange of its own. What comes early waits, within bounds."""

    __slots__ = (
        "_buffer",
        "_chunks",
        "_held",
        "_left",
        "_paused",
        "_reading",
        "_taken",
        "exchange",
        "full",
        "got",
        "lingers",
        "listener",
        "moved",
        "peer",
        "said",
        "secure",
        "secure",
        "since",
        "transport",
        "worker",
    )

    transport: asyncio.Transport

    def __init__(self, worker: Worker, listener: str) -> None:
        self.worker: Worker = worker
        self.listener: str = listener
        self.peer: str = ""
        self.said: bytes = b""
        """The header lines that tell services where it comes from."""
        self.secure: bool = False
        self.exchange: Exchange | None = None
        self.since: float = 0.0
        """When it began to wait for a head, or for its end once `got` is set."""
        self.got: bool = False
        self.lingers: bool = False
        self.full: bool = False
        self.moved: int = 0
        """Bytes of bodies that came; for who watches over slow ones."""
        self._buffer = b""
        self._chunks: Chunks | None = None
        self._held = 0
        self._left = _NOTHING
        self._taken = 0
        self._paused = False
        self._reading = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        told = transport.get_extra_info("peername")
        self.peer = told[0] if isinstance(told, tuple) else ""
        self.secure = transport.get_extra_info("sslcontext") is not None
        self.said = self.forwarded(self.peer, secure=self.secure)
        self.since = self.worker.now()
        if not self.worker.welcome(self):
            self.transport.close()

    @staticmethod
    def forwarded(addresses: str, *, secure: bool) -> bytes:
        """Where a request comes from, as header lines: by these addresses, the nearest last."""
        scheme = "https" if secure else "http"
        return f"x-forwarded-for: {addresses}\r\nx-forwarded-proto: {scheme}\r\n".encode("ascii", "replace")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._buffer = b""
        self._hold()
        self.worker.bid_farewell(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is not None:
            if exchange.tunnel is not None:
                exchange.tunnel.transport.write(data)
            elif self._left or self._chunks is not None:
                self._read_body(exchange, data)
            else:
                self._buffer += data
                self._hold()
                if len(self._buffer) > self.worker.limits.head or self.worker.held > MOST_HELD:
                    self.pause()
            return
        if self.lingers:
            return
        self._buffer = self._buffer + data if self._buffer else data
        self._read_heads()

    def _read_heads(self) -> None:
        """Begin what is there, one request after the other, for as long as each is answered at once."""
        if self._reading:
            return
        self._reading = True
        try:
            while self._buffer and self.exchange is None and not self.lingers:
                if not self._read_head():
                    return
        finally:
            self._reading = False

    def _read_head(self) -> bool:
        buffer, worker = self._buffer, self.worker
        limits = worker.limits
        if buffer[0] < _PRINTABLE:
            buffer = self._without_blank_lines(buffer)
        end = buffer.find(b"\r\n\r\n", 0, limits.head)
        try:
            if end < 0:
                self._wait_for_rest(buffer, limits.head)
                return False
            end += 4
            whole = len(buffer) == end
            head = read_request(
                buffer if whole else buffer[:end], judge=worker.judge, headers=limits.headers, target=limits.target
            )
        except BadMessage as error:
            self._buffer = b""
            self._hold()
            worker.refuse(self, error)
            return False
        self._buffer = b"" if whole else buffer[end:]
        self.got = False
        if self._held:
            self._hold()
        exchange = self.exchange = Exchange(self, head, worker)
        if head.length:
            self._expect_body(head.length)
        exchange.begin()
        if self._buffer and self.exchange is exchange and (self._left or self._chunks is not None):
            rest, self._buffer = self._buffer, b""
            self._read_body(exchange, rest)
        return True

    def _expect_body(self, length: int) -> None:
        if length == CHUNKED:
            self._chunks = Chunks()
        else:
            self._left = length
        self._taken = 0

    def _wait_for_rest(self, buffer: bytes, most: int) -> None:
        """A head is there in part. Raises `BadMessage` for one that will never be sound, or that there is no room to wait for."""
        if len(buffer) >= most:
            raise BadMessage(431, "head_too_large", f"The request's head is larger than {most} bytes.")
        if buffer.count(b"\n") != buffer.count(b"\r\n"):
            raise BadMessage(400, "bad_request", "The request is not HTTP/1.1: a line ends wrongly.")
        self._hold()
        if self.worker.held > MOST_HELD:
            raise BadMessage(503, "busy", "Too many requests are here in part only; send yours in one piece.")
        if not self.got:
            self.got, self.since = True, self.worker.now()

    def _hold(self) -> None:
        """Tell the worker how much of requests that cannot begin yet lies here."""
        size = len(self._buffer)
        self.worker.held += size - self._held
        self._held = size

    def _without_blank_lines(self, buffer: bytes) -> bytes:
        """A few empty lines before a request are passed over (RFC 9112, section 2.2)."""
        for _ in range(_BLANK_LINES):
            if not buffer.startswith(b"\r\n"):
                break
            buffer = buffer[2:]
        return buffer

    def _read_body(self, exchange: Exchange, data: bytes) -> None:
        self.moved += len(data)
        if self._chunks is None:
            size = len(data)
            if size < self._left:
                self._left -= size
                exchange.body_piece(data)
                return
            rest = data[self._left :]
            piece = data[: self._left] if rest else data
            self._left = _NOTHING
            self._buffer = rest
            exchange.body_piece(piece)
        else:
            try:
                pieces = self._chunks.feed(data)
            except BadMessage as error:
                exchange.spoiled(error)
                return
            for piece in pieces:
                self._taken += len(piece)
                if self._taken > exchange.most_body:
                    exchange.spoiled(
                        BadMessage(413, "body_too_large", f"The body is larger than {exchange.most_body} bytes.")
                    )
                    return
                exchange.body_piece(piece)
            if not self._chunks.done:
                return
            self._buffer = self._chunks.rest
            self._chunks = None
        exchange.body_ends()

    @property
    def waits(self) -> bool:
        """Whether it is us who does not read."""
        return self._paused

    def cut(self) -> None:
        """Cut off a client that reads too slowly."""
        if self.exchange is None:
            self.transport.abort()
        else:
            self.exchange.cut("client_too_slow")

    def begin_tunnel(self) -> None:
        """What came early already belongs to the other protocol."""
        early, self._buffer = self._buffer, b""
        if early and self.exchange is not None and self.exchange.tunnel is not None:
            self.exchange.tunnel.transport.write(early)

    @property
    def body_left(self) -> bool:
        """Whether the request's body has not come whole yet."""
        return bool(self._left) or self._chunks is not None

    def send(self, data: bytes) -> None:
        """Write to the client."""
        self.transport.write(data)

    def finished(self, *, keep: bool) -> None:
        """The exchange is over: go on with the next request, or close."""
        self.exchange = None
        self.since = self.worker.now()
        if not keep:
            self.linger()
            return
        if self._paused:
            self.resume()
        if self._buffer:
            self._read_heads()

    def linger(self) -> None:
        """Close once what was written is gone, and the client has had a moment to see it."""
        unread, self._buffer, self._chunks, self._left = self.body_left, b"", None, _NOTHING
        if not unread and not self.lingers:
            self.transport.close()
            return
        self.lingers, self.since = True, self.worker.now()
        self.resume()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def abort(self) -> None:
        """Cut the connection, so that nobody takes what was sent for a whole answer."""
        self.exchange = None
        self.transport.abort()

    def pause(self) -> None:
        """Take no more from the client for the moment."""
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Take more again."""
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.full, self.since = True, self.worker.now()
        if self.exchange is not None:
            self.exchange.client_full(full=True)

    def resume_writing(self) -> None:
        self.full = False
        if self.exchange is not None:
            self.exchange.client_full(full=False)

    def eof_received(self) -> bool:
        # a client that sends no more has left: whether it would still read cannot be told from one that is gone
        return False
