"""Spans, numbers and records through the user's own OpenTelemetry SDK, in memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_value
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from sdkproviders import Sdk, in_use

from skerry import Bulkhead, Policy, Retry, context, signals
from skerry.client import AsgiTransport, Request, Response, ServiceClient
from skerry.context import CallContext
from skerry.errors import ConfigurationError
from skerry.service import Service
from skerry.settings import Settings
from skerry.signals import HUB, Hub
from skerry.telemetry import telling, use_opentelemetry
from skerry.telemetry.conventions import SECONDS
from skerry.telemetry.spans import SpanEnded, child, here, span, tell
from skerry.testing import VirtualClock, run_virtual

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    with in_use() as found:
        yield found


def ids(found: Any) -> tuple[str, str]:
    return f"{found.context.trace_id:032x}", f"{found.context.span_id:016x}"


def called(sdk: Sdk, path: str, *, tmp_path: Any, headers: dict[str, str] | None = None) -> int:
    """One call to a service, through client and border, without a network."""

    async def main() -> int:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            with sdk.tracers.get_tracer("app").start_as_current_span("query"):
                scope["route"] = type("Route", (), {"path": "/orders/{id}"})()
            if scope["path"] == "/boom":
                raise RuntimeError("nobody foresaw this")
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

        service = Service("order", app=app, settings=Settings(data=tmp_path))
        async with ServiceClient("order", url="http://order:8000", transport=AsgiTransport(service.app)) as client:
            return (await client.get(path, headers=headers or {})).status

    return asyncio.run(main())


def test_a_call_is_a_client_span_and_a_server_span_below_it(sdk: Sdk, tmp_path: Any) -> None:
    """One trace: the call, the request, and below it what the application traces, with the attributes of the conventions."""
    assert called(sdk, "/orders/7?secret=1", tmp_path=tmp_path) == 200
    client, query = next(each for each in sdk.spans if each.kind is SpanKind.CLIENT), sdk.span("query")
    server = next(each for each in sdk.spans if each.kind is SpanKind.SERVER)
    assert server.parent is not None
    assert query.parent is not None
    assert server.parent.span_id == client.context.span_id
    assert query.parent.span_id == server.context.span_id
    assert {each.context.trace_id for each in sdk.spans} == {client.context.trace_id}
    assert (client.name, server.name) == ("GET", "GET /orders/{id}")
    assert dict(client.attributes or {}) == {
        "http.request.method": "GET",
        "server.address": "order",
        "server.port": 8000,
        "url.full": "http://order:8000/orders/7",
        "service.peer.name": "order",
        "http.response.status_code": 200,
    }
    assert dict(server.attributes or {}) == {
        "http.request.method": "GET",
        "url.path": "/orders/7",
        "url.scheme": "http",
        "http.route": "/orders/{id}",
        "http.response.status_code": 200,
    }


def test_a_failed_request_is_an_error_on_both_sides(sdk: Sdk, tmp_path: Any) -> None:
    """`error.type` is the status to who calls, and the word of the problem to who answers."""
    assert called(sdk, "/boom", tmp_path=tmp_path) == 500
    server = next(each for each in sdk.spans if each.kind is SpanKind.SERVER)
    client = next(each for each in sdk.spans if each.kind is SpanKind.CLIENT)
    assert (client.attributes or {})["error.type"] == "500"
    assert (server.attributes or {})["error.type"] == "internal_error"
    assert {client.status.status_code, server.status.status_code} == {StatusCode.ERROR}


def test_durations_have_the_names_units_and_edges_of_the_conventions(sdk: Sdk, tmp_path: Any) -> None:
    """In seconds, with the recommended buckets, attributes of the right types, and nothing that is not known."""
    called(sdk, "/orders/7", tmp_path=tmp_path)
    metrics = sdk.metrics()
    served, sent = metrics["http.server.request.duration"], metrics["http.client.request.duration"]
    assert (served.unit, sent.unit) == ("s", "s")
    [point] = served.data.data_points
    assert tuple(point.explicit_bounds) == SECONDS
    assert dict(point.attributes) == {
        "http.request.method": "GET",
        "http.route": "/orders/{id}",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }
    [point] = sent.data.data_points
    assert dict(point.attributes) == {
        "service.peer.name": "order",
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "order",
        "server.port": 8000,
    }


def test_a_refusal_is_counted_with_its_reason_and_logged_below_the_span(sdk: Sdk) -> None:
    """The reason is an attribute of the number and of the record, and the record is of the trace that is current."""
    with span("work", "internal", CallContext()) as work:
        signals.emit(signals.CallRefused(policy="stock", reason="circuit_open"))
    [point] = sdk.metrics()["skerry.calls_refused"].data.data_points
    assert (dict(point.attributes), point.value) == ({"skerry.policy": "stock", "skerry.reason": "circuit_open"}, 1)
    [record] = sdk.records
    assert (record.event_name, record.severity_text) == ("skerry.call_refused", "DEBUG")
    assert record.attributes["skerry.reason"] == "circuit_open"
    assert f"{record.trace_id:032x}" == work.context.trace_id


def test_limits_are_read_when_the_reader_asks(sdk: Sdk) -> None:
    """How full a limit is costs nothing until somebody looks."""
    limit = Bulkhead(3, name="limit-of-this-test")
    with limit.slot():
        metrics = sdk.metrics()
    own = {"skerry.policy": "limit-of-this-test"}
    seen = {
        name: [point.value for point in metrics[name].data.data_points if dict(point.attributes) == own]
        for name in ("skerry.calls_in_flight", "skerry.calls_waiting", "skerry.limit")
    }
    assert seen == {"skerry.calls_in_flight": [1], "skerry.calls_waiting": [0], "skerry.limit": [3]}


def test_what_the_application_has_begun_is_the_parent() -> None:
    """A script's own span around a call: one trace, also where nothing of skerry's is around."""
    with in_use() as sdk:
        with sdk.tracers.get_tracer("script").start_as_current_span("job") as job:
            assert here().trace_id == f"{job.get_span_context().trace_id:032x}"
            with span("call", "client", context.current()) as work, context.use(work.context):
                pass
        call = sdk.span("call")
    assert call.parent is not None
    assert call.parent.span_id == job.get_span_context().span_id


def test_what_is_repeated_is_of_one_trace_where_nothing_is_around(sdk: Sdk) -> None:
    """The sampler is asked once: further attempts are below the first."""

    class Refusing:
        async def send(self, _request: Request) -> Response:
            return Response(503)

        async def aclose(self) -> None:
            """Nothing is open."""

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", retry=Retry(3), clock=clock)
        client = ServiceClient("stock", url="http://stock", transport=Refusing(), policy=policy, clock=clock)
        await client.get("/items")

    run_virtual(main)
    first, *further = sdk.spans
    assert first.parent is None
    assert [each.parent and each.parent.span_id for each in further] == [first.context.span_id] * 2


def test_links_are_links_of_the_sdk(sdk: Sdk) -> None:
    """A batch's span begins a trace and names what it works on."""
    with span("handle", "consumer", CallContext(), links=(PARENT,)):
        pass
    handled = sdk.span("handle")
    assert handled.parent is None
    assert [(f"{each.context.trace_id:032x}", f"{each.context.span_id:016x}") for each in handled.links] == [
        (PARENT[3:35], PARENT[36:52])
    ]


