"""OTLP over HTTP, read: spans and log records out of a request's body, in protobuf or JSON.

Whatever arrives is data of strangers: names are cut, attributes counted, bodies bounded before and after they are unpacked.

Source: the OpenTelemetry protocol specification 1.5, "OTLP/HTTP".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, Final

from skerry.console import otlp_json
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
from skerry.errors import MissingExtra

try:
    from google.protobuf.message import DecodeError
except ImportError as _error:
    raise MissingExtra("The console", "console") from _error

from skerry.console.messages import ExportLogsServiceRequest, ExportTraceServiceRequest

MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes of a request as it is sent."""
MAX_UNPACKED: Final = 16 * 1024 * 1024
"""Bytes of a request when it is unpacked."""
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_ERROR: Final = 2


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its compression. Raises `Unreadable`: 415 for one that is unknown, 413 when it is too large, 400."""
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "deflate"}:
        raise Unreadable(415, "the body's content-encoding is not gzip, deflate or identity")
    expanding = zlib.decompressobj(wbits=31 if encoding == "gzip" else 15)
    try:
        plain = expanding.decompress(body, MAX_UNPACKED + 1)
    except zlib.error:
        raise Unreadable(400, f"the body is not {encoding}") from None
    if len(plain) > MAX_UNPACKED:
        raise Unreadable(413, f"the body has more than {MAX_UNPACKED} bytes when it is unpacked")
    if not expanding.eof:
        raise Unreadable(400, f"the body ends in the middle of its {encoding}")
    return plain


def spans(body: bytes, content_type: str) -> list[Span]:
    """The spans of a request to /v1/traces, at most `MAX_SPANS`. Those without ids are left out. Raises `Unreadable`."""
    if _is_json(content_type):
        return otlp_json.spans(body)
    found: list[Span] = []
    for resource in _parsed(ExportTraceServiceRequest(), body).resource_spans:
        service = _service(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                if len(found) >= MAX_SPANS:
                    return found
                if len(span.trace_id) == 16 and len(span.span_id) == 8:
                    found.append(_span(span, service))
    return found


def records(body: bytes, content_type: str) -> list[Record]:
    """The records of a request to /v1/logs, at most `MAX_SPANS`. Raises `Unreadable`."""
    if _is_json(content_type):
        return otlp_json.records(body)
    found: list[Record] = []
    for resource in _parsed(ExportLogsServiceRequest(), body).resource_logs:
        service = _service(resource.resource.attributes)
        for scope in resource.scope_logs:
            for record in scope.log_records:
                if len(found) >= MAX_SPANS:
                    return found
                fields = _attributes(record.attributes)
                event = str(fields.pop("event.name", "") or record.event_name)[:MAX_NAME]
                at = (record.time_unix_nano or record.observed_time_unix_nano) * 1e-9
                level = level_of(record.severity_text, record.severity_number)
                found.append(Record(service, at, event, level, str(cut(_value(record.body))), fields))
    return found


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in {PROTOBUF, JSON}:
        raise Unreadable(415, f"the body's content-type is neither {PROTOBUF} nor {JSON}")
    return kind == JSON


def _parsed(request: Any, body: bytes) -> Any:
    try:
        request.ParseFromString(body)
    except DecodeError:
        raise Unreadable(400, "the body is not the protobuf message that OTLP asks for") from None
    return request


def _span(span: Any, service: str) -> Span:
    attributes = _attributes(span.attributes)
    begin, end = span.start_time_unix_nano, span.end_time_unix_nano
    if span.status.message:
        attributes.setdefault("status.message", span.status.message[:MAX_VALUE])
    kind = KINDS[span.kind] if span.kind < len(KINDS) else "internal"
    return Span(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex() if len(span.parent_span_id) == 8 else "",
        service,
        span.name[:MAX_NAME] or "(no name)",
        kind,
        begin * 1e-9,
        max(0, end - begin) * 1e-9,
        failed(attributes, kind, said=span.status.code == _ERROR),
        attributes,
    )


def _service(attributes: Iterable[Any]) -> str:
    for pair in attributes:
        if pair.key == "service.name":
            return str(_value(pair.value) or "")[:MAX_NAME] or UNNAMED
    return UNNAMED


def _attributes(pairs: Any) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for pair in pairs[:MAX_ATTRIBUTES]:
        value = _value(pair.value)
        if pair.key and value is not None:
            found[pair.key[:MAX_NAME]] = cut(value)
    return found


def _value(given: Any) -> Value | None:
    """What is written in one cell; of lists, maps and bytes that there are some."""
    kind = given.WhichOneof("value")
    if kind is None:
        return None
    if kind in {"string_value", "bool_value", "int_value", "double_value"}:
        value: Value = getattr(given, kind)
        return value
    return f"({kind.removesuffix('_value')})"
