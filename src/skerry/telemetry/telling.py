"""What a process tells while it runs, as its settings say: lines, a file of spans, a console or collector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from skerry.settings import Settings
from skerry.telemetry.logs import log_signals
from skerry.telemetry.otlp import send_telemetry
from skerry.telemetry.sdk import use_opentelemetry
from skerry.telemetry.tracefile import write_traces


@contextmanager
def telling(service: str, settings: Settings) -> Iterator[None]:
    """Inside the block the signals of this process are logged, and sent and written where `settings` say so.

    Raises `ConfigurationError` when the file of traces cannot be written, or OpenTelemetry's SDK is wanted and not set up, and
    `MissingExtra` when that is not installed. The end takes a second at most.

    Example: `with telling("order", Settings.from_environ()): ...`
    """
    with ExitStack() as stack:
        stack.callback(log_signals(service=service, level=settings.log_level))
        if settings.traces:
            stack.callback(write_traces(Path(settings.traces), service=service))
        if settings.otel:
            stack.callback(use_opentelemetry())
        if settings.otlp:
            stack.callback(send_telemetry(settings.otlp, service=service, token=settings.otlp_token))
        yield
