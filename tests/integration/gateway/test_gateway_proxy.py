from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import httpx2
import pytest
from peers import Peer, answers, blackhole, breaks_after, receive, reply
from stage import Stage, on_stage

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPEC = """
limits: {body: 64 KiB, reply: 64 KiB}
defaults: {policy: {total: 1.0, attempt: 0.5, attempts: 3, breaker: {min_calls: 4}}}
routes:
  - {path: /api/orders, service: order, rewrite: /orders, methods: [GET, POST, DELETE]}
  - {path: /api/stock, service: stock}
"""


def problem(response: Any) -> tuple[int, str]:
    """Status and code, once the body has shown to be a problem that tells nothing of the inside."""
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    assert body["instance"] == response.request.url.raw_path.decode().partition("?")[0]
    assert len(body["trace_id"]) == 32
    assert set(body) == {"type", "title", "status", "detail", "instance", "code", "trace_id"}
    for inside in ("Traceback", "127.0.0.1", "httpx", "Error"):
        assert inside not in response.text
    return response.status_code, body["code"]


# --- what passes through


def test_a_request_reaches_its_service_under_the_services_own_path() -> None:
    """The prefix is rewritten; the rest of the path, the query and the body stay as they were."""

    async def play(stage: Stage) -> None:
        response = await stage.client.post("/api/orders/a%20b;v=1?x=1&x=2&y=%2F", content=b"hello")
        assert (response.status_code, response.content) == (201, b'{"id":7}')
        (request,) = stage.peers["order"].requests
        assert (request.method, request.target, request.body) == ("POST", "/orders/a%20b;v=1?x=1&x=2&y=%2F", b"hello")

    on_stage(SPEC, {"order": answers(reply(201, b'{"id":7}')), "stock": None}, play)


def test_what_a_client_claims_stays_outside() -> None:
    """Identity, origin and internal headers of a client are dropped or replaced; its trace and credentials pass."""

    async def play(stage: Stage) -> dict[str, str]:
        forged = {
            "x-user-id": "admin",
            "x_user_id": "admin",
            "x-forwarded-for": "6.6.6.6",
            "skerry-priority": "9",
            "skerry-timeout": "99999",
            "traceparent": TRACE,
            "authorization": "Bearer t",
            "connection": "x-hop",
            "x-hop": "1",
        }
        await stage.client.post("/api/orders", headers=forged)
        return stage.peers["order"].requests[0].headers

    seen = on_stage(SPEC, {"order": answers(reply()), "stock": None}, play)
    assert not {"x-user-id", "x_user_id", "x-hop", "skerry-priority", "skerry-retried"} & set(seen)
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert float(seen["skerry-timeout"]) <= 1.0
    assert seen["traceparent"][3:35] == TRACE[3:35]
    assert seen["authorization"] == "Bearer t"


@pytest.mark.parametrize(
    ("hops", "told", "proto", "seen"),
    [
        (0, "1.1.1.1", "https", ("127.0.0.1", "http")),
        (1, "6.6.6.6, 1.1.1.1", "https", ("1.1.1.1, 127.0.0.1", "https")),
        (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "http", ("1.1.1.1, 2.2.2.2, 127.0.0.1", "http")),
        (1, "<script>", "https", ("127.0.0.1", "http")),
        (1, "1.1.1.1", "gopher", ("1.1.1.1, 127.0.0.1", "http")),
    ],
)
def test_only_proxies_of_ones_own_say_where_a_request_came_from(
    hops: int, told: str, proto: str, seen: tuple[str, str]
) -> None:
    """As many addresses as there are trusted hops are believed, from the right, and then the scheme; nothing else is."""

    async def play(stage: Stage) -> tuple[str, str]:
        await stage.client.get("/api/stock", headers={"x-forwarded-for": told, "x-forwarded-proto": proto})
        headers = stage.peers["stock"].requests[0].headers
        return headers["x-forwarded-for"], headers["x-forwarded-proto"]

    assert on_stage(f"trusted_hops: {hops}\n{SPEC}", {"order": None, "stock": answers(reply())}, play) == seen


