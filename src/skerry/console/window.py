"""The last quarter of an hour of spans, within bounds: traces to look at, and counts per service and edge.

Counts are kept for the whole time, spans themselves only as far as there is room: at a thousand a second that is the last
twenty seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from skerry.clock import SYSTEM, Clock
from skerry.console.bounded import put
from skerry.console.heard import Span
from skerry.console.series import Series

LENGTH: Final = 900.0
"""Seconds that spans are kept at most."""
MAX_SPANS: Final = 20_000
MAX_TRACES: Final = 4_000
MAX_TRACE: Final = 1_000
"""Spans of one trace that are kept."""
MAX_SERVICES: Final = 100
MAX_EDGES: Final = 400
MAX_WAITING: Final = 2_000
"""Calls whose callee is not known yet."""
MAX_BELOW: Final = 8
"""Answers below one span that are remembered."""
PATIENCE: Final = 10.0
"""Seconds in which the other side of a call may come; senders batch for five."""
SLOW: Final = 1.0
"""Seconds from which on a trace counts as slow."""
_NOBODY: Final = frozenset({"skerry", "127.0.0.1", "localhost", "::1", "[::1]", "0.0.0.0"})  # noqa: S104 - read, not bound
_CALLED: Final = ("peer.service", "db.system.name", "db.system", "messaging.system", "server.address", "net.peer.name")


@dataclass(slots=True)
class Trace:
    """The spans of one trace that have come so far."""

    id: str
    heard: float
    spans: dict[str, Span]
    failed: bool = False

    @property
    def seconds(self) -> float:
        """From the beginning of its first span to the end of its last."""
        return max(span.at + span.seconds for span in self.spans.values()) - min(s.at for s in self.spans.values())

    def line(self) -> dict[str, object]:
        """The trace in a list: its first span, how long all of it took, how many spans failed."""
        all_ = self.spans.values()
        first = min(all_, key=lambda span: (span.parent in self.spans, bool(span.parent), span.at))
        return {
            "id": self.id,
            "name": _titled(first),
            "service": first.service,
            "at": min(span.at for span in all_),
            "seconds": self.seconds,
            "spans": len(self.spans),
            "errors": sum(span.error for span in all_),
        }


def _titled(span: Span) -> str:
    """A request whose span is called by its method alone, as OpenTelemetry has it where no route is known, with its path."""
    path = span.attributes.get("http.route", span.attributes.get("url.path", ""))
    return f"{span.name} {path}" if path and " " not in span.name and span.name.isupper() else span.name


@dataclass(frozen=True, slots=True)
class _Call:
    source: str
    seconds: float
    error: bool
    heard: float
    fallback: str


class Window:
    """What spans have told. Every collection in it has a bound; what does not fit is `dropped` or pushes out the oldest.

    A call is an edge from the service of its client span to `service.peer.name` (`peer.service`, as it was called), else to the
    service of the span below it, else to the host, database or broker that it names.
    """

    def __init__(self, *, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        self._kept = 0
        self.services: dict[str, Series] = {}
        self.edges: dict[tuple[str, str, str], Series] = {}
        self._below: OrderedDict[tuple[str, str], list[Span]] = OrderedDict()
        """Spans of those who answered, by the span above them, which may come later: senders send when a span has ended."""
        self._waiting: OrderedDict[tuple[str, str], _Call] = OrderedDict()
        self.answering: set[str] = set()
        """Services that have told of themselves; what is only called is somebody else's."""
        self.received: int = 0
        self.dropped: int = 0

    def add(self, spans: Iterable[Span]) -> None:
        """Take spans in, in any order."""
        now = self._clock.now()
        for span in spans:
            self.received += 1
            self._keep(span, now)
            self._count(span, now)
        self._settle(now)

    def series(self, service: str) -> Series | None:
        """The counts of a service; None when there are too many services already."""
        found = self.services.get(service)
        if found is None and len(self.services) < MAX_SERVICES:
            found = self.services[service] = Series(self._clock.now())
        return found

    def traces(
        self, *, service: str = "", errors: bool = False, slow: bool = False, limit: int = 100
    ) -> list[dict[str, object]]:
        """Traces, the newest first: of a service, that failed, that took a second or longer."""
        self._forget(self._clock.now())
        return list(self._found(service=service, errors=errors, slow=slow, limit=limit))

    def trace(self, trace_id: str) -> list[Span] | None:
        """The spans of a trace, in order of time."""
        found = self._traces.get(trace_id)
        return None if found is None else sorted(found.spans.values(), key=lambda span: span.at)

    @property
    def kept(self) -> int:
        """Spans in memory."""
        return self._kept

    @property
    def size(self) -> int:
        """Things in memory, of whatever kind: what must not grow without bound."""
        counts = sum(series.size for series in (*self.services.values(), *self.edges.values()))
        return self._kept + len(self._traces) + len(self._below) + len(self._waiting) + counts

    def _found(self, *, service: str, errors: bool, slow: bool, limit: int) -> Iterator[dict[str, object]]:
        for trace in reversed(self._traces.values()):
            if limit <= 0:
                return
            if errors and not trace.failed:
                continue
            if service and all(span.service != service for span in trace.spans.values()):
                continue
            if not slow or trace.seconds >= SLOW:
                limit -= 1
                yield trace.line()

    def _keep(self, span: Span, now: float) -> None:
        trace = self._traces.get(span.trace)
        if trace is None:
            trace = self._traces[span.trace] = Trace(span.trace, now, {})
        if span.id not in trace.spans:
            if len(trace.spans) >= MAX_TRACE:
                self.dropped += 1
                return
            self._kept += 1
        trace.spans[span.id] = span
        trace.failed = trace.failed or span.error
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._traces:
            first = next(iter(self._traces.values()))
            if self._kept <= MAX_SPANS and len(self._traces) <= MAX_TRACES and now - first.heard <= LENGTH:
                return
            self._traces.popitem(last=False)
            self._kept -= len(first.spans)

    def _count(self, span: Span, now: float) -> None:
        self._answers(span.service)
        below = self._below.pop((span.trace, span.id), [])
        if span.kind in {"client", "producer"}:
            self._called(span, below, now)
        else:
            for answer in below:
                self._direct(span, answer, now)
        if span.kind in {"server", "consumer"}:
            if (series := self.series(span.service)) is not None:
                series.add(now, seconds=span.seconds, error=span.error)
            if span.parent:
                self._meet(span, now)

    def _answers(self, service: str) -> None:
        if service not in self.answering and self.series(service) is not None:
            self.answering.add(service)

    def _called(self, span: Span, below: list[Span], now: float) -> None:
        peer = _named(span)
        callee = peer or (below[0].service if below else "")
        if callee:
            self._edge(span.service, callee, now, seconds=span.seconds, error=span.error, event=span.kind == "producer")
            for other in below[1:] if span.kind == "producer" and not peer else ():
                self._direct(span, other, now)
            return
        named = (str(span.attributes[name]) for name in _CALLED if name in span.attributes)
        fallback = next((name for name in named if name and name not in _NOBODY), "")
        call = _Call(span.service, span.seconds, span.error, now, fallback[:60])
        put(self._waiting, (span.trace, span.id), call, MAX_WAITING)

    def _meet(self, answer: Span, now: float) -> None:
        """The other side of a call has come."""
        call = self._waiting.pop((answer.trace, answer.parent), None)
        if call is not None:
            event = answer.kind == "consumer"
            self._edge(call.source, answer.service, now, seconds=call.seconds, error=call.error, event=event)
            return
        trace = self._traces.get(answer.trace)
        above = None if trace is None else trace.spans.get(answer.parent)
        if above is not None:
            # a call was counted with its own span, and of an event he who took it first
            if above.kind not in {"client", "producer"} or (above.kind == "producer" and not _named(above)):
                self._direct(above, answer, now)
            return
        below = self._below.get((answer.trace, answer.parent), [])
        if len(below) < MAX_BELOW:
            put(self._below, (answer.trace, answer.parent), [*below, answer], MAX_WAITING)

    def _direct(self, above: Span, answer: Span, now: float) -> None:
        """A caller that makes no span for its call: what the callee measured is what there is."""
        event = answer.kind == "consumer"
        self._edge(above.service, answer.service, now, seconds=answer.seconds, error=answer.error, event=event)

    def _settle(self, now: float) -> None:
        """Calls of which nobody has told the other side go to what they name themselves."""
        while self._waiting:
            key, call = next(iter(self._waiting.items()))
            if now - call.heard < PATIENCE:
                return
            del self._waiting[key]
            if call.fallback:
                self._edge(call.source, call.fallback, now, seconds=call.seconds, error=call.error, event=False)

    def _edge(self, source: str, target: str, now: float, *, seconds: float, error: bool, event: bool) -> None:
        if source == target:
            return
        key = (source, target, "event" if event else "call")
        series = self.edges.get(key)
        if series is None:
            if len(self.edges) >= MAX_EDGES:
                self.dropped += 1
                return
            series = self.edges[key] = Series(now)
        series.add(now, seconds=seconds, error=error)


def _named(call: Span) -> str:
    """The service that a call says it goes to."""
    return str(call.attributes.get("service.peer.name") or call.attributes.get("peer.service", ""))
