"""The head of a service's answer. Its framing decides what the next client gets, so it is not believed blindly."""

from __future__ import annotations

import re

import httptools

from skerry.gateway.wire.crossing import HOP_BY_HOP
from skerry.gateway.wire.faults import BadMessage

MAX_HEAD = 64 * 1024
"""Bytes of an answer's line and headers together."""
MAX_HEADERS = 200
CHUNKED = -1
UNTIL_CLOSE = -2
"""A body that ends with the connection."""
_GONE, _LENGTH, _CODING, _CONNECTION = range(4)
_KINDS: dict[bytes, int] = {
    **dict.fromkeys([*HOP_BY_HOP, b"server"], _GONE),
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
}
_DIGITS = re.compile(rb"[0-9]{1,15}")


class ReplyHead:
    """What a service answered: `headers` are those that may go on, names in lower case, without any framing.

    `length` is as in a request, or `UNTIL_CLOSE`; `bare` when there is no body whatever the headers say; `declared` the length
    that they say. It is its own parser's receiver.
    """

    __slots__ = (
        "bare",
        "coding",
        "count",
        "declared",
        "headers",
        "keep_alive",
        "length",
        "lengths",
        "options",
        "status",
    )

    def __init__(self) -> None:
        self.status: int = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.length: int = UNTIL_CLOSE
        self.declared: int | None = None
        self.bare: bool = False
        self.keep_alive: bool = True
        self.count: int = 0
        self.coding: list[bytes] = []
        self.lengths: list[bytes] = []
        self.options: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, told by the parser."""
        name = name.lower()
        self.count += 1
        kind = _KINDS.get(name)
        if kind is None:
            if not name.startswith(b"skerry-"):
                self.headers.append((name, value))
        elif kind == _LENGTH:
            self.lengths.append(value)
        elif kind == _CODING:
            self.coding.append(value)
        elif kind == _CONNECTION:
            self.options += [option.strip() for option in value.lower().split(b",")]


def read_reply(data: bytes, *, method: str) -> ReplyHead:
    """The head that is the whole of `data`, of an answer to `method`. Raises `BadMessage` 502."""
    head = ReplyHead()
    parser = httptools.HttpResponseParser(head)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # only the head was given: nothing of what follows it was read
    except httptools.HttpParserError as error:
        raise _bad("it is not HTTP/1.1") from error
    status = head.status = parser.get_status_code()
    version = parser.get_http_version()
    if not 100 <= status <= 599 or version not in {"1.1", "1.0"}:
        raise _bad("its status or version does not exist")
    if head.count > MAX_HEADERS:
        raise _bad("it has too many headers")
    head.keep_alive = version == "1.1"
    _framing(head)
    if head.options:
        _connection(head)
    if method == "HEAD" or status in {204, 304} or status < 200:
        head.bare = True
        # a body that must not be there would be read as the next answer
        head.keep_alive = head.keep_alive and (method == "HEAD" or status == 304 or not head.declared)
        head.length = 0
    elif head.length == UNTIL_CLOSE:
        head.keep_alive = False
    return head


def _framing(head: ReplyHead) -> None:
    lengths, coding = head.lengths, head.coding
    if lengths:
        if coding:
            raise _bad("it has both a length and a transfer coding")
        if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
            raise _bad("its length is not one plain number")
        head.length = head.declared = int(lengths[0])
    elif coding:
        if len(coding) > 1 or coding[0].lower() != b"chunked":
            raise _bad("its transfer coding is not plain chunked")
        head.length = CHUNKED


def _connection(head: ReplyHead) -> None:
    options = head.options
    if b"close" in options:
        head.keep_alive = False
    elif b"keep-alive" in options:
        head.keep_alive = True
    if options not in ([b"keep-alive"], [b"close"]):
        head.headers = [field for field in head.headers if field[0] not in options]


def _bad(why: str) -> BadMessage:
    return BadMessage(502, "bad_reply", f"The service behind this path gave no usable answer: {why}.")
