"""Spans of the embedded engine: the request's own, and one below it for each attempt to have a service answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from peers import answers, reply
from stage import Stage, on_stage

from skerry.signals import HUB, RequestServed, Signal
from skerry.telemetry.spans import SpanEnded

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPEC = """
defaults: {policy: {total: 10.0, attempt: 5.0, attempts: 3, breaker: {min_calls: 100}}}
routes:
  - {path: /api/orders, service: order, rewrite: /orders, methods: [GET, POST]}
  - {path: /api/stock, service: stock}
"""


@pytest.fixture
def told() -> Iterator[list[SpanEnded]]:
    """The spans of this test."""
    found: list[SpanEnded] = []

    def hear(signal: Signal) -> None:
        if isinstance(signal, SpanEnded):
            found.append(signal)

    end = HUB.subscribe(hear, spans=True)
    yield found
    end()


def test_an_attempt_is_a_span_between_the_requests_and_the_services(told: list[SpanEnded]) -> None:
    """The service is told the attempt's place, which stands below the request's, which stands below the client's."""

    async def play(stage: Stage) -> tuple[str, int]:
        response = await stage.client.get("/api/orders/7?q=1", headers={"traceparent": TRACE})
        assert response.status_code == 200
        peer = stage.peers["order"]
        return peer.requests[0].headers["traceparent"], int(peer.url.rpartition(":")[2])

    carried, port = on_stage(SPEC, {"order": answers(reply()), "stock": None}, play)
    attempt, request = told
    assert (request.kind, request.parent_id, attempt.kind) == ("server", TRACE[36:52], "client")
    assert attempt.parent_id == request.span_id
    assert carried == f"00-{TRACE[3:35]}-{attempt.span_id}-01"
    assert {attempt.trace_id, request.trace_id} == {TRACE[3:35]}
    assert (attempt.name, attempt.error) == ("GET", "")
    assert attempt.attributes == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": port,
        "url.full": f"http://127.0.0.1:{port}/orders/7",
        "service.peer.name": "order",
        "http.response.status_code": 200,
    }


def test_who_asks_for_its_health_is_no_request(told: list[SpanEnded]) -> None:
    """Probes come every second; among spans and numbers of requests they would hide what users do."""
    served: list[Signal] = []

    async def play(stage: Stage) -> list[int]:
        end = HUB.subscribe(served.append, measures=True, wants=lambda kind: kind is RequestServed)
        try:
            paths = ("/health/ready", "/health/live", "/health/startup", "/health/else")
            return [(await stage.client.get(path)).status_code for path in paths]
        finally:
            end()

    assert on_stage(SPEC, {"order": None, "stock": None}, play) == [200, 200, 200, 404]
    assert [span.attributes["url.path"] for span in told] == ["/health/else"]
    assert [one.status for one in served if isinstance(one, RequestServed)] == [404]


def test_every_attempt_has_a_span_of_its_own(told: list[SpanEnded]) -> None:
    """One that is answered with an error has the status, those after it say how many came before."""

    async def play(stage: Stage) -> list[str]:
        await stage.client.get("/api/orders/7")
        return [request.headers["traceparent"][36:52] for request in stage.peers["order"].requests]

    carried = on_stage(SPEC, {"order": answers(reply(503), reply(503), reply()), "stock": None}, play)
    *attempts, request = told
    assert [each.span_id for each in attempts] == carried
    assert {each.parent_id for each in attempts} == {request.span_id}
    assert [each.error for each in attempts] == ["503", "503", ""]
    assert [each.attributes.get("http.request.resend_count") for each in attempts] == [None, 1, 2]


def test_an_attempt_without_a_connection_has_a_span_too(told: list[SpanEnded]) -> None:
    """With the class of what went wrong, and no status."""

    async def play(stage: Stage) -> int:
        return (await stage.client.post("/api/stock")).status_code

    assert on_stage(SPEC, {"order": None, "stock": None}, play) >= 500
    *attempts, request = told
    assert request.kind == "server"
    assert {(each.kind, each.error, each.parent_id) for each in attempts} == {
        ("client", "Unreachable", request.span_id)
    }
    assert not any("http.response.status_code" in each.attributes for each in attempts)


def test_without_anybody_who_wants_spans_the_service_is_told_the_requests_place() -> None:
    """Nothing is drawn for an attempt, and the trace passes all the same."""

    async def play(stage: Stage) -> str:
        await stage.client.get("/api/orders/7", headers={"traceparent": TRACE})
        return stage.peers["order"].requests[0].headers["traceparent"]

    assert on_stage(SPEC, {"order": answers(reply()), "stock": None}, play)[:35] == TRACE[:35]