def test_a_reply_passes_whole() -> None:
    """Status and headers of any reply pass, repeated ones repeated; a body passes as it was encoded."""
    body = gzip.compress(b"hello")
    raw = reply(418, body, content_encoding="gzip", x_own="1").replace(
        b"x-own", b"set-cookie: a\r\nset-cookie: b\r\nx-own"
    )

    async def play(stage: Stage) -> None:
        response = await stage.client.get("/api/stock")
        assert (response.status_code, response.content, response.headers["x-own"]) == (418, b"hello", "1")
        assert response.headers.get_list("set-cookie") == ["a", "b"]
        assert response.headers["content-encoding"] == "gzip"

    on_stage(SPEC, {"order": None, "stock": answers(raw)}, play)


def test_a_location_is_public() -> None:
    """A service's `Location` leads the client back through the gateway."""

    async def play(stage: Stage) -> str:
        return (await stage.client.post("/api/orders", json={})).headers["location"]

    behaviours = {"order": answers(reply(201, location="/orders/7")), "stock": None}
    assert on_stage(SPEC, behaviours, play) == "/api/orders/7"


def test_head_tells_the_length() -> None:
    """HEAD goes where GET goes, tells the length and sends no body."""

    async def play(stage: Stage) -> None:
        head = await stage.client.head("/api/orders/7")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, "12", b"")

    head = b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n"
    on_stage(SPEC, {"order": answers(head), "stock": None}, play)


def test_users_are_not_mixed_up() -> None:
    """A cookie that one client is given is not sent for the next."""

    async def play(stage: Stage) -> None:
        await stage.client.get("/api/stock")
        stage.client.cookies.clear()
        await stage.client.get("/api/stock")
        assert "cookie" not in stage.peers["stock"].requests[1].headers

    on_stage(SPEC, {"order": None, "stock": answers(reply(200, set_cookie="session=1"))}, play)


# --- what is refused


def test_nothing_there_and_wrong_method() -> None:
    """No route for a path, or none for its method, is a 404 problem, as the Gateway API has it."""

    async def play(stage: Stage) -> None:
        assert problem(await stage.client.get("/api/nothing")) == (404, "no_route")
        assert problem(await stage.client.put("/api/orders/7")) == (404, "no_route")

    on_stage(SPEC, {"order": None, "stock": None}, play)


@pytest.mark.parametrize(
    "path", [b"/api/stock/..;x/orders", b"/../api/stock", b"/api/stock%2fx", b"/api/stock/%00", b"/api/stock/%5c"]
)
def test_an_ambiguous_path_goes_nowhere(path: bytes) -> None:
    """A path that could be read in two ways is a 400 problem, and no service sees it."""

    async def play(stage: Stage) -> None:
        answer = await stage.raw(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"code":"bad_path"' in answer
        assert stage.peers["stock"].requests == []

    on_stage(SPEC, {"order": None, "stock": answers(reply())}, play)


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 99999999\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n" + b"4000\r\n" + bytes(0x4000) + b"\r\n",
    ],
    ids=["declared", "streamed"],
)
def test_a_large_body_is_refused_before_it_is_there(head: bytes) -> None:
    """A body over the limit is a 413 problem at once, the connection ends, and no service sees it."""

    async def play(stage: Stage) -> None:
        chunks = b"4000\r\n" + bytes(0x4000) + b"\r\n"
        rest = chunks * 8 if b"chunked" in head else b""
        answer = await stage.raw(b"POST /api/orders HTTP/1.1\r\nhost: x\r\n" + head + rest)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer
        assert stage.peers["order"].requests == []

    on_stage(SPEC, {"order": answers(reply()), "stock": None}, play)


def test_a_long_target_is_refused() -> None:
    """A path and query over 8 KiB are a 414 problem."""

    async def play(stage: Stage) -> None:
        refused = await stage.client.get("/api/stock", params={"q": "x" * 9000})
        assert (refused.status_code, refused.json()["code"]) == (414, "target_too_long")

    on_stage(SPEC, {"order": None, "stock": None}, play)


def test_a_body_that_never_comes_is_given_up() -> None:
    """A client that does not send its body in time gets a 408 problem."""

    async def play(stage: Stage) -> None:
        answer = await stage.raw(b"POST /api/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf")
        assert answer.startswith(b"HTTP/1.1 408 ")

    spec = SPEC.replace("limits: {", "limits: {body_timeout: 0.1, ")
    on_stage(spec, {"order": answers(reply()), "stock": None}, play)


