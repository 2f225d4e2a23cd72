"""OTLP over HTTP, read: spans and log records out of a request's body, in protobuf or JSON.

Whatever arrives is data of strangers: names are cut, attributes counted, bodies bounded before and after they are unpacked.

Source: the OpenTelemetry protocol specification 1.5, "OTLP/HTTP"; its JSON has ids in hex where protobuf's own has base64.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from skerry.errors import MissingExtra, SkerryError

try:
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError, Message
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
except ImportError as _error:
    raise MissingExtra("The console", "console") from _error

MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes of a request as it is sent."""
MAX_UNPACKED: Final = 16 * 1024 * 1024
"""Bytes of a request when it is unpacked."""
MAX_SPANS: Final = 10_000
"""Spans, or log records, that are taken of one request; a sender that batches by the book sends 512."""
MAX_ATTRIBUTES: Final = 24
MAX_NAME: Final = 120
MAX_VALUE: Final = 200
"""Characters of a value that are kept."""
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
KINDS: Final = ("internal", "internal", "server", "client", "producer", "consumer")
_ERROR: Final = 2
_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})
_DEEPEST: Final = 64

Value = str | int | float | bool


class Unreadable(SkerryError):
    """A body that cannot be taken: `status` is what its sender is answered."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Span:
    """One span as the console keeps it. `at` is its beginning in seconds since 1970; `parent` is empty for the first."""

    trace: str
    id: str
    parent: str
    service: str
    name: str
    kind: str
    at: float
    seconds: float
    error: bool
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One log record: `event` is the name of a signal, empty for an ordinary line."""

    service: str
    at: float
    event: str
    level: str
    text: str
    fields: Mapping[str, Value] = field(default_factory=dict)


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
    request = _parsed(ExportTraceServiceRequest(), body, content_type)
    found: list[Span] = []
    for resource in request.resource_spans:
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
    request = _parsed(ExportLogsServiceRequest(), body, content_type)
    found: list[Record] = []
    for resource in request.resource_logs:
        service = _service(resource.resource.attributes)
        for scope in resource.scope_logs:
            for record in scope.log_records:
                if len(found) >= MAX_SPANS:
                    return found
                fields = _attributes(record.attributes)
                event = str(fields.pop("event.name", "") or record.event_name)[:MAX_NAME]
                text = _cut(_value(record.body), MAX_VALUE)
                at = (record.time_unix_nano or record.observed_time_unix_nano) * 1e-9
                level = record.severity_text.lower()[:16] or _level(record.severity_number)
                found.append(Record(service, at, event, level, str(text), fields))
    return found


def _parsed(request: Any, body: bytes, content_type: str) -> Any:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == PROTOBUF:
        try:
            request.ParseFromString(body)
        except DecodeError:
            raise Unreadable(400, "the body is not the protobuf message that OTLP asks for") from None
        return request
    if kind != JSON:
        raise Unreadable(415, f"the body's content-type is neither {PROTOBUF} nor {JSON}")
    return _from_json(request, body)


def _from_json(request: Message, body: bytes) -> Message:
    try:
        given = json.loads(body)
        if not isinstance(given, dict):
            raise Unreadable(400, "the body is no JSON object")
        return json_format.ParseDict(_with_bytes(given, 0), request, ignore_unknown_fields=True, max_recursion_depth=50)
    except (ValueError, TypeError, AttributeError, RecursionError, json_format.ParseError):
        # protobuf's text repeats what was sent, so it is not passed on
        raise Unreadable(400, "the body is not the JSON that OTLP asks for") from None


def _with_bytes(given: Any, depth: int) -> Any:
    """A copy in which ids are as protobuf's own JSON has them."""
    if depth > _DEEPEST:
        raise ValueError("too deep")
    if isinstance(given, dict):
        return {key: _id(each) if key in _IDS else _with_bytes(each, depth + 1) for key, each in given.items()}
    return [_with_bytes(each, depth + 1) for each in given] if isinstance(given, list) else given


def _id(text: Any) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


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
        span.status.code == _ERROR or _failed(attributes, kind),
        attributes,
    )


def _failed(attributes: Mapping[str, Value], kind: str) -> bool:
    """Whether the answer was a failure of who answered; a caller's 404 is none."""
    status = attributes.get("http.response.status_code", attributes.get("http.status_code"))
    return kind == "server" and isinstance(status, int) and status >= 500


def _service(attributes: Iterable[Any]) -> str:
    for pair in attributes:
        if pair.key == "service.name":
            return str(_value(pair.value) or "")[:MAX_NAME] or "unknown_service"
    return "unknown_service"


def _attributes(pairs: Iterable[Any]) -> dict[str, Value]:
    return dict(_first(pairs))


def _first(pairs: Iterable[Any]) -> Iterator[tuple[str, Value]]:
    for number, pair in enumerate(pairs):
        if number >= MAX_ATTRIBUTES:
            return
        value = _value(pair.value)
        if pair.key and value is not None:
            yield pair.key[:MAX_NAME], _cut(value, MAX_VALUE)


def _value(given: Any) -> Value | None:
    """What is written in one cell; of lists, maps and bytes that there are some."""
    kind = given.WhichOneof("value")
    if kind is None:
        return None
    if kind in {"string_value", "bool_value", "int_value", "double_value"}:
        value = getattr(given, kind)
        return value if value == value and value not in {float("inf"), float("-inf")} else str(value)  # noqa: PLR0124
    return f"({kind.removesuffix('_value')})"


def _cut(value: Value | None, most: int) -> Value:
    if value is None:
        return ""
    return value[:most] if isinstance(value, str) else value


def _level(number: int) -> str:
    for least, level in ((17, "error"), (13, "warning"), (9, "info")):
        if number >= least:
            return level
    return "debug"
