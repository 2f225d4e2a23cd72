"""OTLP's JSON encoding of spans and of signals: what a file of traces holds, and what is sent to a collector.

Source: the OpenTelemetry protocol specification 1.5, "JSON Protobuf Encoding": ids in hex, whole numbers of 64 bits as texts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from skerry.signals import Level, Signal
from skerry.telemetry.logs import redact

if TYPE_CHECKING:
    from skerry.telemetry.spans import SpanEnded

MAX_TEXT: Final = 1000
"""Characters kept of a value of a signal."""
PREFIX: Final = "skerry."
_KINDS: Final = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_SEVERITIES: Final[Mapping[Level, tuple[int, str]]] = {
    "debug": (5, "DEBUG"),
    "info": (9, "INFO"),
    "warning": (13, "WARN"),
    "error": (17, "ERROR"),
}
_FAILED: Final = 2
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

Value = str | int | float | bool


def spans_request(service: str, spans: Sequence[dict[str, Any]]) -> bytes:
    """A request to /v1/traces."""
    return _request("resourceSpans", "scopeSpans", "spans", service, spans)


def records_request(service: str, records: Sequence[dict[str, Any]]) -> bytes:
    """A request to /v1/logs."""
    return _request("resourceLogs", "scopeLogs", "logRecords", service, records)


def span_of(told: SpanEnded) -> dict[str, Any]:
    """A span in its encoding."""
    began = int(told.began * 1e9)
    found: dict[str, Any] = {
        "traceId": told.trace_id,
        "spanId": told.span_id,
        "name": told.name,
        "kind": _KINDS[told.kind],
        "startTimeUnixNano": str(began),
        "endTimeUnixNano": str(began + int(told.seconds * 1e9)),
        "attributes": _attributes({**told.attributes, "error.type": told.error} if told.error else told.attributes),
        "status": {"code": _FAILED, "message": told.error} if told.error else {},
    }
    return found | {"parentSpanId": told.parent_id} if told.parent_id else found


def record_of(told: Signal, *, at: float, trace_id: str = "") -> dict[str, Any]:
    """A signal as a log record: its class is `event.name`, such as `skerry.breaker_changed`, its fields are attributes."""
    name = event_name(type(told))
    number, text = _SEVERITIES[told.level]
    named = {"event.name": name, **fields_of(told)}
    found: dict[str, Any] = {
        "timeUnixNano": str(int(at * 1e9)),
        "severityNumber": number,
        "severityText": text,
        "eventName": name,
        "attributes": _attributes(named),
    }
    return found | {"traceId": trace_id} if len(trace_id) == 32 else found


def fields_of(told: Signal) -> dict[str, Value]:
    """The fields of a signal that have a value, without secrets and not too long."""
    own = {field.name: _plain(getattr(told, field.name)) for field in fields(told)}
    return {key: value for key, value in own.items() if value is not None}


def event_name(signal: type[Signal]) -> str:
    """`skerry.breaker_changed` for `BreakerChanged`."""
    return PREFIX + _WORD.sub("_", signal.__name__).lower()


def _request(outer: str, inner: str, kind: str, service: str, found: Sequence[dict[str, Any]]) -> bytes:
    scope = {"scope": {"name": "skerry"}, kind: found}
    resource = {"attributes": _attributes({"service.name": service})}
    return json.dumps({outer: [{"resource": resource, inner: [scope]}]}, separators=(",", ":")).encode()


def _plain(value: object) -> Value | None:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case _:
            return redact(str(value))[:MAX_TEXT]


def _attributes(named: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in named.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float) and math.isfinite(value):
        return {"doubleValue": value}
    text = str(value)
    # half a character, which JSON can hold and UTF-8 cannot, would have a receiver refuse all that goes with it
    return {"stringValue": text if text.isascii() else text.encode("utf-8", "replace").decode()}
