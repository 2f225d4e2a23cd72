"""Chunked bodies (RFC 9112, section 7.1), read strictly: this is where requests are smuggled."""

from __future__ import annotations

import re

from skerry.gateway.wire.faults import BadMessage

MAX_LINE = 256
"""Bytes of a chunk's first line: sixteen digits and an extension nobody needs."""
MAX_TRAILERS = 8 * 1024
"""Bytes of all trailer fields together. They are thrown away: none of them may become a header (RFC 9110, section 6.5.1)."""
_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t !-~\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")


class Chunks:
    """Takes apart one chunked body as it comes. `done` once its last line is there; `rest` is then what follows it."""

    __slots__ = ("_kept", "_left", "_state", "_trailers", "done", "rest")

    def __init__(self) -> None:
        self.done: bool = False
        self.rest: bytes = b""
        self._kept = b""
        self._left = 0
        self._state = "size"
        self._trailers = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the body in `data`. Raises `BadMessage` for what is not chunked coding."""
        if self._kept:
            data = self._kept + data
            self._kept = b""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end and not self.done:
            if self._state == "data":
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = "end"
            else:
                stop = data.find(b"\r\n", at)
                if stop < 0:
                    self._keep(data[at:])
                    return pieces
                self._line(data[at:stop])
                at = stop + 2
        if self.done:
            self.rest = data[at:]
        return pieces

    def _keep(self, part: bytes) -> None:
        if len(part) > (MAX_TRAILERS if self._state == "trailers" else MAX_LINE) or b"\n" in part:
            raise _bad("a line of it is too long or ends wrongly")
        if self._state == "end" and part not in {b"", b"\r"}:
            raise _bad("a chunk is longer than it says")
        self._kept = part

    def _line(self, line: bytes) -> None:
        if self._state == "end":
            if line:
                raise _bad("a chunk is longer than it says")
            self._state = "size"
        elif self._state == "size":
            match = _LINE.fullmatch(line) if len(line) <= MAX_LINE else None
            if match is None:
                raise _bad("a chunk's size is not a plain hexadecimal number")
            self._left = int(match[1], 16)
            self._state = "data" if self._left else "trailers"
        elif line:
            self._trailers += len(line) + 2
            if self._trailers > MAX_TRAILERS or not _TRAILER.fullmatch(line):
                raise _bad("its trailer section is too long or broken")
        else:
            self.done = True


def chunk(piece: bytes) -> bytes:
    """`piece`, which is not empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _bad(why: str) -> BadMessage:
    return BadMessage(400, "bad_chunks", f"The chunked body is not accepted: {why}.")
