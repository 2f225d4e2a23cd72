from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from skerry import context
from skerry.client import Request, Response, ServiceClient
from skerry.errors import ConfigurationError, ConnectionLost
from skerry.gateway.aggregating import Aggregator, Connections
from skerry.gateway.aggregating.connecting import policy_of
from skerry.gateway.model import Aggregate, BreakerSpec, Part, PolicySpec, RetrySpec, Service, Shape
from skerry.service.problem import Answer, Problem
from skerry.testing import VirtualClock, run_virtual

ONCE = PolicySpec(retry=RetrySpec(attempts=1))


class Backends:
    """A transport to services that say what they are told to; it remembers what it was asked and what was given up."""

    def __init__(self, clock: VirtualClock, **replies: Any) -> None:
        self.clock = clock
        self.replies = replies
        self.asked: list[Request] = []
        self.given_up: list[str] = []

    async def send(self, request: Request) -> Response:
        self.asked.append(request)
        reply = self.replies[request.service]
        try:
            if isinstance(reply, float):
                await self.clock.sleep(reply)
                reply = {}
        except asyncio.CancelledError:
            self.given_up.append(request.service)
            raise
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, int):
            return Response(reply, body=b"{}")
        return Response(200, body=reply if isinstance(reply, bytes) else json.dumps(reply).encode())

    async def aclose(self) -> None:
        pass


class Closing:
    """A transport that says when it is closed."""

    def __init__(self, closed: list[bool]) -> None:
        self.closed = closed

    async def send(self, request: Request) -> Response:
        raise ConnectionLost(request.service, "nothing is here")

    async def aclose(self) -> None:
        self.closed.append(True)


def aggregator(backends: Backends, *parts: Part, deadline: float = 2.0) -> Aggregator:
    clients = {
        part.name: ServiceClient(
            part.service,
            url=f"http://{part.service}",
            policy=policy_of(part.policy, name=part.name, clock=backends.clock),
            transport=backends,
            max_reply=4096,
            clock=backends.clock,
        )
        for part in parts
    }
    return Aggregator(Aggregate(deadline, parts), clients, backends.clock)


def part(name: str, **change: Any) -> Part:
    about = {"service": name, "path": f"/{name}", "policy": ONCE, **change}
    return Part(name, **about)


def run(test: Callable[[VirtualClock], Awaitable[None]]) -> None:
    run_virtual(test)


def told(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200
    assert (b"content-type", b"application/json") in answer.headers
    found: dict[str, Any] = json.loads(answer.body)
    return found


def test_the_parts_are_asked_at_once_and_put_into_one_object() -> None:
    """Every part under its name, none missing, in the time of the slowest."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, order=1.0, reviews=1.5, stock=[1, 2])
        answer = await aggregator(backends, part("order", required=True), part("reviews"), part("stock")).answer([], {})
        assert told(answer) == {"order": {}, "reviews": {}, "stock": [1, 2], "missing": []}
        assert clock.monotonic() == pytest.approx(1.5)
        assert answer.headers == [(b"content-type", b"application/json")]

    run(test)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (500, "error_500"),
        (403, "error_403"),
        (302, "error_302"),
        (ConnectionLost("reviews", "broke off"), "connection_lost"),
        (b"<html>", "bad_reply"),
        (b"[" * 500 + b"]" * 500, "bad_reply"),
        (b'{"a": NaN}', "bad_reply"),
        (b'"\xff"', "bad_reply"),
        (b'"' + b"a" * 5000 + b'"', "reply_too_large"),
        (60.0, "timed_out"),
    ],
)
def test_an_optional_part_that_cannot_be_had_is_missing_with_the_reason(reply: Any, reason: str) -> None:
    """The others are there all the same, within the deadline, and nobody stores the answer."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, order={"id": 1}, reviews=reply)
        answer = await aggregator(backends, part("order", required=True), part("reviews")).answer([], {})
        missing = [{"part": "reviews", "reason": reason}]
        assert told(answer) == {"order": {"id": 1}, "reviews": None, "missing": missing}
        assert (b"cache-control", b"no-store") in answer.headers
        assert clock.monotonic() <= 2.05

    run(test)


def test_a_fallback_stands_in_and_the_part_is_still_missing() -> None:
    """So that who reads the answer need not look for null, and can know."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, reviews=500)
        answer = await aggregator(backends, part("reviews", fallback='{"items": []}')).answer([], {})
        assert told(answer) == {"reviews": {"items": []}, "missing": [{"part": "reviews", "reason": "error_500"}]}

    run(test)


@pytest.mark.parametrize("status", [204, 404])
def test_what_does_not_exist_is_not_missing(status: int) -> None:
    """An optional part that says there is none is null, or its fallback, and nothing is wrong."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, a=status, b=status)
        answer = await aggregator(backends, part("a"), part("b", fallback="[]")).answer([], {})
        assert told(answer) == {"a": None, "b": [], "missing": []}

    run(test)


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (500, 502, "error_500"),
        (404, 404, "error_404"),
        (401, 401, "error_401"),
        (403, 403, "error_403"),
        (410, 410, "error_410"),
        (422, 502, "error_422"),
        (b"<html>", 502, "bad_reply"),
        (ConnectionLost("order", "broke off"), 502, "connection_lost"),
        (60.0, 504, "timed_out"),
    ],
)
def test_without_a_required_part_there_is_no_answer(reply: Any, status: int, code: str) -> None:
    """504 when it is late, its own status where that means the same for the whole, else 502."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, order=reply, reviews={})
        with pytest.raises(Problem) as refused:
            await aggregator(backends, part("order", required=True), part("reviews")).answer([], {})
        assert (refused.value.status, refused.value.code) == (status, code)

    run(test)


def test_when_a_required_part_fails_nobody_waits_for_the_others() -> None:
    """They are given up at once, and their connections with them."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, order=500, reviews=1.0, stock=1.0)
        with pytest.raises(Problem):
            await aggregator(backends, part("reviews"), part("order", required=True), part("stock")).answer([], {})
        assert clock.monotonic() < 0.1
        assert sorted(backends.given_up) == ["reviews", "stock"]

    run(test)


