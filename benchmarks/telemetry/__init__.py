"""What telemetry costs: a request and a call with nobody listening, and with each who may listen, in turns in one process.

Time is processor time of the whole process, so that what threads do behind counts. What is sent goes to a process of its own.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import StringIO
from typing import Any

from benchmarks.report import Report
from skerry.client import ServiceClient
from skerry.client.transport import Request, Response
from skerry.context import CallContext
from skerry.service import Service
from skerry.settings import Settings
from skerry.telemetry import PrometheusMetrics, log_signals, send_telemetry, use_opentelemetry
from skerry.telemetry.spans import span

LEAST_ROUNDS, TURNS, REQUESTS = 5, 3, 3000
MOST_ON, MOST_OFF = 10.0, 1.0
"""Microseconds a request, at most: for all that skerry has of its own, and for spans that nobody wants."""
Act = Callable[[], Awaitable[Any]]


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b"{}"})


class Nowhere:
    """A transport that answers at once."""

    async def send(self, _request: Request) -> Response:
        return Response(200, headers=[("content-type", "application/json")], body=b"{}")

    async def aclose(self) -> None:
        return


@contextmanager
def receiver() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.telemetry.receiver"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def listeners(url: str) -> dict[str, Callable[[ExitStack], None]]:
    """Who may listen, each by itself, and all that needs no package of OpenTelemetry's together."""

    def off(_: ExitStack) -> None:
        return

    def logs(stack: ExitStack) -> None:
        stack.callback(log_signals(StringIO(), service="bench"))

    def metrics(stack: ExitStack) -> None:
        stack.callback(PrometheusMetrics().close)

    def otlp(stack: ExitStack) -> None:
        stack.callback(send_telemetry(url, service="bench"))

    def everything(stack: ExitStack) -> None:
        for each in (logs, metrics, otlp):
            each(stack)

    def sdk(stack: ExitStack) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        class Nobody(SpanExporter):
            def export(self, _spans: Any) -> SpanExportResult:
                return SpanExportResult.SUCCESS

        tracers, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
        tracers.add_span_processor(BatchSpanProcessor(Nobody()))
        stack.callback(meters.shutdown)
        stack.callback(tracers.shutdown)
        stack.callback(use_opentelemetry(tracer_provider=tracers, meter_provider=meters))

    return {"off": off, "logs": logs, "metrics": metrics, "otlp": otlp, "all of these": everything, "SDK": sdk}


def run(*, rounds: int) -> dict[str, Any]:
    report = Report("telemetry", ["opentelemetry-sdk", "prometheus-client"])
    with receiver() as url:
        asyncio.run(_run(report, max(rounds, LEAST_ROUNDS), listeners(url)))
    for what in ("request", "call"):
        on = statistics.median(report.samples[f"{what}: added"]["all of these"])
        report.bar(f"a {what}: logs, metrics and OTLP on [us]", on, "<=", MOST_ON)
        report.ratio(f"a {what}, all of these over off", what, "off", "all of these")
    report.bar("a span that nobody wants [us]", report.median("span that nobody wants"), "<=", MOST_OFF)
    return report.document()


async def _run(report: Report, rounds: int, modes: dict[str, Callable[[ExitStack], None]]) -> None:
    service = Service("bench", app=app, settings=Settings())
    scope = {"type": "http", "method": "GET", "path": "/orders/7", "headers": [(b"host", b"bench")], "scheme": "http"}
    client = ServiceClient("stock", url="http://stock:8000", transport=Nowhere())

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(_message: Any) -> None:
        return

    acts: dict[str, Act] = {
        "request": lambda: service.app(dict(scope), receive, send),
        "call": lambda: client.get("/lamps/7"),
    }
    for act in acts.values():
        await _taken(act)
    for _ in range(rounds):
        for what, act in acts.items():
            costs = await _in_turns(act, modes)
            for who, microseconds in costs.items():
                report.add(what, who, microseconds, "us")
            for who in modes:
                if who != "off":
                    report.add(f"{what}: added", who, costs[who] - costs["off"], "us")
        report.add("span that nobody wants", "ours", _unwanted(), "us")
    await client.aclose()


async def _in_turns(act: Act, modes: dict[str, Callable[[ExitStack], None]]) -> dict[str, float]:
    """Microseconds of processor time for one, the median of several batches of each."""
    found: dict[str, list[float]] = {who: [] for who in modes}
    for _ in range(TURNS):
        for who, listen in modes.items():
            with ExitStack() as stack:
                listen(stack)
                await _taken(act, 20)
                begun = time.process_time()
                await _taken(act)
            # after the end, which sends what still waits
            found[who].append((time.process_time() - begun) / REQUESTS * 1e6)
    return {who: statistics.median(values) for who, values in found.items()}


async def _taken(act: Act, count: int = REQUESTS) -> None:
    for _ in range(count):
        await act()


def _unwanted() -> float:
    """What a span that nobody wants costs over the new id in the context, which travels anyway."""
    around, least = CallContext().child(), [float("inf")] * 2

    def spans() -> None:
        for _ in range(REQUESTS):
            with span("work", "internal", around):
                pass

    def ids() -> None:
        for _ in range(REQUESTS):
            around.child()

    for _ in range(TURNS * 3):
        for index, work in enumerate((spans, ids)):
            begun = time.process_time()
            work()
            least[index] = min(least[index], (time.process_time() - begun) / REQUESTS * 1e6)
    return least[0] - least[1]