def test_a_trace_from_outside_wins_over_a_span_of_another_trace(sdk: Sdk) -> None:
    """An event's trace is its own, whatever the task that handles it has been begun in."""
    loop = sdk.tracers.get_tracer("loop").start_as_current_span("loop")
    with loop, span("handle", "consumer", CallContext(traceparent=PARENT)):
        pass
    handle = sdk.span("handle")
    assert ids(handle)[0] == "a" * 32
    assert handle.parent is not None
    assert f"{handle.parent.span_id:016x}" == "b" * 16


def test_no_second_server_span_where_one_is_around_already(sdk: Sdk) -> None:
    """Within an instrumentation's own server span ours is internal, as OpenTelemetry's instrumentations do it."""
    around = sdk.tracers.get_tracer("asgi").start_as_current_span("GET", kind=SpanKind.SERVER)
    with around, span("GET /orders", "server", CallContext()):
        pass
    assert sdk.span("GET /orders").kind is SpanKind.INTERNAL


def test_a_client_of_the_network_makes_no_span_below_ours(sdk: Sdk) -> None:
    """Instrumentations of HTTP clients look at this word of the context."""
    with span("GET", "client", CallContext()):
        inside = [
            value
            for key in list(dict(trace.context_api.get_current()))
            if "suppress_http" in key
            for value in [get_value(key)]
        ]
    assert inside == [True]
    assert not [key for key in dict(trace.context_api.get_current()) if "suppress_http" in key]


