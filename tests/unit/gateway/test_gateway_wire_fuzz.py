"""The reader of HTTP/1.1 and the normaliser of paths, fed with what nobody would think of.

In CI each looks at so many examples that together they take about a minute.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote_to_bytes

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.gateway.wire import BadMessage, Chunks, RequestHead, canonical, chunk, read_reply, read_request
from skerry.gateway.wire.crossing import Judge
from skerry.gateway.wire.reply import CHUNKED, UNTIL_CLOSE

MANY = settings(max_examples=6000 if os.environ.get("CI") == "true" else 400)
JUDGE = Judge()

methods = st.sampled_from([b"GET", b"POST", b"PUT", b"get", b"CONNECT", b"TRACE", b"PRI", b"G(T", b"", b"FOO"])
escapes = st.sampled_from(
    [b"%2e", b"%2E", b"%2f", b"%5c", b"%00", b"%25", b"%61", b"%c0%ae", b"%", b"%4", b"%zz", b"%0d%0a"]
)
path_parts = st.one_of(
    st.sampled_from(
        [b"/", b"//", b"..", b".", b"\\", b";", b"admin", b"a", b"@", b":", b"*", b"~", b"\xc3\xa4", b" ", b"+"]
    ),
    escapes,
    st.binary(max_size=3),
)
paths = st.lists(path_parts, max_size=10).map(lambda parts: b"/" + b"".join(parts))
targets = st.one_of(
    paths,
    paths.map(lambda path: b"http://a.test" + path),
    st.sampled_from(
        [b"*", b"a.test:443", b"@127.0.0.1/x", b"//x", b"9/x", b"http:/x", b"http://a@b/x", b"/x?y#z", b"?x"]
    ),
)
versions = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.10", b"http/1.1", b"HTTP/1.1 ", b""])
ends = st.sampled_from([b"\r\n"] * 20 + [b"\n", b"\r", b"\r\r\n", b"\r\n ", b"\n\n", b"\x00\r\n"])
field_lines = st.one_of(
    st.sampled_from(
        [
            b"Host: a.test",
            b"Host: a.test",
            b"Host: b.test",
            b"Host:",
            b"Host : a.test",
            b"host: a.test:80",
            b"Content-Length: 3",
            b"Content-Length: 0",
            b"Content-Length: +3",
            b"Content-Length: 3, 3",
            b"Content-Length: 0x3",
            b"Content-Length : 3",
            b"Content-Length:3 ",
            b"Content-Length: \xb3",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: Chunked",
            b"Transfer-Encoding:\x0bchunked",
            b"Transfer-Encoding : chunked",
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding",
            b"Connection: close",
            b"Connection: keep-alive, x-a",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Expect: 100-continue",
            b"X-A: b",
            b"X_A: b",
            b" folded",
            b"\tfolded",
            b": nameless",
        ]
    ),
    st.tuples(st.binary(max_size=4), st.binary(max_size=6)).map(b": ".join),
)


sound_lines = st.sampled_from(
    [
        b"Content-Length: 3",
        b"Transfer-Encoding: chunked",
        b"Connection: keep-alive, x-a",
        b"Connection: close",
        b"X-A: b",
        b"X_A: b",
        b"X-B:\tc\xe4 d ",
        b"Expect: 100-continue",
        b"X-Forwarded-For: 1.2.3.4",
    ]
)
sound_targets = st.sampled_from([
    b"/", b"/a/b?c=d", b"/a/./b", b"/a/%2e%2e/b", b"/%61?%61", b"http://a.test/x?y", b"/a//b", b"/a;b/c", b"/%C3%A4",
    b"/?x=/../y",
])  # fmt: skip


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A request's head: a sound one into which a few unsound parts have been put, or none."""
    spoilt = draw(st.integers(0, 3))
    method = (
        draw(methods) if spoilt == 1 and draw(st.booleans()) else draw(st.sampled_from([b"GET", b"POST", b"DELETE"]))
    )
    target = draw(targets) if spoilt and draw(st.booleans()) else draw(st.one_of(sound_targets, paths))
    version = draw(versions) if spoilt == 2 and draw(st.booleans()) else b"HTTP/1.1"
    lines = [
        b" ".join([method, target, version]),
        b"Host: a.test",
        *draw(st.lists(sound_lines, max_size=3, unique=True)),
    ]
    closing = [b"\r\n"] * len(lines)
    if spoilt == 3:
        at = draw(st.integers(1, len(lines)))
        lines.insert(at, draw(field_lines))
        closing.append(b"\r\n")
        closing[draw(st.integers(0, len(lines) - 1))] = draw(ends)
    data = b"".join(line + end for line, end in zip(lines, closing, strict=True)) + b"\r\n"
    if spoilt == 2:
        at = draw(st.integers(0, len(data) - 4))
        data = data[:at] + draw(st.binary(max_size=2)) + data[at + draw(st.integers(0, 1)) :]
    return data


