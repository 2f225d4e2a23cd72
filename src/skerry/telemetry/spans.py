"""Spans: the pieces of work of a trace, told as signals, and written down for whoever draws them.

Every request, call, step and handler has a span of its own in the context anyway, for that is what travels. Here it becomes
something to look at, while somebody wants to. The file is OTLP's JSON encoding, a request to export a line (OpenTelemetry
Protocol 1.x, JSON Protobuf encoding; OpenTelemetry Collector's file exporter).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from skerry.clock import SYSTEM, Clock
from skerry.context import CallContext
from skerry.errors import ConfigurationError
from skerry.signals import HUB, Hub, Level, Signal
from skerry.telemetry.encoding import Value, span_of, spans_request

TOGETHER: Final = 64
"""Spans in a line, at most."""
SOON: Final = 0.5
"""Seconds after which a line is written all the same, as soon as there is another span."""
Kind = Literal["internal", "server", "client", "producer", "consumer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEnded(Signal):
    """A piece of work that belongs to a trace is over. Told only while somebody subscribes to spans.

    `began` is in seconds since 1970, `parent_id` empty for the first of a trace, `error` the class of what it failed of, `kind`
    OpenTelemetry's word.
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

    @property
    def level(self) -> Level:
        return "debug"


@contextmanager
def span(
    name: str, kind: Kind, around: CallContext, *, clock: Clock = SYSTEM, **attributes: Value
) -> Iterator[CallContext]:
    """A piece of work within `around`; gives its own context, which is what travels on. In `attributes` `_` stands for a dot."""
    own = around.child(clock)
    if not HUB.traced:
        yield own
        return
    began = clock.monotonic()
    error = ""
    try:
        yield own
    except BaseException as failure:
        error = type(failure).__name__
        raise
    finally:
        named = {key.replace("_", "."): value for key, value in attributes.items()}
        tell(name, kind, own=own.traceparent, parent=around.traceparent, seconds=clock.monotonic() - began,
             error=error, attributes=named, clock=clock)  # fmt: skip


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
    if HUB.traced:
        HUB.emit(
            SpanEnded(
                name=name,
                kind=kind,
                trace_id=own[3:35],
                span_id=own[36:52],
                parent_id=parent[36:52] if parent[3:35] == own[3:35] else "",
                began=clock.now() - seconds,
                seconds=seconds,
                error=error,
                attributes=attributes,
            )
        )


def write_traces(path: Path, *, service: str, hub: Hub = HUB, clock: Clock = SYSTEM) -> Callable[[], None]:
    """Append the spans of this process to `path` from now on, as lines of OTLP JSON; the returned function ends that.

    Several processes may write to one file. A process that is killed loses what it has not written, half a second of it at most
    while there is something to do. Raises `ConfigurationError` when the file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigurationError(f"traces cannot be written to {path}: {error.strerror}") from error
    waiting: list[dict[str, Any]] = []
    lock, since = threading.Lock(), [clock.monotonic()]

    def write() -> None:
        spans, waiting[:] = list(waiting), []
        since[0] = clock.monotonic()
        if spans:
            os.write(descriptor, spans_request(service, spans) + b"\n")  # in one piece: others append to the same file

    def heard(signal: Signal) -> None:
        if isinstance(signal, SpanEnded):
            with lock:
                waiting.append(span_of(signal))
                if len(waiting) >= TOGETHER or clock.monotonic() - since[0] >= SOON:
                    write()

    unsubscribe = hub.subscribe(heard, spans=True)

    def end() -> None:
        unsubscribe()
        with lock:
            write()
            os.close(descriptor)

    return end
