"""What gateway.yaml says beyond the Gateway API is the same on both engines: one file, one list of requests, the same answers."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gateway.gateway_processes import ENGINES, Running, running
from tests.integration.gateway.raw_backends import Backend, Script, serving
from tests.integration.gateway.raw_client import Answer, Broken, request

QUIET: Mapping[str, Any] = {"retry": False, "breaker": False}
SOON: Mapping[str, Any] = {"attempts": 3, "backoff": 0.01, "budget": 1.0}
THIRD: Mapping[str, Any] = {"consecutive": 3, "failure_rate": None, "open_for": 300}
ROUTES: list[Mapping[str, Any]] = [
    {"path": "/plain", "service": "v1", "policy": QUIET},
    {"match": [{"path": "/canary", "cookies": {"beta": "yes"}}], "service": "v2"},
    {"match": [{"path": "/canary", "headers": {"x-beta": "yes"}}], "service": "v3"},
    {"path": "/canary", "service": "v1"},
    {"path": {"template": "/users/{user}/orders/{order}"}, "service": "v2"},
    {"path": {"exact": "/users/me/orders/last"}, "service": "v3"},
    {"path": {"regex": "/files/[a-z]+[.]txt"}, "service": "v3"},
    {"path": "/reads", "methods": ["GET"], "service": "v1"},
    {"path": "/sticky", "services": {"v1": 1, "v2": 1, "v3": 1}, "sticky": {"cookie": "session"}},
    {"path": "/shared", "services": {"v1": {"weight": 3}, "v2": {"weight": 0}}},
    {"path": "/mirrored", "service": "v1", "mirrors": [{"service": "v3"}]},
    {"path": "/api/v1", "service": "v1", "rewrite": {"prefix": "/inner", "host": "inner.test"}},
    {"path": "/stripped", "service": "v1", "rewrite": "/"},
    {"path": "/gone", "redirect": {"host": "new.test", "prefix": "/here", "status": 308}},
    {"path": "/closed", "respond": {"status": 503, "body": "back at noon", "content_type": "text/plain"}},
    {
        "path": "/edited",
        "service": "v1",
        "request_headers": {"remove": ["x-out"], "set": {"x-set": "ours"}, "add": {"x-add": "more"}},
        "response_headers": {"remove": ["x-inner"], "set": {"cache-control": "no-store"}},
    },
    {"path": "/small", "service": "v1", "body": 1000},
    {"path": "/pressed", "service": "v1", "compress": True},
    {"path": "/late", "service": "v1", "policy": {"total": 0.4, "attempt": 0.4, **QUIET}},
    {"path": "/again", "service": "v1", "policy": {"retry": SOON, "breaker": False}},
    {"path": "/once", "service": "v1", "policy": QUIET},
    {"path": "/broken", "service": "v2", "policy": {"retry": False, "breaker": THIRD}},
    {"path": "/narrow", "service": "v3", "policy": {"concurrency": 2, "queue": 0, **QUIET}},
    {"path": "/rated", "service": "v1", "rate_limit": {"requests": 3, "per": 600.0, "burst": 3}},
    {"path": "/only-here", "hostnames": ["*.shop.test"], "service": "v1"},
]  # fmt: skip


@dataclass
class Stage:
    gateway: Running
    backends: Mapping[str, Backend]
    log: Path

    def ask(self, target: str, **more: Any) -> Answer:
        return self.gateway.ask(target, **more)

    def reset(self, **scripts: Script) -> None:
        for name, backend in self.backends.items():
            backend.reset(scripts.get(name))

    def upstream(self, target: str, **more: Any) -> Any:
        """What the service saw, with the names of headers in lower case."""
        seen = self.ask(target, **more).json()
        return {**seen, "headers": {name.lower(): value for name, value in seen["headers"]}}


@pytest.fixture(scope="module", params=ENGINES)
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("alike")
    with serving("v1", "v2", "v3") as backends:
        spec = {
            "services": {name: {"url": f"http://{backend.address}"} for name, backend in backends.items()},
            "access_log": {"file": str(folder / "access.log")},
            "routes": ROUTES,
        }
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(spec))
        with running([file], engine=request.param) as gateway:
            yield Stage(gateway, backends, folder / "access.log")


@pytest.fixture(autouse=True)
def fresh(stage: Stage) -> None:
    stage.reset()


@pytest.mark.parametrize(
    ("target", "headers", "backend"),
    [
        ("/canary", {}, "v1"),
        ("/canary", {"Cookie": "a=1; beta=yes; c=2"}, "v2"),
        ("/canary", {"Cookie": "beta=yes"}, "v2"),
        ("/canary", {"Cookie": "beta=yessir"}, "v1"),
        ("/canary", {"Cookie": "xbeta=yes"}, "v1"),
        ("/canary", {"X-Beta": "yes"}, "v3"),
        ("/users/ada/orders/7", {}, "v2"),
        ("/users/me/orders/last", {}, "v3"),
        ("/users/ada/orders/7?x=1", {}, "v2"),
        ("/files/notes.txt", {}, "v3"),
    ],
)
def test_the_same_service_answers(stage: Stage, target: str, headers: Mapping[str, str], backend: str) -> None:
    """Cookies, headers, templates and expressions choose the same service on both."""
    answer = stage.ask(target, headers=list(headers.items()))
    assert (answer.status, answer.json()["backend"]) == (200, backend)


@pytest.mark.parametrize(
    ("method", "target", "host", "statuses"),
    [
        ("GET", "/nothing", "a.test", {404}),
        ("GET", "/users/ada/orders", "a.test", {404}),
        ("GET", "/users/ada/orders/7/lines", "a.test", {404}),
        ("GET", "/users//orders/7", "a.test", {404}),
        ("GET", "/files/notes.txt.exe", "a.test", {404}),
        ("GET", "/plainly", "a.test", {404}),
        ("DELETE", "/reads", "a.test", {404, 405}),
        ("GET", "/only-here", "a.test", {404}),
        ("GET", "/only-here", "www.shop.test", {200}),
        ("GET", "/only-here", "shop.test", {404}),
    ],
)
def test_the_same_requests_have_no_route(stage: Stage, method: str, target: str, host: str, statuses: set[int]) -> None:
    """What fits no route is told so, and no service hears of it."""
    assert stage.ask(target, method=method, host=host).status in statuses
    assert sum(len(backend.seen) for backend in stage.backends.values()) == (statuses == {200})


def test_the_same_visitor_stays_with_a_service(stage: Stage) -> None:
    """One value of the cookie goes to one service however often; many values go to all of them."""
    chosen = {}
    for number in range(60):
        headers = [("Cookie", f"session=visitor-{number}")]
        names = {stage.ask("/sticky", headers=headers).json()["backend"] for _ in range(3)}
        assert len(names) == 1
        chosen[number] = names.pop()
    assert set(chosen.values()) == {"v1", "v2", "v3"}


def test_a_weight_of_nothing_is_nothing(stage: Stage) -> None:
    """A backend that weighs nothing is never asked."""
    assert {stage.ask("/shared").json()["backend"] for _ in range(50)} == {"v1"}


def test_a_mirror_sees_what_the_service_sees(stage: Stage) -> None:
    """The copy has the method, the path and the body; the client's answer is the service's own."""
    answer = stage.ask("/mirrored/x?q=1", method="POST", body=b"for both")
    assert answer.json()["backend"] == "v1"
    (copy,) = stage.backends["v3"].await_seen(1)
    assert (copy.method, copy.target, copy.body) == ("POST", "/mirrored/x?q=1", b"for both")


def test_paths_and_hosts_are_rewritten(stage: Stage) -> None:
    """The service sees the new prefix and host, and the query as it came."""
    seen = stage.upstream("/api/v1/items?q=%20")
    assert (seen["target"], seen["headers"]["host"]) == ("/inner/items?q=%20", "inner.test")
    assert stage.upstream("/stripped/items")["target"] == "/items"
    assert stage.upstream("/stripped")["target"] == "/"


def test_redirects_and_fixed_answers(stage: Stage) -> None:
    """They come from the gateway itself, with the status, the place and the body that the file says."""
    moved = stage.ask("/gone/a/b?c=1")
    assert (moved.status, moved.value("location")) == (308, "http://new.test/here/a/b?c=1")
    fixed = stage.ask("/closed")
    assert (fixed.status, fixed.body, fixed.value("content-type")) == (503, b"back at noon", "text/plain")
    assert not any(backend.seen for backend in stage.backends.values())


def test_headers_are_edited_both_ways(stage: Stage) -> None:
    """Taken away, replaced and added in that order, for the service and for the client."""
    stage.reset(v1=Script(headers=[("X-Inner", "1"), ("Cache-Control", "public")]))
    answer = stage.ask("/edited", headers=[("X-Out", "1"), ("X-Set", "theirs"), ("X-Add", "first")])
    (seen,) = stage.backends["v1"].seen
    assert (seen.value("x-out"), seen.value("x-set")) == (None, "ours")
    assert (seen.value("x-add") or "").replace(" ", "") == "first,more"
    assert (answer.value("x-inner"), answer.value("cache-control")) == (None, "no-store")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_past_its_routes_limit_is_refused(stage: Stage, *, chunked: bool) -> None:
    """413, with a length or in chunks; one within the limit passes."""
    assert stage.ask("/small", method="POST", body=b"x" * 900).status == 200
    with stage.gateway.connect() as connection:
        if chunked:
            head = b"POST /small HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.send(head + b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n")
        else:
            connection.send(request("POST", "/small", [], b"x" * 2000))
        assert connection.read().status == 413
    assert all(len(seen.body) <= 1000 for seen in stage.backends["v1"].seen)


def test_answers_are_compressed_for_those_who_take_it(stage: Stage) -> None:
    """gzip for who accepts it, plain for who does not, and caches are told that it depends."""
    long = [("X-Long", "x" * 3000)]
    pressed = stage.ask("/pressed", headers=[("Accept-Encoding", "gzip"), *long])
    assert pressed.value("content-encoding") == "gzip"
    assert json.loads(gzip.decompress(pressed.body))["backend"] == "v1"
    assert "accept-encoding" in (pressed.value("vary") or "").lower()
    plain = stage.ask("/pressed", headers=long)
    assert (plain.value("content-encoding"), plain.json()["backend"]) == (None, "v1")
    assert stage.ask("/plain", headers=[("Accept-Encoding", "gzip"), *long]).value("content-encoding") is None


def test_a_late_service_is_given_up(stage: Stage) -> None:
    """504 when the policy's time is over, and 200 within it."""
    assert stage.ask("/late").status == 200
    assert stage.ask("/late?delay=3s").status == 504


