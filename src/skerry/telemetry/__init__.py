"""What a system tells its operators: subscribers to signals, each independent of the others."""

from __future__ import annotations

from skerry.telemetry.logs import configure_logging, log_signals
from skerry.telemetry.metrics import PrometheusMetrics
from skerry.telemetry.otlp import send_telemetry
from skerry.telemetry.sdk import use_opentelemetry
from skerry.telemetry.telling import telling
from skerry.telemetry.tracefile import write_traces

__all__ = [
    "PrometheusMetrics",
    "configure_logging",
    "log_signals",
    "send_telemetry",
    "telling",
    "use_opentelemetry",
    "write_traces",
]