def refused_with(refused: BadMessage, statuses: set[int]) -> None:
    """The only way in which a reader may fail."""
    assert refused.status in statuses


def read(data: bytes) -> RequestHead | None:
    try:
        return read_request(data, judge=JUDGE, headers=100, target=8192)
    except BadMessage as refused:
        return refused_with(refused, {400, 413, 414, 417, 431, 501, 505})


@MANY
@given(st.one_of(heads(), st.binary(max_size=200)))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No bytes make the reader fail in another way than by refusing them."""
    head = read(data)
    if head is not None:
        assert head.path.startswith("/") or (head.path == "*" and head.method == "OPTIONS")
        assert head.length >= -1


def outcome(data: bytes, judge: Judge) -> object:
    try:
        head = read_request(data, judge=judge, headers=100, target=8192)
    except BadMessage as refused:
        return refused.status, refused.code, refused.detail
    return {name: getattr(head, name) for name in RequestHead.__slots__}


@MANY
@given(st.lists(heads(), min_size=1, max_size=6))
def test_lines_that_came_before_are_read_like_new_ones(several: list[bytes]) -> None:
    """What is remembered of other heads, sound or not, changes nothing about the next one."""
    judge = Judge()
    for data in [*several, *several]:
        assert outcome(data, judge) == outcome(data, Judge())


LONG = 30_000
HEADS = {
    "host": b"GET / HTTP/1.1\r\nHost: %b!\r\n\r\n",
    "absolute target": b"GET http://%b!/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "path": b"GET /%b| HTTP/1.1\r\nHost: a\r\n\r\n",
    "query": b"GET /?%b\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    "name": b"GET / HTTP/1.1\r\nHost: a\r\n%b(: x\r\n\r\n",
    "value": b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\x00\r\n\r\n",
    "connection": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: %b\x00\r\n\r\n",
    "length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n",
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("where", HEADS)
@pytest.mark.parametrize(
    "piece", [b"a", b"a.", b"0", b"-", b".", b"%2e", b"/", b"/a", b"/..", b" ", b"\t", b",", b"a,", b":", b"["]
)
def test_no_head_keeps_the_gateway_busy(where: str, piece: bytes) -> None:
    """What is nearly right, as long as a head may be, is refused as quickly as anything else: nothing tries it in parts."""
    read(HEADS[where] % (piece * (LONG // len(piece))))


@MANY
@given(heads())
def test_what_is_read_is_read_alike_by_h11(data: bytes) -> None:
    """A head that we take means the same to another parser: method, target, host and framing."""
    head = read(data)
    if head is None or b"  " in data.partition(b"\r\n")[0]:  # h11 takes but one space in the first line
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(data)
    event = other.next_event()
    assert isinstance(event, h11.Request), f"h11 reads {event}"
    assert event.method.decode() == head.method
    names = [name for name, _ in event.headers]
    assert names.count(b"host") <= 1
    if head.path != "*" and event.target.startswith(b"/"):
        assert canonical(event.target.partition(b"?")[0]) == head.path
    codings = [value for name, value in event.headers if name == b"transfer-encoding"]
    lengths = [value for name, value in event.headers if name == b"content-length"]
    assert (head.length == CHUNKED) == bool(codings)
    assert not (codings and lengths)
    if lengths:
        assert head.length == int(lengths[0])


@MANY
@given(heads())
def test_what_goes_on_is_read_as_it_was(data: bytes) -> None:
    """The parts of a head that was taken make up a head again that is taken, and means the same."""
    head = read(data)
    if head is None or head.path == "*" or not head.host:
        return
    target = head.path if head.query is None else f"{head.path}?{head.query}"
    lines = [f"{head.method} {target} HTTP/1.1".encode(), b"Host: " + head.authority]
    lines += [name + b": " + value for name, value in head.headers]
    again = read(b"\r\n".join([*lines, b"", b""]))
    assert again is not None
    assert (again.method, again.path, again.query, again.host) == (head.method, head.path, head.query, head.host)
    assert again.headers == head.headers


@MANY
@given(paths)
def test_a_canonical_path_is_its_own(raw: bytes) -> None:
    """Normalising twice is normalising once, and nothing is left in it that a server might resolve or split further."""
    try:
        path = canonical(raw)
    except BadMessage as refused:
        refused_with(refused, {400})
        return
    assert canonical(path.encode("ascii")) == path
    segments = path.split("/")[1:]
    assert path.startswith("/")
    assert not {".", ".."} & set(segments)
    assert "" not in segments[:-1]
    assert not re.search(r"[\\\x00-\x20\x7f-\xff]|%2[fF]|%5[cC]|%00|%(?![0-9A-F]{2})", path)


@MANY
@given(paths)
def test_a_canonical_path_leads_where_a_server_would_go(raw: bytes) -> None:
    """A server that decodes once and then resolves dots gets to the same place with our form as with the client's."""
    try:
        path = canonical(raw)
    except BadMessage:
        return
    assert _resolved(path.encode("ascii")) == _resolved(raw)