def test_what_is_sent_again(stage: Stage) -> None:
    """A GET is sent again after 503 up to its attempts, a POST never, and a route without retries not at all."""
    stage.reset(v1=Script(answer=503, failures=2))
    assert (stage.ask("/again").status, len(stage.backends["v1"].seen)) == (200, 3)
    stage.reset(v1=Script(answer=503, failures=5))
    assert (stage.ask("/again").status, len(stage.backends["v1"].seen)) == (503, 3)
    stage.reset(v1=Script(answer=503, failures=5))
    assert (stage.ask("/again", method="POST", body=b"x").status, len(stage.backends["v1"].seen)) == (503, 1)
    stage.reset(v1=Script(answer=503, failures=1))
    assert (stage.ask("/once").status, len(stage.backends["v1"].seen)) == (503, 1)


def test_a_post_is_not_sent_twice_after_a_broken_connection(stage: Stage) -> None:
    """The service may have acted on it: the client is told, and decides."""
    stage.reset(v1=Script(answer="reset", failures=5))
    assert stage.ask("/again", method="POST", body=b"x").status in {502, 503}
    assert len(stage.backends["v1"].seen) == 1


def test_a_breaker_stops_the_calls(stage: Stage) -> None:
    """After so many failures in a row the service is left in peace, and the client is told at once."""
    stage.reset(v2=Script(answer=500, failures=1000))
    statuses = [stage.ask("/broken").status for _ in range(200)]
    assert set(statuses) == {500, 503}
    assert statuses[-1] == 503
    assert 3 <= len(stage.backends["v2"].seen) < 150


