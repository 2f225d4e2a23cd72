"""The head of a service's answer. Its framing decides what the next client gets, so it is not believed blindly."""

from __future__ import annotations

import re

from skerry.gateway.wire.crossing import HOP_BY_HOP
from skerry.gateway.wire.faults import BadMessage
from skerry.gateway.wire.lines import PASSES, Field, Lines, Meant
from skerry.gateway.wire.request import FIELDS

MAX_HEAD = 64 * 1024
"""Bytes of an answer's line and headers together."""
MAX_HEADERS = 200
CHUNKED = -1
UNTIL_CLOSE = -2
"""A body that ends with the connection."""
_GONE, _LENGTH, _CODING, _CONNECTION = range(PASSES + 1, PASSES + 5)
_KINDS: dict[bytes, int] = {
    **dict.fromkeys([*HOP_BY_HOP, b"server"], _GONE),
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
}
_FIRST = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t -~\x80-\xff]*+)?")
_HEAD = re.compile(_FIRST.pattern + rb"\r\n" + FIELDS)
_END = b"\r\n\r\n"
_BODILESS = frozenset([204, 304])
_MOST, _LONGEST = 1024, 64
_statuses: dict[bytes, tuple[int, bool]] = {}
"""First lines that came before, at most so many, of so many bytes: the status, and whether the connection stays open unless told
otherwise."""


def _kind_of(name: bytes) -> int:
    return _KINDS.get(name, _GONE if name.startswith(b"skerry-") else PASSES)


_lines = Lines(_kind_of)


class ReplyHead:
    """What a service answered: `headers` are those that may go on, names in lower case, without any framing.

    `length` is as in a request, or `UNTIL_CLOSE`; `bare` when there is no body whatever the headers say; `declared` the length
    that they say.
    """

    __slots__ = ("bare", "declared", "headers", "keep_alive", "length", "status")

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        self.status: int = status
        self.headers: list[Field] = []
        self.length: int = UNTIL_CLOSE
        self.declared: int | None = None
        self.bare: bool = False
        self.keep_alive: bool = keep_alive


def read_reply(data: bytes, *, method: str) -> ReplyHead:
    """The head that is the whole of `data`, of an answer to `method`. Raises `BadMessage` 502."""
    lines = data.split(b"\r\n")
    told = _lines.read(data, lines[1:-2], _HEAD)
    first = _statuses.get(lines[0]) or _status(lines[0])
    if told is None or first is None or data[-4:] != _END:
        raise _bad("it is not HTTP/1.1")
    if len(told) > MAX_HEADERS:
        raise _bad("it has too many headers")
    status, keep_alive = first
    head = ReplyHead(status, keep_alive=keep_alive)
    _sort(told, head)
    if method == "HEAD" or status in _BODILESS or status < 200:
        head.bare = True
        # a body that must not be there would be read as the next answer
        head.keep_alive = head.keep_alive and (method == "HEAD" or status == 304 or not head.declared)
        head.length = 0
    elif head.length == UNTIL_CLOSE:
        head.keep_alive = False
    return head


def _status(line: bytes) -> tuple[int, bool] | None:
    match = _FIRST.fullmatch(line)
    if match is None:
        return None
    told = int(match[2]), match[1] == b"1"
    if len(line) <= _LONGEST:
        if len(_statuses) >= _MOST:
            _statuses.clear()
        _statuses[line] = told
    return told


def _sort(told: list[Field | Meant], head: ReplyHead) -> None:
    """What goes on, and what is said about the body and the connection."""
    kept = head.headers
    options: list[bytes] = []
    for field in told:
        if type(field) is not Meant:
            kept.append(field)
            continue
        kind = field.kind
        if kind == _GONE:
            continue
        if kind != _CONNECTION:
            _framing(head, field)
        elif field.value != b"keep-alive" or not head.keep_alive:
            options += [option.strip() for option in field.value.lower().split(b",")]
    if options:
        _connection(head, options)


def _framing(head: ReplyHead, field: Meant) -> None:
    """Its length or its coding: one of them, once."""
    if head.length != UNTIL_CLOSE:
        raise _bad("it tells its length or its transfer coding twice")
    if field.kind == _LENGTH:
        if field.number is None:
            raise _bad("its length is not one plain number")
        head.length = head.declared = field.number
    elif field.value.lower() != b"chunked":
        raise _bad("its transfer coding is not plain chunked")
    else:
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
