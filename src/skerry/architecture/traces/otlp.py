"""OTLP as JSON: what the file exporter of a collector writes, one request a line, and what SDKs send.

Source: the OTLP specification's JSON encoding (ids in hex, 64-bit integers as text, enumerations as numbers) and protobuf's own
JSON mapping, which others write (ids in base64, enumerations by name). Both are read, in camel and in snake case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from skerry.architecture.traces.conventions import failed, stable
from skerry.architecture.traces.fields import Malformed, identity, links, listed, mapping, number, service_name
from skerry.architecture.traces.masking import Masks
from skerry.architecture.traces.spans import Span, SpanKind

_KINDS: Final = {
    "1": SpanKind.INTERNAL,
    "2": SpanKind.SERVER,
    "3": SpanKind.CLIENT,
    "4": SpanKind.PRODUCER,
    "5": SpanKind.CONSUMER,
}
_NANO: Final = 1e-9
_MAX_ATTRIBUTES: Final = 128
_MAX_EVENTS: Final = 32


def is_request(value: object) -> bool:
    """Whether a value is a request with spans."""
    return isinstance(value, Mapping) and ("resourceSpans" in value or "resource_spans" in value)


def spans(value: Mapping[str, object], file: str, line: int, masks: Masks) -> Iterator[Span | Malformed]:
    """The spans of one request; what of them is malformed is told and left out."""
    for resource in listed(_get(value, "resourceSpans")):
        if not isinstance(resource, Mapping):
            yield Malformed("a resource is no object")
            continue
        said = attributes(mapping(resource.get("resource")).get("attributes"))
        service = service_name(said.get("service.name"))
        scopes = _get(resource, "scopeSpans") or _get(resource, "instrumentationLibrarySpans")
        for scope in listed(scopes):
            for span in listed(mapping(scope).get("spans")):
                try:
                    yield _span(mapping(span), service, file, line, masks)
                except Malformed as problem:
                    yield problem


def attributes(given: object) -> dict[str, object]:
    """A list of keys and tagged values as a mapping; lists and objects within are left out."""
    found: dict[str, object] = {}
    for each in listed(given)[:_MAX_ATTRIBUTES]:
        pair = mapping(each)
        key, tagged = pair.get("key"), mapping(pair.get("value"))
        if isinstance(key, str) and tagged:
            value = _value(tagged)
            if value is not None:
                found[key] = value
    return found


def _span(given: Mapping[str, object], service: str, file: str, line: int, masks: Masks) -> Span:
    start = number(_get(given, "startTimeUnixNano"), "startTimeUnixNano") * _NANO
    end = number(_get(given, "endTimeUnixNano") or _get(given, "startTimeUnixNano"), "endTimeUnixNano") * _NANO
    kind = _kind(given.get("kind"))
    said = attributes(given.get("attributes"))
    status = mapping(given.get("status"))
    if status.get("message"):
        said.setdefault("status.message", status["message"])
    for event in listed(given.get("events"))[:_MAX_EVENTS]:
        for name, value in attributes(mapping(event).get("attributes")).items():
            if name == "exception.type":
                said.setdefault(name, value)
    found = stable(said, kind, masks)
    return Span(
        trace=identity(_get(given, "traceId"), "traceId"),
        span=identity(_get(given, "spanId"), "spanId"),
        parent=identity(_get(given, "parentSpanId"), ""),
        service=service,
        name=masks.name(str(given.get("name", ""))),
        kind=kind,
        start=start,
        end=max(start, end),
        error=str(status.get("code", "")).upper() in {"2", "STATUS_CODE_ERROR", "ERROR"} or failed(found),
        attributes=found,
        line=line,
        file=file,
        links=_links(given.get("links")),
    )


def _links(given: object) -> tuple[tuple[str, str], ...]:
    if not given:
        return ()
    return links(given, "traceId", "spanId") or links(given, "trace_id", "span_id")


def _kind(given: object) -> SpanKind:
    text = str(given or "")
    if text in _KINDS:
        return _KINDS[text]
    name = text.lower().removeprefix("span_kind_")
    return SpanKind(name) if name in set(SpanKind) else SpanKind.INTERNAL


def _value(tagged: Mapping[str, object]) -> str | int | float | bool | None:
    for name in ("stringValue", "boolValue", "doubleValue", "string_value", "bool_value", "double_value"):
        value = tagged.get(name)
        if isinstance(value, str | bool | int | float):
            return value
    whole = tagged.get("intValue", tagged.get("int_value"))
    if isinstance(whole, int):
        return whole
    return int(whole) if isinstance(whole, str) and whole.lstrip("-").isdecimal() and len(whole) < 21 else None


def _get(given: Mapping[str, object], name: str) -> object:
    """By its name in camel case, else in snake case."""
    if name in given:
        return given[name]
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return given.get(snake)


def requests(value: object) -> Sequence[Mapping[str, object]]:
    """A request, or each of a list of them."""
    if is_request(value) and isinstance(value, Mapping):
        return [value]
    return [each for each in listed(value) if isinstance(each, Mapping) and is_request(each)]
