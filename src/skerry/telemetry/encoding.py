"""OTLP's JSON encoding of spans and of signals: what a file of traces holds, and what is sent to a collector.

Source: the OpenTelemetry protocol specification 1.5, "JSON Protobuf Encoding": ids in hex, whole numbers of 64 bits as texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Final

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


def spans_request(service: str, spans: Sequence[str]) -> bytes:
    """A request to /v1/traces."""
    return _request("resourceSpans", "scopeSpans", "spans", service, spans)


def records_request(service: str, records: Sequence[str]) -> bytes:
    """A request to /v1/logs."""
    return _request("resourceLogs", "scopeLogs", "logRecords", service, records)


def span_of(told: SpanEnded) -> str:
    """A span in its encoding. Written piece by piece: a tree of objects for `json.dumps` took five times as long."""
    began = int(told.began * 1e9)
    parent = f',"parentSpanId":"{told.parent_id}"' if told.parent_id else ""
    attributes, status = _attributes(told.attributes), "{}"
    if told.error:
        error = _quoted(told.error)
        failed = f'{{"key":"error.type","value":{{"stringValue":{error}}}}}'
        attributes = f"{attributes},{failed}" if attributes else failed
        status = f'{{"code":{_FAILED},"message":{error}}}'
    return (
        f'{{"traceId":"{told.trace_id}","spanId":"{told.span_id}"{parent},"name":{_quoted(told.name)},'
        f'"kind":{_KINDS[told.kind]},"startTimeUnixNano":"{began}","endTimeUnixNano":"{began + int(told.seconds * 1e9)}",'
        f'"attributes":[{attributes}],"status":{status}}}'
    )


def record_of(told: Signal, *, at: float, trace_id: str = "") -> str:
    """A signal as a log record: its class is `event.name`, such as `skerry.breaker_changed`, its fields are attributes."""
    name = event_name(type(told))
    number, text = _SEVERITIES[told.level]
    attributes = _attributes({"event.name": name, **fields_of(told)})
    trace = f',"traceId":"{trace_id}"' if len(trace_id) == 32 else ""
    return (
        f'{{"timeUnixNano":"{int(at * 1e9)}","severityNumber":{number},"severityText":"{text}","eventName":{_quoted(name)},'
        f'"attributes":[{attributes}]{trace}}}'
    )


def fields_of(told: Signal) -> dict[str, Value]:
    """The fields of a signal that have a value, without secrets and not too long."""
    own = {field.name: _plain(getattr(told, field.name)) for field in fields(told)}
    return {key: value for key, value in own.items() if value is not None}


def event_name(signal: type[Signal]) -> str:
    """`skerry.breaker_changed` for `BreakerChanged`."""
    return PREFIX + _WORD.sub("_", signal.__name__).lower()


def _request(outer: str, inner: str, kind: str, service: str, found: Sequence[str]) -> bytes:
    resource = f'{{"attributes":[{_attributes({"service.name": service})}]}}'
    scope = f'{{"scope":{{"name":"skerry"}},"{kind}":[{",".join(found)}]}}'
    return f'{{"{outer}":[{{"resource":{resource},"{inner}":[{scope}]}}]}}'.encode()


def _plain(value: object) -> Value | None:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case _:
            return redact(str(value))[:MAX_TEXT]


def _attributes(named: Mapping[str, Value]) -> str:
    return ",".join(
        [
            f'{_key(key)}{{"stringValue":{_quoted(value)}}}}}'
            if isinstance(value, str)
            else f"{_key(key)}{_value(value)}}}"
            for key, value in named.items()
        ]
    )


@lru_cache(512)
def _key(name: str) -> str:
    return f'{{"key":{_quoted(name)},"value":'


def _value(value: float) -> str:
    if isinstance(value, bool):
        return '{"boolValue":true}' if value else '{"boolValue":false}'
    if isinstance(value, int):
        return f'{{"intValue":"{value}"}}'
    if math.isfinite(value):
        return f'{{"doubleValue":{value!r}}}'
    return f'{{"stringValue":"{value}"}}'


def _quoted(text: str) -> str:
    if not text.isascii():
        # half a character, which JSON can hold and UTF-8 cannot, would have a receiver refuse all that goes with it
        text = text.encode("utf-8", "replace").decode()
    return encode_basestring_ascii(text)
