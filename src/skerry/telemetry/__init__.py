"""What a system tells its operators: subscribers to signals, each independent of the others."""

from __future__ import annotations

from skerry.telemetry.logs import configure_logging, log_signals
from skerry.telemetry.metrics import PrometheusMetrics
from skerry.telemetry.otlp import send_telemetry
from skerry.telemetry.spans import write_traces
from skerry.telemetry.telling import telling

__all__ = ["PrometheusMetrics", "configure_logging", "log_signals", "send_telemetry", "telling", "write_traces"]
