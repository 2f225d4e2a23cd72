"""The head of a request."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

import httptools

from skerry.gateway.wire.crossing import Crossing, Judge
from skerry.gateway.wire.faults import BadMessage
from skerry.gateway.wire.paths import canonical, canonical_query

CHUNKED = -1
"""A body's length that only its last chunk tells."""
_METHODS = frozenset([b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"])
_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} [!-~\x80-\xff]+ HTTP/[0-9]\.[0-9]\r\n")
_HOST = re.compile(rb"([A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}\.?){0,127}|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,15}")


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


class _Collected:
    """What httptools calls back with."""

    __slots__ = ("headers", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def read_request(data: bytes, *, judge: Judge, headers: int, target: int) -> RequestHead:
    """The head that is the whole of `data`, its empty line included, with at most so many `headers` and bytes of `target`.

    Raises `BadMessage`: 400 for what is not HTTP or ambiguous, 413, 414, 417, 431, 501 and 505 for what they say.
    """
    if not _LINE.match(data):
        raise BadMessage(400, "bad_request", "The request is not HTTP/1.1: its first line is broken.")
    collected = _Collected()
    parser = httptools.HttpRequestParser(collected)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # only the head was given: nothing of what follows it was read
    except httptools.HttpParserInvalidMethodError as error:
        raise BadMessage(501, "unknown_method", "This method is not known here.") from error
    except httptools.HttpParserError as error:
        raise BadMessage(400, "bad_request", "The request is not HTTP/1.1.") from error
    head = RequestHead()
    version = parser.get_http_version()
    if version == "1.0":
        head.minor = 0
    elif version != "1.1":
        raise BadMessage(505, "version", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    if len(collected.headers) > headers:
        raise BadMessage(431, "head_too_large", f"The request has more than {headers} header fields.")
    if not data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
        raise BadMessage(400, "bad_request", "The request is not HTTP/1.1: a line ends wrongly.")
    method = parser.get_method()
    if method not in _METHODS:
        raise BadMessage(501, "unknown_method", "This method is not known here.")
    head.method = method.decode("ascii")
    named, coding, hosts, lengths = _sort(collected.headers, head, judge)
    _connection(head, named)
    _framing(head, coding, lengths)
    _authority(head, hosts)
    if len(collected.url) > target:
        raise BadMessage(414, "target_too_long", f"The path and query are longer than {target} bytes.")
    _target(head, collected.url)
    return head


def _sort(  # noqa: C901 - one look at each header, on the way of every request
    fields: list[tuple[bytes, bytes]], head: RequestHead, judge: Judge
) -> tuple[list[bytes], list[bytes], list[bytes], list[bytes]]:
    """Give each header to whom it concerns: connection options, codings, hosts and lengths are returned."""
    known, kept, context = judge.known, head.headers, head.context
    named: list[bytes] = []
    coding: list[bytes] = []
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    for field in fields:
        name = field[0]
        verdict = known.get(name)
        if verdict is None:
            verdict = judge.learn(name)
        if verdict == 0:
            kept.append(field)
        elif verdict == Crossing.HOST:
            hosts.append(field[1])
        elif verdict == Crossing.CONNECTION:
            named.append(field[1])
        elif verdict == Crossing.LENGTH:
            lengths.append(field[1])
        elif verdict == Crossing.CODING:
            coding.append(field[1])
        elif verdict == Crossing.CONTEXT:
            context[name] = context[name] + b", " + field[1] if name in context else field[1]
        elif verdict == Crossing.UPGRADE:
            head.upgrade = field[1].decode("latin-1").strip().lower()
        elif verdict == Crossing.EXPECT:
            if field[1].lower() != b"100-continue":
                raise BadMessage(417, "expectation", "Nothing but 100-continue can be expected here.")
            head.expects = True
    return named, coding, hosts, lengths


def _connection(head: RequestHead, named: list[bytes]) -> None:
    """Options of `Connection`: whether it stays open, whether it may become another protocol, and headers that end here."""
    head.keep_alive = head.minor == 1
    upgrades = False
    for value in named:
        for option in value.lower().split(b","):
            option = option.strip()  # noqa: PLW2901
            if option == b"close":
                head.keep_alive = False
            elif option == b"keep-alive":
                head.keep_alive = head.keep_alive or (head.minor == 0 and b"close" not in value.lower())
            elif option == b"upgrade":
                upgrades = True
            else:
                head.headers = [field for field in head.headers if field[0] != option]
                head.context.pop(option, None)
    if not upgrades or head.minor == 0:
        head.upgrade = ""


def _framing(head: RequestHead, coding: list[bytes], lengths: list[bytes]) -> None:
    if coding:
        if lengths:
            raise BadMessage(400, "framing", "The request has both a length and a transfer coding.")
        if head.minor == 0:
            raise BadMessage(400, "framing", "HTTP/1.0 has no transfer codings.")
        if len(coding) > 1 or coding[0].lower() != b"chunked":
            raise BadMessage(501, "coding", "No transfer coding but chunked is understood here.")
        head.length = CHUNKED
    elif lengths:
        if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
            raise BadMessage(400, "framing", "The request's length is not one plain number.")
        head.length = int(lengths[0])


def _authority(head: RequestHead, hosts: list[bytes]) -> None:
    if len(hosts) > 1 or (not hosts and head.minor == 1):
        raise BadMessage(400, "host", "The request has to name exactly one host.")
    if hosts:
        _host(head, hosts[0])


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
