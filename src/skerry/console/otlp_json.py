"""OTLP's JSON: what is wrong in it is refused as a whole, what is unknown passed over.

Read by hand: protobuf's own reader of JSON takes ten times as long for a span, and wants ids in base64 where OTLP has hex.

Source: the OpenTelemetry protocol specification 1.5, "JSON Protobuf Encoding": names in camel case, ids in hex, whole numbers of
64 bits as texts or numbers, enumerations as numbers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from skerry.console.heard import (
    KINDS,
    MAX_ATTRIBUTES,
    MAX_NAME,
    MAX_SPANS,
    MAX_VALUE,
    UNNAMED,
    Record,
    Span,
    Unreadable,
    Value,
    cut,
    failed,
    level_of,
)

_TRACE: Final = re.compile(r"[0-9a-fA-F]{32}")
_SPAN: Final = re.compile(r"[0-9a-fA-F]{16}")
_WHOLE: Final = re.compile(r"-?[0-9]{1,20}")
_ERROR: Final = 2
_LARGEST: Final = 2**64
_NUMBERS: Final = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def spans(body: bytes) -> list[Span]:
    """The spans of a request, at most `MAX_SPANS`; those without ids are left out. Raises `Unreadable`."""
    found: list[Span] = []
    for service, given in _each(body, "resourceSpans", "scopeSpans", "spans"):
        if len(found) >= MAX_SPANS:
            break
        span = _span(given, service)
        if span is not None:
            found.append(span)
    return found


def records(body: bytes) -> list[Record]:
    """The records of a request, at most `MAX_SPANS`. Raises `Unreadable`."""
    found: list[Record] = []
    for service, given in _each(body, "resourceLogs", "scopeLogs", "logRecords"):
        if len(found) >= MAX_SPANS:
            break
        fields = _attributes(given)
        event = str(fields.pop("event.name", "") or _text(given, "eventName"))[:MAX_NAME]
        at = (_whole(given.get("timeUnixNano")) or _whole(given.get("observedTimeUnixNano"))) * 1e-9
        level = level_of(_text(given, "severityText"), _whole(given.get("severityNumber")))
        found.append(Record(service, at, event, level, str(cut(_value(_object(given.get("body"))))), fields))
    return found


def _each(body: bytes, outer: str, inner: str, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each entry with the service it is of."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable(400, "the body is no JSON") from None
    for resource in _objects(_object(given), outer):
        service = _service(_object(resource.get("resource")))
        for scope in _objects(resource, inner):
            for each in _objects(scope, kind):
                yield service, each


def _span(given: Mapping[str, Any], service: str) -> Span | None:
    trace, own, parent = _text(given, "traceId"), _text(given, "spanId"), _text(given, "parentSpanId")
    if not _TRACE.fullmatch(trace) or not _SPAN.fullmatch(own):
        return None
    attributes = _attributes(given)
    status = _object(given.get("status"))
    if message := _text(status, "message"):
        attributes.setdefault("status.message", message[:MAX_VALUE])
    number = _whole(given.get("kind"))
    kind = KINDS[number] if 0 <= number < len(KINDS) else "internal"
    begin, end = _whole(given.get("startTimeUnixNano")), _whole(given.get("endTimeUnixNano"))
    return Span(
        trace.lower(),
        own.lower(),
        parent.lower() if _SPAN.fullmatch(parent) else "",
        service,
        _text(given, "name")[:MAX_NAME] or "(no name)",
        kind,
        begin * 1e-9,
        max(0, end - begin) * 1e-9,
        failed(attributes, kind, said=_whole(status.get("code")) == _ERROR),
        attributes,
    )


def _service(resource: Mapping[str, Any]) -> str:
    for pair in _objects(resource, "attributes"):
        if pair.get("key") == "service.name":
            return str(_value(_object(pair.get("value"))) or "")[:MAX_NAME] or UNNAMED
    return UNNAMED


def _attributes(given: Mapping[str, Any]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for number, pair in enumerate(_objects(given, "attributes")):
        if number >= MAX_ATTRIBUTES:
            break
        key, value = _text(pair, "key"), _value(_object(pair.get("value")))
        if key and value is not None:
            found[key[:MAX_NAME]] = cut(value)
    return found


def _value(tagged: Mapping[str, Any]) -> Value | None:
    """What is written in one cell; of lists, maps and bytes that there are some."""
    for kind, value in tagged.items():
        if kind == "stringValue" and isinstance(value, str):
            return value
        if kind == "boolValue" and isinstance(value, bool):
            return value
        if kind == "intValue":
            return _whole(value)
        if kind == "doubleValue":
            return _number(value)
        if kind in {"arrayValue", "kvlistValue", "bytesValue"}:
            return f"({kind.removesuffix('Value')})"
        if kind in {"stringValue", "boolValue"}:
            raise _wrong()
    return None


def _number(given: object) -> float:
    if isinstance(given, str) and given in _NUMBERS:
        return _NUMBERS[given]
    if isinstance(given, bool) or not isinstance(given, int | float) or abs(given) > 1e308:
        raise _wrong()
    return float(given)


def _whole(given: object) -> int:
    """A whole number, as such or as text; what is not there is 0."""
    if given is None:
        return 0
    if isinstance(given, str) and _WHOLE.fullmatch(given):
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int) or abs(given) >= _LARGEST:
        raise _wrong()
    return given


def _text(given: Mapping[str, Any], name: str) -> str:
    found = given.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise _wrong()
    return found


def _objects(given: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    found = given.get(name)
    if found is None:
        return
    if not isinstance(found, list):
        raise _wrong()
    for each in found:
        yield _object(each)


def _object(given: object) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _wrong()
    return given


def _wrong() -> Unreadable:
    # without what was sent, which may be a secret
    return Unreadable(400, "the body is not the JSON that OTLP asks for")
