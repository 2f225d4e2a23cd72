"""The messages of OTLP, as far as the console reads them; what else there is in a request is passed over.

They are declared here and in a pool of their own. The package with the generated ones shares its folder with an older copy that
comes with Envoy's protocols, and which of the two is there depends on which was installed last.

Source: opentelemetry-proto 1.7, `common.proto`, `resource.proto`, `trace.proto`, `logs.proto`; the numbers are the protocol's.
"""

from __future__ import annotations

from typing import Any, Final

from skerry.errors import MissingExtra

try:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass
except ImportError as _error:
    raise MissingExtra("The console", "console") from _error

_PACKAGE: Final = "skerry.console.otlp"
_SCALARS: Final = {
    "string": Field.TYPE_STRING,
    "bytes": Field.TYPE_BYTES,
    "bool": Field.TYPE_BOOL,
    "int64": Field.TYPE_INT64,
    "double": Field.TYPE_DOUBLE,
    "fixed64": Field.TYPE_FIXED64,
}
_ENUMS: Final = {
    "SpanKind": [
        f"SPAN_KIND_{name}" for name in ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
    ],
    "StatusCode": [f"STATUS_CODE_{name}" for name in ("UNSET", "OK", "ERROR")],
    "SeverityNumber": [
        "SEVERITY_NUMBER_UNSPECIFIED",
        *(
            f"SEVERITY_NUMBER_{name}{number}"
            for name in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
            for number in ("", "2", "3", "4")
        ),
    ],
}
_ONE_OF: Final = "AnyValue"
_MESSAGES: Final = {
    "AnyValue": "string string_value 1, bool bool_value 2, int64 int_value 3, double double_value 4, "
    "ArrayValue array_value 5, KeyValueList kvlist_value 6, bytes bytes_value 7",
    "ArrayValue": "*AnyValue values 1",
    "KeyValueList": "*KeyValue values 1",
    "KeyValue": "string key 1, AnyValue value 2",
    "Resource": "*KeyValue attributes 1",
    "Status": "string message 2, StatusCode code 3",
    "Span": "bytes trace_id 1, bytes span_id 2, bytes parent_span_id 4, string name 5, SpanKind kind 6, "
    "fixed64 start_time_unix_nano 7, fixed64 end_time_unix_nano 8, *KeyValue attributes 9, Status status 15",
    "ScopeSpans": "*Span spans 2",
    "ResourceSpans": "Resource resource 1, *ScopeSpans scope_spans 2",
    "ExportTraceServiceRequest": "*ResourceSpans resource_spans 1",
    "LogRecord": "fixed64 time_unix_nano 1, SeverityNumber severity_number 2, string severity_text 3, AnyValue body 5, "
    "*KeyValue attributes 6, bytes trace_id 9, bytes span_id 10, fixed64 observed_time_unix_nano 11, string event_name 12",
    "ScopeLogs": "*LogRecord log_records 2",
    "ResourceLogs": "Resource resource 1, *ScopeLogs scope_logs 2",
    "ExportLogsServiceRequest": "*ResourceLogs resource_logs 1",
}
"""By name; a star marks what may come several times."""


def _pool() -> DescriptorPool:
    file = FileDescriptorProto(name="skerry/console/otlp.proto", package=_PACKAGE, syntax="proto3")
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, declared in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == _ONE_OF:
            message.oneof_decl.add(name="value")
        for one in declared.split(", "):
            kind, called, place = one.split(" ")
            field = message.field.add(name=called, number=int(place), label=Field.LABEL_OPTIONAL)
            if kind.startswith("*"):
                field.label = Field.LABEL_REPEATED
                kind = kind[1:]
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type = Field.TYPE_ENUM if kind in _ENUMS else Field.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
            if name == _ONE_OF:
                field.oneof_index = 0
    pool = DescriptorPool()
    pool.Add(file)
    return pool


_POOL: Final = _pool()
ExportTraceServiceRequest: Any = GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.ExportTraceServiceRequest"))
"""What is sent to /v1/traces."""
ExportLogsServiceRequest: Any = GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.ExportLogsServiceRequest"))
"""What is sent to /v1/logs."""
