from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from patience import LOOP_TIME, run_patiently
from peers import Behaviour, Peer, answers, blackhole, breaks_after, drip, listening, refusing_url, reply

from skerry import context
from skerry.client import Headers, Reply, Request, Response, ServiceClient
from skerry.context import CallContext
from skerry.errors import (
    AttemptTimeout,
    BulkheadFull,
    CallError,
    CircuitOpen,
    ConfigurationError,
    ConnectionLost,
    DeadlineExceeded,
    ReplyTooLarge,
    StatusError,
    Unreachable,
)
from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def policy(attempts: int = 3, **options: Any) -> Policy:
    defaults = {"total": 5.0, "attempt": 2.0, "retry": Retry(attempts, base=0.001, clock=LOOP_TIME), "clock": LOOP_TIME}
    return Policy("stock", **{**defaults, **options})


def stock_at(url: str) -> ServiceClient:
    return ServiceClient("stock", url=url, policy=policy(), clock=LOOP_TIME)


def against(
    behaviour: Behaviour, use: Callable[[ServiceClient, Peer], Awaitable[Any]], **options: Any
) -> tuple[Any, Peer]:
    """Run `use` with a client of a peer that behaves so; what it returned or raised, and the peer."""

    async def main() -> tuple[Any, Peer]:
        async with listening(behaviour) as peer:
            options.setdefault("policy", policy())
            async with ServiceClient("stock", url=peer.url, clock=LOOP_TIME, **options) as client:
                try:
                    return await use(client, peer), peer
                except Exception as error:
                    return error, peer

    return run_patiently(main())


def get(path: str = "/items/1", **options: Any) -> Callable[[ServiceClient, Peer], Awaitable[Any]]:
    return lambda client, _: client.get(path, **options)


def post(**options: Any) -> Callable[[ServiceClient, Peer], Awaitable[Any]]:
    return lambda client, _: client.post("/items", json={"sku": "A1"}, **options)


# --- what goes out and comes back


def test_a_call_brings_back_a_whole_reply() -> None:
    """Status, headers and body of a reply arrive; path, query and JSON body of the request do."""
    result, peer = against(
        answers(reply(201, b'{"id":7}', etag="x")),
        lambda client, _: client.post("/items", params={"dry": "1"}, json={"sku": "Ä1"}),
    )
    assert (result.status, result.json(), result.headers["ETag"]) == (201, {"id": 7}, "x")
    (request,) = peer.requests
    assert (request.method, request.target) == ("POST", "/items?dry=1")
    assert request.body.decode() == '{"sku":"Ä1"}'
    assert request.headers["content-type"] == "application/json"


def test_connections_are_kept() -> None:
    """Calls one after the other share a connection."""

    async def three(client: ServiceClient, _: Peer) -> None:
        for _number in range(3):
            await client.get("/")

    _, peer = against(answers(reply()), three)
    assert (len(peer.requests), peer.connections) == (3, 1)


def test_the_ambient_context_travels() -> None:
    """Time left, trace with a new span, and priority go along; nothing a caller puts into headers can forge them."""

    async def call(client: ServiceClient, _: Peer) -> None:
        forged = {"skerry-priority": "9", "skerry-retried": "1", "traceparent": "x", "skerry-timeout": "999"}
        with context.use(CallContext(traceparent=TRACE, priority=3)):
            await client.get("/", headers=forged)

    _, peer = against(answers(reply()), call, policy=Policy("stock", total=5.0, attempt=2.0, clock=LOOP_TIME))
    headers = peer.requests[0].headers
    assert headers["traceparent"][3:35] == TRACE[3:35]
    assert headers["traceparent"][36:52] != TRACE[36:52]
    assert 0 < float(headers["skerry-timeout"]) <= 2.0
    assert headers["skerry-priority"] == "3"
    assert "skerry-retried" not in headers


@pytest.mark.parametrize("body", [b"", b"lamps"])
def test_a_header_goes_out_as_often_as_it_was_given(body: bytes) -> None:
    """A repeated header stays repeated, and none is doubled by what the transport would say of itself."""
    heads: list[bytes] = []

    async def behave(_: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply())

    given = [("x-lamp", "1"), ("X-Lamp", "2"), ("accept", "text/csv"), ("content-type", "text/plain")]
    against(behave, lambda client, _: client.put("/items/1", headers=given, content=body))
    lines = [line.split(b": ", 1) for line in heads[0].split(b"\r\n")[1:] if line]
    told = [(name.lower(), value) for name, value in lines]
    assert [value for name, value in told if name == b"x-lamp"] == [b"1", b"2"]
    once = [b"host", b"user-agent", b"accept", b"accept-encoding", b"content-type", b"content-length", b"traceparent"]
    assert {name: [each for each, _ in told].count(name) for name in once} == dict.fromkeys(once, 1)
    assert (b"accept", b"text/csv") in told
    assert (b"content-length", b"%d" % len(body)) in told


