"""A program that knows nothing of skerry: OpenTelemetry's own SDK, told where to send by its own environment variables."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

if __name__ == "__main__":
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("plain")
    for _ in range(3):
        with (
            tracer.start_as_current_span("GET /bills", kind=SpanKind.SERVER),
            tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes={"peer.service": "ledger"}) as call,
        ):
            call.set_status(Status(StatusCode.ERROR, "refused"))
    provider.shutdown()
