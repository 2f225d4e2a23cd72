"""Zipkin's JSON, version 2, and version 1 made into it: a list of spans, or a list of traces that are lists of spans.

Source: the Zipkin API's description of its spans; times are microseconds, all tags are text. Client and server of one call may
share one id: `shared` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from skerry.architecture.traces.conventions import failed, stable
from skerry.architecture.traces.fields import Malformed, identity, mapping, number, service_name
from skerry.architecture.traces.masking import Masks
from skerry.architecture.traces.spans import Span, SpanKind
from skerry.architecture.traces.zipkin_v1 import is_first, second

_MICRO: Final = 1e-6
_LATEST: Final = 4e15
"""Microseconds."""
_NO: Final = frozenset({"", "false", "0", "no"})


def is_span(value: object) -> bool:
    """Whether a value is one span of Zipkin's."""
    return isinstance(value, Mapping) and "traceId" in value and "id" in value


def spans(given: Mapping[str, object], file: str, line: int, masks: Masks) -> Iterator[Span | Malformed]:
    """One span, or both sides of one of version 1."""
    try:
        for each in second(given) if is_first(given) else (given,):
            yield _span(each, file, line, masks)
    except Malformed as problem:
        yield problem


def _span(given: Mapping[str, object], file: str, line: int, masks: Masks) -> Span:
    tags: dict[str, object] = dict(list(mapping(given.get("tags")).items())[:128])
    far = mapping(given.get("remoteEndpoint"))
    for name, field in (("peer.service", "serviceName"), ("peer.ipv4", "ipv4"), ("peer.port", "port")):
        if far.get(field):
            tags.setdefault(name, far[field])
    kind_name = str(given.get("kind") or "").lower()
    kind = SpanKind(kind_name) if kind_name in set(SpanKind) else SpanKind.INTERNAL
    start = number(given.get("timestamp"), "timestamp")
    if start > _LATEST:
        raise Malformed("timestamp of a span is not in microseconds")
    length = number(given.get("duration") or 0, "duration")
    # "error" holds a message where there was one: only that there is one is kept
    error = "error" in tags and str(tags["error"]).lower() not in _NO
    error = error or str(tags.get("otel.status_code", "")).upper() == "ERROR"
    if error and "error" in tags:
        tags.setdefault("status.message", tags["error"])
    found = stable(tags, kind, masks)
    return Span(
        trace=identity(given.get("traceId"), "traceId"),
        span=identity(given.get("id"), "id"),
        parent=identity(given.get("parentId"), ""),
        service=service_name(mapping(given.get("localEndpoint")).get("serviceName")),
        name=masks.name(str(given.get("name") or "")),
        kind=kind,
        start=start * _MICRO,
        end=(start + length) * _MICRO,
        error=error or failed(found),
        attributes=found,
        line=line,
        file=file,
    )
