from __future__ import annotations

import pytest

from skerry.gateway.headers import arriving_context, for_part, incoming, outgoing, public_location
from skerry.testing import VirtualClock

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def entering(*headers: tuple[bytes, bytes]) -> dict[str, str]:
    return dict(incoming(headers, scheme="http", client="192.0.2.7"))


@pytest.mark.parametrize(
    "name",
    [
        b"connection",
        b"keep-alive",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authorization",
        b"content-length",
        b"skerry-retried",
        b"skerry-priority",
        b"skerry-timeout",
        b"x-user-id",
        b"x_user_id",
        b"x-forwarded-user",
        b"x-real-ip",
        b"x-original-url",
        b"x-internal-secret",
        b"forwarded",
        b"traceparent",
    ],
)
def test_a_client_cannot_speak_for_the_gateway(name: bytes) -> None:
    """Hop-by-hop, identity and internal headers of a client, and names with an underscore, do not enter."""
    assert name.decode() not in entering((name, b"forged"))


def test_where_a_request_came_from_is_ours_to_say() -> None:
    """What a client says in X-Forwarded-* is replaced by what the connection shows."""
    sent = entering((b"host", b"shop.test"), (b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-proto", b"https"))
    assert sent["x-forwarded-for"] == "192.0.2.7"
    assert sent["x-forwarded-proto"] == "http"
    assert sent["x-forwarded-host"] == "shop.test"


def test_what_connection_names_stays_behind() -> None:
    """A header that `Connection` lists is for this hop only."""
    sent = entering((b"connection", b"close, X-Hop"), (b"x-hop", b"1"), (b"authorization", b"Bearer t"))
    assert "x-hop" not in sent
    assert sent["authorization"] == "Bearer t"


def test_conditions_of_the_whole_are_not_conditions_of_a_part() -> None:
    """An aggregate's parts get neither the client's If-None-Match nor its Range, but its language and credentials."""
    given = [("if-none-match", "x"), ("range", "bytes=0-1"), ("accept", "text/html"), ("accept-language", "de")]
    assert for_part(given) == [
        ("accept-language", "de"),
        ("accept", "application/json"),
        ("accept-encoding", "identity"),
    ]


def test_a_reply_loses_what_was_for_the_gateway() -> None:
    """Hop-by-hop and internal headers of a reply stay inside; repeated headers stay repeated."""
    given = [
        ("Connection", "x-hop"),
        ("X-Hop", "1"),
        ("Server", "s"),
        ("skerry-x", "1"),
        ("Set-Cookie", "a"),
        ("Set-Cookie", "b"),
    ]
    assert outgoing(given) == [(b"set-cookie", b"a"), (b"set-cookie", b"b")]


def test_the_trace_is_kept_when_it_is_valid() -> None:
    """A valid traceparent continues, a broken one is dropped: the request begins a trace of its own."""
    assert arriving_context([(b"traceparent", TRACE)]).trace_id == TRACE[3:35].decode()
    assert arriving_context([(b"traceparent", b"00-broken")]).trace_id == ""


@pytest.mark.parametrize(
    ("told", "believed"),
    [(b"1.5", 1.5), (b"0.001", 1.0), (b"1000000", 300.0), (b"-1", None), (b"nan", None), (b"", None)],
)
def test_a_clients_time_out_is_clamped(told: bytes, believed: float | None) -> None:
    """How long a client waits is believed within limits; nothing else of the internal headers is."""
    clock = VirtualClock()
    context = arriving_context(
        [(b"skerry-timeout", told), (b"skerry-retried", b"1"), (b"skerry-priority", b"9")], clock=clock
    )
    assert context.remaining(clock) == believed
    assert (context.retries_above, context.priority) == (False, 5)


@pytest.mark.parametrize(
    ("location", "public"),
    [
        ("/orders/7", "/api/orders/7"),
        ("/orders", "/api/orders"),
        ("/orders?page=2", "/api/orders?page=2"),
        ("http://10.0.0.1:9000/orders/7", "/api/orders/7"),
        ("/ordersx/7", "/ordersx/7"),
        ("/login", "/login"),
        ("https://elsewhere.test/orders/7", "https://elsewhere.test/orders/7"),
        ("//elsewhere.test/orders/7", "//elsewhere.test/orders/7"),
        ("7", "7"),
    ],
)
def test_a_location_is_told_in_the_clients_terms(location: str, public: str) -> None:
    """A place under the service's own prefix becomes one under the public path; other places stay."""
    mapped = public_location(location, upstream="http://10.0.0.1:9000", rewrite="/orders", path="/api/orders")
    assert mapped == public
