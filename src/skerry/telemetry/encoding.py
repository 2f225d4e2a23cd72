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
from typing import Final

from skerry.signals import Level, Signal
from skerry.telemetry.logs import redact

MAX_TEXT: Final = 1000
"""Characters kept of a value of a signal."""
KEPT: Final = 128
"""Attributes, and values of each, that are kept as they are written."""
LONGEST_KEPT: Final = 256
"""Characters of one that is kept."""
WHOLE: Final = frozenset(["http.request.resend_count", "http.response.status_code", "server.port"])
"""Attributes whose values are whole numbers, kept too. Under another name 1 may come after True: to a dictionary they are one."""
IN_A_PIECE: Final = 64
"""Spans or records, some 40 kB."""
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


def spans_request(service: str, spans: Sequence[str]) -> list[bytes]:
    """A request to /v1/traces, in pieces."""
    return _request("resourceSpans", "scopeSpans", "spans", service, spans)


def records_request(service: str, records: Sequence[str]) -> list[bytes]:
    """A request to /v1/logs, in pieces."""
    return _request("resourceLogs", "scopeLogs", "logRecords", service, records)


def span_of(
    name: str,
    kind: str,
    own: str,
    parent: str,
    began: float,
    seconds: float,
    error: str,
    attributes: Mapping[str, Value],
    links: Sequence[str] = (),
) -> str:
    """A span in its encoding; `own`, `parent` and `links` in the words of W3C's traceparent, `began` in seconds since 1970.

    Written piece by piece: a tree of objects for `json.dumps` took five times as long.
    """
    start = int(began * 1e9)
    trace = own[3:35]
    above = f'","parentSpanId":"{parent[36:52]}' if parent[3:35] == trace else ""
    linked = f'"links":[{",".join(map(_link, links))}],' if links else ""
    status = ""
    written = _attributes(attributes)
    if error:
        quoted = _quoted(error)
        failed = f'{{"key":"error.type","value":{{"stringValue":{quoted}}}}}'
        written = f"{written},{failed}" if written else failed
        status = f'"code":{_FAILED},"message":{quoted}'
    return (
        f'{{"traceId":"{trace}","spanId":"{own[36:52]}{above}",{_called(name, kind)}"startTimeUnixNano":"{start}",'
        f'"endTimeUnixNano":"{start + int(seconds * 1e9)}","attributes":[{written}],{linked}"status":{{{status}}}}}'
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


def _request(outer: str, inner: str, kind: str, service: str, found: Sequence[str]) -> list[bytes]:
    resource = f'{{"attributes":[{_attributes({"service.name": service})}]}}'
    before = f'{{"{outer}":[{{"resource":{resource},"{inner}":[{{"scope":{{"name":"skerry"}},"{kind}":['
    pieces: list[bytes] = []
    # not as one: that would be half a megabyte of memory for the system to find, several times over
    for at in range(0, max(1, len(found)), IN_A_PIECE):
        after = "" if at + IN_A_PIECE < len(found) else "]}]}]}"
        pieces.append(f"{before}{','.join(found[at : at + IN_A_PIECE])}{after}".encode())
        before = ","
    return pieces


def _link(to: str) -> str:
    return f'{{"traceId":"{to[3:35]}","spanId":"{to[36:52]}"}}'


def _plain(value: object) -> Value | None:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case _:
            return redact(str(value))[:MAX_TEXT]


def _attributes(named: Mapping[str, Value]) -> str:
    return ",".join(map(_written, named.items()))


def _attribute(key: str, value: Value) -> str:
    written = f'{{"stringValue":{_quoted(value)}}}' if isinstance(value, str) else _value(value)
    return f'{{"key":{_quoted(key)},"value":{written}}}'


class _Written(dict[tuple[str, Value], str]):
    """Attributes as they are written, those that came first: most have few values, and routes and services do."""

    def __init__(self) -> None:
        self._room: dict[str, int] = {}

    def __missing__(self, named: tuple[str, Value]) -> str:
        key, value = named
        written = _attribute(key, value)
        if (isinstance(value, str) or key in WHOLE) and len(written) < LONGEST_KEPT:
            room = self._room.get(key, KEPT if len(self._room) < KEPT else 0)
            if room:
                self[named] = written
                self._room[key] = room - 1
        return written


_written: Final = _Written().__getitem__


@lru_cache(512)
def _called(name: str, kind: str) -> str:
    return f'"name":{_quoted(name)},"kind":{_KINDS[kind]},'


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
