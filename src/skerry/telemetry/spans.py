"""Spans: the pieces of work of a trace, told as signals and to a tracer.

Every request, call, step and handler has a span of its own in the context anyway, for that is what travels. Here it becomes
something to look at, while somebody wants to: a signal when it is over, and, where OpenTelemetry's SDK is in use, a span of
the SDK from its beginning, so that what the application itself traces stands below it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, Self

from skerry.clock import SYSTEM, Clock
from skerry.context import CallContext, current
from skerry.signals import (
    HUB,
    Detail,
    EventHandled,
    HandlerTimed,
    RequestSent,
    RequestServed,
    RpcSent,
    RpcServed,
)
from skerry.telemetry.encoding import Value

Kind = Literal["internal", "server", "client", "producer", "consumer"]
_log = logging.getLogger("skerry.telemetry")
_SAMPLED: Final = frozenset("13579bdf")
"""The last digit of a traceparent whose trace is kept: its lowest bit says so (W3C Trace Context, trace-flags)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEnded(Detail):
    """A piece of work that belongs to a trace is over. Told only while somebody subscribes to spans.

    `began` is in seconds since 1970, `parent_id` empty for the first of a trace, `error` the class of what it failed of, `kind`
    OpenTelemetry's word; `links` are the traceparents of others it has to do with, as the messages of a batch are.
    """

    name: str
    kind: Kind
    trace_id: str
    span_id: str
    parent_id: str
    began: float
    seconds: float
    error: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    links: Sequence[str] = ()


TOLD_BY_SPANS: Final = (SpanEnded, RequestServed, RequestSent, RpcServed, RpcSent, EventHandled, HandlerTimed)
"""Signals that are no records beside spans, which tell the same."""


class Live(Protocol):
    """A span of a tracer that has begun."""

    context: CallContext
    """What travels on."""

    def end(self, name: str, error: str, attributes: Mapping[str, Value]) -> None:
        """It is over, in the task or thread in which it began."""
        ...


class Tracer(Protocol):
    """What makes spans of its own while they are under way; see `skerry.telemetry.use_opentelemetry`."""

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
        """A span within `around`; `ambient` until it ends: what the application traces meanwhile stands below it. None: it is
        left to somebody else, and `around` travels on as it is.
        """
        ...

    def tell(self, told: SpanEnded, *, sampled: bool) -> None:
        """A span that nobody saw begin in this process, with ids that were given out long ago."""
        ...

    def adopt(self, around: CallContext) -> CallContext:
        """`around`, below the span that the application itself has begun, where that is of the same trace or there is none."""
        ...

    def samples(self, trace_id: str, name: str, kind: Kind) -> bool:
        """Whether a trace that begins here, with this id, is to be kept."""
        ...


class Tracing:
    """Where a tracer is put in. Like the hub there is one for the process on purpose: the application decides."""

    __slots__ = ("tracer",)

    def __init__(self) -> None:
        self.tracer: Tracer | None = None


TRACING: Final = Tracing()


def wanted() -> bool:
    """Whether anybody wants spans, so that it is worth while to say more of them."""
    return TRACING.tracer is not None or HUB.traced


