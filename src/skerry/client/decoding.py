"""Taking the coding off a reply's body piece by piece, so that a bomb is seen before it fills the memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from skerry.client.reply import Reply
from skerry.client.transport import Response
from skerry.errors import ConnectionLost, ReplyTooLarge

ACCEPTED = "gzip, deflate"
PIECE = 64 * 1024
"""Bytes that are decoded at a time."""


class Inflater:
    """One body in gzip (RFC 1952) or deflate (RFC 1950, and the bare RFC 1951 that some servers send)."""

    def __init__(self, service: str, coding: str) -> None:
        self._service = service
        self._gzip = coding == "gzip"
        self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS) if self._gzip else zlib.decompressobj()
        self._begun = False

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        """What `raw` adds to the body, never more than `PIECE` bytes at once. Raises `ConnectionLost`."""
        while raw:  # bounded: each round takes of `raw`, or gives a piece that the caller counts
            if self._stream.eof:
                if not self._gzip:
                    return
                self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)  # the next member of the same body
            piece, raw = self._step(raw)
            if piece:
                yield piece

    def end(self) -> None:
        """Raises `ConnectionLost` unless the body is whole."""
        if self._begun and not self._stream.eof:
            raise ConnectionLost(self._service, "the encoded body of the reply breaks off")

    def _step(self, raw: bytes) -> tuple[bytes, bytes]:
        try:
            piece = self._stream.decompress(raw, PIECE)
        except zlib.error as error:
            if self._begun or self._gzip:
                raise ConnectionLost(self._service, "the encoded body of the reply is damaged") from error
            self._begun, self._stream = True, zlib.decompressobj(-zlib.MAX_WBITS)
            return b"", raw
        self._begun = True
        if self._stream.eof:
            return piece, self._stream.unused_data
        return piece, self._stream.unconsumed_tail


def inflater(service: str, response: Response) -> Inflater | None:
    """What takes off the body's coding; None when it has none, or one that was not asked for: then it stays as it came."""
    coding = response.headers.get_list("content-encoding")
    return (
        Inflater(service, coding[0].lower()) if len(coding) == 1 and coding[0].lower() in {"gzip", "deflate"} else None
    )


async def whole(service: str, response: Response, *, most: int) -> Reply:
    """The reply with its body decoded. Raises `ReplyTooLarge` as soon as it is over `most` bytes, and `ConnectionLost`."""
    inflate = inflater(service, response)
    body = bytearray()  # not a list: a million pieces of a byte each would take fifty times their size
    raw = await response.read()
    if inflate is None and len(raw) <= most:
        first, raw = raw, await response.read()
        if not raw:  # all of it in one piece, as nearly always
            return Reply(service, response.status, response.headers, first)
        body += first
    while raw:
        for piece in (raw,) if inflate is None else inflate.pieces(raw):
            body += piece
            if len(body) > most:
                raise ReplyTooLarge(service, f"the reply is over {most} bytes; see max_reply")
        raw = await response.read()
    headers = response.headers
    if inflate is not None:
        inflate.end()
        headers = headers.without("content-encoding", "content-length")  # they told of the encoded body
    return Reply(service, response.status, headers, bytes(body))