def test_a_part_may_have_less_time_than_the_whole() -> None:
    """Its own time-out ends it; the answer does not wait for the deadline."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, order=0.2, reviews=60.0)
        parts = (part("order", required=True), part("reviews", timeout=0.3, fallback="[]"))
        answer = await aggregator(backends, *parts).answer([], {})
        assert told(answer)["missing"] == [{"part": "reviews", "reason": "timed_out"}]
        assert clock.monotonic() == pytest.approx(0.3, abs=0.05)

    run(test)


def test_a_part_never_has_more_time_than_its_caller() -> None:
    """The caller's deadline holds inside the aggregate's."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, order=60.0)
        with pytest.raises(Problem) as refused, context.use(context.current().until(clock.monotonic() + 0.5)):
            await aggregator(backends, part("order", required=True, timeout=1.0)).answer([], {})
        assert refused.value.status == 504
        assert clock.monotonic() == pytest.approx(0.5, abs=0.05)

    run(test)


def test_a_failed_part_is_asked_again_within_its_policy() -> None:
    """As often as its policy says."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, order=503)
        policy = PolicySpec(retry=RetrySpec(attempts=3, budget=1.0))
        with pytest.raises(Problem):
            await aggregator(backends, part("order", required=True, policy=policy)).answer([], {})
        assert len(backends.asked) == 3

    run(test)


@pytest.mark.parametrize(("status", "times"), [(500, 3), (503, 1), (429, 1)])
def test_only_statuses_that_the_policy_names_are_asked_again(status: int, times: int) -> None:
    """Others are answers."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, order=status)
        policy = PolicySpec(retry=RetrySpec(attempts=3, budget=1.0, statuses=frozenset({500})))
        await aggregator(backends, part("order", policy=policy)).answer([], {})
        assert len(backends.asked) == times

    run(test)


@pytest.mark.parametrize(
    ("path", "value", "url"),
    [
        ("/orders/{id}", "42", "/orders/42"),
        ("/orders/{id}/lines", "a%20b", "/orders/a%20b/lines"),
        ("/orders/{id}", "a;admin=true", "/orders/a%3Badmin%3Dtrue"),
        ("/orders/{id}", "caf%C3%A9", "/orders/caf%C3%A9"),
        ("/orders/{id}", "%FF", "/orders/%FF"),
        ("/orders/{id}", "a%2Fb", "/orders/a%2Fb"),
        ("/orders/{id}", "a%3Fb%23c", "/orders/a%3Fb%23c"),
        ("/orders?of={id}&v=1", "7&admin=true", "/orders?of=7%26admin%3Dtrue&v=1"),
        ("/orders?of={id}", "a+b%2Bc", "/orders?of=a%2Bb%2Bc"),
        ("/orders/{id}?again={id}", "1", "/orders/1?again=1"),
    ],
)
def test_a_variable_stands_for_itself_and_nothing_more(path: str, value: str, url: str) -> None:
    """Whatever it holds, it is one segment or the value of one parameter, encoded once."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, orders={})
        await aggregator(backends, part("orders", path=path)).answer([], {"id": value})
        assert backends.asked[0].url == f"http://orders{url}"

    run(test)


@pytest.mark.parametrize("value", ["", ".", "..", "%2E%2e"])
def test_a_variable_never_leads_elsewhere(value: str) -> None:
    """Empty and dot segments are refused before anybody is asked."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, orders={})
        with pytest.raises(Problem) as refused:
            await aggregator(backends, part("orders", path="/orders/{id}/x")).answer([], {"id": value})
        assert (refused.value.status, backends.asked) == (400, [])

    run(test)