@pytest.mark.parametrize(
    "head",
    [b"x: " + b"a" * 70_000 + b"\r\n", b"x: y\r\n" * 12_000, b"x: " + b"a" * 70_000],
    ids=["long", "many", "endless"],
)
def test_a_large_head_is_refused(head: bytes) -> None:
    """Headers over the limit are a 431 and the end of the connection, also when they never end."""

    async def play(stage: Stage) -> None:
        end = b"\r\n" if head.endswith(b"\n") else b""
        assert (await stage.raw(b"GET /api/stock HTTP/1.1\r\nhost: x\r\n" + head + end)).startswith(b"HTTP/1.1 431 ")
        assert stage.peers["stock"].requests == []

    on_stage(SPEC, {"order": None, "stock": answers(reply())}, play)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /api/stock HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET /api/stock HTTP/1.1\r\n\r\n",
        b"POST /api/stock HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/stock HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nG",
        b"POST /api/stock HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde",
        b"POST /api/stock HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        b"GET /api/stock HTTP/1.1\nhost: a\n\n",
        b"GET /api/stock HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n",
        b"GET /api/stock HTTP/1.1\r\nhost: a\r\nx : a\r\n\r\n",
        b"GET /api/stock HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n",
    ],
    ids=[
        "two hosts",
        "no host",
        "chunks in 1.0",
        "length and chunks",
        "two lengths",
        "chunk size",
        "bare newlines",
        "folded header",
        "space before the colon",
        "nul",
    ],
)
def test_a_request_that_two_parsers_read_differently_goes_nowhere(request_bytes: bytes) -> None:
    """What could smuggle a second request past the gateway is a 400 and the end of the connection."""

    async def play(stage: Stage) -> None:
        assert (await stage.raw(request_bytes)).startswith(b"HTTP/1.1 400 ")
        assert stage.peers["stock"].requests == []

    on_stage(SPEC, {"order": None, "stock": answers(reply())}, play)


# --- services that misbehave


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (None, (502, "unreachable")),
        (breaks_after(), (502, "connection_lost")),
        (breaks_after(abort=True), (502, "connection_lost")),
        (breaks_after(b"\x00 garbage\r\n\r\n"), (502, "connection_lost")),
        (blackhole, (504, "timed_out")),
    ],
    ids="refused closed reset garbage blackhole".split(),  # noqa: SIM905
)
def test_a_failing_service_is_a_problem(behaviour: Any, expected: tuple[int, str]) -> None:
    """However a service fails, the client gets a whole problem body: 502 without a usable reply, 504 without one in time."""

    async def play(stage: Stage) -> None:
        assert problem(await stage.client.post("/api/stock?secret=1", json={})) == expected

    on_stage(SPEC, {"order": None, "stock": behaviour}, play)