def test_what_is_instrumented_already_is_left_to_that(tmp_path: Any) -> None:
    """No span and no duration of that side; what travels is the caller's own, and the other side is told of."""
    with in_use(instrumented=["server"]) as sdk:
        called(sdk, "/orders/7", tmp_path=tmp_path)
        kinds = [each.kind for each in sdk.spans]
        names = set(sdk.metrics())
    assert SpanKind.SERVER not in kinds
    assert SpanKind.CLIENT in kinds
    assert "http.server.request.duration" not in names
    assert "http.client.request.duration" in names


def test_the_sampler_decides_and_its_decision_travels() -> None:
    """What is not kept is not kept below either: the flag goes along."""
    with in_use(ParentBased(ALWAYS_OFF)) as sdk:
        with span("work", "internal", CallContext()) as work:
            assert not int(work.context.traceparent[-2:], 16) & 1
        assert child("saga", "internal", CallContext()).traceparent.endswith("-00")
        with span("kept", "internal", CallContext(traceparent=PARENT)) as kept:
            assert int(kept.context.traceparent[-2:], 16) & 1
        assert [each.name for each in sdk.spans] == ["kept"]


def test_a_saga_is_one_trace_though_others_make_it() -> None:
    """The saga's span has the ids that its journal kept, in another process than where it began, and steps stand below it."""
    with in_use() as first:
        own = child("fulfilment", "internal", CallContext()).traceparent
        with span("fulfilment reserve", "internal", CallContext(traceparent=own)):
            pass
    with in_use() as second:
        with span("fulfilment charge", "internal", CallContext(traceparent=own)):
            pass
        tell("fulfilment", "internal", own=own, parent="", seconds=2.5, attributes={"saga.status": "completed"})
    saga, steps = second.span("fulfilment"), [first.span("fulfilment reserve"), second.span("fulfilment charge")]
    assert ids(saga) == (own[3:35], own[36:52])
    assert saga.parent is None
    assert saga.end_time is not None
    assert saga.start_time is not None
    assert saga.end_time - saga.start_time == 2_500_000_000
    for step in steps:
        assert step.parent is not None
        assert (step.context.trace_id, step.parent.span_id) == (saga.context.trace_id, saga.context.span_id)


def test_the_console_hears_of_the_same_spans(sdk: Sdk) -> None:
    """Both at once: what is sent to a console has the ids that the SDK gave out."""
    heard: list[SpanEnded] = []
    end = HUB.subscribe(lambda told: heard.append(told) if isinstance(told, SpanEnded) else None, spans=True)
    with span("work", "internal", CallContext()):
        pass
    end()
    assert [(each.trace_id, each.span_id) for each in heard] == [ids(sdk.span("work"))]


def test_after_the_end_nothing_is_told() -> None:
    """And a second use may begin."""
    hub = Hub()
    with in_use(hub=hub) as first:
        assert hub.measured
    with in_use() as second, span("work", "internal", CallContext()):
        pass
    assert (first.spans, [each.name for each in second.spans]) == ([], ["work"])
    assert not hub.measured


def test_a_second_use_at_once_is_an_error(sdk: Sdk) -> None:
    """Spans would be told twice."""
    with pytest.raises(ConfigurationError, match="in use in this process already"):
        use_opentelemetry(tracer_provider=sdk.tracers)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no provider of OpenTelemetry's SDK is set"),
        ({"tracer_provider": trace.NoOpTracerProvider()}, "NoOpTracerProvider is no TracerProvider"),
        ({"instrumented": ["servers"]}, "use of server and client what applies"),
    ],
)
def test_what_cannot_work_is_said_at_once(given: dict[str, Any], said: str) -> None:
    """No provider, one that is none, a word that is none."""
    with pytest.raises(ConfigurationError, match=said):
        use_opentelemetry(**given)


WITH_GLOBALS = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from skerry.context import CallContext
from skerry.settings import Settings
from skerry.telemetry import telling
from skerry.telemetry.spans import span

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
with telling("order", Settings.from_environ({"SKERRY_OTEL": "sdk"})):
    with span("inside", "internal", CallContext()):
        pass
with span("after", "internal", CallContext()):
    pass
print(*(each.name for each in exporter.get_finished_spans()))
"""


def test_a_process_without_code_of_its_own_uses_the_global_providers() -> None:
    """As a gateway does, where its environment says so; until its end."""
    done = subprocess.run([sys.executable, "-c", WITH_GLOBALS], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("inside\n", 0), done.stderr


def test_an_environment_that_wants_the_sdk_where_none_is_set_up_is_told_so() -> None:
    """At the start, for else nothing would be told on the worst day."""
    with (
        pytest.raises(ConfigurationError, match="no provider of OpenTelemetry's SDK"),
        telling("order", Settings(otel="sdk")),
    ):
        pass