def test_only_the_parameters_that_a_part_names_go_on() -> None:
    """The first of each; what else the client asks stays behind."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, a={}, b={}, c={})
        parts = (part("a", query=("page", "sort")), part("b", path="/b?v=1", query=("page",)), part("c"))
        await aggregator(backends, *parts).answer([], {}, "x=1&page=2&page=3&sort=%26&admin=true")
        assert [request.url for request in backends.asked] == [
            "http://a/a?page=2&sort=%26",
            "http://b/b?v=1&page=2",
            "http://c/c",
        ]

    run(test)


@pytest.mark.parametrize("query", ["page=%FF", "&".join(["a=1"] * 101)])
def test_a_query_that_cannot_be_read_is_refused(query: str) -> None:
    """400, when a part wants something of it."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, a={})
        with pytest.raises(Problem) as refused:
            await aggregator(backends, part("a", query=("page",))).answer([], {}, query)
        assert refused.value.status == 400

    run(test)


def test_headers_of_another_document_stay_behind() -> None:
    """A part is asked for JSON as it is; conditions, ranges and the description of a body are not for it. The token is."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, a={})
        given = ["authorization", "x-trace", "if-none-match", "range", "accept", "accept-encoding", "content-type"]
        await aggregator(backends, part("a")).answer([(name, "v") for name in given], {})
        sent = dict(backends.asked[0].headers)
        assert (sent["authorization"], sent["x-trace"]) == ("v", "v")
        assert (sent["accept"], sent["accept-encoding"]) == ("application/json", "identity")
        assert not {"if-none-match", "range", "content-type"} & sent.keys()

    run(test)


ORDER = {
    "id": 1,
    "total": 9.5,
    "customer": {"name": "ada", "mail": "a@b.c"},
    "lines": [{"sku": "x", "cost": 2}, {"sku": "y"}],
}


@pytest.mark.parametrize(
    ("shape", "body", "found"),
    [
        (
            Shape(pick=("id", "customer.name", "lines.sku")),
            ORDER,
            {"id": 1, "customer": {"name": "ada"}, "lines": [{"sku": "x"}, {"sku": "y"}]},
        ),
        (Shape(pick=("customer.mail", "customer")), ORDER, {"customer": ORDER["customer"]}),
        (Shape(pick=("customer", "customer.mail")), ORDER, {"customer": ORDER["customer"]}),
        (Shape(pick=("none", "id.deeper")), ORDER, {}),
        (Shape(pick=("id",), rename=(("id", "order_id"),)), ORDER, {"order_id": 1}),
        (Shape(rename=(("a", "b"), ("b", "a"))), {"a": 1, "b": 2, "c": 3}, {"a": 2, "b": 1, "c": 3}),
        (Shape(rename=(("a", "b"),)), {"a": 1, "b": 2}, {"b": 1}),
        (Shape(pick=("id",)), [ORDER, ORDER], [{"id": 1}, {"id": 1}]),
        (Shape(pick=("customer.name",)), {"customer": None}, {"customer": None}),
        (Shape(pick=("id",)), None, None),
    ],
)
def test_a_part_is_shaped(shape: Shape, body: Any, found: Any) -> None:
    """Picked by dots, through lists too, then renamed at the top."""

    async def test(clock: VirtualClock) -> None:
        answer = await aggregator(Backends(clock, a=body), part("a", shape=shape)).answer([], {})
        assert told(answer) == {"a": found, "missing": []}

    run(test)


@pytest.mark.parametrize("body", [b"7", b'"text"', b"[1]", b'{"id": 1e999}'])
def test_what_cannot_be_shaped_is_a_bad_reply(body: bytes) -> None:
    """It does not pass unshaped: what was not picked may not be for the client."""

    async def test(clock: VirtualClock) -> None:
        answer = await aggregator(Backends(clock, a=body), part("a", shape=Shape(pick=("id",)))).answer([], {})
        assert told(answer) == {"a": None, "missing": [{"part": "a", "reason": "bad_reply"}]}

    run(test)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'\xef\xbb\xbf {"a": 1.10, "n": 12345678901234567890.123} \n', b'{"a": 1.10, "n": 12345678901234567890.123}'),
        (b'"\\ud800"', b'"\\ud800"'),
    ],
)
def test_unshaped_it_stays_as_the_service_wrote_it(body: bytes, kept: bytes) -> None:
    """Every digit of a number and every escape."""

    async def test(clock: VirtualClock) -> None:
        answer = await aggregator(Backends(clock, a=body), part("a")).answer([], {})
        assert answer.body == b'{"a":' + kept + b',"missing":[]}'

    run(test)


def test_half_a_character_does_not_break_a_shaped_part() -> None:
    """JSON can escape what UTF-8 cannot write; it stays escaped."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, a=b'{"id": "\\ud800\xc3\xa9"}')
        answer = await aggregator(backends, part("a", shape=Shape(pick=("id",)))).answer([], {})
        assert answer.body == b'{"a":{"id":"\\ud800\\u00e9"},"missing":[]}'

    run(test)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (Part("missing", "a", "/"),),
        (Part("a", "a", "/"), Part("a", "b", "/")),
        (Part("a", "a", "/", fallback="{"),),
        (Part("a", "a", "/", fallback="NaN"),),
    ],
)
def test_an_aggregate_that_makes_no_sense_is_refused(parts: tuple[Part, ...]) -> None:
    """Without parts, with two of one name, with one called as the list is, or a fallback that is no JSON."""
    clients = Connections().clients("r", Aggregate(1.0, parts), addresses={"a": ("http://a",), "b": ("http://b",)})
    with pytest.raises(ConfigurationError, match="aggregate"):
        Aggregator(Aggregate(1.0, parts), clients)


