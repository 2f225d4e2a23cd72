"""The user's side of OpenTelemetry: providers of the SDK that keep in memory what they are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from skerry.telemetry import use_opentelemetry


class Sdk:
    """Three providers, and what came out of them."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._spans, self._records = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(sampler=sampler)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._reader])
        self.loggers = LoggerProvider()
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self._records))

    @property
    def spans(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return list(self._spans.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        """The only one of this name."""
        [found] = [each for each in self.spans if each.name == name]
        return found

    @property
    def records(self) -> list[Any]:
        """What was logged."""
        return [each.log_record for each in self._records.get_finished_logs()]

    def metrics(self) -> dict[str, Any]:
        """By name."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        every = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {metric.name: metric for scope in every if scope.scope.name == "skerry" for metric in scope.metrics}

    def shutdown(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown()
        self.loggers.shutdown()


@contextmanager
def in_use(sampler: Sampler | None = None, **more: Any) -> Iterator[Sdk]:
    """skerry uses providers of this block."""
    sdk = Sdk(sampler)
    end = use_opentelemetry(tracer_provider=sdk.tracers, meter_provider=sdk.meters, logger_provider=sdk.loggers, **more)
    try:
        yield sdk
    finally:
        end()
        sdk.shutdown()
