from __future__ import annotations

import pytest

from skerry.gateway.wire import (
    BadMessage,
    Chunks,
    RequestHead,
    canonical,
    canonical_query,
    chunk,
    read_reply,
    read_request,
    reply,
)
from skerry.gateway.wire.crossing import Judge


def request(*lines: str, first: str = "GET /x HTTP/1.1", host: str = "Host: a.test") -> RequestHead:
    text = "\r\n".join([first, *([host] if host else []), *lines, "", ""])
    return read_request(text.encode("latin-1"), judge=Judge(), headers=20, target=100)


def refusal(*lines: str, **more: str) -> tuple[int, str]:
    with pytest.raises(BadMessage) as caught:
        request(*lines, **more)
    return caught.value.status, caught.value.code


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        (b"/", "/"),
        (b"/a/b.c/~d", "/a/b.c/~d"),
        (b"//a///b", "/a/b"),
        (b"/a/./b/../c", "/a/c"),
        (b"/a/..", "/"),
        (b"/a/.", "/a/"),
        (b"/a/b/..", "/a/"),
        (b"/%61%2D%7e", "/a-~"),
        (b"/%2e%2E/x/%2e", None),
        (b"/x/%2e%2e/y", "/y"),
        (b"/%c3%a4%20", "/%C3%A4%20"),
        (b"/%252e%252e/x", "/%252e%252e/x"),
        (b"/a;x=1/b", "/a;x=1/b"),
        (b"/..", None),
        (b"/a/..;x/b", None),
        (b"/a%2fb", None),
        (b"/a%5Cb", None),
        (b"/a%00", None),
        (b"/a\\b", None),
        (b"/a b", None),
        (b"/%zz", None),
        (b"/%4", None),
        (b"/\xc3\xa4", None),
        (b"a", None),
        (b"", None),
        (b"/a#b", None),
    ],
)
def test_a_path_has_one_form_or_none(raw: bytes, form: str | None) -> None:
    """What is matched is what goes on; what could be read in two ways is refused, and the form is its own form."""
    if form is None:
        with pytest.raises(BadMessage):
            canonical(raw)
    else:
        assert canonical(raw) == form
        assert canonical(form.encode()) == form


def test_a_query_passes_as_it_came() -> None:
    """A query is the service's to read: what belongs in a URL is not touched, and all else is refused."""
    assert canonical_query(b'a=1&b=%2F..&c={x}|"') == 'a=1&b=%2F..&c={x}|"'
    for odd in ("ä=1".encode(), b"a\x01", b"a b", b"a#b"):
        with pytest.raises(BadMessage):
            canonical_query(odd)


def test_a_request_is_taken_apart_once() -> None:
    """Host, framing and options are told apart from the headers that go on."""
    head = request(
        "User-Agent: t", "Content-Length: 5", "X-User-Id: 7", "X_Y: 1", "Skerry-Timeout: 2", host="Host: A.Test.:8080"
    )
    assert (head.method, head.path, head.query, head.host, head.port) == ("GET", "/x", None, "a.test", 8080)
    assert head.headers == [(b"user-agent", b"t")]
    assert (head.length, head.keep_alive, head.context) == (5, True, {b"skerry-timeout": b"2"})
    assert head.authority == b"A.Test.:8080"


def test_what_connection_names_ends_here() -> None:
    """Headers named by Connection are for this hop only, an identity that came that way too."""
    head = request("Connection: close, X-Auth, keep-alive", "X-Auth: bob", "Keep-Alive: 5", "TE: trailers")
    assert head.headers == []
    assert not head.keep_alive


def test_an_absolute_target_says_where_it_goes() -> None:
    """The target's own authority counts, not the Host header (RFC 9112, section 3.2.2)."""
    head = request(first="GET http://b.test:81/y?z HTTP/1.1")
    assert (head.host, head.port, head.path, head.query, head.authority) == ("b.test", 81, "/y", "z", b"b.test:81")


def test_only_a_websocket_may_change_the_protocol() -> None:
    """An upgrade counts when Connection says so too, and never in HTTP/1.0."""
    assert request("Connection: Upgrade", "Upgrade: WebSocket").upgrade == "websocket"
    assert request("Upgrade: websocket").upgrade == ""
    assert request("Connection: upgrade", "Upgrade: websocket", first="GET / HTTP/1.0").upgrade == ""


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("Content-Length: 1", "Transfer-Encoding: chunked"), 400),
        (("Content-Length: 1", "Content-Length: 1"), 400),
        (("Content-Length: +1",), 400),
        (("Content_Length: 1",), 400),
        (("Transfer_Encoding: chunked",), 400),
        (("Content-Length: 1, 1",), 400),
        (("Host: b.test",), 400),
        (("Expect: miracles",), 417),
        (("Broken",), 400),
        ((" folded: 1",), 400),
        (("X: a\x00b",), 400),
        (tuple(f"X-{number}: 1" for number in range(21)), 431),
    ],
)
def test_a_head_that_is_not_clear_is_refused(lines: tuple[str, ...], told: int) -> None:
    """Framing, hosts and lines that could be read in two ways end the connection."""
    assert refusal(*lines)[0] == told


@pytest.mark.parametrize(
    ("first", "status"),
    [
        ("get /x HTTP/1.1", 501),
        ("BREW /x HTTP/1.1", 501),
        ("CONNECT a.test:80 HTTP/1.1", 501),
        ("GET /x HTTP/2.0", 505),
        ("GET  /x HTTP/1.1", 400),
        ("GET /x", 400),
        ("GET @evil/x HTTP/1.1", 400),
        ("GET http://user@b.test/ HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET /" + "x" * 100 + " HTTP/1.1", 414),
    ],
)
def test_a_first_line_that_is_not_ours_is_refused(first: str, status: int) -> None:
    """Methods are as they are written, versions are two, targets are paths or http URLs without a user."""
    assert refusal(first=first)[0] == status


