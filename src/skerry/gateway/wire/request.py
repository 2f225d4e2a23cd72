"""The head of a request, read by one grammar.

RFC 9112 says what a head looks like, and one expression of it either fits the whole head or does not: nothing is repaired, so
there is nothing that the next parser could repair in another way.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from skerry.gateway.wire.crossing import Crossing, Judge
from skerry.gateway.wire.faults import BadMessage
from skerry.gateway.wire.lines import Field, Meant
from skerry.gateway.wire.paths import canonical, canonical_query

CHUNKED = -1
"""A body's length that only its last chunk tells."""
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
FIELDS = rb"((?:" + TOKEN + rb"++:[\t -~\x80-\xff]*+\r\n)*+)\r\n"
"""Header lines and the empty one after them (RFC 9112, section 5): no folds, no space before the colon, no control characters."""
_LINE = rb"(" + TOKEN + rb"{1,32}+) ([!-~]++) HTTP/([0-9])\.([0-9])\r\n"
_HEAD = re.compile(_LINE + FIELDS)
_FIRST = re.compile(_LINE)
_END = b"\r\n\r\n"
_METHODS = {name.encode("ascii"): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
_HOST_FIELD, _DROPPED = Crossing.HOST, Crossing.DROPPED
# each label is taken whole or not at all: to try it in parts would take time without end
_NAME = rb"[A-Za-z0-9][A-Za-z0-9_-]{0,62}+(?:\.[A-Za-z0-9_-]{1,63}+){0,126}+\.?"
_HOST = re.compile(rb"(" + _NAME + rb"|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?", re.IGNORECASE)
_OWN_OPTIONS = frozenset([b"close", b"keep-alive", b"upgrade"])


class RequestHead:
    """What a client asks, read once. `headers` are those that go on, names in lower case; `context` what is believed or not
    elsewhere; `length` the body's bytes, 0 without one, `CHUNKED`; `host` in lower case without its port, `authority` as sent.
    """

    __slots__ = (
        "authority",
        "context",
        "expects",
        "headers",
        "host",
        "keep_alive",
        "length",
        "method",
        "minor",
        "path",
        "port",
        "query",
        "upgrade",
    )

    def __init__(self) -> None:
        self.method: str = ""
        self.path: str = ""
        self.query: str | None = None
        self.host: str = ""
        self.port: int | None = None
        self.authority: bytes = b""
        self.minor: int = 1
        self.headers: list[tuple[bytes, bytes]] = []
        self.context: dict[bytes, bytes] = {}
        self.length: int = 0
        self.keep_alive: bool = True
        self.expects: bool = False
        self.upgrade: str = ""

    def header(self, name: bytes) -> str | None:
        """All values of a header that goes on, joined by commas; None without one."""
        found = [value for key, value in self.headers if key == name]
        return b", ".join(found).decode("latin-1") if found else None


class _Noted:
    """Headers that do not go on as they are, in the order in which they came."""

    __slots__ = ("coding", "expectation", "lengths", "options", "upgrade")

    def __init__(self) -> None:
        self.coding: list[bytes] = []
        self.expectation = b""
        self.lengths: list[int | None] = []
        self.options: list[bytes] = []
        self.upgrade = b""


def read_request(data: bytes, *, judge: Judge, headers: int, target: int) -> RequestHead:
    """The head that is the whole of `data`, its empty line included, with at most so many `headers` and bytes of `target`.

    Raises `BadMessage`: 400 for what is not HTTP or ambiguous, 414, 417, 431, 501 and 505 for what they say.
    """
    match = _FIRST.match(data)
    if match is None:
        raise BadMessage(400, "bad_request", "The request is not HTTP/1.1: its first line is broken.")
    method, raw, major, minor = match.groups()
    head = RequestHead()
    if major != b"1" or minor != b"1":
        _old(head, major, minor)
    lines = data.split(b"\r\n")
    told = judge.lines.read(data, lines[1:-2], _HEAD)
    if told is None or data[-4:] != _END:
        raise BadMessage(400, "bad_request", "The request is not HTTP/1.1: one of its header lines is broken.")
    if len(told) > headers:
        raise BadMessage(431, "head_too_large", f"The request has more than {headers} header fields.")
    named = _METHODS.get(method)
    if named is None:
        raise BadMessage(501, "unknown_method", "This method is not known here.")
    head.method = named
    _sort(told, head, judge)
    if len(raw) > target:
        raise BadMessage(414, "target_too_long", f"The path and query are longer than {target} bytes.")
    _target(head, raw)
    return head


def _old(head: RequestHead, major: bytes, minor: bytes) -> None:
    if (major, minor) != (b"1", b"0"):
        raise BadMessage(505, "version", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    head.minor, head.keep_alive = 0, False


def _sort(told: list[Field | Meant], head: RequestHead, judge: Judge) -> None:
    """What goes on, and what is meant for us."""
    kept = head.headers
    noted: _Noted | None = None
    hosts = 0
    for field in told:
        if type(field) is not Meant:
            kept.append(field)
        elif field.kind is _HOST_FIELD:
            hosts += 1
            head.authority = field.value
        elif field.kind is not _DROPPED:
            noted = noted or _Noted()
            _note(noted, head, field)
    if hosts != 1 and (hosts or head.minor):
        raise BadMessage(400, "host", "The request has to name exactly one host.")
    if hosts:
        _authority(head, judge)
    if noted is not None:
        _heed(head, noted)


def _note(noted: _Noted, head: RequestHead, field: Meant) -> None:
    verdict, name, value = field.kind, field.name, field.value
    if verdict == Crossing.CONNECTION:
        noted.options.append(value)
    elif verdict == Crossing.LENGTH:
        noted.lengths.append(field.number)
    elif verdict == Crossing.CODING:
        noted.coding.append(value)
    elif verdict == Crossing.CONTEXT:
        head.context[name] = head.context[name] + b", " + value if name in head.context else value
    elif verdict == Crossing.UPGRADE:
        noted.upgrade = value
    elif verdict == Crossing.REFUSED:
        raise BadMessage(400, "framing", "The request has a header that could be taken for its length or its coding.")
    else:
        noted.expectation = value


def _heed(head: RequestHead, noted: _Noted) -> None:
    if noted.options:
        head.upgrade = noted.upgrade.decode("latin-1").lower()
        _connection(head, noted.options)
    if noted.lengths or noted.coding:
        _framing(head, noted.coding, noted.lengths)
    if noted.expectation:
        if noted.expectation.lower() != b"100-continue":
            raise BadMessage(417, "expectation", "Nothing but 100-continue can be expected here.")
        head.expects = True


def _connection(head: RequestHead, named: list[bytes]) -> None:
    """Options of `Connection`: whether it stays open, whether it may become another protocol, and headers that end here."""
    options = {option.strip() for value in named for option in value.lower().split(b",")}
    if b"close" in options:
        head.keep_alive = False
    elif b"keep-alive" in options:
        head.keep_alive = True
    if b"upgrade" not in options or head.minor == 0:
        head.upgrade = ""
    if options - _OWN_OPTIONS:
        head.headers = [field for field in head.headers if field[0] not in options]
        for name in options & head.context.keys():
            del head.context[name]


def _framing(head: RequestHead, coding: list[bytes], lengths: list[int | None]) -> None:
    if coding:
        if lengths:
            raise BadMessage(400, "framing", "The request has both a length and a transfer coding.")
        if head.minor == 0:
            raise BadMessage(400, "framing", "HTTP/1.0 has no transfer codings.")
        if len(coding) > 1 or coding[0].lower() != b"chunked":
            raise BadMessage(501, "coding", "No transfer coding but chunked is understood here.")
        head.length = CHUNKED
    elif lengths:
        length = lengths[0]
        if len(lengths) > 1 or length is None:
            raise BadMessage(400, "framing", "The request's length is not one plain number.")
        head.length = length


def _authority(head: RequestHead, judge: Judge) -> None:
    known = judge.hosts.get(head.authority)
    if known is None:
        _host(head, head.authority)
        judge.remember(head.authority, head.host, head.port)
    else:
        head.host, head.port = known


def _host(head: RequestHead, authority: bytes) -> None:
    match = _HOST.fullmatch(authority)
    if match is None or (match[3] and not 0 < int(match[3]) < 65536):
        raise BadMessage(400, "host", "The request's host is not a name or an address.")
    if match[2]:
        try:
            IPv6Address(match[2].decode("ascii"))
        except ValueError as error:
            raise BadMessage(400, "host", "The request's host is not a name or an address.") from error
    head.authority = authority
    head.host = match[1].decode("ascii").lower().rstrip(".")
    head.port = int(match[3]) if match[3] else None


def _target(head: RequestHead, raw: bytes) -> None:
    if not raw.startswith(b"/"):
        if raw == b"*" and head.method == "OPTIONS":
            head.path = "*"
            return
        match = _ABSOLUTE.fullmatch(raw)
        if match is None:
            raise BadMessage(400, "bad_target", "The request's target is neither a path nor an http URL.")
        _host(head, match[1])
        head.path = canonical(match[2] or b"/")
        head.query = None if match[3] is None else canonical_query(match[3])
        return
    path, mark, query = raw.partition(b"?")
    head.path = canonical(path)
    if mark:
        head.query = canonical_query(query)
