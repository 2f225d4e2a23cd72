from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.gateway.compression import LEAST, Encoder, accepts_gzip, apply, choose, compressible

JSON = (b"content-type", b"application/json")
LONG = (b"content-length", b"5000")


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        (None, False),
        (b"", False),
        (b"gzip", True),
        (b"GZIP", True),
        (b"x-gzip", True),
        (b"*", True),
        (b"br", False),
        (b"gzip, deflate, br", True),
        (b"br;q=1.0, gzip;q=0.5", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000, *", False),
        (b"*;q=0", False),
        (b"identity, gzip;q=0.5", False),
        (b"identity;q=0.5, gzip", True),
        (b"gzip; q=0.4 , identity;q=0.4", True),
        (b"gzip;q=nonsense", False),
        (b"gzip;q=1e9", False),
        (b"gzip;quality=1", False),
        (b"gzipped", False),
        (b"," * 5000 + b"gzip", False),
    ],
)
def test_a_client_says_by_weights_whether_it_takes_gzip(value: bytes | None, taken: bool) -> None:
    """gzip is taken when its weight is above 0 and not below that of identity; what cannot be read weighs nothing."""
    assert accepts_gzip(value) is taken


@pytest.mark.parametrize(
    ("kind", "smaller"),
    [
        (b"text/html; charset=utf-8", True),
        (b"Application/JSON", True),
        (b"application/problem+json", True),
        (b"image/svg+xml", True),
        (b"text/event-stream", True),
        (b"image/png", False),
        (b"application/octet-stream", False),
        (b"application/zip", False),
        (None, False),
    ],
)
def test_only_types_that_get_smaller_are_encoded(kind: bytes | None, smaller: bool) -> None:
    """Text and its kin; not what is packed already, nor what is not said."""
    assert compressible(kind) is smaller


@pytest.mark.parametrize(
    ("change", "encoded"),
    [
        ({}, True),
        ({"length": LEAST - 1}, False),
        ({"length": None}, True),
        ({"method": b"HEAD"}, False),
        ({"status": 204}, False),
        ({"status": 206}, False),
        ({"status": 304}, False),
        ({"status": 404}, True),
        ({"content_encoding": b"br"}, False),
        ({"content_encoding": b"identity"}, True),
        ({"cache_control": b"public, No-Transform"}, False),
        ({"cache_control": b"public"}, True),
    ],
)
def test_an_answer_is_encoded_only_where_that_is_allowed_and_gains(change: dict[str, object], encoded: bool) -> None:
    """Not what is short, has no body, is a part, is encoded already or may not be transformed."""
    about = {"status": 200, "length": LEAST, **change}
    assert (choose(b"gzip", b"text/plain", **about) is not None) is encoded  # type: ignore[arg-type]


def test_what_comes_out_is_what_went_in() -> None:
    """The pieces together are one gzip stream of the body."""
    encoder = Encoder(flush=False)
    pieces = [b"piece %d " % number * 100 for number in range(50)]
    packed = b"".join(encoder.feed(piece) for piece in pieces) + encoder.finish()
    assert gzip.decompress(packed) == b"".join(pieces)
    assert len(packed) < len(b"".join(pieces)) / 5


def test_a_stream_is_read_as_it_comes() -> None:
    """Without a known length every piece can be read as soon as it has arrived, as event streams need."""
    encoder = choose(b"gzip", b"text/event-stream", status=200, length=None)
    assert encoder is not None
    reader = zlib.decompressobj(31)
    for number in range(5):
        event = b"data: %d\n\n" % number
        assert reader.decompress(encoder.feed(event)) == event
    assert reader.decompress(encoder.finish()) == b""
    assert reader.eof


def test_the_head_of_an_encoded_answer_says_so() -> None:
    """It has no length, its entity tag is weak, it depends on the client, and what was true of its old bytes is gone."""
    told = [
        JSON,
        LONG,
        (b"etag", b'"abc"'),
        (b"accept-ranges", b"bytes"),
        (b"repr-digest", b"sha-256=:AA==:"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]
    encoder, headers = apply(b"GET", b"gzip", 200, told)
    assert encoder is not None
    assert not encoder.flush
    assert headers == [
        JSON,
        (b"etag", b'W/"abc"'),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"content-encoding", b"gzip"),
        (b"vary", b"Accept-Encoding"),
    ]


def test_a_weak_entity_tag_stays_as_it_is() -> None:
    """It is not made weak twice."""
    _, headers = apply(b"GET", b"gzip", 200, [JSON, (b"etag", b'W/"abc"')])
    assert (b"etag", b'W/"abc"') in headers


def test_an_answer_that_others_would_get_encoded_says_that_it_varies() -> None:
    """A client that takes no gzip gets it as it is, with `Vary`, so that no cache gives it to the others, or theirs to it."""
    assert apply(b"GET", None, 200, [JSON, LONG]) == (None, [JSON, LONG, (b"vary", b"Accept-Encoding")])


@pytest.mark.parametrize(
    "told",
    [
        [JSON, (b"content-length", b"10")],
        [(b"content-type", b"image/png"), LONG],
        [JSON, LONG, (b"content-encoding", b"gzip"), (b"content-encoding", b"identity")],
        [JSON, LONG, (b"cache-control", b"no-transform"), (b"cache-control", b"public")],
    ],
)
def test_an_answer_that_nobody_gets_encoded_stays_untouched(told: list[tuple[bytes, bytes]]) -> None:
    """Its headers go on as they came; of repeated ones each counts."""
    assert apply(b"GET", b"gzip", 200, told) == (None, told)


@given(st.binary(max_size=60) | st.from_regex(rb"[a-z*]{0,8}(;q=[0-9.]{0,6})?(,[a-z*]{0,8}(;q=[0-9.]{0,6})?){0,4}"))
def test_whatever_a_client_accepts_is_a_yes_or_a_no(value: bytes) -> None:
    """Nothing in the header makes the choice fail."""
    assert accepts_gzip(value) in {True, False}