def test_a_host_is_demanded_by_the_newer_version_only() -> None:
    """HTTP/1.0 may leave it out, and closes by default."""
    assert refusal(host="")[1] == "host"
    old = request(host="", first="GET / HTTP/1.0")
    assert (old.minor, old.host, old.keep_alive) == (0, "", False)


def test_chunks_come_in_any_pieces() -> None:
    """However the bytes are cut, the same body comes out, trailers are dropped, and what follows is kept apart."""
    whole = b"3;x=1\r\nabc\r\n" + chunk(b"de") + b"0\r\nHost: evil\r\n\r\nGET /"
    for cut in range(1, len(whole)):
        chunks = Chunks()
        body = b"".join(chunks.feed(whole[:cut]))
        if chunks.done:
            assert (body, chunks.rest + whole[cut:]) == (b"abcde", b"GET /")
            continue
        body += b"".join(chunks.feed(whole[cut:]))
        assert (body, chunks.done, chunks.rest) == (b"abcde", True, b"GET /")


@pytest.mark.parametrize(
    "body",
    [
        b"0x3\r\n",
        b"-1\r\n",
        b"3\nabc",
        b"3\r\nabcd\r\n",
        b"+3\r\n",
        b" 3\r\n",
        b"3;a\nb\r\n",
        b"1" * 300,
        b"g\r\n",
        b"\r\n",
        b"0\r\n bad\r\n",
    ],
)
def test_chunks_that_are_not_plain_are_refused(body: bytes) -> None:
    """Every laxness here is a way to smuggle a request."""
    with pytest.raises(BadMessage):
        Chunks().feed(body)


def answer(*lines: str, first: str = "HTTP/1.1 200 OK", method: str = "GET") -> tuple[int, bool, bool]:
    head = read_reply("\r\n".join([first, *lines, "", ""]).encode(), method=method)
    return head.length, head.keep_alive, head.bare


@pytest.mark.parametrize(
    ("lines", "more", "expected"),
    [
        (("Content-Length: 3",), {}, (3, True, False)),
        (("Transfer-Encoding: chunked",), {}, (-1, True, False)),
        ((), {}, (-2, False, False)),
        (("Content-Length: 3", "Connection: close"), {}, (3, False, False)),
        (("Content-Length: 3",), {"method": "HEAD"}, (0, True, True)),
        (("Content-Length: 3",), {"first": "HTTP/1.1 304 Not Modified"}, (0, True, True)),
        (("Content-Length: 3",), {"first": "HTTP/1.1 204 No Content"}, (0, False, True)),
        (("Content-Length: 3",), {"first": "HTTP/1.0 200 OK"}, (3, False, False)),
    ],
)
def test_an_answers_framing(lines: tuple[str, ...], more: dict[str, str], expected: tuple[int, bool, bool]) -> None:
    """Length, whether the connection can be used again, and whether there is a body at all."""
    assert answer(*lines, **more) == expected


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Transfer-Encoding: gzip",),
    ],
)
def test_an_answer_that_is_not_clear_is_refused(lines: tuple[str, ...]) -> None:
    """A service's framing decides what the next client gets, so it is not believed blindly."""
    with pytest.raises(BadMessage):
        answer(*lines)


def test_an_answers_inner_headers_stay_inside() -> None:
    """What travels between services, what is for one hop and what Connection names do not reach the client."""
    lines = ("HTTP/1.1 200 OK", "X: 1", "Skerry-Timeout: 1", "Keep-Alive: 5", "Connection: x-hop", "X-Hop: 1")
    text = "\r\n".join([*lines, "Content-Length: 0", "", ""])
    assert read_reply(text.encode(), method="GET").headers == [(b"x", b"1")]


def test_no_line_with_a_secret_is_remembered() -> None:
    judge = Judge()
    lines = ["Authorization: Bearer s3cret", "Cookie: id=s3cret", "X-Api-Key: s3cret", "Accept: s3cret/but/not/one"]
    text = "\r\n".join(["GET /x HTTP/1.1", "Host: a.test", *lines, "", ""]).encode()
    read_request(text, judge=judge, headers=20, target=100)
    kept = [line for line in judge.lines._known if b"s3cret" in line]
    assert kept == [b"Accept: s3cret/but/not/one"]


def test_what_is_remembered_of_lines_is_bounded() -> None:
    judge = Judge()
    for number in range(5000):
        text = f"GET /x HTTP/1.1\r\nHost: a.test\r\nUser-Agent: {number}\r\nAccept: {'x' * 300}\r\n\r\n".encode()
        head = read_request(text, judge=judge, headers=20, target=100)
        assert head.headers == [(b"user-agent", b"%d" % number), (b"accept", b"x" * 300)]
        assert len(judge.lines._known) <= 2048
    assert max(map(len, judge.lines._known)) <= 256


def test_what_is_remembered_of_first_lines_is_bounded() -> None:
    for number in range(3000):
        for reason in (f"{number}", f"{number} {'x' * 200}"):
            head = read_reply(f"HTTP/1.1 418 {reason}\r\nContent-Length: 0\r\n\r\n".encode(), method="GET")
            assert (head.status, head.keep_alive) == (418, True)
    assert len(reply._statuses) <= 1024
    assert max(map(len, reply._statuses)) <= 64