def test_a_part_without_a_client_is_refused() -> None:
    """It says which."""
    with pytest.raises(ConfigurationError, match="'a'"):
        Aggregator(Aggregate(1.0, (Part("a", "a", "/"),)), {})


# --- the clients


def test_at_a_reload_a_part_that_is_the_same_keeps_its_client() -> None:
    """Its breaker and its connections go on; what changed is closed when no call can be under way any more."""

    async def test(clock: VirtualClock) -> None:
        where = {"a": ("http://a:1",), "b": ("http://b:1",)}
        both = Aggregate(3.0, (Part("a", "a", "/"), Part("b", "b", "/")))
        before = Connections(clock=clock)
        old = before.clients("r", both, addresses=where)
        after = Connections(clock=clock, before=before)
        new = after.clients("r", both, addresses={**where, "b": ("http://b:2",)})
        assert new["a"] is old["a"]
        assert new["b"] is not old["b"]
        await before.aclose(but=after)
        assert clock.monotonic() == pytest.approx(4.0)
        await after.aclose()

    run(test)


def test_an_end_does_not_wait_for_what_a_reload_left() -> None:
    """Cancelled while it waits, it closes what nobody uses any more at once."""

    async def test(clock: VirtualClock) -> None:
        one = Aggregate(30.0, (Part("a", "a", "/"),))
        before, after = Connections(clock=clock), Connections(clock=clock)
        client = before.clients("r", one, addresses={"a": ("http://a:1",)})["a"]
        closed: list[bool] = []
        client._transport = Closing(closed)
        closing = asyncio.create_task(before.aclose(but=after))
        await clock.sleep(1.0)
        assert not closed
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert closed == [True]
        assert clock.monotonic() == pytest.approx(1.0)

    run(test)


def test_several_addresses_of_a_service_are_several_instances() -> None:
    """They have to be alike; one that nobody knows is an error."""
    connections = Connections()
    one = Aggregate(1.0, (Part("a", "a", "/"),))
    service = Service("a", urls=("http://127.0.0.1:1/x", "http://127.0.0.1:2/x/"))
    assert connections.clients("r", one, services=[service])["a"].url == "http://127.0.0.1:1/x"
    with pytest.raises(ConfigurationError, match="one scheme"):
        connections.clients("r", one, addresses={"a": ("http://a:1", "https://a:2")})
    with pytest.raises(ConfigurationError, match="SKERRY_URL_NOBODY"):
        connections.clients("r", Aggregate(1.0, (Part("p", "nobody", "/"),)))
    with pytest.raises(ConfigurationError, match="ca cannot be used"):
        connections.clients("r", one, services=[Service("a", urls=("https://a",), ca="/does/not/exist")])


@pytest.mark.parametrize(
    ("breaker", "failures"),
    [(None, None), (BreakerSpec(consecutive=3), 3), (BreakerSpec(failure_rate=0.5, min_calls=4), 4)],
)
def test_a_part_has_the_breaker_of_its_policy(breaker: BreakerSpec | None, failures: int | None) -> None:
    """It opens after so many failures, and then the service is left alone."""

    async def test(clock: VirtualClock) -> None:
        backends = Backends(clock, a=500)
        asked = aggregator(backends, part("a", policy=PolicySpec(retry=RetrySpec(attempts=1), breaker=breaker)))
        for _ in range(10):
            await asked.answer([], {})
        assert len(backends.asked) == (10 if failures is None else failures)

    run(test)
