"""Spans of the SDK: begun and ended where the work is, or written afterwards with ids that were given out before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token
from typing import Any, Final

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer as SdkOwnTracer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from skerry import __version__
from skerry.context import CallContext
from skerry.telemetry.conventions import SCHEMA_URL
from skerry.telemetry.encoding import Value
from skerry.telemetry.spans import Kind, Live, SpanEnded

NAME: Final = "skerry"
_KINDS: Final[Mapping[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_ERROR: Final = StatusCode.ERROR
_NO_SPAN: Final = trace.INVALID_SPAN
_SUPPRESS: Final = getattr(otel, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_http_instrumentation")
"""What instrumentations of HTTP clients look at before they make a span, those of the client below ours among them."""
_given: ContextVar[tuple[int, int]] = ContextVar("skerry_given_ids")


class _Ids:
    """The provider's own generator of ids, but for a span that has got its ids already."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def generate_trace_id(self) -> int:
        given = _given.get(None)
        return given[0] if given else int(self._own.generate_trace_id())

    def generate_span_id(self) -> int:
        given = _given.get(None)
        return given[1] if given else int(self._own.generate_span_id())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


class SdkTracer:
    """`skerry.telemetry.spans.Tracer` over a provider of the SDK. `instrumented` sides over HTTP are left to others."""

    def __init__(self, provider: TracerProvider, instrumented: frozenset[str]) -> None:
        tracer = provider.get_tracer(NAME, __version__, schema_url=SCHEMA_URL)
        self._tracer = tracer
        self._sampler = provider.sampler
        self._left = frozenset(_KINDS[side] for side in ("server", "client") if side in instrumented)
        if isinstance(tracer, SdkOwnTracer) and not isinstance(tracer.id_generator, _Ids):
            tracer.id_generator = _Ids(tracer.id_generator)  # type: ignore[assignment] # of this scope's tracer alone

    def begin(
        self,
        name: str,
        kind: Kind,
        around: CallContext,
        attributes: Mapping[str, Value],
        links: Sequence[str],
        *,
        ambient: bool,
    ) -> Live | None:
        """A span of the SDK, current until its end if `ambient`; see `skerry.telemetry.spans.Tracer`."""
        wanted = _KINDS[kind]
        if wanted in self._left and "http.request.method" in attributes:
            return None
        own = trace.get_current_span()
        here = own.get_span_context()
        told = around.traceparent
        within = otel.get_current()
        if here.is_valid and (not told or f"{here.trace_id:032x}" == told[3:35]):
            if wanted is SpanKind.SERVER:
                wanted = SpanKind.INTERNAL  # an instrumentation around the service has told of the request already
        elif told:
            within = trace.set_span_in_context(NonRecordingSpan(_context(told, around.tracestate)), within)
        elif here.is_valid:
            within = trace.set_span_in_context(_NO_SPAN, within)
        begun = self._tracer.start_span(name, within, wanted, attributes, [Link(_context(each, "")) for each in links])
        return _LiveSpan(begun, around, within if ambient else None, wanted)

    def adopt(self, around: CallContext) -> CallContext:
        """`around`, at the application's own span where that is of its trace, or it has none."""
        here = trace.get_current_span().get_span_context()
        if not here.is_valid or (around.traceparent and f"{here.trace_id:032x}" != around.traceparent[3:35]):
            return around
        return _below(around, here)

    def samples(self, trace_id: str, name: str, kind: Kind) -> bool:
        """What the sampler says of a trace that begins with this span."""
        result = self._sampler.should_sample(Context(), int(trace_id, 16), name, _KINDS[kind])
        return result.decision is Decision.RECORD_AND_SAMPLE

    def tell(self, told: SpanEnded, *, sampled: bool) -> None:
        """A span with the ids it has; nothing, when its trace is not kept."""
        if not sampled:
            return
        within = Context()
        if told.parent_id:
            parent = SpanContext(
                int(told.trace_id, 16),
                int(told.parent_id, 16),
                is_remote=True,
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
            )
            within = trace.set_span_in_context(NonRecordingSpan(parent), within)
        token = _given.set((int(told.trace_id, 16), int(told.span_id, 16)))
        began = int(told.began * 1e9)
        try:
            span = self._tracer.start_span(told.name, within, _KINDS[told.kind], told.attributes, start_time=began)
        finally:
            _given.reset(token)
        _fail(span, told.error)
        span.end(began + int(told.seconds * 1e9))


class _LiveSpan:
    """A span of the SDK that has begun, and the place in OpenTelemetry's context that it takes until its end."""

    __slots__ = ("_began_with", "_span", "_token", "context")

    def __init__(self, span: trace.Span, around: CallContext, within: Context | None, kind: SpanKind) -> None:
        self._span = span
        self.context: CallContext = _below(around, span.get_span_context())
        self._token: Token[Context] | None = None
        if within is not None:
            inner = trace.set_span_in_context(span, within)
            if kind is SpanKind.CLIENT:
                inner = otel.set_value(_SUPPRESS, True, inner)
            self._token = otel.attach(inner)

    def end(self, name: str, error: str, attributes: Mapping[str, Value]) -> None:
        if self._token is not None:
            otel.detach(self._token)
        span = self._span
        if span.is_recording():
            span.update_name(name)
            if attributes:
                span.set_attributes(attributes)
            _fail(span, error)
        span.end()


def _fail(span: trace.Span, error: str) -> None:
    if error:
        span.set_attribute("error.type", error)
        span.set_status(Status(_ERROR))


def _context(traceparent: str, tracestate: str) -> SpanContext:
    """A caller's span, in the words of W3C's headers, which `skerry.context` has checked."""
    return SpanContext(
        int(traceparent[3:35], 16),
        int(traceparent[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(traceparent[53:55], 16)),
        trace_state=TraceState.from_header([tracestate]) if tracestate else None,
    )


def _below(around: CallContext, here: SpanContext) -> CallContext:
    if not here.is_valid:
        return around
    traceparent = f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"
    state = here.trace_state.to_header() if here.trace_state else around.tracestate
    return CallContext(around.deadline, traceparent, state, around.priority, around.retries_above)
