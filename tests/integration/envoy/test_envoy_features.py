"""What a specification says is what a real Envoy does, feature by feature; routing itself is in the tables of both engines."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from envoy_stage import Answer, Seen, Stage, on_envoy, route

from skerry.gateway.model import (
    Backend,
    BreakerSpec,
    Cors,
    Forward,
    Limits,
    Match,
    PathMatch,
    PolicySpec,
    RateSpec,
    Respond,
    RetrySpec,
    Sticky,
    ValueMatch,
)

TO_A = Forward((Backend("a"),))
ONCE = PolicySpec(retry=RetrySpec(attempts=1), breaker=None)


def failing(times: int, status: int = 503) -> Any:
    """A behaviour that fails so often, then is well."""
    left = [times]

    def answer(seen: Seen) -> Answer:
        left[0] -= 1
        return Answer(status if left[0] >= 0 else 200, body=b"ok")

    return answer


def test_a_cookie_and_a_template_lead_to_their_route() -> None:
    """Cookies match as whole values, whatever stands around them; a variable is one segment that is not empty."""

    async def play(stage: Stage) -> None:
        assert (await stage.ask("/", cookie="x=1; canary=on; y=2")).body == b"b /"
        assert (await stage.ask("/", cookie="canary=only")).body == b"a /"
        assert (await stage.ask("/order/7/items")).body == b"b /order/7/items"
        assert (await stage.ask("/order//items")).body == b"a /order/items"

    canary = Match(PathMatch(), cookies=(ValueMatch("canary", "on"),))
    on_envoy(
        route("/", TO_A),
        route("", Forward((Backend("b"),)), name="canary", matches=(canary,)),
        route("/order/{id}/items", Forward((Backend("b"),)), kind="template"),
        play=play,
    )


@pytest.mark.parametrize("source", ["header", "cookie"])
def test_who_sticks_stays_where_the_weights_put_them(source: Any) -> None:
    """Requests with the same key go to the same backend, and different keys to both."""

    async def play(stage: Stage) -> None:
        met = Counter()
        for number in range(40):
            header = {"x_key": f"k{number}"} if source == "header" else {"cookie": f"x-key=k{number}"}
            answers = {(await stage.ask("/", **header)).body for _ in range(3)}
            assert len(answers) == 1
            met[answers.pop()] += 1
        assert len(met) == 2

    action = Forward((Backend("a", 1), Backend("b", 1)), sticky=Sticky(source, "x-key"))
    on_envoy(route("/", action), play=play)


def test_a_post_is_sent_again_only_when_it_reached_nobody() -> None:
    """An answer that counts as a failure is asked for again by GET, and stays with POST."""

    async def play(stage: Stage) -> None:
        peer = stage.peers["a"]
        peer.behaviour = failing(1)
        assert (await stage.ask("/")).status == 200
        peer.behaviour = failing(1)
        assert (await stage.ask("/", method="POST", body=b"x")).status == 503
        assert [seen.method for seen in peer.seen] == ["GET", "GET", "POST"]

    on_envoy(route("/", TO_A, policy=PolicySpec(breaker=None)), play=play)


def test_a_request_that_takes_too_long_is_504() -> None:
    """The time-out of an attempt ends a call whose service hangs."""

    async def play(stage: Stage) -> None:
        stage.peers["a"].behaviour = lambda _: Answer(hang=True)
        assert (await stage.ask("/")).status == 504

    policy = PolicySpec(total=1.0, attempt=0.2, retry=RetrySpec(attempts=1), breaker=None)
    on_envoy(route("/", TO_A, policy=policy), play=play)


def test_an_open_breaker_of_one_address_lets_nothing_through() -> None:
    """After so many failures in a row nobody is asked any more, also where there is one address only."""

    async def play(stage: Stage) -> None:
        peer = stage.peers["a"]
        peer.behaviour = lambda _: Answer(500)
        statuses = [(await stage.ask("/")).status for _ in range(8)]
        assert statuses == [500, 500, 500, 503, 503, 503, 503, 503]
        assert len(peer.seen) == 3

    breaker = BreakerSpec(failure_rate=None, consecutive=3, open_for=30.0)
    on_envoy(route("/", TO_A, policy=PolicySpec(retry=RetrySpec(attempts=1), breaker=breaker)), play=play)


def test_a_breaker_by_rate_opens_for_one_address_and_closes_again() -> None:
    """The share of failures opens it after an interval, and after its time calls go through again."""

    async def play(stage: Stage) -> None:
        peer = stage.peers["a"]
        failures = iter(lambda: 1, 0)
        peer.behaviour = lambda _: Answer(500 if next(failures) and len(peer.seen) % 4 else 200)
        async with asyncio.timeout(20):
            while (await stage.ask("/")).status != 503:
                pass
            peer.behaviour = lambda _: Answer(200)
            while (await stage.ask("/")).status != 200:
                pass

    breaker = BreakerSpec(failure_rate=0.5, min_calls=5, window=10.0, open_for=0.4)
    on_envoy(route("/", TO_A, policy=PolicySpec(retry=RetrySpec(attempts=1), breaker=breaker)), play=play)


def test_calls_beyond_the_limit_are_refused_at_once() -> None:
    """So many calls are under way, so many wait, and the rest are answered 503."""

    async def play(stage: Stage) -> None:
        stage.peers["a"].behaviour = lambda _: Answer(hang=True)
        policy_says = {asyncio.create_task(stage.ask("/")) for _ in range(6)}
        done, waiting = set(), policy_says
        async with asyncio.timeout(10):
            while len(done) < 4:
                more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                done |= more
        assert {task.result().status for task in done} == {503}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    policy = PolicySpec(total=None, attempt=None, retry=RetrySpec(attempts=1), breaker=None, concurrency=1, queue=1)
    on_envoy(route("/", TO_A, policy=policy), play=play)


def test_a_rate_is_one_for_each_peer() -> None:
    """Who asks too often is told to wait, and another address is not."""

    async def play(stage: Stage) -> None:
        statuses = [(await stage.ask("/", x_forwarded_for="9.9.9.9")).status for _ in range(4)]
        assert statuses == [200, 200, 429, 429]
        refused = await stage.ask("/", x_forwarded_for="9.9.9.9")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await stage.ask("/", x_forwarded_for="8.8.8.8")).status == 200
        # what stands further left was written by somebody whom nobody vouches for
        assert (await stage.ask("/", x_forwarded_for="7.7.7.7, 9.9.9.9")).status == 429

    rate = RateSpec(requests=2, per=3600.0)
    on_envoy(route("/", TO_A, rate=rate, policy=ONCE), play=play, trusted_hops=1)


def test_a_rate_for_all_together_counts_everybody() -> None:
    """One bucket for a whole route."""

    async def play(stage: Stage) -> None:
        statuses = [(await stage.ask("/", x_forwarded_for=f"9.9.9.{number}")).status for number in range(4)]
        assert statuses == [200, 200, 200, 429]

    rate = RateSpec(requests=3, per=3600.0, key="all")
    on_envoy(route("/", TO_A, rate=rate, policy=ONCE), play=play, trusted_hops=1)


def test_bodies_have_a_limit_whether_or_not_they_say_their_length() -> None:
    """A body that is too large is 413: by what it says, and by what it turns out to be."""

    async def play(stage: Stage) -> None:
        chunks = b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n"
        assert (await stage.ask("/", method="POST", body=b"x" * 1000)).status == 200
        assert (await stage.ask("/", method="POST", body=b"x" * 1001)).status == 413
        assert (
            await stage.ask("/", method="POST", body=b"3\r\nabc\r\n0\r\n\r\n", transfer_encoding="chunked")
        ).status == 200
        assert (await stage.ask("/", method="POST", body=chunks, transfer_encoding="chunked")).status == 413
        assert (await stage.ask("/more", method="POST", body=chunks, transfer_encoding="chunked")).status == 200
        assert (await stage.ask("/more", method="POST", body=b"x" * 2000)).status == 200
        assert [len(seen.body) for seen in stage.peers["a"].seen] == [1000, 3, 2000, 2000]

    on_envoy(
        route("/", TO_A, policy=ONCE), route("/more", TO_A, policy=ONCE, body=5000), play=play, limits=Limits(body=1000)
    )


def test_compression_is_for_those_routes_that_ask_for_it() -> None:
    """A client that takes gzip gets it, on this route only."""

    async def play(stage: Stage) -> None:
        text = b"how often it is said, how often, how often\n" * 50
        stage.peers["a"].behaviour = lambda _: Answer(headers={"content-type": "text/plain"}, body=text)
        packed = await stage.ask("/packed", accept_encoding="gzip")
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == text
        assert (await stage.ask("/packed")).body == text
        assert (await stage.ask("/plain", accept_encoding="gzip")).body == text

    on_envoy(route("/packed", TO_A, compress=True), route("/plain", TO_A), play=play)


def test_pages_of_another_origin_are_let_in_by_name() -> None:
    """A preflight is answered here, for methods that the route has; what the service says about origins is replaced."""

    async def play(stage: Stage) -> None:
        stage.peers["a"].behaviour = lambda _: Answer(headers={"access-control-allow-origin": "*"}, body=b"x")
        asked = {"origin": "https://shop.example", "access_control_request_method": "PUT"}
        preflight = await stage.ask("/", method="OPTIONS", **asked)
        assert preflight.status in {200, 204}
        assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
        assert "PUT" in preflight.headers["access-control-allow-methods"]
        stranger = await stage.ask("/", method="OPTIONS", **{**asked, "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers
        assert stage.peers["a"].seen == []
        mine = await stage.ask("/", method="PUT", origin="https://a.b.shop.example")
        assert mine.headers["access-control-allow-origin"] == "https://a.b.shop.example"
        assert (
            "access-control-allow-origin"
            not in (await stage.ask("/", method="PUT", origin="https://e.example")).headers
        )

    cors = Cors(("https://shop.example", "https://*.shop.example"), methods=("PUT",))
    only_put = Match(PathMatch(), methods=frozenset({"PUT"}))
    on_envoy(route("", TO_A, name="put", matches=(only_put,), cors=cors, policy=ONCE), play=play)


def test_what_only_the_gateway_may_say_is_taken_from_clients() -> None:
    """Who the user is, and where the request comes from, is never the client's word."""

    async def play(stage: Stage) -> None:
        said = {
            "x_forwarded_for": "6.6.6.6",
            "x_forwarded_host": "evil.example",
            "x_forwarded_proto": "https",
            "x_forwarded_user": "root",
            "x_real_ip": "6.6.6.6",
            "forwarded": "for=6.6.6.6",
            "x_user_id": "root",
            "skerry_retried": "1",
            "x_envoy_upstream_rq_timeout_ms": "1",
            "x_envoy_max_retries": "9",
            "x_original_url": "/admin",
            "proxy_authorization": "Basic eDp5",
        }
        assert (await stage.ask("/", **said)).status == 200
        seen = stage.peers["a"].seen[0].headers
        assert seen["x-forwarded-for"] == "127.0.0.1"
        assert seen["x-forwarded-host"] == "gateway.test"
        assert seen["x-forwarded-proto"] == "http"
        left = {name.replace("_", "-") for name in said} & seen.keys()
        assert left == {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
        assert not any(name.startswith("x-envoy") for name in seen)
        assert (await stage.raw(b"GET / HTTP/1.1\r\nhost: a\r\nx_user: root\r\n\r\n")).status == 400

    on_envoy(route("/", TO_A, policy=ONCE), play=play)


def test_only_one_layer_retries_on_envoy_too() -> None:
    """A request that is asked again when it fails says so to who is behind, as with the embedded engine; no other does."""

    async def play(stage: Stage) -> None:
        await stage.ask("/twice")
        await stage.ask("/twice", method="POST", body=b"x")
        await stage.ask("/once")
        marks = [seen.headers.get("skerry-retried") for seen in stage.peers["a"].seen]
        assert marks == ["1", None, None]

    twice = PolicySpec(retry=RetrySpec(attempts=2), breaker=None)
    on_envoy(route("/twice", TO_A, policy=twice), route("/once", TO_A, policy=ONCE), play=play)


def test_behind_a_proxy_of_ones_own_its_word_counts() -> None:
    """With one trusted hop the address and scheme that it tells go on, and nothing else of its kind."""

    async def play(stage: Stage) -> None:
        await stage.ask("/", x_forwarded_for="6.6.6.6, 5.5.5.5", x_forwarded_proto="https", x_forwarded_user="root")
        seen = stage.peers["a"].seen[0].headers
        assert seen["x-forwarded-for"].startswith("6.6.6.6, 5.5.5.5")
        assert seen["x-forwarded-proto"] == "https"
        assert "x-forwarded-user" not in seen

    on_envoy(route("/", TO_A, policy=ONCE), play=play, trusted_hops=1)


@pytest.mark.parametrize(
    ("request_line", "host", "status"),
    [
        ("GET /a%2fb HTTP/1.1", "gateway.test", 400),
        ("GET /a%5cb HTTP/1.1", "gateway.test", 400),
        ("GET /a/..;/admin HTTP/1.1", "gateway.test", 403),
        ("GET /a%00b HTTP/1.1", "gateway.test", 400),
        ("PROPFIND / HTTP/1.1", "gateway.test", 501),
        ("GET / HTTP/1.1", "user@gateway.test", 400),
        ("GET / HTTP/1.1", "gateway.test, other.test", 400),
        ("GET / HTTP/1.1", "gateway.test:99999", 400),
        ("GET /public/%2e%2e/admin HTTP/1.1", "gateway.test", 403),
        ("GET //admin HTTP/1.1", "gateway.test", 403),
        ("GET / HTTP/1.0", "gateway.test", 200),
    ],
)
def test_what_could_be_read_in_two_ways_reaches_no_service(request_line: str, host: str, status: int) -> None:
    """A path is matched in the form in which it goes on, and what has no such form is refused."""

    async def play(stage: Stage) -> None:
        answer = await stage.raw(f"{request_line}\r\nhost: {host}\r\n\r\n".encode())
        assert answer.status == status
        assert len(stage.peers["a"].seen) == (status == 200)

    on_envoy(route("/", TO_A, policy=ONCE), route("/admin", Respond(403, "no")), play=play)


def test_the_gateway_answers_for_itself() -> None:
    """Health is the gateway's own on every host, also where no route is; paths beside it are nobody's."""

    async def play(stage: Stage) -> None:
        for name in ("live", "ready", "startup"):
            answer = await stage.ask(f"/health/{name}", host="nobody.test")
            assert answer.status == 200
            assert answer.json() == {"status": "pass"}
            assert answer.headers["content-type"] == "application/health+json"
        assert (await stage.ask("/health/other")).status == 404
        assert (await stage.ask("/healthy")).status == 200

    on_envoy(route("/", TO_A, policy=ONCE), play=play)


def test_a_stream_of_events_is_not_cut_off_by_the_bound_of_all_attempts() -> None:
    """What a client reads as events goes on for longer than the total, by which another answer has been ended meanwhile."""

    async def play(stage: Stage) -> None:
        begun, enough = asyncio.Event(), asyncio.Event()

        async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.CancelledError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\ndata\n\n\r\n")
                await writer.drain()
                begun.set()
                await enough.wait()
                writer.write(b"4\r\nend\n\r\n0\r\n\r\n")
                await writer.drain()
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

        server = await asyncio.start_server(stream, "127.0.0.1", 0)
        stage.addresses = {"a": (f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",)}
        await stage.change(route("/", TO_A, policy=policy))
        events = asyncio.create_task(stage.ask("/", accept="text/event-stream"))
        await begun.wait()
        with pytest.raises((asyncio.IncompleteReadError, ValueError)):
            await stage.ask("/")
        enough.set()
        assert (await events).body == b"data\n\nend\n"
        server.close()

    policy = PolicySpec(total=0.4, attempt=0.3, breaker=None)
    on_envoy(route("/", TO_A, policy=policy), play=play)