async def stalls(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin an answer and say no more."""
    await receive(peer, reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf")
    await reader.read()


@pytest.mark.parametrize(
    "behaviour",
    [breaks_after(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf"), stalls],
    ids=["half", "stalls"],
)
def test_an_answer_that_breaks_off_is_not_taken_for_whole(behaviour: Any) -> None:
    """What was sent on already cannot be taken back, so the client's connection is cut before the length that was told."""

    async def play(stage: Stage) -> None:
        with pytest.raises(httpx2.RemoteProtocolError):
            await stage.client.get("/api/stock")

    on_stage(SPEC, {"order": None, "stock": behaviour}, play)


def test_an_answer_may_take_longer_than_its_beginning() -> None:
    """The time of a route is until the answer begins: one that keeps moving is not cut off."""

    async def slowly(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await receive(peer, reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n")
        for _ in range(30):
            writer.write(b"x")
            await asyncio.sleep(0.1)

    async def play(stage: Stage) -> None:
        assert (await stage.client.get("/api/stock")).content == b"x" * 30

    on_stage(SPEC, {"order": None, "stock": slowly}, play)


def test_fifty_megabytes_pass_without_being_taken_in() -> None:
    """A huge answer streams through: while its reader rests, the service is not read either."""
    poured: list[int] = []

    async def pour(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await receive(peer, reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 52428800\r\n\r\n")
        for number in range(50):
            writer.write(bytes(2**20))
            await writer.drain()
            poured.append(number)

    async def play(stage: Stage) -> None:
        async with stage.client.stream("GET", "/api/stock") as response:
            pieces = response.aiter_bytes()
            size = len(await anext(pieces))
            for _ in range(20):
                await asyncio.sleep(0.005)
            assert len(poured) < 40
            async for piece in pieces:
                size += len(piece)
        assert size == 52428800

    spec = SPEC.replace("total: 1.0", "total: 60")
    on_stage(spec, {"order": None, "stock": pour}, play)


def test_an_open_circuit_is_told_with_a_time() -> None:
    """Once a service has failed enough, clients get 503 with Retry-After and the service is left alone; others go on."""

    async def play(stage: Stage) -> None:
        for _ in range(4):
            assert (await stage.client.post("/api/stock")).status_code == 500
        refused = await stage.client.post("/api/stock")
        assert problem(refused) == (503, "circuit_open")
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert len(stage.peers["stock"].requests) == 4
        assert (await stage.client.get("/api/orders/7")).status_code == 200

    on_stage(SPEC, {"order": answers(reply()), "stock": answers(reply(500))}, play)


def test_a_slow_service_fills_its_own_bulkhead_only() -> None:
    """When all slots of a route are taken further requests are refused at once, and other routes do not notice."""
    spec = SPEC + "    policy: {concurrency: 1, queue: 0, total: 30, attempt: 30}\n"
    spec = spec.replace("{path: /api/stock, service: stock}", "path: /api/stock\n    service: stock")

    async def play(stage: Stage) -> None:
        hanging = asyncio.create_task(stage.client.get("/api/stock"))
        while not stage.peers["stock"].requests:
            await asyncio.sleep(0.001)
        assert problem(await stage.client.get("/api/stock")) == (503, "bulkhead_full")
        assert (await stage.client.get("/api/orders/7")).status_code == 200
        hanging.cancel()
        await asyncio.wait([hanging])

    on_stage(spec, {"order": answers(reply()), "stock": blackhole}, play)


def test_a_post_reaches_its_service_once() -> None:
    """A POST whose reply is lost is not sent again; with an idempotency key it is."""

    async def play(stage: Stage) -> None:
        lost = await stage.client.post("/api/orders", json={})
        assert problem(lost) == (502, "connection_lost")
        assert len(stage.peers["order"].requests) == 1
        assert (await stage.client.post("/api/stock", headers={"idempotency-key": "k"})).status_code == 201
        assert [r.headers["idempotency-key"] for r in stage.peers["stock"].requests] == ["k", "k"]

    on_stage(SPEC, {"order": breaks_after(), "stock": breaks_after(then=reply(201))}, play)


def test_a_service_that_is_busy_is_asked_again_and_then_believed() -> None:
    """A GET is repeated after 503; when it stays that way the service's own reply passes."""

    async def play(stage: Stage) -> None:
        response = await stage.client.get("/api/stock")
        assert (response.status_code, response.content) == (503, b"busy")
        assert len(stage.peers["stock"].requests) == 3

    on_stage(SPEC, {"order": None, "stock": answers(reply(503, b"busy"))}, play)


def test_a_client_that_leaves_takes_its_call_along() -> None:
    """When the client closes its connection the call to the service is cancelled."""
    gone = asyncio.Event()

    async def until_closed(peer: Peer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await receive(peer, reader)
        await reader.read()
        gone.set()

    async def play(stage: Stage) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"GET /api/stock HTTP/1.1\r\nhost: x\r\n\r\n")
        while not stage.peers["stock"].requests:
            await asyncio.sleep(0.001)
        writer.close()
        await gone.wait()

    spec = SPEC.replace("total: 1.0, attempt: 0.5", "total: 300, attempt: 300")
    on_stage(spec, {"order": None, "stock": until_closed}, play)


# --- its own health


def test_a_gateway_that_drains_is_alive_but_not_ready() -> None:
    """Once it leaves, readiness fails, liveness does not, and requests are still answered; dead services change neither."""

    async def play(stage: Stage) -> None:
        async def statuses() -> list[int]:
            return [
                (await stage.client.get(path)).status_code for path in ("/health/live", "/health/ready", "/api/orders")
            ]

        assert await statuses() == [200, 200, 502]
        stage.gateway.leave()
        assert await statuses() == [200, 503, 502]
        ready = await stage.client.get("/health/ready")
        assert ready.headers["content-type"] == "application/health+json"
        assert json.loads(ready.content)["status"] == "fail"

    on_stage(SPEC, {"order": None, "stock": None}, play)