@pytest.mark.parametrize(
    ("call", "marked"),
    [(get(), True), (post(), False), (post(idempotency_key="k"), True)],
    ids=["get", "post", "post with a key"],
)
def test_the_retried_mark_tells_the_truth(call: Any, marked: bool) -> None:
    """Only a call that this client would repeat tells the layers below not to."""
    _, peer = against(answers(reply()), call)
    assert ("skerry-retried" in peer.requests[0].headers) is marked


def test_the_mark_of_an_outer_layer_is_passed_on() -> None:
    """When a layer further out retries, this one says so downwards and does not retry itself."""

    async def call(client: ServiceClient, _: Peer) -> Any:
        with context.use(CallContext(retries_above=True)):
            return await client.get("/")

    result, peer = against(answers(reply(503), reply(200)), call)
    assert result.status == 503
    assert peer.requests[0].headers["skerry-retried"] == "1"


def test_the_key_is_sent() -> None:
    """`idempotency_key` becomes the header of that name."""
    _, peer = against(answers(reply()), post(idempotency_key="saga:1:reserve"))
    assert peer.requests[0].headers["idempotency-key"] == "saga:1:reserve"


def test_an_error_status_is_a_reply_until_it_is_asked() -> None:
    """A status is returned; `raise_for_status` raises what the problem body says."""
    body = b'{"title":"Conflict","status":409,"detail":"sold out","code":"sold_out"}'
    result, _ = against(answers(reply(409, body, content_type="application/problem+json")), post())
    assert result.status == 409
    with pytest.raises(StatusError) as caught:
        result.raise_for_status()
    assert (caught.value.status, caught.value.detail, caught.value.code) == (409, "sold out", "sold_out")


def test_a_body_that_is_not_json_is_a_call_error() -> None:
    """`Reply.json` raises an error of ours, not the parser's."""
    result, _ = against(answers(reply(200, b"<html>")), get())
    with pytest.raises(CallError, match="not JSON"):
        result.json()


def test_redirects_are_not_followed() -> None:
    """A redirect is a reply like any other, so a peer cannot send the client elsewhere."""
    result, peer = against(answers(reply(302, b"", location="http://169.254.169.254/")), get())
    assert (result.status, len(peer.requests)) == (302, 1)


def test_cookies_are_not_kept() -> None:
    """What one reply sets is not sent with the next call: it would mix up users."""

    async def twice(client: ServiceClient, _: Peer) -> None:
        await client.get("/")
        await client.get("/")

    _, peer = against(answers(reply(200, set_cookie="session=1")), twice)
    assert "cookie" not in peer.requests[1].headers


@pytest.mark.parametrize("path", ["items", "", "//../x", "/a/../b", "/a/%2e%2e/b", "/.", "/a/..?x"])
def test_a_path_cannot_climb(path: str) -> None:
    """A path with dot segments, say from an id a user chose, is refused before anything is sent."""
    result, peer = against(answers(reply()), get(path))
    assert isinstance(result, ValueError)
    assert peer.requests == []


# --- what is repeated


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_service_that_is_not_there_is_asked_again(status: int) -> None:
    """An idempotent call is repeated after a status that means: not now."""
    result, peer = against(answers(reply(status), reply(200)), get())
    assert (result.status, len(peer.requests)) == (200, 2)


@pytest.mark.parametrize("status", [400, 404, 409, 500, 501])
def test_an_answer_is_an_answer(status: int) -> None:
    """Any other status is final."""
    result, peer = against(answers(reply(status), reply(200)), get())
    assert (result.status, len(peer.requests)) == (status, 1)


def test_the_last_reply_is_returned_when_attempts_are_over() -> None:
    """After all attempts the caller gets the reply, not an exception."""
    result, peer = against(answers(reply(503, b"busy")), get())
    assert (result.status, result.content, len(peer.requests)) == (503, b"busy", 3)