def test_more_at_once_than_a_route_may(stage: Stage) -> None:
    """Those beyond the limit are told 503 at once, those within are answered; Envoy lets some more wait and counts roughly."""
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: stage.ask("/narrow?delay=1s").status, range(10)))
    assert set(answers) == {200, 503}
    assert 2 <= answers.count(200) < 10


def test_more_often_than_a_peer_may(stage: Stage) -> None:
    """429 with the time to wait for, and the service hears of the first ones alone."""
    answers = [stage.ask("/rated") for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 3 + [429] * 3
    assert len(stage.backends["v1"].seen) == 3


def test_health_is_the_gateways_own(stage: Stage) -> None:
    """Alive, ready and started are told without asking a service, and what else is below /health is nobody's."""
    assert [stage.ask(f"/health/{what}").status for what in ("live", "ready", "startup")] == [200] * 3
    assert stage.ask("/health/other").status == 404
    assert not any(backend.seen for backend in stage.backends.values())


def test_services_learn_who_asked(stage: Stage) -> None:
    """The peer's address and scheme, and never what the client says of itself."""
    forged = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.test")]
    headers = stage.upstream("/plain", headers=forged, host="shop.test")["headers"]
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert "evil.test" not in str(headers)
    assert headers["host"] == "shop.test"


def test_each_request_is_a_line_of_the_log(stage: Stage) -> None:
    """One JSON object each, with what was asked and answered."""
    stage.ask("/plain/logged-here?x=1")
    lines = _await_line(stage.log, "/plain/logged-here")
    (line,) = [json.loads(each) for each in lines if "/plain/logged-here" in each]
    assert line["status"] == 200
    assert line["method"] == "GET"


def test_what_is_no_request_is_a_line_of_the_log_too(stage: Stage) -> None:
    """Who probes for what is let through shows, with the status and nothing of what was sent."""
    with stage.gateway.connect() as connection:
        connection.send(b"GET /probing HTTP/1.1\r\nHost: a.test\r\nContent-Length: x\r\n\r\n")
        assert connection.read().status == 400
    lines = _await_line(stage.log, '"status":400')
    assert [line for line in map(json.loads, lines) if line["status"] == 400]
    assert "probing" not in stage.log.read_text()


def _await_line(file: Path, word: str) -> list[str]:
    """The log's lines: both engines write them a little later than they answer."""
    end = time.monotonic() + 20
    while word not in (text := file.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    return text.splitlines()


def test_a_thousand_requests_in_one_piece_are_answered_in_order(stage: Stage) -> None:
    """Pipelined requests are neither lost nor mixed up, however many there are."""
    with stage.gateway.connect() as connection:
        connection.send(b"".join(request("GET", f"/plain/{number}", []) for number in range(1000)))
        try:
            targets = [connection.read().json()["target"] for _ in range(1000)]
        except Broken as broken:
            raise AssertionError(f"{len(stage.backends['v1'].seen)} came through") from broken
    assert targets == [f"/plain/{number}" for number in range(1000)]
