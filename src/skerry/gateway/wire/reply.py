"""The head of a service's answer. Its framing decides what the next client gets, so it is not believed blindly."""

from __future__ import annotations

import re

from skerry.gateway.wire.crossing import HOP_BY_HOP
from skerry.gateway.wire.faults import BadMessage
from skerry.gateway.wire.request import FIELDS

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
_HEAD = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t -~\x80-\xff]*+)?\r\n" + FIELDS)
_BODILESS = frozenset([204, 304])
_DIGITS = re.compile(rb"[0-9]{1,15}")


class ReplyHead:
    """What a service answered: `headers` are those that may go on, names in lower case, without any framing.

    `length` is as in a request, or `UNTIL_CLOSE`; `bare` when there is no body whatever the headers say; `declared` the length
    that they say.
    """

    __slots__ = ("bare", "declared", "headers", "keep_alive", "length", "status")

    def __init__(self, status: int) -> None:
        self.status: int = status
        self.headers: list[tuple[bytes, bytes]] = []
        self.length: int = UNTIL_CLOSE
        self.declared: int | None = None
        self.bare: bool = False
        self.keep_alive: bool = True


def read_reply(data: bytes, *, method: str) -> ReplyHead:
    """The head that is the whole of `data`, of an answer to `method`. Raises `BadMessage` 502."""
    match = _HEAD.fullmatch(data)
    if match is None:
        raise _bad("it is not HTTP/1.1")
    minor, status, fields = match.groups()
    head = ReplyHead(int(status))
    if minor == b"0":
        head.keep_alive = False
    lines = fields.split(b"\r\n")
    if len(lines) > MAX_HEADERS + 1:
        raise _bad("it has too many headers")
    _sort(lines, head)
    if method == "HEAD" or head.status in _BODILESS or head.status < 200:
        head.bare = True
        # a body that must not be there would be read as the next answer
        head.keep_alive = head.keep_alive and (method == "HEAD" or head.status == 304 or not head.declared)
        head.length = 0
    elif head.length == UNTIL_CLOSE:
        head.keep_alive = False
    return head


def _sort(lines: list[bytes], head: ReplyHead) -> None:
    """One look at each header line, the last of which is empty."""
    kept = head.headers
    lengths: list[bytes] = []
    coding: list[bytes] = []
    options: list[bytes] = []
    lines.pop()
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        value = value.strip(b" \t")
        kind = _KINDS.get(name)
        if kind is None:
            if not name.startswith(b"skerry-"):
                kept.append((name, value))
        elif kind == _LENGTH:
            lengths.append(value)
        elif kind == _CODING:
            coding.append(value)
        elif kind == _CONNECTION and (value != b"keep-alive" or not head.keep_alive):
            options += [option.strip() for option in value.lower().split(b",")]
    if lengths or coding:
        _framing(head, lengths, coding)
    if options:
        _connection(head, options)


def _framing(head: ReplyHead, lengths: list[bytes], coding: list[bytes]) -> None:
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


def _connection(head: ReplyHead, options: list[bytes]) -> None:
    if b"close" in options:
        head.keep_alive = False
    elif b"keep-alive" in options:
        head.keep_alive = True
    if options not in ([b"keep-alive"], [b"close"]):
        head.headers = [field for field in head.headers if field[0] not in options]


def _bad(why: str) -> BadMessage:
    return BadMessage(502, "bad_reply", f"The service behind this path gave no usable answer: {why}.")
