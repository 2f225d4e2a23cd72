"""Which providers there are: the application's, if they are of the SDK."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider as SdkLoggers
from opentelemetry.sdk.metrics import MeterProvider as SdkMeters
from opentelemetry.sdk.trace import TracerProvider as SdkTracers

from skerry.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Providers:
    """Those of the SDK; None where there is none."""

    tracer: SdkTracers | None
    meter: SdkMeters | None
    logger: SdkLoggers | None


def found(
    tracer: trace.TracerProvider | None, meter: metrics.MeterProvider | None, logger: _logs.LoggerProvider | None
) -> Providers:
    """Those given, else the global ones. Raises `ConfigurationError` for one that is not of the SDK, and when there is none."""
    for given, kind in ((tracer, SdkTracers), (meter, SdkMeters), (logger, SdkLoggers)):
        if given is not None and not isinstance(given, kind):
            raise ConfigurationError(f"{type(given).__name__} is no {kind.__name__} of opentelemetry-sdk")
    # asked for only where nothing is given: a test that gives its own does not hear of those of the process
    alone = tracer is None and meter is None and logger is None
    if alone:
        tracer, meter, logger = trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()
    providers = Providers(
        tracer if isinstance(tracer, SdkTracers) else None,
        meter if isinstance(meter, SdkMeters) else None,
        logger if isinstance(logger, SdkLoggers) else None,
    )
    if providers.tracer is None and providers.meter is None and providers.logger is None:
        raise ConfigurationError("no provider of OpenTelemetry's SDK is set; set one before, or give it")
    return providers