def _resolved(path: bytes) -> list[bytes]:
    found: list[bytes] = []
    for part in unquote_to_bytes(path).split(b"/"):
        if part == b"..":
            del found[-1:]
        elif part not in {b"", b"."}:
            found.append(part)
    return found


chunk_lines = st.one_of(
    st.binary(min_size=1, max_size=20).map(chunk),
    st.sampled_from(
        [
            b"0\r\n\r\n",
            b"0\r\nX: y\r\n\r\n",
            b"3\r\nabc\r\n",
            b"3;a=b\r\nabc\r\n",
            b"0x3\r\nabc\r\n",
            b"+3\r\nabc\r\n",
            b"3 \r\nabc\r\n",
            b"3\nabc\n",
            b"3\r\nabcd\r\n",
            b"3;a\nb\r\nabc\r\n",
            b"3;a\rb\r\nabc\r\n",
            b"ffffffffffffffffff\r\n",
            b"\r\n",
            b"0\r\nContent-Length: 3\r\n\r\n",
            b"000\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
        ]
    ),
    st.binary(max_size=4),
)
bodies = st.lists(chunk_lines, max_size=6).map(b"".join)


def unchunk(pieces: list[bytes]) -> tuple[bytes, bool, bytes] | None:
    """The body, whether it is whole, and what follows it; None when it is refused."""
    reader, body, rest = Chunks(), b"", b""
    try:
        for piece in pieces:
            if reader.done:
                rest += piece
            else:
                body += b"".join(reader.feed(piece))
                rest = reader.rest
    except BadMessage as refused:
        return refused_with(refused, {400})
    return body, reader.done, rest


@MANY
@given(bodies, st.lists(st.integers(1, 7), max_size=40))
def test_chunks_do_not_depend_on_how_they_come(data: bytes, sizes: list[int]) -> None:
    """However the network cuts a chunked body, the reader comes to the same end; refusing may come earlier, never later."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    pieces.append(data[at:])
    whole, cut = unchunk([data]), unchunk([piece for piece in pieces if piece])
    if whole is not None and whole[1]:
        assert cut == whole
    elif cut is not None and whole is not None:
        assert (cut[0], cut[1]) == (whole[0], whole[1])
    elif cut is None:
        assert whole is None
    else:
        assert whole is None
        assert not cut[1], "taken as whole when cut, refused in one piece"


@MANY
@given(bodies)
def test_chunks_are_read_alike_by_h11(data: bytes) -> None:
    """A chunked body that we take as whole is whole to another parser too, with the same bytes in it and after it."""
    ours = unchunk([data])
    if ours is None or not ours[1]:
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    assert isinstance(other.next_event(), h11.Request)
    body = b""
    while isinstance(event := other.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage), f"h11 reads {event}"
    assert (body, bytes(other.trailing_data[0])) == (ours[0], ours[2])


@MANY
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6))
def test_chunks_come_back_as_they_were_sent(pieces: list[bytes]) -> None:
    """What we write chunked, we read again, and the end is where we put it."""
    data = b"".join(chunk(piece) for piece in pieces) + b"0\r\n\r\nrest"
    assert unchunk([data]) == (b"".join(pieces), True, b"rest")


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """What the head of an answer looks like, more or less."""
    first = b" ".join(
        [
            draw(versions),
            draw(st.sampled_from([b"200", b"204", b"304", b"101", b"100", b"99", b"600", b"2000", b"-1", b""])),
            draw(st.sampled_from([b"OK", b"", b"\xc3\xa4", b"a\rb"])),
        ]
    )
    lines = [first, *draw(st.lists(field_lines, max_size=6))]
    return b"".join(line + draw(ends) for line in lines) + b"\r\n"


@MANY
@given(st.one_of(replies(), st.binary(max_size=100)), st.sampled_from(["GET", "HEAD"]))
def test_any_answer_is_read_or_refused(data: bytes, method: str) -> None:
    """A service can answer anything: it is read, or the client gets 502; never two lengths, never a length that is no number."""
    try:
        head = read_reply(data, method=method)
    except BadMessage as refused:
        refused_with(refused, {502})
        return
    assert 100 <= head.status <= 599
    assert head.length >= UNTIL_CLOSE
    assert not {b"connection", b"transfer-encoding", b"content-length"} & {name for name, _ in head.headers}
    if head.bare:
        assert head.length == 0
