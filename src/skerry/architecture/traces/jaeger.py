"""Jaeger's JSON, as its API and its user interface give it: `{"data": [{"traceID", "spans", "processes"}]}`.

Source: Jaeger's model in JSON; times are microseconds, tags have a key and a value, a parent is a reference CHILD_OF.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from skerry.architecture.traces.conventions import failed, stable
from skerry.architecture.traces.fields import (
    MAX_LINKS,
    Malformed,
    identity,
    links,
    listed,
    mapping,
    number,
    service_name,
)
from skerry.architecture.traces.masking import Masks
from skerry.architecture.traces.spans import Span, SpanKind

_MICRO: Final = 1e-6
_MAX_TAGS: Final = 128
_MAX_LOGS: Final = 32
_LATEST: Final = 4e15
"""Microseconds."""


def is_trace(value: object) -> bool:
    """Whether a value is one trace of Jaeger's."""
    return isinstance(value, Mapping) and isinstance(value.get("spans"), list) and "traceID" in value


def spans(value: Mapping[str, object], file: str, line: int, masks: Masks) -> Iterator[Span | Malformed]:
    """The spans of one trace."""
    processes = mapping(value.get("processes"))
    for each in listed(value.get("spans")):
        try:
            yield _span(mapping(each), value, processes, file, line, masks)
        except Malformed as problem:
            yield problem


def _span(
    given: Mapping[str, object],
    trace: Mapping[str, object],
    processes: Mapping[str, object],
    file: str,
    line: int,
    masks: Masks,
) -> Span:
    tags = _tags(given.get("tags"))
    for log in listed(given.get("logs"))[:_MAX_LOGS]:
        said = _tags(mapping(log).get("fields"))
        kind_of_error = said.get("exception.type") or said.get("error.kind")
        if kind_of_error:
            tags.setdefault("exception.type", kind_of_error)
    name = str(tags.get("span.kind", "")).lower()
    kind = SpanKind(name) if name in set(SpanKind) else SpanKind.INTERNAL
    start = number(given.get("startTime"), "startTime")
    if start > _LATEST:
        raise Malformed("startTime of a span is not in microseconds")
    length = number(given.get("duration") or 0, "duration")
    process = mapping(given.get("process")) or mapping(processes.get(str(given.get("processID", ""))))
    parent, waited = _parent(given)
    if not waited and kind in {SpanKind.SERVER, SpanKind.INTERNAL}:
        kind = SpanKind.CONSUMER  # work that goes on after its cause, as with a message
    error = str(tags.get("error", "")).lower() == "true" or str(tags.get("otel.status_code", "")).upper() == "ERROR"
    found = stable(tags, kind, masks)
    return Span(
        trace=identity(given.get("traceID") or trace.get("traceID"), "traceID"),
        span=identity(given.get("spanID"), "spanID"),
        parent=parent if waited or kind is SpanKind.CONSUMER else "",
        service=service_name(process.get("serviceName")),
        name=masks.name(str(given.get("operationName", ""))),
        kind=kind,
        start=start * _MICRO,
        end=(start + length) * _MICRO,
        error=error or failed(found),
        attributes=found,
        line=line,
        file=file,
        links=_links(given, parent),
    )


def _parent(given: Mapping[str, object]) -> tuple[str, bool]:
    """The first reference CHILD_OF of this trace; else one that only FOLLOWS_FROM, which nobody waits for."""
    followed = ""
    for each in listed(given.get("references"))[:16]:
        reference = mapping(each)
        if reference.get("traceID") not in {None, given.get("traceID")}:
            continue
        if reference.get("refType", "CHILD_OF") == "CHILD_OF":
            return identity(reference.get("spanID"), ""), True
        followed = followed or identity(reference.get("spanID"), "")
    return (followed, False) if followed else (identity(given.get("parentSpanID"), ""), True)


def _links(given: Mapping[str, object], parent: str) -> tuple[tuple[str, str], ...]:
    """References to other traces, and those that only FOLLOW_FROM, but for what became the parent."""
    listed_ones = (mapping(each) for each in listed(given.get("references"))[:MAX_LINKS])
    theirs = [
        each
        for each in listed_ones
        if each.get("refType") == "FOLLOWS_FROM" or each.get("traceID") not in {None, given.get("traceID")}
    ]
    return tuple(each for each in links(theirs, "traceID", "spanID") if each[1] != parent)


def _tags(given: object) -> dict[str, object]:
    found: dict[str, object] = {}
    for each in listed(given)[:_MAX_TAGS]:
        tag = mapping(each)
        key, value = tag.get("key"), tag.get("value")
        if isinstance(key, str) and isinstance(value, str | int | float | bool):
            found[key] = value
    return found
