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
_DROPPED = HOP_BY_HOP | {b"server"}
_SPECIAL = frozenset([b"content-length", b"transfer-encoding", b"connection"]) | _DROPPED
_DIGITS = re.compile(rb"[0-9]{1,15}")


class ReplyHead:
    """What a service answered: `headers` are those that may go on, names in lower case, without any framing; `length` as in a
    request, or `UNTIL_CLOSE`; `bare` when there is no body whatever the headers say; `declared` the length that they say.
    """

    __slots__ = ("bare", "declared", "headers", "keep_alive", "length", "status")

    def __init__(self, status: int) -> None:
        self.status: int = status
        self.headers: list[tuple[bytes, bytes]] = []
        self.length: int = UNTIL_CLOSE
        self.declared: int | None = None
        self.bare: bool = False
        self.keep_alive: bool = True


class _Collected:
    __slots__ = ("headers",)

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def read_reply(data: bytes, *, method: str) -> ReplyHead:
    """The head that is the whole of `data`, of an answer to `method`. Raises `BadMessage` 502."""
    collected = _Collected()
    parser = httptools.HttpResponseParser(collected)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise _bad("it is not HTTP/1.1") from error
    if len(collected.headers) > MAX_HEADERS:
        raise _bad("it has too many headers")
    status = parser.get_status_code()
    version = parser.get_http_version()
    if not 100 <= status <= 599 or version not in {"1.1", "1.0"}:
        raise _bad("its status or version does not exist")
    head = ReplyHead(status)
    head.keep_alive = version == "1.1"
    _read_fields(head, collected.headers)
    if method == "HEAD" or status in {204, 304} or status < 200:
        head.bare = True
        # a body that must not be there would be read as the next answer
        head.keep_alive = head.keep_alive and (method == "HEAD" or status == 304 or not head.declared)
        head.length = 0
    elif head.length == UNTIL_CLOSE:
        head.keep_alive = False
    return head


def _read_fields(head: ReplyHead, fields: list[tuple[bytes, bytes]]) -> None:  # noqa: C901 - one look at each header
    kept = head.headers
    options: list[bytes] = []
    coded = False
    for field in fields:
        name = field[0]
        if name not in _SPECIAL:
            kept.append(field)
        elif name == b"content-length":
            if head.declared is not None or not _DIGITS.fullmatch(field[1]):
                raise _bad("its length is not one plain number")
            head.declared = int(field[1])
        elif name == b"transfer-encoding":
            if coded or field[1].lower() != b"chunked":
                raise _bad("its transfer coding is not plain chunked")
            coded = True
        elif name == b"connection":
            options += [option.strip() for option in field[1].lower().split(b",")]
    if coded:
        if head.declared is not None:
            raise _bad("it has both a length and a transfer coding")
        head.length = CHUNKED
    elif head.declared is not None:
        head.length = head.declared
    _keep(head, options)


def _keep(head: ReplyHead, options: list[bytes]) -> None:
    """Of the headers that may go on, take those out that end here."""
    kept = head.headers
    if options:
        if b"close" in options:
            head.keep_alive = False
        elif b"keep-alive" in options:
            head.keep_alive = True
        head.headers = [field for field in kept if field[0] not in options]
    if any(field[0].startswith(b"skerry-") for field in kept):
        head.headers = [field for field in head.headers if not field[0].startswith(b"skerry-")]


def _bad(why: str) -> BadMessage:
    return BadMessage(502, "bad_reply", f"The service behind this path gave no usable answer: {why}.")
