"""Requests that no honest client sends, or that honest servers have read in two ways; and what may become of each.

The shape is that of the neutral table: `id`, `raw` with `{X*N}` for X repeated N times, `why`, `ref`. In place of prose each has
an expectation that a machine can judge: see `Expectation`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

BAD = frozenset({400})
STRANGE = frozenset({400, 501, 505})
"""For a first line of which nobody can say whether its method or its version is what is wrong."""
EITHER = frozenset({200, 400})


@dataclass(frozen=True)
class Expectation:
    """`statuses` that the first answer may have, 0 for none at all; `reaches` is how many requests may come to a backend.
    `closes` tells whether the connection has to end after it (None: it may; False: not looked at); `sees` is what a backend sees
    of it, if any does.
    """

    statuses: frozenset[int] = BAD
    reaches: int = 0
    closes: bool | None = True
    sees: dict[str, Any] = field(default_factory=dict)
    answers: int = 1
    incomplete: bool = False


@dataclass(frozen=True)
class Abuse:
    """One case."""

    id: str
    raw: str
    expect: Expectation = Expectation()
    section: str = "framing"
    why: str = ""
    ref: str = "RFC 9112"

    @property
    def accepted(self) -> bool:
        """Whether a backend may see it at all."""
        return self.expect.reaches > 0


def _get(target: str = "/x", *lines: str, host: str | None = "a.test", version: str = "HTTP/1.1") -> str:
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([f"GET {target} {version}", *hosts, *lines, "", ""])


def _post(*lines: str, body: str = "", version: str = "HTTP/1.1") -> str:
    return "\r\n".join([f"POST /x {version}", "Host: a.test", *lines, "", body])


def _chunked(body: str, *lines: str) -> str:
    return _post(*lines, "Transfer-Encoding: chunked", body=body)


def served(reaches: int = 1, *, answers: int = 1, closes: bool | None = None, **sees: Any) -> Expectation:
    return Expectation(frozenset({200}), reaches, closes, sees, answers)


def either(**sees: Any) -> Expectation:
    """Refused, or understood in the one right way."""
    return Expectation(EITHER, 1, None, sees)


REFUSED = Expectation()
NOT_SERVED = Expectation(frozenset({400, 404, 405, 501}), 0, None)
CUT = Expectation(frozenset({0, 400, 408}), 0, True, incomplete=True)
"""A request whose end never comes."""
NO_LINE = Expectation(STRANGE)
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
END = "0\r\n\r\n"


LENGTHS = [
    Abuse("length-and-chunks", _post("Content-Length: 6", "Transfer-Encoding: chunked", body=f"{END}G")),
    Abuse("chunks-and-length", _post("Transfer-Encoding: chunked", "Content-Length: 4", body=f"{END}{SMUGGLED}")),
    Abuse("length-zero-and-chunks", _post("Content-Length: 0", "Transfer-Encoding: chunked", body=END)),
    Abuse("lengths-that-differ", _post("Content-Length: 3", "Content-Length: 5", body="abcde")),
    Abuse("lengths-alike", _post("Content-Length: 3", "Content-Length: 3", body="abc"), either(body="abc")),
    Abuse("lengths-in-a-list", _post("Content-Length: 3, 3", body="abc"), either(body="abc")),
    Abuse("lengths-in-a-list-that-differ", _post("Content-Length: 3, 5", body="abcde")),
    Abuse("length-with-plus", _post("Content-Length: +3", body="abc")),
    Abuse("length-with-minus", _post("Content-Length: -3", body="abc")),
    Abuse("length-in-hexadecimal", _post("Content-Length: 0x3", body="abc")),
    Abuse("length-with-underscore", _post("Content-Length: 1_0", body="abcdefghij"), why="what Python's int takes"),
    Abuse("length-with-point", _post("Content-Length: 3.0", body="abc")),
    Abuse("length-with-exponent", _post("Content-Length: 3e0", body="abc")),
    Abuse("length-with-space-inside", _post("Content-Length: 1 0", body="abcdefghij")),
    Abuse("length-that-is-empty", _post("Content-Length: ", body="abc")),
    Abuse("length-with-letters", _post("Content-Length: 3abc", body="abc")),
    Abuse("length-in-other-digits", _post("Content-Length: \u00b3", body="abc"), why="a digit of Unicode alone"),
    Abuse("length-with-vertical-tab", _post("Content-Length: \x0b3", body="abc")),
    Abuse("length-with-nul", _post("Content-Length: 3\x00", body="abc")),
    Abuse(
        "length-past-64-bits",
        _post("Content-Length: 18446744073709551617", body="a"),
        Expectation(frozenset({400, 413})),
    ),
    Abuse(
        "length-of-a-thousand-digits", _post("Content-Length: {9*1000}", body="a"), Expectation(frozenset({400, 413}))
    ),
    Abuse("length-past-the-limit", _post("Content-Length: 99999999999", body="a"), Expectation(frozenset({413}))),
    Abuse("length-with-zeros-in-front", _post("Content-Length: 003", body="abc"), either(body="abc")),
    Abuse("length-with-space-before-colon", _post("Content-Length : 3", body="abc")),
    Abuse("length-folded", _post("Content-Length:\r\n 3", body="abc"), either(body="abc")),
    Abuse("length-beside-an-underscored-one", _post("Content-Length: 3", "Content_Length: 30", body="abc")),
    Abuse("body-of-a-get", "GET /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc", either(body="abc")),
    Abuse("length-zero-then-another", _post("Content-Length: 0", body=SMUGGLED), served(2, answers=2)),
    Abuse("body-shorter-than-told", _post("Content-Length: 10", body="abc"), CUT),
]

CODINGS = [
    Abuse("coding-with-space-before-colon", _post("Transfer-Encoding : chunked", body=END)),
    Abuse("coding-with-tab-before-colon", _post("Transfer-Encoding\t: chunked", body=END)),
    Abuse(
        "chunked-not-last",
        _chunked(END, "Transfer-Encoding: gzip, chunked, identity"),
        Expectation(frozenset({400, 501})),
    ),
    Abuse(
        "chunked-then-identity",
        _post("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=END),
        Expectation(frozenset({400, 501})),
    ),
    Abuse("identity-alone", _post("Transfer-Encoding: identity", body="abc"), Expectation(frozenset({400, 501}))),
    Abuse("gzip-alone", _post("Transfer-Encoding: gzip", body="abc"), Expectation(frozenset({400, 501}))),
    Abuse("gzip-then-chunked", _post("Transfer-Encoding: gzip, chunked", body=END), Expectation(frozenset({400, 501}))),
    Abuse(
        "chunked-twice",
        _post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=END),
        Expectation(frozenset({400, 501})),
    ),
    Abuse(
        "chunked-twice-in-a-list",
        _post("Transfer-Encoding: chunked, chunked", body=END),
        Expectation(frozenset({400, 501})),
    ),
    Abuse("coding-with-x-in-front", _post("Transfer-Encoding: xchunked", body=END), Expectation(frozenset({400, 501}))),
    Abuse("coding-in-quotes", _post('Transfer-Encoding: "chunked"', body=END), Expectation(frozenset({400, 501}))),
    Abuse(
        "coding-with-parameter", _post("Transfer-Encoding: chunked;q=1", body=END), Expectation(frozenset({400, 501}))
    ),
    Abuse(
        "coding-with-vertical-tab",
        _post("Transfer-Encoding: \x0bchunked", body=END),
        Expectation(frozenset({400, 501})),
    ),
    Abuse("coding-with-nul", _post("Transfer-Encoding: chunked\x00", body=END), Expectation(frozenset({400, 501}))),
    Abuse(
        "coding-with-comma-in-front",
        _post("Transfer-Encoding: , chunked", body=END),
        Expectation(frozenset({200, 400, 501}), 1, None),
    ),
    Abuse(
        "coding-that-is-empty",
        _post("Transfer-Encoding: ", "Content-Length: 3", body="abc"),
        Expectation(frozenset({400, 501})),
    ),
    Abuse(
        "coding-in-capitals",
        _post("transfer-ENCODING: CHUNKED", body=f"3\r\nabc\r\n{END}"),
        Expectation(frozenset({200, 400, 501}), 1, None, {"body": "abc"}),
    ),
    Abuse("coding-folded", _post("Transfer-Encoding:\r\n chunked", body=END), either()),
    Abuse("coding-in-http-1.0", _post("Transfer-Encoding: chunked", body=END, version="HTTP/1.0")),
    Abuse(
        "coding-in-a-header-before-it",
        _post("X: y\rTransfer-Encoding: chunked", "Content-Length: 0"),
        REFUSED,
        why="a bare CR",
    ),
    Abuse("coding-after-a-bare-lf", _post("X: y\nTransfer-Encoding: chunked", "Content-Length: 5", body=END), REFUSED),
]

CHUNKS = [
    Abuse("chunk-plain", _chunked(f"3\r\nabc\r\n{END}"), served(body="abc")),
    Abuse("chunk-size-in-capitals", _chunked(f"A\r\nabcdefghij\r\n{END}"), served(body="abcdefghij")),
    Abuse("chunk-size-with-0x", _chunked(f"0x3\r\nabc\r\n{END}")),
    Abuse("chunk-size-with-plus", _chunked(f"+3\r\nabc\r\n{END}")),
    Abuse("chunk-size-with-minus", _chunked("-1\r\nabc\r\n")),
    Abuse("chunk-size-with-underscore", _chunked(f"0_3\r\nabc\r\n{END}")),
    Abuse("chunk-size-with-space-in-front", _chunked(f" 3\r\nabc\r\n{END}")),
    Abuse("chunk-size-with-space-behind", _chunked(f"3 \r\nabc\r\n{END}"), either(body="abc")),
    Abuse("chunk-size-that-is-empty", _chunked(f"\r\nabc\r\n{END}")),
    Abuse("chunk-size-with-letters", _chunked(f"3g\r\nabc\r\n{END}")),
    Abuse(
        "chunk-size-past-64-bits", _chunked(f"10000000000000003\r\nabc\r\n{END}"), Expectation(frozenset({400, 413}))
    ),
    Abuse(
        "chunk-size-of-zeros",
        _chunked(f"{{0*5000}}3\r\nabc\r\n{END}"),
        Expectation(frozenset({200, 400, 413, 431}), 1, None, {"body": "abc"}),
    ),
    Abuse("chunk-size-with-nul", _chunked(f"3\x00\r\nabc\r\n{END}")),
    Abuse("chunk-extension", _chunked(f"3;a=b\r\nabc\r\n{END}"), either(body="abc")),
    Abuse("chunk-extension-quoted", _chunked(f'3;a="b;c"\r\nabc\r\n{END}'), either(body="abc")),
    Abuse("chunk-extension-with-lf", _chunked(f"3;a\nb\r\nabc\r\n{END}")),
    Abuse("chunk-extension-with-cr", _chunked(f"3;a\rb\r\nabc\r\n{END}")),
    Abuse(
        "chunk-extension-of-megabytes",
        _chunked(f"3;{{a*100000}}\r\nabc\r\n{END}"),
        Expectation(frozenset({400, 413, 431})),
    ),
    Abuse("chunk-line-with-bare-lf", _chunked("3\nabc\n0\n\n"), REFUSED),
    Abuse("chunk-end-with-bare-lf", _chunked(f"3\r\nabc\n{END}"), REFUSED),
    Abuse("chunk-end-with-other-bytes", _chunked(f"3\r\nabcXX{END}")),
    Abuse("chunk-longer-than-told", _chunked(f"3\r\nabcd\r\n{END}")),
    Abuse("chunk-end-missing", _chunked(f"3\r\nabc{END}")),
    Abuse("last-chunk-of-zeros", _chunked("3\r\nabc\r\n000\r\n\r\n"), either(body="abc")),
    Abuse("no-last-chunk", _chunked("3\r\nabc\r\n"), CUT),
    Abuse(
        "trailer-with-framing",
        _chunked("3\r\nabc\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        either(body="abc", absent_headers=["content-length-5"]),
    ),
    Abuse(
        "trailer-with-host",
        _chunked("3\r\nabc\r\n0\r\nHost: evil.test\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"),
        either(host="a.test", body="abc"),
    ),
    Abuse("trailer-without-colon", _chunked("3\r\nabc\r\n0\r\ngarbage\r\n\r\n")),
    Abuse("trailer-with-bare-lf", _chunked("3\r\nabc\r\n0\r\nX: y\n\r\n")),
    Abuse("trailers-without-end", _chunked("0\r\nX: {A*70000}\r\n\r\n"), Expectation(frozenset({400, 413, 431}))),
    Abuse("chunks-then-another", _chunked(f"{END}{SMUGGLED}"), served(2, answers=2)),
    Abuse(
        "body-past-the-limit-in-chunks",
        _chunked(f"200000\r\n{{a*2097152}}\r\n{END}"),
        Expectation(frozenset({200, 413}), 1, None),  # manifests say nothing of limits
    ),
]

LINES = [
    Abuse("lines-with-bare-lf", "GET /x HTTP/1.1\nHost: a.test\n\n", either()),
    Abuse("request-line-with-bare-lf", "GET /x HTTP/1.1\nHost: a.test\r\n\r\n", either()),
    Abuse("lines-with-bare-cr", "GET /x HTTP/1.1\rHost: a.test\r\r", CUT),
    Abuse("header-line-with-bare-lf", _get("/x", "X: y\nZ: w"), either()),
    Abuse("bare-cr-in-a-value", _get("/x", "X: a\rb")),
    Abuse("folded-header", _get("/x", "X: a\r\n b"), either()),
    Abuse("fold-before-all-headers", "GET /x HTTP/1.1\r\n Host: a.test\r\n\r\n"),
    Abuse("empty-line-in-front", "\r\n" + _get(), served(), ref="RFC 9112 2.2"),
    Abuse("header-without-colon", _get("/x", "Garbage")),
    Abuse("header-without-name", _get("/x", ": value")),
    Abuse("header-with-space-in-name", _get("/x", "X Y: z")),
    Abuse("header-with-space-before-colon", _get("/x", "X : z")),
    Abuse("header-with-nul", _get("/x", "X: a\x00b")),
    Abuse("header-with-escape", _get("/x", "X: a\x1bb")),
    Abuse("header-with-del", _get("/x", "X: a\x7fb")),
    Abuse("header-name-past-ascii", _get("/x", "\u00c4: z")),
    Abuse("header-name-in-parentheses", _get("/x", "(X): z")),
    Abuse("header-value-past-ascii", _get("/x", "X: \u00e4"), either()),
    Abuse("header-value-with-tab", _get("/x", "X: a\tb"), served()),
    Abuse("header-value-empty", _get("/x", "X:"), served()),
    Abuse("nothing-but-line-ends", "\r\n\r\n\r\n\r\n", Expectation(frozenset({0, 400, 408}), 0, True, incomplete=True)),
    Abuse("bytes-of-tls", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03{A*100}\r\n\r\n", NO_LINE),
    Abuse("preface-of-http-2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Expectation(frozenset({400, 505, 0}))),
    Abuse("head-that-never-ends", "GET /x HTTP/1.1\r\nHost: a.test\r\nX: y\r\n", CUT),
    Abuse("request-line-without-version", "GET /x\r\nHost: a.test\r\n\r\n", NO_LINE),
    Abuse("request-line-with-two-spaces", "GET  /x HTTP/1.1\r\nHost: a.test\r\n\r\n", NO_LINE),
    Abuse("request-line-with-tab", "GET\t/x\tHTTP/1.1\r\nHost: a.test\r\n\r\n", NO_LINE),
    Abuse("request-line-with-space-behind", "GET /x HTTP/1.1 \r\nHost: a.test\r\n\r\n"),
    Abuse("request-line-with-nul", "GET /\x00x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    Abuse("request-line-without-method", " /x HTTP/1.1\r\nHost: a.test\r\n\r\n", NO_LINE),
]

REQUESTS = [*LENGTHS, *CODINGS, *CHUNKS, *LINES]
