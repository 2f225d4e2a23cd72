from __future__ import annotations

import pytest

from skerry.gateway.paths import canonical, encoded, encoded_query
from skerry.service.problem import Problem


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/", "/"),
        (b"/api/orders/42", "/api/orders/42"),
        (b"/api//orders", "/api/orders"),
        (b"//evil.example/x", "/evil.example/x"),
        (b"/api/%6frders", "/api/orders"),
        (b"/a%20b", "/a b"),
        (b"/caf%C3%A9", "/café"),
        (b"/a;v=1/b", "/a;v=1/b"),
        (b"/a/", "/a/"),
        (b"/API/Orders", "/API/Orders"),
        (b"/...", "/..."),
        (b"/what%3Fnow", "/what?now"),
    ],
)
def test_a_path_is_decoded_once(raw: bytes, path: str) -> None:
    """A plain path comes out decoded, with empty segments taken out and case kept."""
    assert canonical(raw) == path


@pytest.mark.parametrize(
    "raw",
    [
        b"*",
        b"api",
        b"/a/../b",
        b"/a/./b",
        b"/..",
        b"/a/%2e%2e/b",
        b"/a/%2E%2e/b",
        b"/a/.%2e/b",
        b"/a/..;/b",
        b"/a/..;x=1/b",
        b"/a%2fb",
        b"/a%2Fb",
        b"/a%5cb",
        b"/a\\b",
        b"/a%00b",
        b"/a%0d%0ab",
        b"/a%7f",
        b"/a%c2%85",
        b"/a%252e%252e/b",
        b"/a%25%32%66",
        b"/a%zz",
        b"/a%2",
        b"/a%",
        b"/a%c0%af",
        b"/a%ff",
        b"/a%u002e",
    ],
)
def test_an_ambiguous_path_is_refused(raw: bytes) -> None:
    """What two parsers could read differently is a 400 and goes nowhere."""
    with pytest.raises(Problem) as caught:
        canonical(raw)
    assert caught.value.status == 400


def test_a_query_stays_as_it_came() -> None:
    """Escapes, order and separators of a query are kept; only what may not stand in a URL is encoded."""
    assert encoded_query(b"a=%2F&a=b+c&q={x}|y;z") == "a=%2F&a=b+c&q={x}|y;z"
    assert encoded_query(b"q=caf\xe9 \x01") == "q=caf%E9%20%01"


@pytest.mark.parametrize("path", ["/", "/a b/c", "/café", "/what?now", "/a#b", "/a;v=1", "/50%", "/@:x"])
def test_encoding_is_the_inverse_of_decoding(path: str) -> None:
    """The path that is forwarded reads as the path that was matched."""
    assert canonical(encoded(path).encode()) == path
