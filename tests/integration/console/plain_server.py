"""Python's own server with OpenTelemetry's SDK, knowing nothing of skerry: it fails each time, and ends when its input does."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

provider = TracerProvider()
tracer = provider.get_tracer("plain")


class Ledger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        above = TraceContextTextMapPropagator().extract({name.lower(): value for name, value in self.headers.items()})
        with tracer.start_as_current_span("GET /entries", above, SpanKind.SERVER) as span:
            span.set_attribute("http.response.status_code", 503)
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


if __name__ == "__main__":
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    server = HTTPServer(("127.0.0.1", 0), Ledger)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    answering = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    answering.start()
    sys.stdin.read()
    server.shutdown()
    answering.join()
    server.server_close()
    provider.shutdown()
