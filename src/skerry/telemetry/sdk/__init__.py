"""Spans, numbers and records through the application's own OpenTelemetry SDK.

Nothing of OpenTelemetry is imported before somebody asks for it. Source: OpenTelemetry semantic conventions 1.45.0.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Literal

from skerry.errors import ConfigurationError, MissingExtra
from skerry.signals import HUB, Hub
from skerry.telemetry.spans import TRACING

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

Side = Literal["server", "client"]
_SIDES: Final = frozenset({"server", "client"})


def use_opentelemetry(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
    instrumented: Collection[Side] = (),
    hub: Hub = HUB,
) -> Callable[[], None]:
    """From now on spans, numbers and signals of this process go through OpenTelemetry's SDK; the returned function ends that.

    Providers are those given, else the global ones, as `opentelemetry.trace.set_tracer_provider` and its like have set them. One
    that is not of the SDK gets nothing, and it is an error when none is. Requests, calls, handlers and steps become spans that
    are current while they last, so what the application traces stands below them, and they below what it has begun. The
    sampler decides, and its decision travels. A saga is one trace, whichever processes make it.

    `instrumented` names what another instrumentation tells of already: with "server" requests over HTTP get no span and no
    duration from here, with "client" calls with `ServiceClient` do not. What travels is then that instrumentation's span.

    Sending is the providers' work, and so is shutting them down. It goes together with `send_telemetry` and `PrometheusMetrics`.
    Raises `MissingExtra` without `skerry[otel]`, `ConfigurationError` when it is in use already, for a wrong word in
    `instrumented`, and when there is no provider of the SDK.

    Example: `end = use_opentelemetry(tracer_provider=TracerProvider())`
    """
    if not frozenset(instrumented) <= _SIDES:
        raise ConfigurationError(f"instrumented: {sorted(instrumented)}; use of server and client what applies")
    try:
        from skerry.telemetry.sdk.metering import Meters
        from skerry.telemetry.sdk.providers import Providers, found
        from skerry.telemetry.sdk.records import Records
        from skerry.telemetry.sdk.tracing import SdkTracer
    except ImportError as error:
        raise MissingExtra("OpenTelemetry's SDK", "otel") from error
    providers: Providers = found(tracer_provider, meter_provider, logger_provider)
    with ExitStack() as stack:
        if providers.tracer is not None:
            if TRACING.tracer is not None:
                raise ConfigurationError("OpenTelemetry is in use in this process already; end that first")
            TRACING.tracer = SdkTracer(providers.tracer, frozenset(instrumented))
            stack.callback(_take_out)
        if providers.meter is not None:
            meters = Meters(providers.meter, frozenset(instrumented))
            stack.callback(meters.close)
            stack.callback(hub.subscribe(meters.heard, measures=True, wants=meters.wants))
        if providers.logger is not None:
            stack.callback(hub.subscribe(Records(providers.logger).heard, wants=Records.wants))
        return stack.pop_all().close


def _take_out() -> None:
    TRACING.tracer = None
