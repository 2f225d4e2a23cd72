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
_METHODS = {name.encode("ascii"): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
_HOST_FIELD, _DROPPED = int(Crossing.HOST), int(Crossing.DROPPED)
_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} [!-~\x80-\xff]+ HTTP/[0-9]\.[0-9]\r\n")
_HOST = re.compile(rb"([A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}\.?){0,127}|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,15}")


class RequestHead:
    """What a client asks, read once. `headers` are those that go on, names in lower case; `context` what is believed or not
    elsewhere; `length` the body's bytes, 0 without one, `CHUNKED`; `host` in lower case without its port, `authority` as sent.

    It is its own parser's receiver: one look at each header, in the order in which they came.
    """

    __slots__ = (
        *(
            "authority",
            "coding",
            "context",
            "count",
            "expectation",
            "expects",
            "headers",
            "host",
            "hosts",
            "judge",
            "keep_alive",
        ),
        *("length", "lengths", "method", "minor", "options", "path", "port", "query", "upgrade", "url"),
    )

    def __init__(self, judge: Judge) -> None:
        self.judge: Judge = judge
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
        self.url: bytes = b""
        self.count: int = 0
        self.coding: list[bytes] = []
        self.expectation: bytes = b""
        self.hosts: list[bytes] = []
        self.lengths: list[bytes] = []
        self.options: list[bytes] = []

    def header(self, name: bytes) -> str | None:
        """All values of a header that goes on, joined by commas; None without one."""
        found = [value for key, value in self.headers if key == name]
        return b", ".join(found).decode("latin-1") if found else None

    def on_url(self, url: bytes) -> None:
        """The target, told by the parser."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, told by the parser."""
        name = name.lower()
        self.count += 1
        verdict = self.judge.known.get(name)
        if verdict is None:
            verdict = self.judge.learn(name)
        if verdict == 0:
            self.headers.append((name, value))
        elif verdict == _HOST_FIELD:
            self.hosts.append(value)
        elif verdict != _DROPPED:
            self._note(verdict, name, value)

    def _note(self, verdict: int, name: bytes, value: bytes) -> None:
        if verdict == Crossing.CONNECTION:
            self.options.append(value)
        elif verdict == Crossing.LENGTH:
            self.lengths.append(value)
        elif verdict == Crossing.CODING:
            self.coding.append(value)
        elif verdict == Crossing.CONTEXT:
            self.context[name] = self.context[name] + b", " + value if name in self.context else value
        elif verdict == Crossing.UPGRADE:
            self.upgrade = value.decode("latin-1").strip().lower()
        else:
            self.expectation = value


def read_request(data: bytes, *, judge: Judge, headers: int, target: int) -> RequestHead:
    """The head that is the whole of `data`, its empty line included, with at most so many `headers` and bytes of `target`.

    Raises `BadMessage`: 400 for what is not HTTP or ambiguous, 413, 414, 417, 431, 501 and 505 for what they say.
    """
    if not _LINE.match(data):
        raise BadMessage(400, "bad_request", "The request is not HTTP/1.1: its first line is broken.")
    head = RequestHead(judge)
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # only the head was given: nothing of what follows it was read
    except httptools.HttpParserInvalidMethodError as error:
        raise BadMessage(501, "unknown_method", "This method is not known here.") from error
    except httptools.HttpParserError as error:
        raise BadMessage(400, "bad_request", "The request is not HTTP/1.1.") from error
    if parser.get_http_version() != "1.1":
        _old(head, parser.get_http_version())
    if head.count > headers:
        raise BadMessage(431, "head_too_large", f"The request has more than {headers} header fields.")
    if not data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
        raise BadMessage(400, "bad_request", "The request is not HTTP/1.1: a line ends wrongly.")
    method = _METHODS.get(parser.get_method())
    if method is None:
        raise BadMessage(501, "unknown_method", "This method is not known here.")
    head.method = method
    _finish(head)
    if len(head.url) > target:
        raise BadMessage(414, "target_too_long", f"The path and query are longer than {target} bytes.")
    _target(head, head.url)
    return head


def _old(head: RequestHead, version: str) -> None:
    if version != "1.0":
        raise BadMessage(505, "version", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    head.minor, head.keep_alive = 0, False


def _finish(head: RequestHead) -> None:
    """What the headers mean, once all of them are there."""
    if head.options:
        _connection(head, head.options)
    else:
        head.upgrade = ""
    if head.lengths or head.coding:
        _framing(head, head.coding, head.lengths)
    if head.expectation:
        if head.expectation.lower() != b"100-continue":
            raise BadMessage(417, "expectation", "Nothing but 100-continue can be expected here.")
        head.expects = True
    _authority(head, head.hosts, head.judge)


def _connection(head: RequestHead, named: list[bytes]) -> None:
    """Options of `Connection`: whether it stays open, whether it may become another protocol, and headers that end here."""
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


def _authority(head: RequestHead, hosts: list[bytes], judge: Judge) -> None:
    if len(hosts) > 1 or (not hosts and head.minor == 1):
        raise BadMessage(400, "host", "The request has to name exactly one host.")
    if hosts:
        known = judge.hosts.get(hosts[0])
        if known is None:
            _host(head, hosts[0])
            judge.remember(hosts[0], head.host, head.port)
        else:
            head.authority = hosts[0]
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
