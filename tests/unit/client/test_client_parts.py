from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.client import Headers, Reply, Response
from skerry.client.decoding import PIECE, Inflater, inflater, whole
from skerry.client.plan import address, planned
from skerry.client.stream import Stream, Timing
from skerry.clock import SYSTEM
from skerry.errors import CallError, ConfigurationError, ConnectionLost, DeadlineExceeded, ReplyTooLarge
from skerry.testing import VirtualClock, run_virtual

RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
BODY = b"skerry " * 1000
ENCODED = {
    "gzip": gzip.compress(BODY),
    "gzip in two members": gzip.compress(BODY[:99]) + gzip.compress(BODY[99:]),
    "deflate": zlib.compress(BODY),
    "deflate, bare": RAW.compress(BODY) + RAW.flush(),
}


def plan(path: str = "/", **options: Any) -> Any:
    return planned("stock", "http://stock", options.pop("method", "GET"), path, options, SYSTEM).request


# --- headers


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_date_to_ask_again_means_the_same_everywhere(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All forms of a date in HTTP are in GMT, also the one that does not say so."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        clock = VirtualClock()
        forms = (
            "%a, %d %b %Y %H:%M:%S GMT",
            "%A, %d-%b-%y %H:%M:%S GMT",
            "%a %b %d %H:%M:%S %Y",
            "%a, %d %b %Y %H:%M:%S -0000",
        )
        dates = [time.strftime(form, time.gmtime(clock.now() + 120.0)) for form in forms]
        waits = [Reply("stock", 503, Headers({"retry-after": date}), b"").retry_after(clock) for date in dates]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert waits == [pytest.approx(120.0, abs=1.0)] * 4


def test_names_of_headers_ignore_case_and_may_repeat() -> None:
    """A lookup joins what is repeated; every pair can be had."""
    headers = Headers([("Vary", "a"), ("X", "1"), ("vary", "b")])
    assert (headers["VARY"], headers.get("x"), headers.get("none")) == ("a, b", "1", None)
    assert headers.get_list("vary") == ["a", "b"]
    assert headers.multi_items() == [("vary", "a"), ("x", "1"), ("vary", "b")]
    assert (list(headers), len(headers), "VARY" in headers) == (["vary", "x"], 2, True)
    assert headers.without("vary").multi_items() == [("x", "1")]


def test_headers_do_not_show_what_they_hold() -> None:
    """A reply in a log or a traceback tells no credential."""
    assert "hunter2" not in repr(Headers({"authorization": "hunter2"}))


def test_a_reply_does_not_show_what_it_holds() -> None:
    """Nor does a body, which may be megabytes of other people's data."""
    assert "hunter2" not in repr(Reply("stock", 200, Headers(), b"hunter2"))


# --- decoding


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_body_is_decoded_however_it_is_cut(name: str, size: int) -> None:
    """The coding comes off the same body whether it arrives byte by byte or at once."""
    if name == "deflate, bare" and size == 1:
        size = 2  # the first byte alone does not tell whether it is bare
    inflate = Inflater("stock", name.split(maxsplit=1)[0].rstrip(","))
    pieces = [ENCODED[name][start : start + size] for start in range(0, len(ENCODED[name]), size)]
    assert b"".join(part for piece in pieces for part in inflate.pieces(piece)) == BODY
    inflate.end()


def test_a_bomb_goes_off_in_small_pieces() -> None:
    """Whoever counts the pieces sees a bomb before more than one of them is in memory."""
    inflate = Inflater("stock", "gzip")
    assert max(len(piece) for piece in inflate.pieces(gzip.compress(bytes(2**23)))) <= PIECE


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_no_body_breaks_the_decoder(body: bytes, coding: str) -> None:
    """Whatever comes, it is decoded, or refused as a broken reply."""
    inflate = Inflater("stock", coding)
    try:
        for _ in inflate.pieces(body):
            pass
        inflate.end()
    except ConnectionLost:
        pass


class Pieces(Response):
    """A reply that comes in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(200)
        self.left = list(pieces)

    async def read(self) -> bytes:
        return self.left.pop(0) if self.left else b""


@pytest.mark.parametrize("pieces", [(), (b"12345678",), (b"1234", b"5678"), (b"1", b"2345", b"678")])
def test_a_body_is_whole_however_many_pieces_it_comes_in(pieces: tuple[bytes, ...]) -> None:
    """All pieces of a body in their order, up to as many bytes as are taken."""
    got = asyncio.run(whole("stock", Pieces(*pieces), most=8)).content
    assert (got, type(got)) == (b"".join(pieces), bytes)


@pytest.mark.parametrize("pieces", [(b"123456789",), (b"1234", b"56789"), (b"12345678", b"9")])
def test_a_body_that_is_too_large_is_read_no_further(pieces: tuple[bytes, ...]) -> None:
    """What comes after the byte that is one too many is left where it is."""
    body = Pieces(*pieces, b"never read")
    with pytest.raises(ReplyTooLarge):
        asyncio.run(whole("stock", body, most=8))
    assert body.left == [b"never read"]


def test_a_bomb_in_a_stream_holds_up_nobody_and_ends_in_time() -> None:
    """However much one piece becomes: between two of what it becomes others have their turn, and the deadline is looked at."""

    async def main(clock: VirtualClock) -> None:
        bomb = Response(200, headers={"content-encoding": "gzip"}, body=gzip.compress(bytes(100 * PIECE)))
        stream = Stream(bomb, Timing("stock", clock.monotonic() + 1.0, 1.0, clock, imposed=False), most=1)
        turns: list[int] = []
        read = 0

        async def reading() -> None:
            nonlocal read
            async for _ in stream.aiter_bytes():
                read += 1
                if read == 50:
                    await clock.sleep(1.0)

        async def other() -> None:
            for _ in range(20):
                turns.append(read)
                await clock.sleep(0)

        beside = asyncio.create_task(other())
        with pytest.raises(DeadlineExceeded):
            await reading()
        await beside
        assert read == 50
        assert turns == sorted(set(turns))

    run_virtual(main)


@pytest.mark.parametrize(
    ("codings", "taken"), [(["gzip"], True), (["GZIP"], True), (["br"], False), (["gzip", "gzip"], False), ([], False)]
)
def test_only_what_was_asked_for_is_decoded(codings: list[str], taken: bool) -> None:
    """Any other coding stays on, and so does its header."""
    response = Response(200, headers=[("content-encoding", coding) for coding in codings])
    assert (inflater("stock", response) is not None) is taken


# --- what goes out


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/a b", "/a%20b"),
        ("/ä", "/%C3%A4"),
        ("/a%2Fb", "/a%2Fb"),
        ("/50%", "/50%25"),
        ("/a#b", "/a%23b"),
        ("/a\\b", "/a%5Cb"),
        ("/a\r\nx", "/a%0D%0Ax"),
        ("/a?b=c&d=e/f", "/a?b=c&d=e/f"),
        ("/[x]", "/%5Bx%5D"),
    ],
)
def test_a_path_is_encoded_once(path: str, sent: str) -> None:
    """What may not stand in a path is encoded; what is encoded stays as it is; nothing ends the path early."""
    assert plan(path).url == "http://stock" + sent


def test_parameters_join_the_query() -> None:
    """Booleans are lower case, None is empty, text is encoded."""
    assert plan("/a?x=1", params={"y": True, "z": None, "q": "ä &"}).url == "http://stock/a?x=1&y=true&z=&q=%C3%A4+%26"


@given(st.text(max_size=30))
def test_no_path_leaves_its_host(path: str) -> None:
    """Whatever a path holds, the request goes to the service or is refused."""
    try:
        url = plan("/" + path).url
    except ValueError:
        return
    assert url.startswith("http://stock/")
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url


@pytest.mark.parametrize(
    ("name", "value"), [("x", "a\nb"), ("x", "a\0b"), ("a b", "x"), ("a:", "x"), ("", "x"), ("ä", "x")]
)
def test_a_header_that_is_not_http_is_refused(name: str, value: str) -> None:
    """Nothing that would begin another header, or another request, is sent."""
    with pytest.raises(CallError, match="not valid HTTP"):
        plan(headers={name: value})


def test_a_caller_does_not_frame_the_body() -> None:
    """Lengths, codings of transfer and the host are the transport's to say; defaults give way to what a caller says."""
    headers = plan(
        headers={"Content-Length": "9", "Transfer-Encoding": "x", "Host": "evil", "Accept": "text/csv"}
    ).headers
    names = [name for name, _ in headers]
    assert names.count("accept") == 1
    assert ("accept", "text/csv") in headers
    assert not {"content-length", "transfer-encoding", "host"} & set(names)


@pytest.mark.parametrize("method", ["GET /x", "", "G\nT", "GÄT"])
def test_a_method_is_a_word(method: str) -> None:
    """A method cannot hold a second line."""
    with pytest.raises(ValueError, match="method"):
        plan(method=method)


@pytest.mark.parametrize(
    "url", ["http://stock:99999999", "http://ß", "http://stock/\n", "http://stock/a b", "http://[::1"]
)
def test_an_address_is_a_plain_one(url: str) -> None:
    """An address that two parsers could read differently is a mistake of configuration."""
    with pytest.raises(ConfigurationError):
        address("stock", url)