@pytest.mark.parametrize(
    "behaviour",
    [
        answers(reply(503), reply(200)),
        breaks_after(then=reply(200)),
        breaks_after(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf", then=reply(200)),
    ],
    ids=["503", "reply lost", "half a reply"],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_may_have_taken_effect_is_not_repeated(behaviour: Behaviour, method: str) -> None:
    """A call that is not idempotent reaches the service once, however it fails after sending."""
    _, peer = against(behaviour, lambda client, _: client.request(method, "/items", json={}))
    assert len(peer.requests) == 1


def test_a_lost_reply_to_a_post_is_an_unknown_outcome() -> None:
    """The caller is told that the outcome is unknown."""
    result, _ = against(breaks_after(), post())
    assert isinstance(result, ConnectionLost)


def test_with_a_key_a_lost_reply_is_asked_for_again() -> None:
    """A POST with an idempotency key is repeated, with the same key and body."""
    result, peer = against(breaks_after(then=reply(201)), post(idempotency_key="k"))
    assert result.status == 201
    assert [(r.headers["idempotency-key"], r.body) for r in peer.requests] == [("k", b'{"sku":"A1"}')] * 2


def test_what_was_never_sent_is_repeated() -> None:
    """A POST for which no connection was made is tried again: the service saw nothing of it."""

    async def main() -> int:
        refused: list[Request] = []

        class Flaky:
            async def send(self, request: Request) -> Response:
                refused.append(request)
                if len(refused) == 1:
                    raise Unreachable(request.service, "refused")
                return Response(201)

            async def aclose(self) -> None: ...

        async with ServiceClient(
            "stock", url="http://stock", policy=policy(), clock=LOOP_TIME, transport=Flaky()
        ) as client:
            assert (await client.post("/items", json={})).status == 201
        return len(refused)

    assert run_patiently(main()) == 2


def test_a_server_that_closed_an_idle_connection_is_called_again() -> None:
    """A connection closed between two calls costs an idempotent call nothing."""

    async def main() -> list[int]:
        async with listening(breaks_after(reply(200))) as peer, stock_at(peer.url) as client:
            return [(await client.get("/")).status for _ in range(5)]

    assert run_patiently(main()) == [200] * 5


# --- peers that misbehave


def test_nobody_listens() -> None:
    """A refused connection is Unreachable: the callee saw nothing."""

    async def main() -> None:
        async with stock_at(refusing_url()) as client:
            await client.get("/")

    with pytest.raises(Unreachable, match="stock"):
        run_patiently(main())


@pytest.mark.parametrize(
    "behaviour",
    [
        breaks_after(),
        breaks_after(abort=True),
        breaks_after(b"HTTP/1.1 200 OK\r\ncontent-le"),
        breaks_after(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf"),
        breaks_after(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", abort=True),
        breaks_after(b"\x00\xff garbage \r\n\r\n"),
        breaks_after(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"),
        breaks_after(reply(200, b"not gzip", content_encoding="gzip")),
        breaks_after(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000),
    ],
    ids=[
        "closed",
        "reset",
        "half-head",
        "half-body",
        "half-chunk",
        "garbage",
        "bad-length",
        "bad-gzip",
        "endless-head",
    ],
)
def test_a_broken_reply_is_a_lost_connection(behaviour: Behaviour) -> None:
    """However a reply breaks, the caller sees ConnectionLost and never half a body."""
    result, _ = against(behaviour, post())
    assert isinstance(result, ConnectionLost)


def test_silence_ends_with_the_attempt() -> None:
    """A peer that takes the request and never answers ends the attempt, and the last attempt the call."""
    result, peer = against(blackhole, get(), policy=policy(2, attempt=0.05))
    assert isinstance(result, AttemptTimeout)
    assert len(peer.requests) == 2


def test_a_post_that_timed_out_is_not_repeated() -> None:
    """An attempt that ran out of time may have taken effect, so without a key there is no other."""
    result, peer = against(blackhole, post(), policy=policy(3, attempt=0.05))
    assert isinstance(result, AttemptTimeout)
    assert len(peer.requests) == 1


@pytest.mark.parametrize("behaviour", [blackhole, drip])
def test_the_deadline_holds(behaviour: Behaviour) -> None:
    """The total bounds the whole, also against a peer that drips a byte now and then for ever."""
    result, _ = against(behaviour, get(), policy=Policy("stock", total=0.2, clock=LOOP_TIME))
    assert isinstance(result, DeadlineExceeded)


def test_a_call_can_be_given_less_time() -> None:
    """`timeout` shortens the policy's total, and the callee is told."""
    result, peer = against(blackhole, get(timeout=0.1))
    assert isinstance(result, DeadlineExceeded)
    assert float(peer.requests[0].headers["skerry-timeout"]) <= 0.1


def test_a_large_body_is_not_read() -> None:
    """A body over the limit ends the call when the limit is passed, long before its end."""

    async def pour(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 52428800\r\n\r\n")
        for _ in range(50):
            writer.write(bytes(2**20))
            await writer.drain()

    result, _ = against(pour, get(), max_reply=2**20)
    assert isinstance(result, ReplyTooLarge)


def test_a_compressed_bomb_is_not_unpacked() -> None:
    """The limit holds for the decoded body."""
    bomb = gzip.compress(bytes(20 * 2**20))
    result, _ = against(answers(reply(200, bomb, content_encoding="gzip")), get(), max_reply=2**20)
    assert isinstance(result, ReplyTooLarge)


def test_a_compressed_body_is_unpacked() -> None:
    """What is decoded no longer says that it is encoded."""
    result, _ = against(answers(reply(200, gzip.compress(b"hello"), content_encoding="gzip")), get())
    assert result.content == b"hello"
    assert "content-encoding" not in result.headers


def test_a_failed_connection_is_not_used_again() -> None:
    """After a call that timed out the next one has a connection of its own and gets its own reply."""

    async def late_once(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if peer.connections == 1:
            await blackhole(peer, reader, writer)
        await answers(reply(200, b"second"))(peer, reader, writer)

    async def two(client: ServiceClient, _: Peer) -> bytes:
        with pytest.raises(DeadlineExceeded):
            await client.post("/", timeout=0.1)
        return (await client.get("/")).content

    result, _ = against(late_once, two)
    assert result == b"second"


def test_an_illegal_header_is_the_callers_mistake() -> None:
    """A header that would break the request apart is refused, and is neither sent nor a lost connection."""
    result, peer = against(answers(reply()), get(headers={"x": "a\r\nhost: evil"}))
    assert isinstance(result, CallError)
    assert not isinstance(result, ConnectionLost)
    assert peer.requests == []


# --- the policy


def test_the_breaker_sees_server_errors() -> None:
    """Enough 500s open the circuit, and then nothing is sent."""

    async def many(client: ServiceClient, peer: Peer) -> None:
        for _ in range(4):
            assert (await client.get("/")).status == 500
        with pytest.raises(CircuitOpen):
            await client.get("/")

    failed, peer = against(answers(reply(500)), many, policy=policy(breaker=CircuitBreaker(0.5, min_calls=4)))
    assert failed is None
    assert len(peer.requests) == 4


@pytest.mark.parametrize("status", [400, 404, 429])
def test_the_breaker_does_not_see_client_errors(status: int) -> None:
    """The default policy's circuit stays closed whatever the callers do wrong."""

    async def many(client: ServiceClient, _: Peer) -> str:
        for _number in range(30):
            await client.post("/")
        assert client.policy.breaker is not None
        return client.policy.breaker.state

    state, _ = against(answers(reply(status)), many, policy=None)
    assert state == "closed"


def test_both_kinds_of_calls_share_the_breaker_and_the_bulkhead() -> None:
    """A POST, which is not repeated, passes the same breaker and takes a slot of the same bulkhead as a GET."""

    async def use(client: ServiceClient, peer: Peer) -> None:
        waiting = asyncio.create_task(client.post("/"))
        while not peer.requests:
            await asyncio.sleep(0)
        with pytest.raises(BulkheadFull):
            await client.get("/")
        waiting.cancel()
        await asyncio.wait([waiting])
        assert client.policy.breaker is not None
        client.policy.breaker.isolate("test")
        with pytest.raises(CircuitOpen):
            await client.post("/")

    shared = policy(limit=Bulkhead(1, queue=0), breaker=CircuitBreaker())
    failed, _ = against(blackhole, use, policy=shared)
    assert failed is None


def test_a_wait_that_is_asked_for_is_read() -> None:
    """`Retry-After` reaches the policy in seconds; what is absurd does not."""

    def ask(value: str) -> float | None:
        return Reply("stock", 404, Headers({"retry-after": value}), b"").retry_after()

    expected = {"3": 3.0, "0": 0.0, "1000000000": None, "-5": None, "nan": None, "": None, "soon": None}
    expected["Mon, 01 Jan 2001 00:00:00 GMT"] = None
    assert {value: ask(value) for value in expected} == expected


# --- where it calls


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `url` the address is the variable's of that service."""
    monkeypatch.setenv("SKERRY_URL_ORDER_VIEW", "http://127.0.0.1:9/base/")
    assert ServiceClient("order-view").url == "http://127.0.0.1:9/base"


def test_a_missing_address_says_what_to_set() -> None:
    """Without any address the error names the variable."""
    with pytest.raises(ConfigurationError, match="SKERRY_URL_NOBODY"):
        ServiceClient("nobody")


@pytest.mark.parametrize("url", ["stock:80", "ftp://stock", "http://", "http://u:hunter2@stock", "http://s/?q=1", "/x"])
def test_an_address_is_checked(url: str) -> None:
    """Anything but a plain http address is refused, and a password in it is not repeated."""
    with pytest.raises(ConfigurationError) as caught:
        ServiceClient("stock", url=url)
    assert "hunter2" not in str(caught.value)