class span:  # noqa: N801 - it is used like a function
    """A piece of work within `around`: `with span("count the stock", "internal", around) as work: ...`.

    `context` is its own, which is what travels on; `attributes` may be added to until its end; `links` are the traceparents of
    what it works on where that is no single parent; `error`, unless None, is what it failed of whatever was raised, and empty
    when that was no failure. `seconds` is how long it took, once it is over. Where spans are not wanted it is no more than a new
    id in the context. One that is not `ambient` may end elsewhere than where it began.
    """

    __slots__ = (
        "_around",
        "_began",
        "_clock",
        "_kind",
        "_links",
        "_live",
        "attributes",
        "context",
        "error",
        "name",
        "seconds",
    )

    def __init__(
        self,
        name: str,
        kind: Kind,
        around: CallContext,
        *,
        attributes: dict[str, Value] | None = None,
        links: Sequence[str] = (),
        ambient: bool = True,
        clock: Clock = SYSTEM,
    ) -> None:
        self.name: str = name
        self.attributes: dict[str, Value] = {} if attributes is None else attributes
        self.error: str | None = None
        self.seconds: float = 0.0
        self._kind = kind
        self._links = links
        self._around = around
        self._clock = clock
        self._live: Live | None = None
        tracer = TRACING.tracer
        if tracer is None:
            self.context: CallContext = around.child(clock)
        else:
            self._live = tracer.begin(name, kind, around, self.attributes, links, ambient=ambient)
            self.context = tracer.adopt(around) if self._live is None else self._live.context
        self._began = clock.monotonic()

    def end(self, error: str = "") -> None:
        """It is over, and failed of `error` if that is no empty text."""
        self.seconds = self._clock.monotonic() - self._began
        failed = error if self.error is None else self.error
        if self._live is not None:
            self._live.end(self.name, failed, self.attributes)
        if HUB.traced and (self._live is not None or TRACING.tracer is None):
            began, parent = self._clock.now() - self.seconds, self._around.traceparent
            own, told = self.context.traceparent, self.attributes
            report(self.name, self._kind, own, parent, began, self.seconds, failed, told, self._links)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self.end("" if kind is None else kind.__name__)


def tell(
    name: str,
    kind: Kind,
    *,
    own: str,
    parent: str,
    seconds: float,
    error: str = "",
    attributes: Mapping[str, Value],
    clock: Clock = SYSTEM,
) -> None:
    """Tell of a span that ends now, `own` and `parent` in the words of W3C's traceparent, if anybody wants to hear of it."""
    if wanted():
        began = clock.now() - seconds
        if TRACING.tracer is not None:
            told = _ended(name, kind, own, parent, began, seconds, error, attributes)
            TRACING.tracer.tell(told, sampled=own[54:55] in _SAMPLED)
        if HUB.traced:
            report(name, kind, own, parent, began, seconds, error, attributes)


def here() -> CallContext:
    """The context of the running task or thread, below what the application itself traces."""
    around = current()
    return around if TRACING.tracer is None else TRACING.tracer.adopt(around)


def child(name: str, kind: Kind, around: CallContext, *, clock: Clock = SYSTEM) -> CallContext:
    """The context of a span that is told of when it is over (`tell`), maybe by another process."""
    own = around.child(clock)
    if around.traceparent:
        return own
    flags = kept(own.trace_id, name, kind)
    if own.traceparent.endswith(flags):  # as nearly always
        return own
    return CallContext(own.deadline, own.traceparent[:53] + flags, own.tracestate, own.priority, own.retries_above)


def kept(trace_id: str, name: str, kind: Kind) -> str:
    """The flags of a trace that begins here: "01" to be kept, as always without a tracer, else "00"."""
    tracer = TRACING.tracer
    return "01" if tracer is None or tracer.samples(trace_id, name, kind) else "00"


def report(
    name: str,
    kind: Kind,
    own: str,
    parent: str,
    began: float,
    seconds: float,
    error: str,
    attributes: Mapping[str, Value],
    links: Sequence[str] = (),
) -> None:
    """Hand a span that is over to all who subscribe to spans: as it is, and as a signal to those who want that.

    For who has found out that they do (`Hub.traced`) and that there is no tracer; `tell` is for everybody else.
    """
    for sink in HUB.sinks:
        try:
            sink(name, kind, own, parent, began, seconds, error, attributes, links)
        except Exception:  # a broken listener must not break what it listens to
            _log.exception("a subscriber failed on a span")
    if HUB.hears(SpanEnded):
        HUB.emit(_ended(name, kind, own, parent, began, seconds, error, attributes, links))


def _ended(
    name: str,
    kind: Kind,
    own: str,
    parent: str,
    began: float,
    seconds: float,
    error: str,
    attributes: Mapping[str, Value],
    links: Sequence[str] = (),
) -> SpanEnded:
    """The signal of a span."""
    return SpanEnded(
        name=name,
        kind=kind,
        trace_id=own[3:35],
        span_id=own[36:52],
        parent_id=parent[36:52] if parent[:35] == own[:35] else "",
        began=began,
        seconds=seconds,
        error=error,
        attributes=attributes,
        links=links,
    )
